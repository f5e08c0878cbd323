//! Names in scope while a network or block is expanded, and what the walk collects.

use super::ast::{Block, Call, Name, Stmt};
use super::codes;
use super::constant::Const;
use super::diag::{Diagnostic, Span};
use super::visit::{Visitor, walk_call};
use crate::graph::NodeId;
use crate::ops::schema::Settings;
use std::collections::{HashMap, HashSet};

/// What an expression gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A constant.
    Const(Const),
    /// A value of the network.
    Node(NodeId),
    /// Something is wrong with it and has been reported; nothing more is reported because of it.
    Poison,
}

impl Value {
    /// The constant, if it is one.
    pub fn constant(self) -> Option<Const> {
        if let Value::Const(value) = self { Some(value) } else { None }
    }
}

/// What gave a name its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A parameter of the network or block.
    Parameter,
    /// `input name: […]`
    Input,
    /// `let name = …`
    Let,
    /// `… as name`
    Alias,
}

/// A name with its value.
#[derive(Clone, Debug)]
pub struct Variable {
    /// The value.
    pub value: Value,
    /// Where the name is given.
    pub span: Span,
    /// What gave it.
    pub origin: Origin,
    /// An expression has read it.
    pub used: bool,
}

/// One body being expanded.
#[derive(Debug)]
pub struct Scope {
    /// Names of the body, with their values.
    pub variables: HashMap<String, Variable>,
    /// First part of the names of layers within: `res1.`.
    pub prefix: String,
    /// Settings for the parameters of layers within.
    pub settings: Settings,
    /// Names that `as` gives in this body: automatic names stay clear of them.
    pub reserved: HashSet<String>,
    /// Repeats around the current statement.
    pub repeats: usize,
    /// In a block: what `return` gave.
    pub result: Option<Value>,
    /// In a network: `output name = …`.
    pub outputs: Vec<(Name, NodeId)>,
    /// The last statement's value, with its `as` name and place.
    pub last: Option<(Value, Option<String>, Span)>,
    /// The body is that of a block, not of the network.
    pub is_block: bool,
}

impl Scope {
    /// The scope of a body before its first statement.
    pub fn new(prefix: String, settings: Settings, body: &[Stmt], is_block: bool) -> Scope {
        let mut reserved = HashSet::new();
        Aliases(&mut reserved).body(body);
        Scope {
            variables: HashMap::new(),
            prefix,
            settings,
            reserved,
            repeats: 0,
            result: None,
            outputs: vec![],
            last: None,
            is_block,
        }
    }

    /// Binds a name; gives the variable that it takes the place of.
    pub fn bind(&mut self, name: &Name, value: Value, origin: Origin) -> Option<Variable> {
        self.variables.insert(name.text.clone(), Variable { value, span: name.span, origin, used: false })
    }

    /// Warnings for what nothing has used, in the order of the text, and the value it stands for.
    pub fn unused(&self) -> Vec<(Diagnostic, Value)> {
        let mut unused: Vec<(&String, &Variable)> =
            self.variables.iter().filter(|(_, v)| !v.used && v.value != Value::Poison).collect();
        unused.sort_by_key(|(_, v)| v.span.start);
        let warn = |(name, v): (&String, &Variable)| Some((unused_warning(name, v)?, v.value.clone()));
        unused.into_iter().filter_map(warn).collect()
    }
}

/// The warning for a name that nothing has used, unless its kind needs no use.
pub fn unused_warning(name: &str, variable: &Variable) -> Option<Diagnostic> {
    let what = match variable.origin {
        Origin::Parameter => "parameter",
        Origin::Let => "value",
        Origin::Input => "input",
        // `as` names parameters, which is a use.
        Origin::Alias => return None,
    };
    let message = format!("the {what} `{name}` is never used");
    Some(Diagnostic::warning(codes::UNUSED, variable.span, message).help("use it or remove it"))
}

/// Names that `as` gives.
struct Aliases<'o>(&'o mut HashSet<String>);

impl<'a> Visitor<'a> for Aliases<'_> {
    fn alias(&mut self, name: &'a Name) {
        self.0.insert(name.text.clone());
    }
}

/// All blocks of a file by name; those with syntax errors are known by name only.
#[derive(Default)]
pub struct Blocks<'a> {
    /// Blocks without syntax errors, by name.
    pub good: HashMap<&'a str, &'a Block>,
    /// Names of the others.
    pub broken: HashSet<String>,
}

/// Collects the names of all functions that are called, whether or not the call is reached.
#[derive(Default)]
pub struct CalledFunctions<'a>(pub HashSet<&'a str>);

impl<'a> Visitor<'a> for CalledFunctions<'a> {
    fn call(&mut self, call: &'a Call) {
        self.0.insert(&call.function.text);
        walk_call(self, call);
    }
}
