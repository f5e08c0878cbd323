//! Per-layer settings: `init`, `rate`, `decay` and the rest, in calls of layers with weights and in `defaults`.

use super::argument;
use super::ast::{Expr, ExprKind, Name};
use super::codes;
use super::constant::Const;
use super::diag::{Diagnostic, Span};
use super::lower::Lower;
use super::scope::{Scope, Value};
use super::suggest;
use crate::ops::params::{Arg, Bounds, Kind};
use crate::ops::schema::Settings;
use crate::ops::source::Init;

pub const NAMES: [&str; 7] = ["init", "rate", "bias_rate", "decay", "bias_decay", "max_norm", "frozen"];
const INITS: [&str; 5] = ["normal", "uniform", "xavier", "he", "constant"];

pub fn given_twice(name: &Name, first: Span) -> Diagnostic {
    Diagnostic::error(codes::DUPLICATE_ARGUMENT, name.span, format!("`{}` is given twice", name.text))
        .label(first, "first given here")
        .help("remove one of the two")
}

impl Lower<'_> {
    /// Takes one setting; `owner` names what it is given to in messages.
    pub fn setting(&mut self, name: &str, value: &Expr, owner: &str, settings: &mut Settings, scope: &mut Scope) {
        if name == "init" {
            if let Some(init) = self.init(value, scope) {
                settings.init = init;
            }
            return;
        }
        let want = match name {
            "frozen" => Kind::Bool,
            "max_norm" => Kind::Float(Bounds::POSITIVE),
            _ => Kind::Float(Bounds::NOT_NEGATIVE),
        };
        let Some(given) = self.checked(want, value, &format!("`{name}` of {owner}"), scope) else { return };
        match (name, given) {
            ("rate", Arg::Float(v)) => settings.rate = v,
            ("bias_rate", Arg::Float(v)) => settings.bias_rate = v,
            ("decay", Arg::Float(v)) => settings.decay = v,
            ("bias_decay", Arg::Float(v)) => settings.bias_decay = v,
            ("max_norm", Arg::Float(v)) => settings.max_norm = Some(v),
            ("frozen", Arg::Bool(v)) => settings.frozen = v,
            _ => {}
        }
    }

    /// Evaluates and checks an argument that must be a constant.
    pub fn checked(&mut self, want: Kind, value: &Expr, what: &str, scope: &mut Scope) -> Option<Arg> {
        if let (Kind::Word(words), ExprKind::Name(name)) = (want, &value.kind) {
            // A bare word that is no name of a value is one of the words.
            if !scope.variables.contains_key(name) {
                let word = argument::word(name, words, value.span, what);
                return self.or_report(word.map(Arg::Word));
            }
        }
        match self.expr(value, scope, None) {
            Value::Const(c) => {
                let given = argument::check(want, &c, value.span, what);
                self.or_report(given)
            }
            Value::Node(_) => {
                let message = format!("{what} must be {}, not a value of the network", argument::described(want));
                self.report(Diagnostic::error(codes::WRONG_KIND, value.span, message));
                None
            }
            Value::Poison => None,
        }
    }

    fn or_report(&mut self, result: Result<Arg, Diagnostic>) -> Option<Arg> {
        result.map_err(|d| self.report(d)).ok()
    }

    /// `he`, `xavier`, `normal(std = 0.05)`, `uniform(limit = 0.1)`, `constant(0)`.
    fn init(&mut self, value: &Expr, scope: &mut Scope) -> Option<Init> {
        let (name, span, arguments) = match &value.kind {
            ExprKind::Name(name) => (name.as_str(), value.span, &[][..]),
            ExprKind::Call(call) => (call.function.text.as_str(), call.function.span, call.arguments.as_slice()),
            _ => {
                let message = "`init` must be one of the initialisations";
                let d = Diagnostic::error(codes::WRONG_KIND, value.span, message);
                self.report(d.help(format!("possible are {}", suggest::listed(&INITS))));
                return None;
            }
        };
        let parameter: Option<(&str, Bounds)> = match name {
            "normal" => Some(("std", Bounds::NOT_NEGATIVE)),
            "uniform" => Some(("limit", Bounds::NOT_NEGATIVE)),
            "constant" => Some(("value", Bounds::ANY)),
            "he" | "xavier" => None,
            _ => {
                let message = format!("there is no initialisation `{}`", super::split::shorten(name));
                let d = Diagnostic::error(codes::UNKNOWN_FUNCTION, span, message);
                self.report(d.maybe_help(suggest::help(name, &INITS, "possible are")));
                return None;
            }
        };
        let Some((key, bounds)) = parameter else {
            if let Some(extra) = arguments.first() {
                let message = format!("`{name}` takes no arguments");
                self.report(Diagnostic::error(codes::TOO_MANY_ARGUMENTS, extra.value.span, message));
                return None;
            }
            return Some(if name == "he" { Init::He } else { Init::Xavier });
        };
        let number = match arguments {
            [one] if one.name.as_ref().is_none_or(|n| n.text == key) => one,
            [] => {
                let message = format!("`{name}` needs `{key}`");
                let d = Diagnostic::error(codes::MISSING_ARGUMENT, value.span, message);
                self.report(d.help(format!("write `{name}({key} = 0.05)`")));
                return None;
            }
            [one, rest @ ..] => {
                let d = match (&one.name, rest.first()) {
                    (Some(wrong), _) if wrong.text != key => {
                        let message = format!("`{name}` has no argument `{}`", wrong.text);
                        Diagnostic::error(codes::UNKNOWN_ARGUMENT, wrong.span, message)
                            .help(format!("its only argument is `{key}`"))
                    }
                    (_, Some(extra)) => {
                        let message = format!("`{name}` takes one argument, `{key}`");
                        Diagnostic::error(codes::TOO_MANY_ARGUMENTS, extra.value.span, message)
                    }
                    (_, None) => return None,
                };
                self.report(d);
                return None;
            }
        };
        let what = format!("`{key}` of `{name}`");
        let Arg::Float(v) = self.checked(Kind::Float(bounds), &number.value, &what, scope)? else { return None };
        Some(match name {
            "normal" => Init::Normal { std: v },
            "uniform" => Init::Uniform { limit: v },
            _ => Init::Constant { value: v },
        })
    }
}

/// The kinds of constants in words, for messages about values that are not of the network.
pub fn not_a_value(function: &str, value: &Const, span: Span) -> Diagnostic {
    let message = format!("`{function}` works on values of the network, not on {}", value.describe());
    Diagnostic::error(codes::WRONG_KIND, span, message)
}
