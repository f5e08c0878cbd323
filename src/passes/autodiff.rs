//! Reverse-mode differentiation: adds the nodes that compute gradients.

use super::error::PassError;
use crate::graph::{Graph, NodeId};
use crate::ops::GradCx;
use crate::ops::arithmetic::Add;
use crate::ops::source::Fill;
use crate::types::DType;
use std::collections::{HashMap, HashSet};

/// Gradients of `loss` (one shared number; of any other value, of the sum of its elements) with respect to `wrt`, in
/// that order. `None`: the loss does not depend on it. Contributions of several users are added in a fixed order, and
/// nothing is built that no wanted gradient needs.
pub fn gradients(graph: &mut Graph, loss: NodeId, wrt: &[NodeId]) -> Result<Vec<Option<NodeId>>, PassError> {
    let order = graph.order();
    let needed = dependents(graph, &order, wrt);
    let mut contributions: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    if needed.contains(&loss) {
        let ty = graph.ty(loss).clone();
        if ty.dtype != DType::F32 {
            return Err(PassError::Graph(format!("there is no gradient of {ty}")));
        }
        let seed = graph.add(Fill { value: 1.0, batched: ty.batched, dims: ty.dims }, &[])?;
        contributions.insert(loss, vec![seed]);
    }
    let wanted: HashSet<NodeId> = wrt.iter().copied().collect();
    let mut found = HashMap::new();
    for &id in order.iter().rev() {
        let Some(parts) = contributions.remove(&id) else {
            continue;
        };
        let grad = sum(graph, &parts)?;
        if wanted.contains(&id) {
            found.insert(id, grad);
        }
        let operands = graph.operands(id).to_vec();
        let needs: Vec<bool> = operands.iter().map(|o| needed.contains(o)).collect();
        if !needs.contains(&true) {
            continue;
        }
        for (operand, part) in operand_gradients(graph, id, &operands, &needs, grad)? {
            contributions.entry(operand).or_default().push(part);
        }
    }
    Ok(wrt.iter().map(|id| found.get(id).copied()).collect())
}

/// The values that depend on any of `wrt`, these included.
fn dependents(graph: &Graph, order: &[NodeId], wrt: &[NodeId]) -> HashSet<NodeId> {
    let mut needed: HashSet<NodeId> = wrt.iter().copied().collect();
    for &id in order {
        if graph.operands(id).iter().any(|o| needed.contains(o)) {
            needed.insert(id);
        }
    }
    needed
}

/// What a node passes on to those of its operands that need it.
fn operand_gradients(
    graph: &mut Graph,
    id: NodeId,
    operands: &[NodeId],
    needs: &[bool],
    grad: NodeId,
) -> Result<Vec<(NodeId, NodeId)>, PassError> {
    let op = graph.op(id).clone();
    let label = op.name();
    let mut cx = GradCx { graph: &mut *graph, operands: operands.to_vec(), needs: needs.to_vec(), result: id, grad };
    let gradients = op.gradient(&mut cx)?;
    if gradients.len() != operands.len() {
        let (given, wanted) = (gradients.len(), operands.len());
        return Err(PassError::Graph(format!("{label}: {given} gradients for {wanted} operands")));
    }
    let mut parts = Vec::new();
    for ((&operand, &needed), gradient) in operands.iter().zip(needs).zip(gradients) {
        let Some(gradient) = gradient.filter(|_| needed) else {
            continue;
        };
        let (have, want) = (graph.ty(gradient), graph.ty(operand));
        if have != want {
            return Err(PassError::Graph(format!("{label}: the gradient of an operand {want} is {have}")));
        }
        parts.push((operand, gradient));
    }
    Ok(parts)
}

/// The sum of contributions, first to last.
fn sum(graph: &mut Graph, parts: &[NodeId]) -> Result<NodeId, PassError> {
    let missing = || PassError::Graph("a value without contributions".into());
    let (&first, rest) = parts.split_first().ok_or_else(missing)?;
    Ok(rest.iter().try_fold(first, |sum, &part| graph.add(Add {}, &[sum, part]))?)
}
