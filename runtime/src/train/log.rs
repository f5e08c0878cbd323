//! The training log: one JSON object a line. It holds no times, so that a resumed run has the same log as an uninterrupted one.

use crate::{Error, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub struct Log {
    path: PathBuf,
    file: File,
    length: u64,
}

/// Numbers of one epoch (or, if asked for, of one step).
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub event: &'static str,
    /// Epochs done.
    pub epoch: f64,
    /// Steps done.
    pub step: u64,
    pub loss: f64,
    pub accuracy: f64,
    pub rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_accuracy: Option<f64>,
}

impl Log {
    /// Opens a log whose first `length` bytes are kept: 0 starts anew.
    pub fn open(path: &Path, length: u64) -> Result<Log> {
        let failed = |e| Error::file("write the log", path, &e);
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        let there = file.metadata().map_err(failed)?.len();
        if there < length {
            return Err(Error::new(format!(
                "the log {} is shorter than when the checkpoint was written",
                path.display()
            ))
            .with_help("its lines since then are lost: restore it, or train anew without --resume"));
        }
        file.set_len(length).map_err(failed)?;
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        Ok(Log { path: path.to_path_buf(), file, length })
    }

    pub fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string(line).map_err(|e| Error::new(format!("a log line is no JSON: {e}")))?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(|e| Error::file("write the log", &self.path, &e))?;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Bytes so far, all of them on the disk.
    pub fn sync(&mut self) -> Result<u64> {
        self.file.sync_data().map_err(|e| Error::file("write the log", &self.path, &e))?;
        Ok(self.length)
    }
}
