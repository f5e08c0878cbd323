//! Statements of a network or a block.

use super::unreached::Given;
use super::{Expander, MAX_ELEMENTS, MAX_LAYERS};
use crate::front::ast::{Entry, Expr, ExprKind, Name, Stmt, StmtKind};
use crate::front::bind::given_twice;
use crate::front::codes;
use crate::front::diag::{Diagnostic, Span};
use crate::front::evaluate::Evaluator;
use crate::front::scope::{Origin, Value, unused_warning};
use crate::front::settings::Setting;
use crate::front::suggest;
use crate::ops::check::MOST_SIDE;
use crate::ops::params::Param;
use crate::ops::source;
use crate::types::DType;
use ninc_runtime::plan::Role;
use std::collections::HashMap;

const SIZES: Param<Vec<usize>> = Param::ints("shape", 1, MOST_SIDE as i64, "Sizes of an input, without the batch.");
const COUNT: Param<usize> = Param::int("count", 0, MAX_LAYERS as i64, "Iterations of a `repeat`.");

impl Expander<'_> {
    pub(super) fn statements(&mut self, body: &[Stmt]) {
        for statement in body {
            if !self.spend(statement.span) {
                return;
            }
            if self.out.scope.result.is_some() {
                let d = Diagnostic::error(codes::MISPLACED, statement.span, "nothing can follow `return`");
                self.sink.report(d.help("move it before the `return`, or remove it"));
                return;
            }
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        match &statement.kind {
            StmtKind::Defaults(entries) => self.defaults(entries),
            StmtKind::Input { name, dims } => self.input(name, dims, statement.span),
            StmtKind::Let { name, value } => {
                let result = self.evaluate(value);
                self.bind_let(name, result.clone());
                self.out.scope.last = Some((result, alias_of(value), name.span));
            }
            StmtKind::Output { name, value } => self.output(name, value, statement.span),
            StmtKind::Return(value) => self.returned(value, statement.span),
            StmtKind::Repeat { count, body } => {
                let Some(count) = self.count(count) else { return };
                if count == 0 {
                    return self.unreached(statement.span, Given::by_body(body), |this| this.statements(body));
                }
                self.out.scope.repeats += 1;
                for _ in 0..count {
                    if !self.spend(statement.span) {
                        break;
                    }
                    self.statements(body);
                }
                self.out.scope.repeats -= 1;
            }
            StmtKind::Expr(expr) => {
                let value = self.evaluate(expr);
                if let Value::Const(_) = value {
                    let d = Diagnostic::error(codes::MISPLACED, expr.span, "this constant has no effect");
                    self.sink.report(d.help("give it a name with `let`, or remove it"));
                    return;
                }
                self.out.scope.last = Some((value, alias_of(expr), expr.span));
            }
        }
    }

    fn returned(&mut self, value: &Expr, span: Span) {
        let is_block = self.out.scope.is_block;
        if !is_block || self.out.scope.repeats > 0 {
            let (message, help) = match is_block {
                true => ("`return` cannot stand in a `repeat`", "put it after the `repeat`"),
                false => ("a network has no `return`", "name a result with `output name = …`"),
            };
            self.sink.report(Diagnostic::error(codes::MISPLACED, span, message).help(help));
        }
        let value = self.evaluate(value);
        self.out.scope.result = is_block.then_some(value);
    }

    fn bind_let(&mut self, name: &Name, value: Value) {
        match self.out.scope.variables.get(&name.text) {
            Some(before) if before.origin == Origin::Input => {
                let first = before.span;
                self.duplicate(name, first);
            }
            // A value that another takes the place of before anybody looks at it.
            Some(before) if !before.used && before.origin == Origin::Let && before.value != Value::Poison => {
                if let Some(warning) = unused_warning(&name.text, before) {
                    self.sink.report(warning);
                }
            }
            _ => {}
        }
        self.note(name, &value);
        self.out.scope.bind(name, value, Origin::Let);
    }

    fn defaults(&mut self, entries: &[Entry]) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for entry in entries {
            let key = entry.key.text.as_str();
            if let Some(first) = seen.insert(key, entry.key.span) {
                self.sink.report(given_twice(&entry.key, first));
                continue;
            }
            let Some(setting) = Setting::named(key) else {
                let message = format!("`defaults` has no `{key}`");
                let d = Diagnostic::error(codes::UNKNOWN_KEY, entry.key.span, message);
                self.sink.report(d.suggest(suggest::help(key, &Setting::names(), "possible are")));
                continue;
            };
            let mut settings = self.out.scope.settings.clone();
            setting.read(&entry.value, "`defaults`", &mut settings, self);
            self.out.scope.settings = settings;
        }
    }

    fn input(&mut self, name: &Name, dims: &Expr, span: Span) {
        if self.out.scope.is_block || self.out.scope.repeats > 0 {
            let message = "an input stands in a network, outside any `repeat`";
            let d = Diagnostic::error(codes::MISPLACED, span, message);
            self.sink.report(d.help("give values to a block as parameters"));
            return;
        }
        let value = self.input_node(name, dims);
        self.note(name, &value);
        if let Value::Node(id) = value {
            if let Some(trace) = self.trace {
                trace.inputs.push((name.span, id));
            }
            self.out.places.insert(id, name.span);
            self.out.inputs.push((name.clone(), id));
            self.names.insert(name.text.clone(), name.span);
        }
        if let Some(before) = self.out.scope.bind(name, value, Origin::Input) {
            self.duplicate(name, before.span);
        }
    }

    fn input_node(&mut self, name: &Name, dims: &Expr) -> Value {
        let what = format!("the shape of `{}`", name.text);
        let Some(sizes) = self.read(SIZES, dims, &what) else { return Value::Poison };
        if !matches!(sizes.len(), 1 | 3) {
            let message = format!("an input has one or three sizes, not {}", sizes.len());
            let d = Diagnostic::error(codes::SHAPE, dims.span, message);
            return self.fail(d.help("write `[features]` or `[channels, height, width]`; the batch is never written"));
        }
        if sizes.iter().map(|s| *s as u64).product::<u64>() > MAX_ELEMENTS {
            let message = "an image of this size has more than 2^31 elements";
            return self.fail(Diagnostic::error(codes::TOO_LARGE, dims.span, message));
        }
        let op =
            source::Input { name: name.text.clone(), role: Role::Image, dtype: DType::F32, batched: true, dims: sizes };
        match self.out.graph.add(op, &[]) {
            Ok(id) => {
                self.out.graph.set_name(id, name.text.clone());
                Value::Node(id)
            }
            Err(error) => self.fail(Diagnostic::error(codes::SHAPE, dims.span, error.0)),
        }
    }

    fn output(&mut self, name: &Name, value: &Expr, span: Span) {
        if self.out.scope.is_block || self.out.scope.repeats > 0 {
            let message = "an output stands in a network, outside any `repeat`";
            let d = Diagnostic::error(codes::MISPLACED, span, message);
            self.sink.report(d.help("a block gives its value with `return`"));
            return;
        }
        if let Some((first, _)) = self.out.scope.outputs.iter().find(|(n, _)| n.text == name.text) {
            let first = first.span;
            self.duplicate(name, first);
        }
        let value_of = self.evaluate(value);
        self.note(name, &value_of);
        match value_of {
            Value::Node(id) => self.out.scope.outputs.push((name.clone(), id)),
            Value::Const(c) => {
                let message = format!("an output must be a value of the network, not {}", c.describe());
                self.sink.report(Diagnostic::error(codes::WRONG_KIND, value.span, message));
            }
            Value::Poison => {}
        }
    }

    /// Evaluates the iterations of a repeat: one where nothing comes to be anyway.
    pub(super) fn count(&mut self, count: &Expr) -> Option<usize> {
        let count = self.read(COUNT, count, "the count of `repeat`");
        if self.names_only { Some(1) } else { count }
    }
}

/// Returns the name that `as` gives to an expression's value: that of its last step.
fn alias_of(expr: &Expr) -> Option<String> {
    let ExprKind::Pipe { alias, steps, .. } = &expr.kind else { return None };
    let name = steps.last().map_or(alias.as_ref(), |s| s.alias.as_ref());
    name.map(|n| n.text.clone())
}
