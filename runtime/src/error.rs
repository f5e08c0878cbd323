//! One error type: what went wrong, where, and the way out.

use std::ffi::OsStr;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What went wrong, and where known the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// One sentence that a user understands, with the file, name or number it is about.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The result of whatever can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Describes what went wrong, in one sentence without a capital or full stop.
    pub fn new(message: impl Into<String>) -> Error {
        Error { message: message.into(), help: None }
    }

    /// Adds the way out.
    pub fn with_help(mut self, help: impl Into<String>) -> Error {
        self.help = Some(help.into());
        self
    }

    /// Adds to the way out that there is.
    pub fn and_help(mut self, more: &str) -> Error {
        self.help = Some(self.help.map_or_else(|| more.into(), |help| format!("{help}; {more}")));
        self
    }

    /// An operating system's error about a file.
    pub fn file(action: &str, path: &Path, cause: &std::io::Error) -> Error {
        let error = Error::new(format!("cannot {action} {}: {cause}", path.display()));
        match way_out(path, cause.kind()) {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}

/// Files that are named in place of one that is missing.
const NAMED: usize = 5;

/// What to do where the operating system refuses.
fn way_out(path: &Path, kind: ErrorKind) -> Option<String> {
    Some(match kind {
        ErrorKind::NotFound => return missing(path),
        ErrorKind::PermissionDenied => {
            format!("the user who runs this may not: `ls -ld {}` says who may", path.display())
        }
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            "a part of this path is a file, not a folder: choose another place, or move the file".into()
        }
        ErrorKind::IsADirectory => "that is a folder: name a file".into(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "there is no space left: free some, or choose another place, and run the same line again".into()
        }
        ErrorKind::ReadOnlyFilesystem => "nothing can be written there: choose another place".into(),
        _ => return None,
    })
}

/// A name on one line.
fn plain(name: &OsStr) -> String {
    name.to_string_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Says which folder is missing, or which files of this kind the folder has.
fn missing(path: &Path) -> Option<String> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Some(format!("there is no folder {}", folder.display()));
    }
    let kind = path.extension()?;
    let entries = folder.read_dir().ok()?.flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|entry| entry.extension() == Some(kind) && entry.exists()).collect();
    found.sort();
    let more = if found.len() > NAMED { ", …" } else { "" };
    let names = found.iter().take(NAMED).filter_map(|entry| entry.file_name()).map(plain);
    let place = if folder == Path::new(".") { "this folder".into() } else { folder.display().to_string() };
    match names.collect::<Vec<_>>().join(", ") {
        names if names.is_empty() => Some(format!("{place} has no file that ends in .{}", kind.to_string_lossy())),
        names => Some(format!("{place} has {names}{more}")),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_names_its_neighbours() {
        let place = tempfile::tempdir().unwrap();
        for name in ["b.nin", "a.nin", "c.png"] {
            std::fs::write(place.path().join(name), "").unwrap();
        }
        let help = |path: &Path| {
            let cause = std::fs::read(path).expect_err("nothing to read");
            Error::file("read", path, &cause).help
        };
        let folder = place.path().display();
        assert_eq!(help(&place.path().join("x.nin")), Some(format!("{folder} has a.nin, b.nin")));
        assert_eq!(help(&place.path().join("x.bin")), Some(format!("{folder} has no file that ends in .bin")));
        let deeper = place.path().join("none").join("x.nin");
        assert_eq!(help(&deeper), Some(format!("there is no folder {folder}/none")));
        let through = place.path().join("a.nin").join("x.nin");
        assert!(help(&through).is_some_and(|help| help.contains("a file, not a folder")));
    }
}
