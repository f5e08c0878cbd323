//! Why no library is made of compiled kernels.

use crate::back::EmitError;
use crate::back::driver::DriverError;
use object::Architecture;
use thiserror::Error;

/// Why no library is made of compiled kernels.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LibraryError {
    /// Shared libraries are not written for this processor.
    #[error("no shared library can be written for {0:?}")]
    Unsupported(Architecture),
    /// The network needs more than a library can have.
    #[error("{0}")]
    Limit(String),
    /// A back end makes no code of the kernels.
    #[error("code: {0}")]
    Code(#[from] EmitError),
    /// The driver's text is wrong.
    #[error("{0} (this is a bug in ninc, in the driver of libraries: please report it)")]
    Driver(#[from] DriverError),
    /// A mistake in ninc: what its own parts give each other never leads here.
    #[error("{0} (this is a bug in ninc, in the writer of libraries: please report it)")]
    Internal(String),
}

impl LibraryError {
    /// A mistake in ninc, as a sentence or as what another crate says of ninc's own bytes.
    pub fn internal(what: impl ToString) -> LibraryError {
        LibraryError::Internal(what.to_string())
    }
}

impl From<object::read::Error> for LibraryError {
    fn from(error: object::read::Error) -> LibraryError {
        LibraryError::internal(error)
    }
}

impl From<object::write::Error> for LibraryError {
    fn from(error: object::write::Error) -> LibraryError {
        LibraryError::internal(error)
    }
}

impl From<LibraryError> for ninc_runtime::Error {
    fn from(error: LibraryError) -> ninc_runtime::Error {
        ninc_runtime::Error::new(error.to_string())
    }
}
