//! Binds the arguments of a call to the parameters of what is called, by name and by position: one binder for layers,
//! blocks, the functions of `data` and `train`, and initialisations.

use super::argument;
use super::ast::{Argument, Block, Name, Parameter};
use super::codes;
use super::constant::Const;
use super::diag::{Diagnostic, Span};
use super::scope::Value;
use super::settings::Setting;
use super::sink::Diagnostics;
use super::split::shorten;
use super::suggest::{self, Suggestion};
use crate::ops::params::{Fallback, ParamSpec};
use std::collections::HashMap;

/// What is called: decides the wording of messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Callee {
    /// A layer; `weights`: it also takes the settings of weights.
    Layer { weights: bool },
    /// A function of `data` or `train`.
    Function,
    /// A value of the setting `init`.
    Initialisation,
    /// A block, defined at this place.
    Block(Span),
}

/// A parameter, as binding needs it.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'s> {
    /// The parameter's name.
    pub name: &'s str,
    /// Whether an argument must be given.
    pub required: bool,
    /// Whether it may be given without its name.
    pub positional: bool,
}

/// What a function takes.
pub struct Signature<'s> {
    /// What is called.
    pub callee: Callee,
    /// Its name.
    pub name: &'s str,
    /// Its own parameters, then the settings if it takes them.
    pub slots: Vec<Slot<'s>>,
    /// How many slots are parameters of its own.
    own: usize,
    /// The declarations of its own parameters; a block's are not declared.
    params: &'static [ParamSpec],
}

/// An argument of a call.
pub struct Given<'e> {
    /// As it is written.
    pub argument: &'e Argument,
    /// Its value, if it is known before the argument is bound.
    pub value: Option<Value>,
}

impl<'e> Given<'e> {
    /// An argument that is evaluated once its parameter is known.
    pub fn unevaluated(argument: &'e Argument) -> Given<'e> {
        Given { argument, value: None }
    }
}

/// Where the arguments of a call went.
pub struct Bound<'e> {
    /// The argument of each slot, in the signature's order.
    pub arguments: Vec<Option<Given<'e>>>,
    /// Arguments whose name no parameter has.
    pub unknown: Vec<&'e Argument>,
    /// Whether an error was reported.
    pub failed: bool,
}

/// Makes the error for an argument or key that is given again.
pub fn given_twice(name: &Name, first: Span) -> Diagnostic {
    Diagnostic::error(codes::DUPLICATE_ARGUMENT, name.span, format!("`{}` is given twice", name.text))
        .label(first, "first given here")
        .help("remove one of the two")
}

/// Binds arguments. `piped` is the place of the value that flows into a block and takes its first parameter.
pub fn bind<'e>(
    signature: &Signature,
    piped: Option<Span>,
    mut arguments: Vec<Given<'e>>,
    sink: &mut Diagnostics,
) -> Bound<'e> {
    let none = signature.slots.iter().map(|_| None).collect();
    let mut bound = Bound { arguments: none, unknown: vec![], failed: false };
    if let Callee::Block(_) = signature.callee {
        // A block's values without names take its first parameters, wherever they stand.
        arguments.sort_by_key(|given| given.argument.name.is_some());
    }
    let mut seen: HashMap<&str, Span> = HashMap::new();
    if let Some(place) = piped {
        match signature.slots.first() {
            Some(slot) => drop(seen.insert(slot.name, place)),
            None => bound.reject(signature.one_more(place), sink),
        }
    }
    for given in arguments {
        let argument = given.argument;
        let Some(name) = &argument.name else {
            let free = |slot: &Slot| slot.positional && !seen.contains_key(slot.name);
            match signature.slots.iter().position(free) {
                Some(i) => {
                    seen.insert(signature.slots[i].name, argument.value.span);
                    bound.arguments[i] = Some(given);
                }
                None => {
                    let meant = signature.could_be(&given, &bound);
                    bound.reject(signature.one_more(argument.value.span).suggest(meant), sink);
                }
            }
            continue;
        };
        let slot = signature.slots.iter().position(|slot| slot.name == name.text);
        let key = slot.map_or(name.text.as_str(), |i| signature.slots[i].name);
        match (seen.get(key).copied(), slot) {
            (Some(first), _) => bound.reject(given_twice(name, first), sink),
            (None, Some(i)) => bound.arguments[i] = Some(given),
            (None, None) => {
                bound.unknown.push(argument);
                bound.reject(signature.unknown(argument, name), sink);
            }
        }
        seen.entry(key).or_insert(name.span);
    }
    bound
}

impl Bound<'_> {
    fn reject(&mut self, diagnostic: Diagnostic, sink: &mut Diagnostics) {
        sink.report(diagnostic);
        self.failed = true;
    }
}

impl<'s> Signature<'s> {
    /// Makes the signature of a function whose parameters a table declares.
    pub fn declared(callee: Callee, name: &'s str, params: &'static [ParamSpec]) -> Signature<'s> {
        let slot = |p: &'static ParamSpec| Slot {
            name: p.name,
            required: p.default == Fallback::Required,
            positional: p.positional,
        };
        let mut slots: Vec<Slot> = params.iter().map(slot).collect();
        if callee == (Callee::Layer { weights: true }) {
            let setting = |s: &Setting| Slot { name: s.name(), required: false, positional: false };
            slots.extend(Setting::ALL.iter().map(setting));
        }
        Signature { callee, name, slots, own: params.len(), params }
    }

    /// Makes the signature of a block.
    pub fn block(block: &'s Block) -> Signature<'s> {
        let slot = |p: &'s Parameter| Slot { name: &p.name.text, required: p.default.is_none(), positional: true };
        let (name, slots): (_, Vec<Slot>) = (&block.name, block.parameters.iter().map(slot).collect());
        Signature { callee: Callee::Block(name.span), name: &name.text, own: slots.len(), slots, params: &[] }
    }

    /// Returns the names of its own parameters.
    fn names(&self) -> Vec<&'s str> {
        self.slots[..self.own].iter().map(|slot| slot.name).collect()
    }

    /// Makes the error for a call without required arguments at `span`, if it lacks any. `given` says of each slot
    /// whether something is given for it.
    pub fn missing(&self, given: impl Fn(usize) -> bool, span: Span) -> Option<Diagnostic> {
        let lacks = |(i, slot): (usize, &Slot<'s>)| (slot.required && !given(i)).then_some(slot.name);
        let missing: Vec<&str> = self.slots.iter().enumerate().filter_map(lacks).collect();
        if missing.is_empty() {
            return None;
        }
        let (name, needed) = (self.name, suggest::listed(&missing));
        let error = |message| Diagnostic::error(codes::MISSING_ARGUMENT, span, message);
        let write = |value: &str| {
            let example: Vec<String> = missing.iter().map(|m| format!("{m} = {value}")).collect();
            error(format!("`{name}` needs {needed}")).help(format!("write `{name}({})`", example.join(", ")))
        };
        Some(match self.callee {
            Callee::Layer { .. } | Callee::Function => write("…"),
            Callee::Initialisation => write("0.05"),
            Callee::Block(defined) => {
                error(format!("the block `{name}` needs {needed}")).label(defined, "defined here")
            }
        })
    }

    /// Makes the error for an argument without a name at `span` that no parameter takes.
    pub fn one_more(&self, span: Span) -> Diagnostic {
        let (name, names) = (self.name, self.names());
        let error = |message| Diagnostic::error(codes::TOO_MANY_ARGUMENTS, span, message);
        match (self.callee, names.as_slice()) {
            (Callee::Block(defined), [_]) => {
                error(format!("the block `{name}` takes one argument, this is one more")).label(defined, "defined here")
            }
            (Callee::Block(defined), names) => {
                let message = format!("the block `{name}` takes {} arguments, this is one more", names.len());
                error(message).label(defined, "defined here")
            }
            (Callee::Initialisation, []) => error(format!("`{name}` takes no arguments")),
            (Callee::Initialisation, names) => {
                error(format!("`{name}` takes one argument, {}", suggest::listed(names)))
            }
            (Callee::Layer { .. }, _) | (Callee::Function, []) => {
                error(format!("`{name}` takes no further argument without a name"))
            }
            (Callee::Function, names) => error(format!("`{name}` takes no further argument without a name"))
                .help(format!("its arguments are {}", suggest::listed(names))),
        }
    }

    /// Finds the parameter of a layer that a constant without a name could be meant for.
    fn could_be(&self, given: &Given, bound: &Bound) -> Option<Suggestion> {
        let (Callee::Layer { .. }, Some(Value::Const(value))) = (self.callee, &given.value) else { return None };
        let takes = |p: &ParamSpec| argument::check(p.kind, value, Span::default(), "").is_ok();
        let mut open = self.params.iter().zip(&bound.arguments).filter(|(_, bound)| bound.is_none());
        let (param, _) = open.find(|(param, _)| takes(param))?;
        let shown = match value {
            Const::List(_) => {
                return Some(suggest::sentence(format!("did you mean `{} = […]`?", param.name)));
            }
            other => other.describe().trim_matches('`').to_string(),
        };
        Some(suggest::meant(&format!("{} = {shown}", param.name)))
    }

    /// Makes the error for an argument whose name no parameter has.
    fn unknown(&self, argument: &Argument, given: &Name) -> Diagnostic {
        let (name, names, wrong) = (self.name, self.names(), shorten(&given.text));
        let error = |message| Diagnostic::error(codes::UNKNOWN_ARGUMENT, given.span, message);
        let no_argument = || error(format!("`{name}` has no argument `{wrong}`"));
        let none = || format!("`{name}` has no arguments");
        match (self.callee, names.as_slice()) {
            (Callee::Block(defined), names) => error(format!("the block `{name}` has no parameter `{wrong}`"))
                .label(defined, "defined here")
                .suggest(suggest::help(&given.text, names, "its parameters are")),
            (Callee::Initialisation, []) => self.one_more(argument.value.span),
            (Callee::Initialisation, names) => {
                no_argument().help(format!("its only argument is {}", suggest::listed(names)))
            }
            (Callee::Layer { weights: false }, _) if Setting::named(&given.text).is_some() => {
                let message = format!("`{name}` has no weights, so `{wrong}` means nothing to it");
                Diagnostic::error(codes::NO_WEIGHTS, given.span, message).help("remove it")
            }
            (Callee::Layer { weights: false } | Callee::Function, []) => no_argument().help(none()),
            (Callee::Layer { .. } | Callee::Function, names) => {
                // The nearest of all that could be meant, or else the function's own if they are few.
                let near = suggest::nearest(&given.text, self.slots.iter().map(|slot| slot.name));
                let near = near.map(suggest::meant);
                no_argument().suggest(near.or_else(|| suggest::help(&given.text, names, "its arguments are")))
            }
        }
    }
}
