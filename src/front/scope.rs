//! Names in scope while a network or block is expanded, and what the walk collects.

use super::ast::{Block, Expr, ExprKind, Name, Step, StepKind, Stmt, StmtKind};
use super::codes;
use super::constant::Const;
use super::diag::{Diagnostic, Span};
use crate::graph::NodeId;
use crate::ops::schema::Settings;
use std::collections::{HashMap, HashSet};

/// What an expression gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Const(Const),
    Node(NodeId),
    /// Something is wrong with it and has been said; nothing more is said because of it.
    Poison,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Parameter,
    Input,
    Let,
    Alias,
}

#[derive(Clone, Debug)]
pub struct Variable {
    pub value: Value,
    pub span: Span,
    pub origin: Origin,
    pub used: bool,
}

/// One body being expanded.
#[derive(Debug)]
pub struct Scope {
    pub variables: HashMap<String, Variable>,
    /// First part of the names of layers within: `res1.`.
    pub prefix: String,
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
    pub is_block: bool,
}

impl Scope {
    pub fn new(prefix: String, settings: Settings, body: &[Stmt], is_block: bool) -> Scope {
        let mut reserved = HashSet::new();
        collect_aliases(body, &mut reserved);
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

fn collect_aliases(body: &[Stmt], out: &mut HashSet<String>) {
    for statement in body {
        match &statement.kind {
            StmtKind::Let { value, .. } | StmtKind::Output { value, .. } => expr_aliases(value, out),
            StmtKind::Return(value) | StmtKind::Expr(value) => expr_aliases(value, out),
            StmtKind::Repeat { body, .. } => collect_aliases(body, out),
            StmtKind::Defaults(_) | StmtKind::Input { .. } => {}
        }
    }
}

fn expr_aliases(expr: &Expr, out: &mut HashSet<String>) {
    match &expr.kind {
        ExprKind::Pipe { source, alias, steps } => {
            expr_aliases(source, out);
            out.extend(alias.iter().map(|a| a.text.clone()));
            step_aliases(steps, out);
        }
        ExprKind::Chain(first, rest) => {
            expr_aliases(first, out);
            rest.iter().for_each(|(_, e)| expr_aliases(e, out));
        }
        ExprKind::Call(call) => call.arguments.iter().for_each(|a| expr_aliases(&a.value, out)),
        ExprKind::Neg(inner) => expr_aliases(inner, out),
        ExprKind::List(items) => items.iter().for_each(|e| expr_aliases(e, out)),
        _ => {}
    }
}

fn step_aliases(steps: &[Step], out: &mut HashSet<String>) {
    for step in steps {
        out.extend(step.alias.iter().map(|a| a.text.clone()));
        match &step.kind {
            StepKind::Call(call) => call.arguments.iter().for_each(|a| expr_aliases(&a.value, out)),
            StepKind::Repeat { steps, .. } => step_aliases(steps, out),
        }
    }
}

/// All blocks of a file by name; those with syntax errors are known by name only.
#[derive(Default)]
pub struct Blocks<'a> {
    pub good: HashMap<&'a str, &'a Block>,
    pub broken: HashSet<String>,
}

/// Names of all functions that statements call, whether or not they are reached.
pub fn called_functions<'a>(body: &'a [Stmt], out: &mut HashSet<&'a str>) {
    for statement in body {
        match &statement.kind {
            StmtKind::Let { value, .. } | StmtKind::Output { value, .. } => expr_calls(value, out),
            StmtKind::Return(value) | StmtKind::Expr(value) => expr_calls(value, out),
            StmtKind::Repeat { count, body } => {
                expr_calls(count, out);
                called_functions(body, out);
            }
            StmtKind::Defaults(_) | StmtKind::Input { .. } => {}
        }
    }
}

fn expr_calls<'a>(expr: &'a Expr, out: &mut HashSet<&'a str>) {
    match &expr.kind {
        ExprKind::Pipe { source, steps, .. } => {
            expr_calls(source, out);
            step_calls(steps, out);
        }
        ExprKind::Chain(first, rest) => {
            expr_calls(first, out);
            rest.iter().for_each(|(_, e)| expr_calls(e, out));
        }
        ExprKind::Call(call) => {
            out.insert(&call.function.text);
            call.arguments.iter().for_each(|a| expr_calls(&a.value, out));
        }
        ExprKind::Neg(inner) => expr_calls(inner, out),
        ExprKind::List(items) => items.iter().for_each(|e| expr_calls(e, out)),
        _ => {}
    }
}

fn step_calls<'a>(steps: &'a [Step], out: &mut HashSet<&'a str>) {
    for step in steps {
        match &step.kind {
            StepKind::Call(call) => {
                out.insert(&call.function.text);
                call.arguments.iter().for_each(|a| expr_calls(&a.value, out));
            }
            StepKind::Repeat { count, steps } => {
                expr_calls(count, out);
                step_calls(steps, out);
            }
        }
    }
}
