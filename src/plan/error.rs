//! Reasons why a program cannot be planned.

use crate::kernel::error::VerifyErrors;
use thiserror::Error;

/// Why a program cannot be planned. Recipes and operators write programs, so each of these is a mistake in ninc.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Its kernels break rules of the kernel IR.
    #[error("{0}")]
    Kernels(#[from] VerifyErrors),
    /// The number of a kernel's iterations is not a formula that the runtime knows.
    #[error("kernel {kernel}: {error}")]
    Iterations {
        /// The kernel's name.
        kernel: String,
        /// What is wrong with the number.
        error: IterationsError,
    },
    /// A launch, a buffer or a port breaks a rule.
    #[error("{0}")]
    Rule(String),
}

impl From<String> for PlanError {
    fn from(sentence: String) -> PlanError {
        PlanError::Rule(sentence)
    }
}

impl From<&str> for PlanError {
    fn from(sentence: &str) -> PlanError {
        PlanError::Rule(sentence.into())
    }
}

/// Why the number of iterations is not `fixed + each·ceil(batch/images)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IterationsError {
    /// It is negative, or falls as the batch grows.
    #[error("a negative number of iterations")]
    Negative,
    /// It has another form, as this batch shows.
    #[error("its iterations for a batch of {0} are not fixed + each·ceil(batch/images)")]
    Form(i64),
}
