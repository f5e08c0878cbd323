//! Failures as exceptions of the package.

use ninc::cli::embedded::Fault;
use pyo3::prelude::*;

/// Makes the exception that `ninc._errors` has for a failure.
pub fn raised(py: Python<'_>, fault: &Fault) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let errors = py.import("ninc._errors")?;
        let words = (fault.usage, &fault.message, &fault.help, &fault.diagnostics);
        Ok(PyErr::from_value(errors.getattr("made")?.call1(words)?))
    };
    made().unwrap_or_else(|e| e)
}
