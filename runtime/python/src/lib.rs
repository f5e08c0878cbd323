//! The native half of the Python package: functions of `ninc::cli::embedded` with Python's types. What they mean to a
//! person is in the pure half, `ninc/`.

mod arrays;
mod errors;
mod network;
mod training;
mod turns;

use pyo3::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// The native half of `ninc`.
#[pymodule]
mod _ninc {
    use super::*;

    #[pymodule_export]
    use crate::arrays::png;
    #[pymodule_export]
    use crate::network::Network;
    #[pymodule_export]
    use crate::training::train;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        Ok(())
    }

    /// Says which file this module is in: the interpreter's is the same for all builds of it.
    #[pyfunction]
    fn is_in(file: PathBuf) {
        ninc_runtime::program::is_in(&file);
    }

    /// Does what the words of a command line ask for, `ninc` first, and returns the exit code.
    #[pyfunction]
    fn command(py: Python<'_>, words: Vec<OsString>) -> u8 {
        py.detach(|| ninc::cli::main(words))
    }

    /// Says all that is wrong with a model's text, as JSON; `set` gives values to its parameters.
    #[pyfunction]
    fn check(py: Python<'_>, text: &str, set: Vec<(String, String)>) -> String {
        py.detach(|| ninc::cli::embedded::check(text, &set))
    }

    /// Takes what was said since the last call.
    #[pyfunction]
    fn heard() -> Vec<String> {
        ninc::cli::embedded::heard()
    }
}
