//! Common subexpressions: equal operators on equal operands are computed once. Random operators qualify too, because
//! their numbers depend on the key and the stream alone.

use super::dce;
use super::error::PassError;
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use std::collections::HashMap;

/// Makes users of equal values share one of them.
pub fn run(graph: &mut Graph) -> Result<(), PassError> {
    let mut seen: HashMap<(String, Vec<NodeId>), NodeId> = HashMap::new();
    for id in graph.order() {
        // Two parameters may start equal, yet each is a place of its own.
        if matches!(graph.op(id), Operator::Param(_) | Operator::Input(_)) {
            continue;
        }
        // The debug form holds every attribute exactly, floats included.
        let key = (format!("{:?}", graph.op(id)), graph.operands(id).to_vec());
        match seen.get(&key) {
            Some(&first) => graph.replace(id, first),
            None => {
                seen.insert(key, id);
            }
        }
    }
    dce::run(graph)
}
