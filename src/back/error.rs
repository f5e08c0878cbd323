//! Reasons why a back end cannot emit code.

use std::fmt::Display;
use thiserror::Error;

/// Why a back end cannot emit code for a verified module.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmitError {
    /// The machine or its language cannot express it.
    #[error("{0}")]
    Unsupported(String),
    /// It needs more than the machine has: registers, parameters, memory for code.
    #[error("{0}")]
    Limit(String),
    /// A mistake in ninc: verified modules never lead here.
    #[error("{what} (this is a bug in ninc, in {stage}: please report it)")]
    Internal {
        /// The part of ninc that noticed.
        stage: &'static str,
        /// What happened.
        what: String,
    },
}

impl EmitError {
    /// Adds the name of the part of the module that the error is about.
    pub fn within(self, place: impl Display) -> EmitError {
        match self {
            EmitError::Unsupported(what) => EmitError::Unsupported(format!("{place}: {what}")),
            EmitError::Limit(what) => EmitError::Limit(format!("{place}: {what}")),
            EmitError::Internal { stage, what } => EmitError::Internal { stage, what: format!("{place}: {what}") },
        }
    }
}
