//! Why an operator takes no operands, has no gradient, or cannot be read from a text.

use super::attr::Attr;
use thiserror::Error;

/// Why operands do not fit an operator, or its own attributes do not: one sentence, with the arithmetic that fails,
/// which users read where their network's text leads here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ShapeError(pub String);

impl From<String> for ShapeError {
    fn from(sentence: String) -> ShapeError {
        ShapeError(sentence)
    }
}

impl From<&str> for ShapeError {
    fn from(sentence: &str) -> ShapeError {
        ShapeError(sentence.into())
    }
}

/// Why an operator's gradient or its form for training cannot be built. The checks before let no network lead here, so
/// each of these is a mistake in ninc.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrainingError {
    /// A value to be added does not fit its operands.
    #[error("{0}")]
    Shape(#[from] ShapeError),
    /// The node's operands are not those of its operator.
    #[error("{0}")]
    Operands(&'static str),
    /// Nothing is differentiable, or not with respect to what is asked for.
    #[error("{0}")]
    NoDerivative(String),
}

/// Why a text is not an operator with its attributes.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AttrError {
    /// No operator has this name.
    #[error("unknown operator `{0}`")]
    Operator(String),
    /// The operator has no such attribute.
    #[error("unknown attribute `{0}`")]
    Unknown(String),
    /// The attribute has no default and must be given.
    #[error("missing attribute `{0}`")]
    Missing(&'static str),
    /// The attribute is of another kind, or the value is not one of its words.
    #[error("attribute `{name}` cannot be {value}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What the text gives.
        value: Attr,
    },
}
