//! Expands each mlpconv into convolutions, activations and its pooling.

use super::error::PassError;
use super::{dce, name_once};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::mlpconv::MlpConv;

/// Takes fused chains apart into convolutions, activations and poolings.
pub fn run(graph: &mut Graph) -> Result<(), PassError> {
    for id in graph.order() {
        if let Operator::MlpConv(op) = graph.op(id).clone() {
            let last = expand(graph, id, &op)?;
            graph.replace(id, last);
        }
    }
    dce::run(graph)
}

fn expand(graph: &mut Graph, id: NodeId, op: &MlpConv) -> Result<NodeId, PassError> {
    let operands = graph.operands(id).to_vec();
    let (mut value, mut params) = (operands[0], &operands[1..]);
    let steps = op.steps();
    let last = steps.len() - 1;
    for (i, step) in steps.into_iter().enumerate() {
        let (own, others) = params.split_at(step.params);
        value = graph.add(step.op, &[&[value], own].concat())?;
        params = others;
        // The last value takes the whole chain's name.
        if let Some(&weight) = own.first().filter(|_| i < last) {
            name_after_weight(graph, value, weight);
        }
    }
    Ok(value)
}

/// `block1.cccp1.weight` makes `block1.cccp1`: kernels and dumps are easier to read.
fn name_after_weight(graph: &mut Graph, value: NodeId, weight: NodeId) {
    if let Operator::Param(param) = graph.op(weight)
        && let Some(name) = param.name.strip_suffix(".weight").map(str::to_string)
    {
        name_once(graph, value, &name);
    }
}
