//! A training step after parameters froze: it loses their updates, and with these all that nothing else needs: their
//! gradients, and the backward pass below the lowest layer that still learns.

use super::dce;
use super::error::PassError;
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::update::{Rule, Update};
use ninc_runtime::spec;
use std::collections::HashSet;

/// Changes the step to that of the time when that many epochs are done.
pub fn run(graph: &mut Graph, epochs: f64) -> Result<(), PassError> {
    let mut frozen = HashSet::new();
    for id in graph.order() {
        if let Some((param, name)) = stays(graph, id, epochs) {
            frozen.insert(name);
            // Averages take it up as it is.
            graph.replace(id, param);
        }
    }
    let mut updates = std::mem::take(&mut graph.updates);
    updates.retain(|&(place, value)| place != value && !own_state(graph, place, &frozen));
    graph.updates = updates;
    dce::run(graph)
}

/// The parameter that a node keeps from now on, and its name.
fn stays(graph: &Graph, id: NodeId, epochs: f64) -> Option<(NodeId, String)> {
    let Operator::Update(Update { rule: Rule::Until, .. }) = graph.op(id) else { return None };
    let &[param, _, _, last] = graph.operands(id) else { return None };
    match (graph.op(param), graph.op(last)) {
        (Operator::Param(param_op), Operator::Fill(last)) if last.value <= epochs => {
            Some((param, param_op.name.clone()))
        }
        _ => None,
    }
}

/// Is it a state that serves the update of one of these parameters alone? Averages go on.
fn own_state(graph: &Graph, place: NodeId, frozen: &HashSet<String>) -> bool {
    let Operator::Param(state) = graph.op(place) else { return false };
    let owner = state.name.rsplit_once('.').filter(|(_, kind)| ![spec::SLOW, spec::AVERAGE].contains(kind));
    state.state && owner.is_some_and(|(owner, _)| frozen.contains(owner))
}
