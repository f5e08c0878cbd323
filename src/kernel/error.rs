//! What is wrong with kernel IR or with a run of it.

use crate::verified::Faults;
use thiserror::Error;

/// The part of a module that an error is about.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Place {
    /// The micro-kernel of this name.
    #[error("micro-kernel {0}")]
    MicroKernel(String),
    /// The kernel of this name.
    #[error("kernel {0}")]
    Kernel(String),
}

/// Says that the types of an operation's operands do not fit it, or that of the memory that it reads.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct OperandError(pub String);

/// A rule that a part of a module breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {what}")]
pub struct VerifyError {
    /// The part.
    pub place: Place,
    /// A sentence that names what breaks the rule.
    pub what: String,
}

/// All that is wrong with a module, at least one thing. Recipes make modules, so this is a mistake in ninc.
pub type VerifyErrors = Faults<VerifyError>;

/// Why the interpreter stops.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InterpError {
    /// Memory outside of a block is used.
    #[error("access to bytes {at}..{} of {len}", .at.saturating_add(*.bytes as i64))]
    Access {
        /// First byte.
        at: i64,
        /// Number of bytes.
        bytes: usize,
        /// Bytes of the block.
        len: usize,
    },
    /// A number is passed for a pointer or the reverse.
    #[error("an argument of the wrong kind")]
    Argument,
    /// A CPU kernel is expected.
    #[error("no parallel loop")]
    NoParallelLoop,
    /// A barrier stands where only one item runs.
    #[error("a barrier in a CPU kernel")]
    Barrier,
    /// Any of these, in a part of a module.
    #[error("{place}: {error}")]
    In {
        /// The part.
        place: Place,
        /// What happened there.
        error: Box<InterpError>,
    },
}

impl InterpError {
    /// Adds the part of the module that the error is about.
    pub fn within(self, place: Place) -> InterpError {
        InterpError::In { place, error: Box::new(self) }
    }
}

/// A text that is not kernel IR.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}
