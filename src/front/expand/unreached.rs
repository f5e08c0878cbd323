//! A body that is repeated 0 times: its names, arguments and words are checked once, its shapes cannot be.

use super::Expander;
use crate::front::ast::{Name, Step, Stmt, StmtKind};
use crate::front::diag::Span;
use crate::front::scope::Variable;
use crate::front::visit::{Visitor, walk_statement};
use std::collections::HashSet;

/// Names that a body gives.
#[derive(Default)]
pub(super) struct Given(HashSet<String>);

impl Given {
    /// Those of statements.
    pub(super) fn by_body(body: &[Stmt]) -> Given {
        let mut given = Given::default();
        given.body(body);
        given
    }

    /// Those of steps.
    pub(super) fn by_steps(steps: &[Step]) -> Given {
        let mut given = Given::default();
        given.steps(steps, 0);
        given
    }
}

impl<'a> Visitor<'a> for Given {
    fn statement(&mut self, statement: &'a Stmt) {
        if let StmtKind::Let { name, .. } = &statement.kind {
            self.0.insert(name.text.clone());
        }
        walk_statement(self, statement);
    }

    fn alias(&mut self, name: &'a Name) {
        self.0.insert(name.text.clone());
    }
}

impl Expander<'_> {
    /// Walks what stands at a place and does not come to be; all is then as it was, but for errors and for names that
    /// are read.
    pub(super) fn unreached(&mut self, place: Span, given: Given, walk: impl FnOnce(&mut Self)) {
        if !self.walked.insert(place) {
            return;
        }
        let scope = &mut self.out.scope;
        let variables = given.0.into_iter().map(|name| {
            let before = scope.variables.get(&name).cloned();
            (name, before)
        });
        let variables: Vec<(String, Option<Variable>)> = variables.collect();
        let rest = (scope.settings.clone(), scope.last.clone(), scope.result.clone());
        let (names, counters) = (std::mem::take(&mut self.names), std::mem::take(&mut self.counters));
        let trace = self.trace.take();
        scope.repeats += 1;
        self.names_only = true;
        self.sink.errors_only = true;
        walk(self);
        self.sink.errors_only = false;
        self.names_only = false;
        *self.trace = trace;
        (self.names, self.counters) = (names, counters);
        let scope = &mut self.out.scope;
        scope.repeats -= 1;
        (scope.settings, scope.last, scope.result) = rest;
        for (name, before) in variables {
            match before {
                // Whether the body reads it before it gives it anew is not known.
                Some(before) => drop(scope.variables.insert(name, Variable { used: true, ..before })),
                None => drop(scope.variables.remove(&name)),
            }
        }
    }
}
