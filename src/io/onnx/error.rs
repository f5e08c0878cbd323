//! Why an ONNX file is not read, or not written.

pub use crate::io::error::{ImportError, Refusal};

use thiserror::Error;

/// Why a network cannot be written as ONNX.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExportError {
    /// An operator that ONNX has no form for.
    #[error("`{layer}` ({operator}) has no counterpart in ONNX: {reason}")]
    Operator {
        /// The layer.
        layer: String,
        /// Its operator.
        operator: String,
        /// The reason.
        reason: String,
    },
    /// A parameter without values.
    #[error("the weights hold no `{0}`")]
    Missing(String),
    /// An operator set that is not written.
    #[error("operator set {0} is not written: 13 to 22 are")]
    Opset(i64),
}
