//! The text by which a checkpoint knows its network again: [`ninc_runtime::checkpoint::Identity`] keeps its hash.
//!
//! This is version 1 of that text, and it never changes: an attribute that is renamed, added or printed otherwise is written
//! here as it was, or checkpoints of older builds would no longer resume. A network that version 1 cannot describe would
//! need a version 2, whose hash starts with `2:`.

use super::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::attr::Attr;
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
    let mut attrs = op.attrs();
    // A network's inputs are all images.
    attrs.retain(|(name, _)| !(*name == "role" && matches!(op, Operator::Input(_))));
    attrs
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
