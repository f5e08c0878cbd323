//! Why a file of PyTorch is not read.

use thiserror::Error;

/// Why a file's tensors cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TorchError {
    /// The archive is damaged, or not PyTorch's.
    #[error("{0}")]
    Archive(String),
    /// The pickle is damaged, or does what no tensors need.
    #[error("its pickle {0}")]
    Pickle(String),
    /// It holds something else than tensors by name.
    #[error("it holds {0}, not tensors by name: save the module's `state_dict()`")]
    Contents(&'static str),
    /// A tensor contradicts itself.
    #[error("`{0}` {1}")]
    Tensor(String, String),
}
