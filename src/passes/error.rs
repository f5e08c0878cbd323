//! Why a pass gives up.

use crate::ops::error::{ShapeError, TrainingError};
use ninc_runtime::Error;
use thiserror::Error;

/// Why a pass gives up. All but the first are mistakes in ninc.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PassError {
    /// What was asked for cannot be done with this network: a sentence for its author.
    #[error("{0}")]
    Network(String),
    /// A value to be added does not fit its operands.
    #[error("{0}")]
    Shape(#[from] ShapeError),
    /// An operator has no gradient or no form for training.
    #[error("{0}")]
    Training(#[from] TrainingError),
    /// The graph is not as earlier passes leave it.
    #[error("{0}")]
    Graph(String),
}

impl PassError {
    /// Makes the sentence for users, with the pass's name. A mistake in ninc says that it is one and asks for a report.
    pub fn of(self, pass: &str) -> Error {
        let error = Error::new(format!("{pass}: {self}"));
        match self {
            PassError::Network(_) => error,
            PassError::Shape(_) | PassError::Training(_) | PassError::Graph(_) => error.with_help(bug(pass)),
        }
    }
}

/// Says what to do about a mistake in ninc that a step of the compilation made or met: a pass, or the front end.
pub fn bug(step: &str) -> String {
    format!("this is a bug in ninc, in the step `{step}`: please report it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::ops::source::{Init, Param};
    use crate::ops::update::MaxNorm;
    use crate::passes::autodiff;

    /// Only mistakes in ninc ask for a report.
    #[test]
    fn bugs_say_so() {
        let mut graph = Graph::new("w");
        let w = graph.add(Param::new("w", &[2, 3], Init::Constant { value: 1.0 }), &[]).unwrap();
        let norm = graph.add(MaxNorm { limit: 1.0 }, &[w]).unwrap();
        let error = autodiff::gradients(&mut graph, norm, &[w]).unwrap_err();
        assert!(matches!(error, PassError::Training(TrainingError::NoDerivative(_))), "{error:?}");
        let shown = error.of("training");
        assert_eq!(shown.message, "training: `max_norm` has no derivative: only first derivatives are built");
        assert_eq!(shown.help.as_deref(), Some("this is a bug in ninc, in the step `training`: please report it"));
        assert_eq!(PassError::Network("no".into()).of("training"), Error::new("training: no"));
    }
}
