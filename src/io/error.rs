//! Why a network of another program is not read.

use thiserror::Error;

/// Why a file cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImportError {
    /// The bytes are not an ONNX model, or only a part of one.
    #[error("it is not an ONNX model, or damaged: {0}")]
    Damaged(String),
    /// The bytes are not a network or the weights of Caffe, or only a part.
    #[error("it is not a file of Caffe's, or damaged: {0}")]
    NotCaffe(String),
    /// A text does not follow its grammar, or has a field that cannot be.
    #[error("line {line}: {what}")]
    Syntax {
        /// The line, from 1 on.
        line: usize,
        /// What is wrong, as a sentence.
        what: String,
    },
    /// A tensor contradicts itself.
    #[error("its tensor `{name}` {what}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong, as the rest of a sentence.
        what: String,
    },
    /// A file of values beside the model cannot be used.
    #[error("its values lie in `{location}`, {what}")]
    External {
        /// What the model says.
        location: String,
        /// What is wrong, as the rest of a sentence.
        what: String,
    },
    /// The graph's inputs or outputs are not those of a network.
    #[error("{0}")]
    Ports(String),
    /// The operator set is missing or unknown.
    #[error("{0}")]
    Opset(String),
    /// An input leaves sizes open.
    #[error("its input `{name}` leaves sizes open: {dims}")]
    Open {
        /// The input's name.
        name: String,
        /// The sizes that it gives.
        dims: String,
    },
    /// Nodes or layers that have no counterpart: all of them.
    #[error("{} of its layers cannot be imported", .0.len())]
    Refused(Vec<Refusal>),
    /// The text that came of it is refused, which is a mistake in ninc.
    #[error("the text made of it is wrong, which is a mistake in ninc: {0}")]
    Text(String),
}

/// A node or layer that has no counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its name, or that of its first result.
    pub node: String,
    /// Its operator or type.
    pub operator: String,
    /// The reason.
    pub reason: String,
}

impl ImportError {
    /// Makes an error about a tensor.
    pub(super) fn tensor(name: &str, what: impl Into<String>) -> ImportError {
        ImportError::Tensor { name: name.into(), what: what.into() }
    }

    /// Makes an error about a file of values.
    pub(super) fn external(location: &str, what: impl Into<String>) -> ImportError {
        ImportError::External { location: location.into(), what: what.into() }
    }
}

/// Why a node or layer has no counterpart.
pub(super) enum Reason {
    /// In its own words.
    Own(String),
    /// It reads what has none.
    Upstream,
}

impl From<String> for Reason {
    fn from(reason: String) -> Reason {
        Reason::Own(reason)
    }
}

impl From<&str> for Reason {
    fn from(reason: &str) -> Reason {
        Reason::Own(reason.into())
    }
}
