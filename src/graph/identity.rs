//! The text by which a checkpoint knows its network again: [`ninc_runtime::checkpoint::Identity`] keeps its hash.
//!
//! This is version 1 of that text, and it never changes: an attribute that is renamed, added or printed otherwise is
//! written here as it was, or checkpoints of older builds would no longer resume. A network that version 1 cannot
//! describe would need a version 2, whose hash starts with `2:`.

use super::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::activation::Function;
use crate::ops::attr::{Attr, AttrValue};
use crate::ops::mlpconv::{MlpConv, Stage};
use crate::types::DType;
use std::collections::HashMap;
use std::fmt::Write;

/// Version 1 of the text of a network as the front end makes it.
pub fn text(graph: &Graph) -> String {
    let order = graph.order();
    let number: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut out = format!("graph {:?}\n", graph.name);
    for (i, &id) in order.iter().enumerate() {
        let node = graph.node(id);
        let name = node.name.as_ref().map_or(String::new(), |name| format!(" {name:?}"));
        let operands = join(node.operands().iter().map(|o| format!("%{}", number[o])));
        let attrs = attributes(&node.op);
        let attrs = if attrs.is_empty() {
            String::new()
        } else {
            format!(" {{{}}}", join(attrs.iter().map(|(name, value)| format!("{name} = {}", shown(value)))))
        };
        put(&mut out, format_args!("%{i}{name} = {}({operands}){attrs} : {}", node.op.name(), node.ty));
    }
    for (name, id) in &graph.outputs {
        put(&mut out, format_args!("output {name:?} = %{}", number[id]));
    }
    out
}

fn put(out: &mut String, line: std::fmt::Arguments) {
    writeln!(out, "{line}").expect("writing to a string cannot fail");
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// The operator's attributes in version 1's order.
fn attributes(op: &Operator) -> Vec<(&'static str, Attr)> {
    let now: Vec<_> = op.attrs().into_iter().map(|a| (a.name, a.value)).collect();
    let only = |names: &[&str]| now.iter().filter(|(n, _)| names.contains(n)).cloned().collect();
    let without = |name: &str| now.iter().filter(|(n, _)| *n != name).cloned().collect();
    match op {
        Operator::Input(op) => vec![
            ("name", op.name.to_attr()),
            ("ints", (op.dtype == DType::I32).to_attr()),
            ("batched", op.batched.to_attr()),
            ("dims", op.dims.to_attr()),
        ],
        // The weights told the window.
        Operator::Conv2d(_) => without("kernel"),
        Operator::LocalConv(_) => only(&["stride", "pad"]),
        // What passes of training join to them is not of the network.
        Operator::BatchNorm(_) => only(&["epsilon", "momentum"]),
        Operator::Gelu(_) => only(&["approximate"]),
        Operator::MaxPool(_) | Operator::AvgPool(_) | Operator::StochasticPool(_) => without("dilation"),
        Operator::Activation(op) => {
            let (name, parameter) = parts(Some(op.function));
            vec![("function", Attr::Text(name)), ("slope", Attr::Float(parameter))]
        }
        Operator::MlpConv(op) => mlpconv(op),
        _ => now,
    }
}

/// Name and parameter of an activation, 0 where it has none; of those with several their whole text.
fn parts(function: Option<Function>) -> (String, f64) {
    let Some(function) = function else { return ("none".into(), 0.0) };
    let (name, parameters) = function.parts();
    match parameters[..] {
        [] => (name.into(), 0.0),
        [Attr::Float(parameter)] => (name.into(), parameter),
        _ => (shown(&function.to_attr()), 0.0),
    }
}

/// Stages as lists of their parts. The language's layer neither rounds nor pools.
fn mlpconv(op: &MlpConv) -> Vec<(&'static str, Attr)> {
    let list = |part: fn(&Stage) -> Attr| Attr::List(op.stages.iter().map(part).collect());
    vec![
        ("stride", op.window.stride.to_attr()),
        ("pad", op.window.pad.to_attr()),
        ("dilation", op.window.dilation.to_attr()),
        ("groups", op.groups.to_attr()),
        ("biases", list(|stage| stage.bias.to_attr())),
        ("activations", list(|stage| Attr::Text(parts(stage.activation).0))),
        ("slopes", list(|stage| Attr::Float(parts(stage.activation).1))),
        ("rounds", list(|_| Attr::word("none"))),
        ("pool", Attr::Text(String::new())),
        ("pool_kernel", [1usize, 1].to_attr()),
        ("pool_stride", [1usize, 1].to_attr()),
        ("pool_pad", [0usize, 0].to_attr()),
        ("pool_ceil", Attr::Bool(false)),
    ]
}

/// An attribute in version 1's notation.
fn shown(attr: &Attr) -> String {
    match attr {
        Attr::Int(v) => v.to_string(),
        Attr::Float(v) => format!("{v:?}"),
        Attr::Bool(v) => v.to_string(),
        Attr::Text(v) => format!("{v:?}"),
        Attr::List(items) => format!("[{}]", join(items.iter().map(shown))),
        Attr::Call(name, items) => format!("{name}({})", join(items.iter().map(shown))),
    }
}
