//! Training, with Python's signals and callbacks.

use crate::errors::raised;
use ninc::cli::embedded;
use ninc_runtime::train::job::Progress;
use ninc_runtime::train::log::Line;
use ninc_runtime::train::{Control, Watch};
use pyo3::prelude::*;
use serde_json::json;
use std::ffi::OsString;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long Python is left alone between steps: taking its lock costs more than a small step.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells a function of Python how a training goes, and stops it where that raises or a signal comes.
struct Teller<'a> {
    watch: &'a Py<PyAny>,
    each_step: bool,
    control: Control,
    /// What was raised.
    raised: Option<PyErr>,
    last: Option<Instant>,
}

impl Teller<'_> {
    fn tell(&mut self, event: &str, text: &str) {
        if self.raised.is_some() {
            return;
        }
        let told = Python::attach(|py| {
            py.check_signals()?;
            self.watch.call1(py, (event, text))?.extract::<bool>(py)
        });
        match told {
            Ok(false) => {}
            Ok(true) => self.control.stop.store(true, Ordering::Relaxed),
            Err(e) => {
                self.raised = Some(e);
                self.control.stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Watch for Teller<'_> {
    fn step(&mut self, progress: &Progress) {
        if !self.each_step && self.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        let Progress { step, total_steps, steps_per_epoch, images, step_loss, loss, accuracy, rate } = *progress;
        let numbers = json!({
            "step": step, "total_steps": total_steps, "steps_per_epoch": steps_per_epoch, "images": images,
            "step_loss": step_loss, "loss": loss, "accuracy": accuracy, "rate": rate,
        });
        self.tell("step", &numbers.to_string());
        self.last = Some(Instant::now());
    }

    fn epoch(&mut self, line: &Line) {
        self.tell("epoch", &json!(line).to_string());
    }

    fn note(&mut self, text: &str) {
        self.tell("note", text);
    }
}

/// Trains as `ninc train` with these words behind it; `watch` is told events and their numbers as JSON, and stops the
/// training by returning `True`. What it raises, and `KeyboardInterrupt`, has the training saved first. Returns how it
/// ended, as JSON.
#[pyfunction]
pub fn train(py: Python<'_>, words: Vec<OsString>, watch: Py<PyAny>, each_step: bool) -> PyResult<String> {
    let control = Control::default();
    let mut teller = Teller { watch: &watch, each_step, control: control.clone(), raised: None, last: None };
    let made = py.detach(|| embedded::train(&words, &mut teller, &control));
    let interrupted =
        teller.raised.as_ref().is_some_and(|e| e.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py));
    match (made, teller.raised) {
        (Ok(mut made), Some(_)) if interrupted => {
            made["interrupted"] = json!(true);
            Ok(made.to_string())
        }
        (_, Some(raised)) => Err(raised),
        (Ok(mut made), None) => {
            made["interrupted"] = json!(false);
            Ok(made.to_string())
        }
        (Err(fault), None) => Err(raised(py, &fault)),
    }
}
