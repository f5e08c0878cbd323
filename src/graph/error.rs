//! What is wrong with a graph, or with its text.

use crate::ops::error::{AttrError, ShapeError};
use crate::verified::Faults;
use thiserror::Error;

/// An invariant that a part of a graph breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// A node's operator refuses its operands.
    #[error("{node}: {error}")]
    Shape {
        /// The node, as messages name it.
        node: String,
        /// What does not fit.
        #[source]
        error: ShapeError,
    },
    /// Any other rule, in a sentence that names the part.
    #[error("{0}")]
    Rule(String),
}

/// All that is wrong with a graph, at least one thing. The front end and passes make graphs, so this is a mistake in
/// ninc.
pub type VerifyErrors = Faults<VerifyError>;

/// A text that is not a graph.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: LineError,
}

/// What is wrong with a line of a graph's text.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LineError {
    /// It is not written as the text form asks.
    #[error("{0}")]
    Syntax(String),
    /// Its operator or one of the attributes.
    #[error("{0}")]
    Attr(#[from] AttrError),
    /// Its operands do not fit its operator.
    #[error("{0}")]
    Shape(#[from] ShapeError),
}

impl From<String> for LineError {
    fn from(sentence: String) -> LineError {
        LineError::Syntax(sentence)
    }
}

impl From<&str> for LineError {
    fn from(sentence: &str) -> LineError {
        LineError::Syntax(sentence.into())
    }
}
