//! What `data` and `train` share: keys, each once, and small functions (`sgd(…)`, `zca(…)`) with arguments from a table.

use super::ast::{Entry, Expr, ExprKind, Section};
use super::codes;
use super::diag::{Diagnostic, Span};
use super::lower::Lower;
use super::scope::Scope;
use super::settings::given_twice;
use super::suggest;
use crate::ops::params::{Arg, Kind};
use crate::ops::schema::Settings;
use std::collections::HashMap;

/// An argument of a function in a section.
pub struct Par {
    pub name: &'static str,
    pub want: Kind,
    pub required: bool,
    /// May stand without its name.
    pub positional: bool,
}

pub const fn named(name: &'static str, want: Kind) -> Par {
    Par { name, want, required: false, positional: false }
}

pub const fn positional(name: &'static str, want: Kind) -> Par {
    Par { name, want, required: false, positional: true }
}

pub const fn required(name: &'static str, want: Kind) -> Par {
    Par { name, want, required: true, positional: true }
}

/// A function of a section.
pub struct Fun {
    pub name: &'static str,
    pub params: &'static [Par],
}

/// A call that has been checked.
pub struct Called {
    pub name: &'static str,
    given: HashMap<&'static str, (Arg, Span)>,
    /// The whole call.
    pub span: Span,
}

impl Called {
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.given.get(name)? {
            (Arg::Float(v), _) => Some(*v),
            _ => None,
        }
    }

    pub fn int(&self, name: &str) -> Option<usize> {
        match self.given.get(name)? {
            (Arg::Int(v), _) => usize::try_from(*v).ok(),
            _ => None,
        }
    }

    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.given.get(name)? {
            (Arg::Bool(v), _) => Some(*v),
            _ => None,
        }
    }

    pub fn word(&self, name: &str) -> Option<&'static str> {
        match self.given.get(name)? {
            (Arg::Word(v), _) => Some(v),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        match self.given.get(name)? {
            (Arg::Text(v), _) => Some(v.clone()),
            _ => None,
        }
    }

    pub fn floats(&self, name: &str) -> Option<Vec<f64>> {
        match self.given.get(name)? {
            (Arg::Floats(v), _) => Some(v.clone()),
            _ => None,
        }
    }

    pub fn place(&self, name: &str) -> Option<Span> {
        self.given.get(name).map(|(_, span)| *span)
    }
}

/// The entries of a section by key.
pub type Keys<'e> = HashMap<&'static str, &'e Entry>;

/// Sections see no names of the network.
pub fn empty_scope() -> Scope {
    Scope::new(String::new(), Settings::default(), &[], false)
}

impl Lower<'_> {
    /// Sorts a section's entries; unknown keys and keys given twice are errors.
    pub fn keys<'e>(&mut self, section: &'e Section, word: &str, known: &'static [&'static str]) -> Keys<'e> {
        let mut keys: Keys = HashMap::new();
        for entry in &section.entries {
            let text = entry.key.text.as_str();
            let Some(key) = known.iter().find(|k| **k == text) else {
                let message = format!("`{word}` has no key `{}`", super::split::shorten(text));
                let d = Diagnostic::error(codes::UNKNOWN_KEY, entry.key.span, message);
                self.report(d.maybe_help(suggest::help(text, known, "its keys are")));
                continue;
            };
            match keys.get(key) {
                Some(first) => {
                    let first = first.key.span;
                    self.report(given_twice(&entry.key, first));
                }
                None => {
                    keys.insert(key, entry);
                }
            }
        }
        keys
    }

    /// A key with a constant value.
    pub fn key(&mut self, keys: &Keys, name: &str, want: Kind) -> Option<Arg> {
        let entry = keys.get(name)?;
        self.checked(want, &entry.value, &format!("`{name}`"), &mut empty_scope())
    }

    /// A key with one of the functions as its value; `what` is what they are: "optimizer".
    pub fn function(&mut self, value: &Expr, table: &'static [Fun], what: &str) -> Option<Called> {
        let (name, span, arguments) = match &value.kind {
            ExprKind::Name(name) => (name.as_str(), value.span, &[][..]),
            ExprKind::Call(call) => (call.function.text.as_str(), call.function.span, call.arguments.as_slice()),
            _ => {
                let names: Vec<&str> = table.iter().map(|f| f.name).collect();
                let message = format!("{what} must be a function's name, with arguments if need be");
                let d = Diagnostic::error(codes::WRONG_KIND, value.span, message);
                self.report(d.help(format!("possible are {}", suggest::listed(&names))));
                return None;
            }
        };
        let Some(function) = table.iter().find(|f| f.name == name) else {
            let names: Vec<&str> = table.iter().map(|f| f.name).collect();
            let message = format!("{what} cannot be `{}`", super::split::shorten(name));
            let d = Diagnostic::error(codes::UNKNOWN_FUNCTION, span, message);
            self.report(d.maybe_help(suggest::help(name, &names, "possible are")));
            return None;
        };
        let mut called = Called { name: function.name, given: HashMap::new(), span: value.span };
        let mut seen: HashMap<&str, Span> = HashMap::new();
        let mut good = true;
        for argument in arguments {
            let param = match &argument.name {
                Some(key) => match function.params.iter().find(|p| p.name == key.text) {
                    Some(param) => param,
                    None => {
                        self.no_argument(function, &key.text, key.span);
                        good = false;
                        continue;
                    }
                },
                None => match function.params.iter().find(|p| p.positional && !seen.contains_key(p.name)) {
                    Some(param) => param,
                    None => {
                        self.no_position(function, argument.value.span);
                        good = false;
                        continue;
                    }
                },
            };
            let place = argument.name.as_ref().map_or(argument.value.span, |n| n.span);
            if let (Some(first), Some(key)) = (seen.insert(param.name, place), &argument.name) {
                self.report(given_twice(key, first));
                good = false;
                continue;
            }
            let subject = format!("`{}` of `{}`", param.name, function.name);
            match self.checked(param.want, &argument.value, &subject, &mut empty_scope()) {
                Some(given) => {
                    called.given.insert(param.name, (given, argument.value.span));
                }
                None => good = false,
            }
        }
        let missing: Vec<&str> =
            function.params.iter().filter(|p| p.required && !seen.contains_key(p.name)).map(|p| p.name).collect();
        if !missing.is_empty() && good {
            let message = format!("`{}` needs {}", function.name, suggest::listed(&missing));
            let d = Diagnostic::error(codes::MISSING_ARGUMENT, span, message);
            self.report(d.help(format!("write `{}({} = …)`", function.name, missing[0])));
            good = false;
        }
        good.then_some(called)
    }

    fn no_argument(&mut self, function: &Fun, key: &str, span: Span) {
        let names: Vec<&str> = function.params.iter().map(|p| p.name).collect();
        let message = format!("`{}` has no argument `{}`", function.name, super::split::shorten(key));
        let d = Diagnostic::error(codes::UNKNOWN_ARGUMENT, span, message);
        let help = match names.is_empty() {
            true => Some(format!("`{}` has no arguments", function.name)),
            false => suggest::help(key, &names, "its arguments are"),
        };
        self.report(d.maybe_help(help));
    }

    fn no_position(&mut self, function: &Fun, span: Span) {
        let names: Vec<&str> = function.params.iter().map(|p| p.name).collect();
        let message = format!("`{}` takes no further argument without a name", function.name);
        let d = Diagnostic::error(codes::TOO_MANY_ARGUMENTS, span, message);
        let help = (!names.is_empty()).then(|| format!("its arguments are {}", suggest::listed(&names)));
        self.report(d.maybe_help(help));
    }

    /// A key with a list of functions: `[gcn(scale = 55), zca]`; a single one may stand alone.
    pub fn functions(&mut self, keys: &Keys, name: &str, table: &'static [Fun], what: &str) -> Vec<Called> {
        let Some(entry) = keys.get(name) else { return vec![] };
        let items = match &entry.value.kind {
            ExprKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        items.iter().filter_map(|item| self.function(item, table, what)).collect()
    }
}
