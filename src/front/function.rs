//! Functions from a table: the values of keys in `data` and `train` (`sgd(…)`, `zca(…)`) and of `init`.

use super::ast::{Expr, ExprKind};
use super::bind::{Callee, Given, Signature, bind};
use super::codes;
use super::described::Described;
use super::diag::{Diagnostic, Span};
use super::evaluate::Evaluator;
use super::sink::Diagnostics;
use super::split::shorten;
use super::suggest;
use crate::ops::params::{Args, FromArg, Param, ParamSpec};
use std::collections::HashMap;

/// A function of a table, which makes a `T`.
pub struct FunctionSpec<T: 'static> {
    /// Its name in the language.
    pub name: &'static str,
    /// One sentence for editors and `ninc help`.
    pub doc: &'static str,
    /// Its parameters.
    pub params: &'static [ParamSpec],
    /// Makes the value from a call's arguments; `None` where it reports that they exclude each other.
    pub make: fn(&Called, &mut Diagnostics) -> Option<T>,
}

/// The arguments of a call, checked and complete.
pub struct Called {
    args: Args,
    places: HashMap<&'static str, Span>,
    /// The whole call.
    pub span: Span,
}

impl Called {
    /// The argument of one of the function's parameters, or its default.
    pub fn get<T: FromArg>(&self, param: Param<T>) -> T {
        self.args.get(param)
    }

    /// Where the argument of a parameter stands, if one is given.
    pub fn place<T>(&self, param: Param<T>) -> Option<Span> {
        self.places.get(param.spec.name).copied()
    }

    /// An error about the argument of a parameter, or about the whole call where none is given.
    pub fn error<T>(&self, code: &'static str, param: Param<T>, message: &str) -> Diagnostic {
        Diagnostic::error(code, self.place(param).unwrap_or(self.span), message)
    }
}

/// A set of functions, one to be called, with the words for them in messages.
pub struct Table<T: 'static> {
    /// What they are, with an article: "an optimizer".
    pub what: &'static str,
    /// How their arguments are called in messages.
    pub callee: Callee,
    /// The functions.
    pub functions: &'static [FunctionSpec<T>],
}

impl<T> Table<T> {
    /// The functions as editors and `ninc help` show them.
    pub fn described(&self) -> Vec<Described> {
        let one = |f: &FunctionSpec<T>| Described { name: f.name, doc: f.doc, params: f.params, operands: None };
        self.functions.iter().map(one).collect()
    }

    fn names(&self) -> Vec<&'static str> {
        self.functions.iter().map(|f| f.name).collect()
    }

    /// Says where a name belongs that is a parameter of one of the functions, which are the values of `key`.
    pub fn parameter(&self, name: &str, key: &str) -> Option<String> {
        let function = self.functions.iter().find(|f| f.params.iter().any(|param| param.name == name))?.name;
        Some(format!("`{name}` is a parameter of `{function}`: `{key} = {function}({name} = …)`"))
    }

    /// The value of an expression that calls one of the functions; `None` if an error was reported.
    pub fn value(&self, expr: &Expr, evaluator: &mut impl Evaluator) -> Option<T> {
        let (name, span, arguments) = match &expr.kind {
            ExprKind::Name(name) => (name.as_str(), expr.span, &[][..]),
            ExprKind::Call(call) => (call.function.text.as_str(), call.function.span, call.arguments.as_slice()),
            _ => {
                evaluator.fail(self.not_a_function(expr.span));
                return None;
            }
        };
        let Some(function) = self.functions.iter().find(|f| f.name == name) else {
            evaluator.fail(self.unknown(name, span));
            return None;
        };
        let signature = Signature::declared(self.callee, function.name, function.params);
        let bound = bind(&signature, None, arguments.iter().map(Given::unevaluated).collect(), evaluator.sink());
        let mut called = Called { args: Args::defaults(function.params), places: HashMap::new(), span: expr.span };
        let mut failed = bound.failed;
        for (param, given) in function.params.iter().zip(&bound.arguments) {
            let Some(Given { argument, .. }) = given else { continue };
            let what = format!("`{}` of `{}`", param.name, function.name);
            match evaluator.argument(param.kind, &argument.value, &what) {
                Some(arg) => called.args.set(param, arg),
                None => failed = true,
            }
            called.places.insert(param.name, argument.value.span);
        }
        let place = if self.callee == Callee::Initialisation { expr.span } else { span };
        if let Some(d) = signature.missing(|i| bound.arguments[i].is_some(), place).filter(|_| !failed) {
            evaluator.fail(d);
            failed = true;
        }
        if failed { None } else { (function.make)(&called, evaluator.sink()) }
    }

    /// The values of a list of calls; a single call may stand alone.
    pub fn values(&self, expr: &Expr, evaluator: &mut impl Evaluator) -> Vec<T> {
        let items = match &expr.kind {
            ExprKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(expr),
        };
        items.iter().filter_map(|item| self.value(item, evaluator)).collect()
    }

    fn not_a_function(&self, span: Span) -> Diagnostic {
        let message = match self.callee {
            Callee::Initialisation => format!("`init` must be {}", self.what),
            _ => format!("{} must be a function's name, with arguments if need be", self.what),
        };
        Diagnostic::error(codes::WRONG_KIND, span, message)
            .help(format!("possible are {}", suggest::listed(&self.names())))
    }

    fn unknown(&self, name: &str, span: Span) -> Diagnostic {
        let message = match self.callee {
            Callee::Initialisation => format!("there is no initialisation `{}`", shorten(name)),
            _ => format!("{} cannot be `{}`", self.what, shorten(name)),
        };
        Diagnostic::error(codes::UNKNOWN_FUNCTION, span, message).suggest(suggest::help(
            name,
            &self.names(),
            "possible are",
        ))
    }
}
