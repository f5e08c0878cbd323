//! The text whose hash says in a checkpoint which network it is of. Its format is fixed, whatever `text` prints: an
//! attribute that operators get later is left out here where it has the value that it had before it existed.

use super::{Graph, NodeId};
use crate::ops::Operator;
use std::collections::HashMap;
use std::fmt::Write;

/// Format 1: a line per value with all its attributes, a line per result.
pub fn text(graph: &Graph) -> String {
    let order = graph.order();
    let number: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut out = format!("graph {:?}\n", graph.name);
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a string cannot fail");
    for (i, &id) in order.iter().enumerate() {
        let node = graph.node(id);
        let name = node.name.as_ref().map_or(String::new(), |name| format!(" {name:?}"));
        let operands: Vec<String> = node.operands().iter().map(|o| format!("%{}", number[o])).collect();
        let mut attrs = node.op.attrs();
        // A network's inputs are all images.
        attrs.retain(|(name, _)| !(*name == "role" && matches!(node.op, Operator::Input(_))));
        let attrs: Vec<String> = attrs.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let attrs = if attrs.is_empty() { String::new() } else { format!(" {{{}}}", attrs.join(", ")) };
        line(format!("%{i}{name} = {}({}){attrs} : {}", node.op.name(), operands.join(", "), node.ty));
    }
    for (name, id) in &graph.outputs {
        line(format!("output {name:?} = %{}", number[id]));
    }
    out
}
