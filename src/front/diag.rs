//! Diagnostics: what is wrong with a model file, where, and the way out. One type feeds terminal, JSON and editors.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// A place in a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// `unknown-function`, `shape`: stable, listed in the language reference.
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    pub span: Span,
    /// Further places with their notes.
    pub labels: Vec<(Span, String)>,
    /// The way out: "did you mean `max_pool`?"
    pub help: Option<String>,
}
