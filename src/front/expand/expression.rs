//! Expressions: names, arithmetic, pipelines.

use super::Expander;
use super::unreached::Given;
use crate::front::ast::{BinOp, Call, Expr, ExprKind, Name, Step, StepKind};
use crate::front::codes;
use crate::front::constant::Const;
use crate::front::diag::{Diagnostic, Span};
use crate::front::evaluate::{Evaluator, unknown_function, unknown_name};
use crate::front::scope::{Origin, Value};
use crate::front::suggest;

impl Expander<'_> {
    /// Evaluates; `alias` is the name that `as` gives to the value and its parameters.
    pub(super) fn expr(&mut self, expr: &Expr, alias: Option<&Name>) -> Value {
        if !self.spend(expr.span) {
            return Value::Poison;
        }
        match &expr.kind {
            ExprKind::Int(v) => Value::Const(Const::Int(*v)),
            ExprKind::Float(v) => Value::Const(Const::Float(*v)),
            ExprKind::Bool(v) => Value::Const(Const::Bool(*v)),
            ExprKind::Text(v) => Value::Const(Const::Text(v.as_str().into())),
            ExprKind::Name(name) => self.variable(name, expr.span),
            ExprKind::List(items) => self.list(items, expr.span),
            ExprKind::Call(call) => self.call(call, None, alias),
            ExprKind::Neg(inner) => {
                let value = self.evaluate(inner);
                self.negate(value, expr.span)
            }
            ExprKind::Chain(first, rest) => {
                let mut left = (self.evaluate(first), first.span);
                for (i, (op, operand)) in rest.iter().enumerate() {
                    let right = self.evaluate(operand);
                    let both = first.span.to(operand.span);
                    let name = alias.filter(|_| i + 1 == rest.len());
                    left = (self.binary(*op, left, (right, operand.span), both, name), both);
                }
                left.0
            }
            ExprKind::Pipe { source, alias: own, steps } => {
                let value = self.expr(source, own.as_ref());
                if let Some(name) = own {
                    self.bind_alias(name, value.clone());
                }
                self.steps(value, source.span, steps)
            }
        }
    }

    fn variable(&mut self, name: &str, span: Span) -> Value {
        if let Some(variable) = self.out.scope.variables.get_mut(name) {
            variable.used = true;
            return if self.names_only { Value::Poison } else { variable.value.clone() };
        }
        let mut known: Vec<&str> = self.out.scope.variables.keys().map(String::as_str).collect();
        known.sort_unstable();
        let function = self.schemas.contains_key(name) || self.blocks.good.contains_key(name);
        let d = unknown_name(name, span, function, &known);
        self.fail(d)
    }

    fn binary(
        &mut self,
        op: BinOp,
        left: (Value, Span),
        right: (Value, Span),
        whole: Span,
        alias: Option<&Name>,
    ) -> Value {
        let sign = op.sign();
        let wrong = |message| Diagnostic::error(codes::WRONG_KIND, whole, message);
        match (left.0, right.0) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::Const(a), Value::Const(b)) => self.combine(op, (&a, left.1), (&b, right.1), whole),
            (Value::Node(a), Value::Node(b)) => match op {
                BinOp::Add => self.operator("add", [a, b], whole, alias),
                BinOp::Mul => self.operator("mul", [a, b], whole, alias),
                BinOp::Sub | BinOp::Div | BinOp::Rem => {
                    let d = wrong(format!("`{sign}` needs numbers, not values of the network"));
                    self.fail(d.help("values of the network can be added and multiplied, `x + y` and `x * y`"))
                }
            },
            (Value::Const(c), Value::Node(_)) | (Value::Node(_), Value::Const(c)) => {
                let message = format!("`{sign}` cannot combine a value of the network and {}", c.describe());
                self.fail(wrong(message))
            }
        }
    }

    fn steps(&mut self, mut value: Value, source: Span, steps: &[Step]) -> Value {
        let mut span = source;
        for step in steps {
            if !self.spend(step.span) {
                return Value::Poison;
            }
            value = match &step.kind {
                StepKind::Call(call) => self.call(call, Some((value, span)), step.alias.as_ref()),
                StepKind::Repeat { count, steps } => {
                    let Some(count) = self.count(count) else { return Value::Poison };
                    self.repeat(count, (value, span), steps, step.alias.as_ref())
                }
            };
            if let Some(name) = &step.alias {
                self.bind_alias(name, value.clone());
            }
            span = step.span;
        }
        value
    }

    /// Expands a repeat within a pipeline. Its alias is the first part of the names of the layers within.
    fn repeat(&mut self, count: usize, piped: (Value, Span), steps: &[Step], alias: Option<&Name>) -> Value {
        let (mut value, span) = piped;
        if count == 0 {
            let place = steps.first().map_or(span, |step| step.span);
            self.unreached(place, Given::by_steps(steps), |this| drop(this.steps(Value::Poison, span, steps)));
            return value;
        }
        let prefix = self.out.scope.prefix.clone();
        if let Some(alias) = alias {
            self.out.scope.prefix = format!("{}.", self.layer_name(&alias.text, Some(alias)));
        }
        self.out.scope.repeats += 1;
        for _ in 0..count {
            value = self.steps(value, span, steps);
            if self.out.stopped {
                break;
            }
        }
        self.out.scope.repeats -= 1;
        self.out.scope.prefix = prefix;
        value
    }

    fn bind_alias(&mut self, name: &Name, value: Value) {
        if let Some(before) = self.out.scope.variables.get(&name.text) {
            let again = before.origin == Origin::Alias && self.out.scope.repeats > 0;
            if !again && before.span != name.span {
                let first = before.span;
                self.duplicate(name, first);
            }
        }
        self.note(name, &value);
        self.out.scope.bind(name, value, Origin::Alias);
    }

    /// Expands the call of a layer or a block; `piped` is what flows in.
    fn call(&mut self, call: &Call, piped: Option<(Value, Span)>, alias: Option<&Name>) -> Value {
        let name = call.function.text.as_str();
        let (schemas, blocks) = (self.schemas, self.blocks);
        if let Some(schema) = schemas.get(name) {
            return self.layer(schema, call, piped, alias);
        }
        if let Some(block) = blocks.good.get(name) {
            return self.block(block, call, piped, alias);
        }
        // Mistakes in the arguments are worth saying even if the function is unknown.
        for argument in call.arguments.iter().filter(|a| a.name.is_none()) {
            self.evaluate(&argument.value);
        }
        if blocks.broken.contains(name) {
            return Value::Poison;
        }
        let mut known: Vec<&str> = schemas.keys().copied().chain(blocks.good.keys().copied()).collect();
        known.sort_unstable();
        let help = match (suggest::nearest(name, known), self.has_name(name)) {
            (None, true) => {
                Some(suggest::sentence(format!("`{name}` is a value; a pipeline continues with a function")))
            }
            (near, _) => near.map(suggest::meant),
        };
        self.fail(unknown_function(name, call.function.span).suggest(help))
    }
}
