//! The training log: one JSON object a line. It holds no times, so that a resumed run has the same log as an
//! uninterrupted one.

use super::append_log::AppendLog;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Numbers of one epoch (or, if asked for, of one step).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// `epoch`, `step`, or `early_stop` as the last one of a training that ends before its length.
    pub event: String,
    /// Epochs done.
    pub epoch: f64,
    /// Steps done.
    pub step: u64,
    /// Mean loss.
    pub loss: f64,
    /// Fraction of right answers.
    pub accuracy: f64,
    /// Learning rate.
    pub rate: f64,
    /// Mean loss on the validation part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_loss: Option<f64>,
    /// Fraction of right answers on the validation part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_accuracy: Option<f64>,
    /// Mean loss on the test part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    /// Fraction of wrong answers on the test part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_error: Option<f64>,
}

impl Line {
    /// Returns what TensorBoard shows of an epoch: each number with its tag.
    pub fn scalars(&self) -> Vec<(&'static str, f64)> {
        let always = [("epoch/loss", Some(self.loss)), ("epoch/accuracy", Some(self.accuracy))];
        let measured = [
            ("epoch/valid_loss", self.valid_loss),
            ("epoch/valid_accuracy", self.valid_accuracy),
            ("epoch/test_loss", self.test_loss),
            ("epoch/test_error", self.test_error),
        ];
        always.into_iter().chain(measured).filter_map(|(tag, value)| Some((tag, value?))).collect()
    }
}

/// Adds a line.
pub fn write(file: &mut AppendLog, line: &Line) -> Result<()> {
    let mut text =
        serde_json::to_string(line).map_err(|e| Error::new(format!("a log line cannot be written as JSON: {e}")))?;
    text.push('\n');
    file.push(text.as_bytes());
    file.flush()
}

/// The log may have a line for each of millions of steps.
const CAP: u64 = 4 << 30;

/// Reads all lines of a log.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let text = crate::data::files::read(path, CAP)?;
    let line = |(number, line): (usize, &[u8])| {
        serde_json::from_slice(line)
            .map_err(|e| Error::new(format!("{}: line {} cannot be read: {e}", path.display(), number + 1)))
    };
    text.split(|&b| b == b'\n').enumerate().filter(|(_, l)| !l.is_empty()).map(line).collect()
}
