//! What is wrong with a request, as an answer.

use ninc_runtime::Error;
use serde_json::{Value, json};

/// An answer that is none: its status, one sentence and the way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Status of HTTP.
    pub status: u16,
    /// What is wrong, with the way out.
    pub error: Error,
}

impl Refusal {
    /// Refuses with a status and one sentence.
    pub fn new(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, error: Error::new(message) }
    }

    /// Adds the way out.
    pub fn with_help(self, help: impl Into<String>) -> Refusal {
        Refusal { error: self.error.with_help(help), ..self }
    }

    /// The client's mistake.
    pub fn bad(error: Error) -> Refusal {
        Refusal { status: 400, error }
    }

    /// A failure of the server.
    pub fn failed(error: Error) -> Refusal {
        Refusal { status: 500, error }
    }

    /// Returns the body of the answer.
    pub fn json(&self) -> Value {
        match &self.error.help {
            Some(help) => json!({ "error": self.error.message, "help": help }),
            None => json!({ "error": self.error.message }),
        }
    }
}
