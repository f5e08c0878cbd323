//! Joins batch normalisation in training to the activation and the rounding behind it: one trip of the image through
//! memory instead of three. (At inference a normalisation is folded into the weights before it.)

use super::error::PassError;
use super::{dce, only_user};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::activation::Activation;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::round::Round;

/// Joins each normalisation to what alone reads its result.
pub fn run(graph: &mut Graph) -> Result<(), PassError> {
    for id in graph.order() {
        let Operator::BatchNorm(norm) = graph.op(id).clone() else { continue };
        let (fused, last) = join(graph, id, norm);
        if last != id {
            let operands = graph.operands(id).to_vec();
            let fused = graph.add(fused, &operands)?;
            graph.replace(last, fused);
        }
    }
    dce::run(graph)
}

/// The operator for all that is joined, and the value that it computes.
fn join(graph: &Graph, id: NodeId, mut norm: BatchNorm) -> (BatchNorm, NodeId) {
    let mut last = id;
    if let Some(user) = only_user(graph, last)
        && let &Operator::Activation(Activation { function }) = graph.op(user)
        && norm.activation.is_none()
        && norm.round.is_none()
    {
        norm.activation = Some(function);
        last = user;
    }
    if let Some(user) = only_user(graph, last)
        && let &Operator::Round(Round { to }) = graph.op(user)
        && norm.round.is_none()
    {
        norm.round = Some(to);
        last = user;
    }
    (norm, last)
}
