//! What an expansion leaves for editors: which layers, blocks and names stand where in the text.

use super::diag::Span;
use super::scope::Value;
use crate::graph::NodeId;
use std::ops::Range;

/// Places of what was expanded, in the order of the expansion: a text within a `repeat` or a block has several entries.
#[derive(Debug, Default)]
pub struct Trace {
    /// Whether the network could be expanded without an error.
    pub complete: bool,
    /// For each of the network's layers the place of its call.
    pub layers: Vec<Span>,
    /// Calls of blocks.
    pub blocks: Vec<Called>,
    /// Names that were given, with what they stand for.
    pub names: Vec<(Span, Stands)>,
    /// Inputs of the network, with the places of their names.
    pub inputs: Vec<(Span, NodeId)>,
}

/// A call of a block.
#[derive(Debug)]
pub struct Called {
    /// The whole call.
    pub span: Span,
    /// The name of the call, first part of the names of its layers.
    pub name: String,
    /// The layers that it made, by their numbers.
    pub layers: Range<usize>,
    /// Its value, if that is a value of the network.
    pub value: Option<NodeId>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Stands {
    /// A constant, as the language writes it.
    Constant(String),
    /// A value of the network.
    Value(NodeId),
}

impl Trace {
    /// Notes what a name stands for; what is wrong with it has been reported.
    pub(super) fn name(&mut self, span: Span, value: &Value) {
        match value {
            Value::Const(value) => self.names.push((span, Stands::Constant(value.written()))),
            Value::Node(id) => self.names.push((span, Stands::Value(*id))),
            Value::Poison => {}
        }
    }

    /// Notes a call of a block.
    pub(super) fn block(&mut self, span: Span, name: &str, layers: Range<usize>, value: Option<&Value>) {
        let value = match value {
            Some(Value::Node(id)) => Some(*id),
            _ => None,
        };
        self.blocks.push(Called { span, name: name.into(), layers, value });
    }
}
