//! Why a driver text does not compile.

use thiserror::Error;

/// A mistake in a text of the driver language. The texts are part of ninc, so users never see one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DriverError {
    /// The text breaks the grammar at this line.
    #[error("line {line}: {what}")]
    Syntax {
        /// Line of the text, from 1.
        line: usize,
        /// What was expected or found.
        what: String,
    },
    /// A statement has no meaning: an unknown name, a wrong type, a wrong number of arguments.
    #[error("{function}: line {line}: {what}")]
    Meaning {
        /// The function that holds the statement.
        function: String,
        /// Line of the text, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Cranelift takes no such function.
    #[error("{function}: {what}")]
    Code {
        /// The function.
        function: String,
        /// What Cranelift says.
        what: String,
    },
}

/// A mistake in a statement: what is wrong and, once known, the line of the innermost statement around it.
#[derive(Debug)]
pub(super) struct Fault {
    line: Option<usize>,
    what: String,
}

impl Fault {
    /// Sets the line unless a statement within has set it.
    pub(super) fn at(self, line: usize) -> Fault {
        Fault { line: self.line.or(Some(line)), ..self }
    }

    /// Makes the error of the function that holds the statement.
    pub(super) fn within(self, function: &str) -> DriverError {
        let (function, what) = (function.to_string(), self.what);
        match self.line {
            Some(line) => DriverError::Meaning { function, line, what },
            None => DriverError::Code { function, what },
        }
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Fault {
        Fault { line: None, what }
    }
}

impl From<&str> for Fault {
    fn from(what: &str) -> Fault {
        Fault::from(what.to_string())
    }
}
