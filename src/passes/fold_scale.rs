//! `conv(s·x, w)` is `conv(x, s·w)`: a constant factor before a layer moves into its weights, which are prepared once.
//! Exact up to rounding because convolutions pad with zeros.

use super::dce;
use super::error::PassError;
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::arithmetic::Scale;
use crate::ops::facts::Folding;

/// Moves constant factors before a layer into its weights.
pub fn run(graph: &mut Graph) -> Result<(), PassError> {
    for id in graph.order() {
        if graph.op(id).folding() == Folding::Nothing {
            continue;
        }
        let operands = graph.operands(id).to_vec();
        let Operator::Scale(Scale { factor }) = *graph.op(operands[0]) else { continue };
        if !prepared(graph, operands[1]) {
            continue;
        }
        let x = graph.operands(operands[0])[0];
        let weight = graph.add(Scale { factor }, &[operands[1]])?;
        let mut inputs = vec![x, weight];
        inputs.extend(&operands[2..]);
        let op = graph.op(id).clone();
        let folded = graph.add(op, &inputs)?;
        graph.replace(id, folded);
    }
    dce::run(graph)
}

/// Does the value depend on parameters alone? Then work on it is done once, not per run.
pub fn prepared(graph: &Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Operator::Param(_) => true,
        Operator::Input(_) => false,
        _ => !graph.ty(id).batched && graph.operands(id).iter().all(|&o| prepared(graph, o)),
    }
}
