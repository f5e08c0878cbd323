//! A file that grows at its end while training runs, and that a resumed run continues where its checkpoint left it.
//!
//! A full disk must not end days of work, and no line may be lost either: what cannot be written stays in memory and is
//! tried again. A checkpoint is only written once everything before it is in the file.

use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that grows at its end.
pub struct AppendLog {
    path: PathBuf,
    /// `None`: nothing is kept.
    file: Option<File>,
    /// Bytes in the file.
    length: u64,
    /// What comes after them.
    pending: Vec<u8>,
}

impl AppendLog {
    /// Opens a file whose first `length` bytes are kept: 0 starts anew.
    pub fn open(path: &Path, length: u64) -> Result<AppendLog> {
        let failed = |e| Error::file("write", path, &e);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::file("make the folder", folder, &e))?;
        }
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
        let there = file.metadata().map_err(failed)?.len();
        if there < length {
            return Err(Error::new(format!("{} is shorter than when the checkpoint was written", path.display()))
                .with_help("its lines since then are lost: restore it, or train anew without --resume"));
        }
        file.set_len(length).map_err(failed)?;
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        Ok(AppendLog { path: path.to_path_buf(), file: Some(file), length, pending: vec![] })
    }

    /// Makes one that keeps nothing, for whoever leaves files to others.
    pub fn nowhere() -> AppendLog {
        AppendLog { path: PathBuf::new(), file: None, length: 0, pending: vec![] }
    }

    /// Adds to the end, in memory.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.file.is_some() {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// Writes what is pending; where that fails, it stays so.
    pub fn flush(&mut self) -> Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| !self.pending.is_empty()) else {
            return Ok(());
        };
        let mut write = || {
            // A write that failed half way is written over.
            file.seek(SeekFrom::Start(self.length))?;
            file.write_all(&self.pending)
        };
        write().map_err(|e| Error::file("write", &self.path, &e))?;
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Writes what is pending and waits until it is on the disk; returns the bytes of the file.
    pub fn sync(&mut self) -> Result<u64> {
        self.flush()?;
        if let Some(file) = &self.file {
            file.sync_data().map_err(|e| Error::file("write", &self.path, &e))?;
        }
        Ok(self.length)
    }

    /// Copies everything so far into another file, for when this one's place is gone.
    pub fn copy_to(&mut self, path: &Path) -> Result<()> {
        let failed = |e| Error::file("copy", &self.path, &e);
        let mut bytes = Vec::new();
        let Some(file) = &mut self.file else { return Ok(()) };
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.take(self.length).read_to_end(&mut bytes).map_err(failed)?;
        bytes.extend_from_slice(&self.pending);
        std::fs::write(path, bytes).map_err(|e| Error::file("write", path, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_goes_on_where_it_was_left() {
        let path = std::env::temp_dir().join(format!("ninc-tail-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut tail = AppendLog::open(&path, 0).expect("opens");
        tail.push(b"one\n");
        assert_eq!(tail.sync().expect("writes"), 4);
        tail.push(b"lost\n");
        tail.flush().expect("writes");
        let mut tail = AppendLog::open(&path, 4).expect("opens");
        tail.push(b"two\n");
        assert_eq!(tail.sync().expect("writes"), 8);
        assert_eq!(std::fs::read(&path).expect("there"), b"one\ntwo\n");
        assert!(AppendLog::open(&path, 9).is_err());
        std::fs::remove_file(&path).expect("there");
    }
}
