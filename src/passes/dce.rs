//! Removes what no result needs. Inputs that are fed per image stay: they are the program's signature.

use super::error::PassError;
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use std::collections::HashSet;

/// Removes what no result and no update needs.
pub fn run(graph: &mut Graph) -> Result<(), PassError> {
    let live = live(graph);
    for id in graph.order().into_iter().rev() {
        if !live.contains(&id) {
            graph.remove(id);
        }
    }
    Ok(())
}

fn live(graph: &Graph) -> HashSet<NodeId> {
    let mut open: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    open.extend(graph.updates.iter().flat_map(|(param, value)| [*param, *value]));
    open.extend(graph.ids().into_iter().filter(|&id| matches!(graph.op(id), Operator::Input(i) if i.batched)));
    let mut live = HashSet::new();
    while let Some(id) = open.pop() {
        if live.insert(id) {
            open.extend(graph.operands(id));
        }
    }
    live
}
