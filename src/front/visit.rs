//! The walk over a syntax tree. A visitor overrides what it looks at and calls the `walk_…` function to go on.

use super::ast::{Call, Entry, Expr, ExprKind, Name, Step, StepKind, Stmt, StmtKind};

/// Looks at the parts of a tree in the order of the text.
pub trait Visitor<'a> {
    /// The statements of a network, a block or a repeat.
    fn body(&mut self, body: &'a [Stmt]) {
        body.iter().for_each(|statement| self.statement(statement));
    }

    /// One statement.
    fn statement(&mut self, statement: &'a Stmt) {
        walk_statement(self, statement);
    }

    /// A key with its value.
    fn entry(&mut self, entry: &'a Entry) {
        self.expr(&entry.value);
    }

    /// An expression.
    fn expr(&mut self, expr: &'a Expr) {
        walk_expr(self, expr);
    }

    /// The call of a function.
    fn call(&mut self, call: &'a Call) {
        walk_call(self, call);
    }

    /// The steps of a pipeline or of a repeat within one; its text starts at the offset `_start`.
    fn steps(&mut self, steps: &'a [Step], _start: usize) {
        steps.iter().for_each(|step| self.step(step));
    }

    /// One step of a pipeline.
    fn step(&mut self, step: &'a Step) {
        walk_step(self, step);
    }

    /// The name after `as`.
    fn alias(&mut self, _name: &'a Name) {}
}

/// Visits the parts of a statement.
pub fn walk_statement<'a>(visitor: &mut (impl Visitor<'a> + ?Sized), statement: &'a Stmt) {
    match &statement.kind {
        StmtKind::Defaults(entries) => entries.iter().for_each(|entry| visitor.entry(entry)),
        StmtKind::Input { dims: value, .. }
        | StmtKind::Let { value, .. }
        | StmtKind::Output { value, .. }
        | StmtKind::Return(value)
        | StmtKind::Expr(value) => visitor.expr(value),
        StmtKind::Repeat { count, body } => {
            visitor.expr(count);
            visitor.body(body);
        }
    }
}

/// Visits the parts of an expression.
pub fn walk_expr<'a>(visitor: &mut (impl Visitor<'a> + ?Sized), expr: &'a Expr) {
    match &expr.kind {
        ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) | ExprKind::Text(_) | ExprKind::Name(_) => {}
        ExprKind::List(items) => items.iter().for_each(|item| visitor.expr(item)),
        ExprKind::Call(call) => visitor.call(call),
        ExprKind::Neg(inner) => visitor.expr(inner),
        ExprKind::Chain(first, rest) => {
            visitor.expr(first);
            rest.iter().for_each(|(_, operand)| visitor.expr(operand));
        }
        ExprKind::Pipe { source, alias, steps } => {
            visitor.expr(source);
            alias.iter().for_each(|name| visitor.alias(name));
            visitor.steps(steps, expr.span.start);
        }
    }
}

/// Visits the arguments of a call.
pub fn walk_call<'a>(visitor: &mut (impl Visitor<'a> + ?Sized), call: &'a Call) {
    call.arguments.iter().for_each(|argument| visitor.expr(&argument.value));
}

/// Visits the parts of a step.
pub fn walk_step<'a>(visitor: &mut (impl Visitor<'a> + ?Sized), step: &'a Step) {
    match &step.kind {
        StepKind::Call(call) => visitor.call(call),
        StepKind::Repeat { count, steps } => {
            visitor.expr(count);
            visitor.steps(steps, steps.first().map_or(step.span.start, |s| s.span.start));
        }
    }
    step.alias.iter().for_each(|name| visitor.alias(name));
}
