//! Values in files beside a model: read from its folder only, never through links.

use super::super::error::ImportError;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The files beside a model.
pub struct Files {
    /// The model's folder; `None` where the model comes from memory.
    folder: Option<PathBuf>,
    open: BTreeMap<String, (File, u64)>,
}

impl Files {
    /// Files below a folder.
    pub fn of(folder: Option<&Path>) -> Files {
        Files { folder: folder.map(Path::to_path_buf), open: BTreeMap::new() }
    }

    /// Reads a part of a file.
    pub fn part(&mut self, location: &str, offset: usize, length: usize) -> Result<Bytes, ImportError> {
        let wrong = |what: String| ImportError::external(location, what);
        let cannot = |e: std::io::Error| wrong(format!("which cannot be read: {e}"));
        if !self.open.contains_key(location) {
            let opened = self.file(location)?;
            self.open.insert(location.into(), opened);
        }
        let Some((file, size)) = self.open.get_mut(location) else { return Err(wrong("which is gone".into())) };
        let end = (offset as u64).checked_add(length as u64);
        if end.is_none_or(|end| end > *size) {
            return Err(wrong(format!("which has {size} bytes, fewer than {offset} + {length}")));
        }
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(offset as u64)).map_err(cannot)?;
        file.read_exact(&mut bytes).map_err(cannot)?;
        Ok(bytes.into())
    }

    fn file(&self, location: &str) -> Result<(File, u64), ImportError> {
        let wrong = |what: &str| ImportError::external(location, what);
        let Some(folder) = &self.folder else { return Err(wrong("and it was not read from a folder")) };
        let parts: Vec<Component> = Path::new(location).components().collect();
        let plain = |c: &Component| matches!(c, Component::Normal(_) | Component::CurDir);
        if parts.is_empty() || !parts.iter().all(plain) || location.contains('\\') {
            return Err(wrong("which is not in the model's folder"));
        }
        let mut path = folder.clone();
        for part in parts {
            path.push(part);
            let there = fs::symlink_metadata(&path);
            let there = there.map_err(|e| ImportError::external(location, format!("which cannot be read: {e}")))?;
            if there.is_symlink() {
                return Err(wrong("which is a link, and may lead anywhere"));
            }
        }
        let cannot = |e: std::io::Error| ImportError::external(location, format!("which cannot be read: {e}"));
        let file = File::open(&path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        match metadata.is_file() {
            true => Ok((file, metadata.len())),
            false => Err(wrong("which is not a regular file")),
        }
    }
}
