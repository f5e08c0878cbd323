//! One error type: what went wrong, where, and the way out.

use std::fmt;

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
    pub fn file(action: &str, path: &std::path::Path, cause: &std::io::Error) -> Error {
        Error::new(format!("cannot {action} {}: {cause}", path.display()))
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
