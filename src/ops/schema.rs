//! What the language knows of a layer: its arguments, and how a call becomes graph nodes.

use super::source::Init;
use crate::graph::{Graph, NodeId};
use std::collections::HashMap;

/// One function of the language that makes a graph value: `conv`, `max_pool`, `dropout`.
pub struct Schema {
    pub name: &'static str,
    /// One line, imperative or noun phrase, shown in the reference.
    pub doc: &'static str,
    /// Values that flow in: `x |> f(…)` gives the first, `f(x, y, …)` all. `(least, most)`.
    pub operands: (usize, usize),
    pub params: &'static [ParamSchema],
    /// Makes parameters: accepts the per-layer settings (`init`, `rate`, `decay`, …).
    pub weights: bool,
    /// Adds the nodes. The arguments are there, of the right kind and complete.
    pub build: fn(&mut LayerCx) -> Result<NodeId, LayerError>,
}

pub struct ParamSchema {
    pub name: &'static str,
    pub kind: Kind,
    /// `None`: required. `Some(Arg::None)`: may be left out, then `build` finds nothing.
    pub default: Option<Arg>,
    pub doc: &'static str,
    /// May be given without its name, as the first (second, …) argument: `dropout(0.5)`.
    pub positional: bool,
}

/// Kinds of arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number within bounds, both included.
    Int(i64, i64),
    /// A number within bounds, both included.
    Float(f64, f64),
    Bool,
    /// One of these words, as a string or a bare name.
    Word(&'static [&'static str]),
    /// One whole number for both directions or `[vertical, horizontal]`, within bounds. Always arrives as a list of two.
    Pair(i64, i64),
    /// A list of whole numbers within bounds, of any length but 0.
    Ints(i64, i64),
}

/// An argument after checking.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Word(&'static str),
    Ints(&'static [i64]),
    List(Vec<i64>),
}

/// Settings of a layer's parameters: the call's own, or those of `defaults { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub init: Init,
    pub rate: f64,
    pub bias_rate: f64,
    pub decay: f64,
    pub bias_decay: f64,
    pub max_norm: Option<f64>,
    pub frozen: bool,
}

impl Default for Settings {
    /// He's initialisation for layers followed by ReLU; multipliers 1 and 1, 1 and 0.
    fn default() -> Settings {
        Settings {
            init: Init::He,
            rate: 1.0,
            bias_rate: 1.0,
            decay: 1.0,
            bias_decay: 0.0,
            max_norm: None,
            frozen: false,
        }
    }
}

/// What went wrong in building a layer, and which argument is to blame (the whole call if none).
#[derive(Clone, Debug, PartialEq)]
pub struct LayerError {
    pub param: Option<&'static str>,
    /// One sentence, with the arithmetic where it is about shapes.
    pub message: String,
    /// The way out, if one is known.
    pub help: Option<String>,
}

impl From<String> for LayerError {
    fn from(message: String) -> LayerError {
        LayerError { param: None, message, help: None }
    }
}

/// For `infer`, which has no arguments to point at.
impl From<LayerError> for String {
    fn from(error: LayerError) -> String {
        error.message
    }
}

/// The call being built.
pub struct LayerCx<'a> {
    pub graph: &'a mut Graph,
    pub operands: Vec<NodeId>,
    pub args: HashMap<&'static str, Arg>,
    pub settings: Settings,
    /// The layer's name, first part of its parameters' names.
    pub name: String,
    /// A number of its own for each random layer of the network.
    pub stream: u32,
}

impl LayerCx<'_> {
    pub fn int(&self, name: &str) -> usize {
        match self.args.get(name) {
            Some(Arg::Int(v)) => *v as usize,
            other => panic!("argument {name} is {other:?}, not a whole number"),
        }
    }

    pub fn float(&self, name: &str) -> f64 {
        match self.args.get(name) {
            Some(Arg::Float(v)) => *v,
            Some(Arg::Int(v)) => *v as f64,
            other => panic!("argument {name} is {other:?}, not a number"),
        }
    }

    pub fn bool(&self, name: &str) -> bool {
        match self.args.get(name) {
            Some(Arg::Bool(v)) => *v,
            other => panic!("argument {name} is {other:?}, not true or false"),
        }
    }

    pub fn word(&self, name: &str) -> &'static str {
        match self.args.get(name) {
            Some(Arg::Word(v)) => v,
            other => panic!("argument {name} is {other:?}, not a word"),
        }
    }

    pub fn list(&self, name: &str) -> Vec<usize> {
        match self.args.get(name) {
            Some(Arg::List(v)) => v.iter().map(|&i| i as usize).collect(),
            Some(Arg::Ints(v)) => v.iter().map(|&i| i as usize).collect(),
            other => panic!("argument {name} is {other:?}, not a list"),
        }
    }

    pub fn pair(&self, name: &str) -> [usize; 2] {
        let list = self.list(name);
        [list[0], list[1]]
    }

    pub fn given(&self, name: &str) -> bool {
        !matches!(self.args.get(name), None | Some(Arg::None))
    }
}
