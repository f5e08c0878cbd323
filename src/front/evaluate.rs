//! Evaluates expressions where a constant must stand, and reads them as typed arguments.

use super::argument::{self, described};
use super::ast::{BinOp, Expr, ExprKind};
use super::codes;
use super::constant::{self, Const, Problem};
use super::diag::{Diagnostic, Span};
use super::scope::Value;
use super::sink::Diagnostics;
use super::split::shorten;
use super::suggest;
use crate::ops::params::{Arg, Args, FromArg, Kind, Param};
use std::collections::HashMap;

/// The most items of a list.
const MAX_LIST: usize = 1_000;

/// Evaluates expressions: of a network, where names have values, or of a section, where only constants stand.
pub trait Evaluator {
    /// Returns the expression's value; what is wrong with it is reported.
    fn evaluate(&mut self, expr: &Expr) -> Value;

    /// Does the name stand for a value here?
    fn has_name(&self, name: &str) -> bool;

    /// Returns where errors go.
    fn sink(&mut self) -> &mut Diagnostics;

    /// Reports an error and gives the value of what it is about.
    fn fail(&mut self, diagnostic: Diagnostic) -> Value {
        self.sink().report(diagnostic);
        Value::Poison
    }

    /// Evaluates a list of constants.
    fn list(&mut self, items: &[Expr], span: Span) -> Value {
        if items.len() > MAX_LIST {
            let message = format!("a list has at most {MAX_LIST} items, this one has {}", items.len());
            return self.fail(Diagnostic::error(codes::TOO_LARGE, span, message));
        }
        let mut out = Some(Vec::new());
        for item in items {
            let value = match self.evaluate(item) {
                Value::Const(Const::List(_)) => {
                    self.fail(Diagnostic::error(codes::WRONG_KIND, item.span, "a list cannot hold a list"))
                }
                Value::Node(_) => {
                    let message = "a list cannot hold values of the network";
                    let d = Diagnostic::error(codes::WRONG_KIND, item.span, message);
                    self.fail(d.help("`concat(x, y)` joins values"))
                }
                value => value,
            };
            out = out.zip(value.constant()).map(|(mut list, value)| {
                list.push(value);
                list
            });
        }
        out.map_or(Value::Poison, |list| Value::Const(Const::List(list.into())))
    }

    /// Evaluates `-value`.
    fn negate(&mut self, value: Value, span: Span) -> Value {
        match value {
            Value::Const(value) => match constant::negate(&value) {
                Ok(result) => Value::Const(result),
                Err(problem) => self.arithmetic_problem(problem, "-", [(&value, span), (&value, span)], span),
            },
            Value::Node(_) => {
                let message = "a value of the network cannot be negated";
                self.fail(Diagnostic::error(codes::WRONG_KIND, span, message))
            }
            Value::Poison => Value::Poison,
        }
    }

    /// Evaluates `a op b` of two constants at their places; `whole` is the place of both.
    fn combine(&mut self, op: BinOp, a: (&Const, Span), b: (&Const, Span), whole: Span) -> Value {
        match constant::arithmetic(op, a.0, b.0) {
            Ok(value) => Value::Const(value),
            Err(problem) => self.arithmetic_problem(problem, op.sign(), [a, b], whole),
        }
    }

    /// Reports why arithmetic has no result.
    fn arithmetic_problem(&mut self, problem: Problem, sign: &str, sides: [(&Const, Span); 2], whole: Span) -> Value {
        self.fail(match problem {
            Problem::NoResult(message) => Diagnostic::error(codes::ARITHMETIC, whole, message),
            Problem::NotANumber(side) => {
                let (value, span) = sides[side];
                let message = format!("`{sign}` needs numbers, not {}", value.describe());
                Diagnostic::error(codes::WRONG_KIND, span, message)
            }
        })
    }

    /// Evaluates and checks an argument that must be a constant. `what` names it in messages.
    fn argument(&mut self, kind: Kind, expr: &Expr, what: &str) -> Option<Arg> {
        let checked = match (kind, &expr.kind) {
            // A bare word that is not the name of a value is one of the words.
            (Kind::Word(words), ExprKind::Name(name)) if !self.has_name(name) => {
                argument::word(name, words, expr.span, what).map(Arg::Word)
            }
            _ => match self.evaluate(expr) {
                Value::Const(value) => argument::check(kind, &value, expr.span, what),
                Value::Node(_) => {
                    let message = format!("{what} must be {}, not a value of the network", described(kind));
                    Err(Diagnostic::error(codes::WRONG_KIND, expr.span, message))
                }
                Value::Poison => return None,
            },
        };
        checked.map_err(|d| self.sink().report(d)).ok()
    }

    /// Reads the argument of a parameter as its type; `None` if it is wrong.
    fn read<T: FromArg>(&mut self, param: Param<T>, expr: &Expr, what: &str) -> Option<T> {
        let mut args = Args::default();
        args.set(&param.spec, self.argument(param.spec.kind, expr, what)?);
        Some(args.get(param))
    }
}

/// What is known where only constants stand: `data`, `train`, `--set`.
#[derive(Default)]
pub struct Consts<'a> {
    /// Names of layers and blocks, for the help with a name that is not a constant.
    pub functions: Vec<&'a str>,
    /// The network's parameters.
    pub values: HashMap<String, Value>,
    /// The network cannot be read: any name may be one of its parameters.
    pub unread: bool,
}

/// Evaluates constants.
pub struct ConstEvaluator<'a> {
    /// What is known here.
    pub consts: &'a Consts<'a>,
    /// Where errors go.
    pub sink: &'a mut Diagnostics,
}

impl Evaluator for ConstEvaluator<'_> {
    fn evaluate(&mut self, expr: &Expr) -> Value {
        match &expr.kind {
            ExprKind::Int(v) => Value::Const(Const::Int(*v)),
            ExprKind::Float(v) => Value::Const(Const::Float(*v)),
            ExprKind::Bool(v) => Value::Const(Const::Bool(*v)),
            ExprKind::Text(v) => Value::Const(Const::Text(v.as_str().into())),
            ExprKind::List(items) => self.list(items, expr.span),
            ExprKind::Neg(inner) => {
                let value = self.evaluate(inner);
                self.negate(value, expr.span)
            }
            ExprKind::Chain(first, rest) => {
                let mut left = (self.evaluate(first), first.span);
                for (op, operand) in rest {
                    let (right, whole) = (self.evaluate(operand), first.span.to(operand.span));
                    let value = match (&left.0, &right) {
                        (Value::Const(a), Value::Const(b)) => self.combine(*op, (a, left.1), (b, operand.span), whole),
                        _ => Value::Poison,
                    };
                    left = (value, whole);
                }
                left.0
            }
            ExprKind::Name(name) => {
                if let Some(value) = self.consts.values.get(name) {
                    return value.clone();
                }
                if self.consts.unread {
                    return Value::Poison;
                }
                let function = self.consts.functions.contains(&name.as_str());
                let mut known: Vec<&str> = self.consts.values.keys().map(String::as_str).collect();
                known.sort_unstable();
                self.fail(unknown_name(name, expr.span, function, &known))
            }
            ExprKind::Call(call) if !self.consts.functions.contains(&call.function.text.as_str()) => {
                let near = suggest::nearest(&call.function.text, self.consts.functions.iter().copied());
                self.fail(unknown_function(&call.function.text, call.function.span).suggest(near.map(suggest::meant)))
            }
            ExprKind::Call(_) | ExprKind::Pipe { .. } => {
                let message = "a constant must stand here, not a value of the network";
                self.fail(Diagnostic::error(codes::WRONG_KIND, expr.span, message))
            }
        }
    }

    fn has_name(&self, name: &str) -> bool {
        self.consts.values.contains_key(name)
    }

    fn sink(&mut self) -> &mut Diagnostics {
        self.sink
    }
}

/// Makes the error for a name that nothing has. `function`: there is a function of that name.
pub fn unknown_name(name: &str, span: Span, function: bool, known: &[&str]) -> Diagnostic {
    let message = format!("nothing here has the name `{}`", shorten(name));
    let d = Diagnostic::error(codes::UNKNOWN_NAME, span, message);
    if function {
        return d.help(format!("`{name}` is a function: write `x |> {name}` or `{name}(x)`"));
    }
    // What is mistyped may be a word of the language that stands where names do.
    let words = known.iter().copied().chain(["true", "false", "return"]);
    let near = suggest::nearest(name, words).map(suggest::meant);
    d.suggest(near.or_else(|| suggest::help(name, known, "known here are")))
}

/// Makes the error for a call of something that is not a function.
pub fn unknown_function(name: &str, span: Span) -> Diagnostic {
    Diagnostic::error(codes::UNKNOWN_FUNCTION, span, format!("there is no function `{}`", shorten(name)))
}
