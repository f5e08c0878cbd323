//! Where diagnostics go while a file is checked.

use super::diag::{Diagnostic, Severity, Span, has_errors};
use std::collections::HashSet;

/// The diagnostics so far. Everything that checks a part of a file is given this by reference.
#[derive(Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// Codes and places that have been reported: a body expanded twice has its mistakes once.
    reported: HashSet<(&'static str, Span)>,
    /// Blocks being expanded with the place of their call, the outermost first.
    calls: Vec<(String, Span)>,
    /// Warnings are left out: what is odd depends on more than is known.
    pub errors_only: bool,
}

impl Diagnostics {
    /// Adds a diagnostic, with the block's call that is being expanded, unless one of the same code and place is there.
    pub fn report(&mut self, mut diagnostic: Diagnostic) {
        if self.errors_only && diagnostic.severity != Severity::Error
            || !self.reported.insert((diagnostic.code, diagnostic.span))
        {
            return;
        }
        if let Some((block, call)) = self.calls.last().filter(|_| diagnostic.severity == Severity::Error) {
            diagnostic.labels.push((*call, format!("in this call of `{block}`")));
        }
        self.list.push(diagnostic);
    }

    /// Begins the expansion of a block: errors get a label at its call.
    pub fn enter(&mut self, block: &str, call: Span) {
        self.calls.push((block.to_string(), call));
    }

    /// Ends the expansion of the innermost block.
    pub fn leave(&mut self) {
        self.calls.pop();
    }

    /// Names of the blocks being expanded, the outermost first.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = &str> {
        self.calls.iter().map(|(block, _)| block.as_str())
    }

    /// Does any of them keep the file from being compiled?
    pub fn has_errors(&self) -> bool {
        has_errors(&self.list)
    }

    /// The diagnostics in the order of their reports.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.list
    }
}
