//! Which values are kept as bf16 in memory: those whose elements are exact in it, where all that read them are products
//! or copy. On a processor the products must take pairs or tiles of bf16 in one instruction: elsewhere widening a bf16
//! costs more than the memory that it saves is worth. A GPU's products widen numbers on their way into local memory.

use crate::graph::{Graph, NodeId};
use crate::lower::target::{Batch, Target};
use crate::ops::facts::{Storage, exact};
use crate::types::Format;

/// Is this value kept as bf16?
pub fn as_bf16(graph: &Graph, target: &Target, id: NodeId) -> bool {
    // On a processor, a step of training reads its values in too many ways.
    let products = (target.cpu().bf16 || target.cpu().tiles) && target.batch != Batch::Training;
    (products || target.is_gpu()) && kept(graph, target, id)
}

fn kept(graph: &Graph, target: &Target, id: NodeId) -> bool {
    let users = graph.users(id);
    makes(graph, target, id)
        && !graph.is_result(id)
        && !users.is_empty()
        && users.iter().all(|&user| reads(graph, target, user, id))
}

/// Are the elements exact, and can the operator's kernels store them so?
fn makes(graph: &Graph, target: &Target, id: NodeId) -> bool {
    match graph.op(id).storage() {
        Storage::Float32 => false,
        Storage::Bf16 => exact(graph, id) == Some(Format::Bf16),
        Storage::AsOperand => kept(graph, target, graph.operands(id)[0]),
    }
}

/// Do the kernels of `user` take this operand as bf16, in all its places?
fn reads(graph: &Graph, target: &Target, user: NodeId, id: NodeId) -> bool {
    let (op, gpu) = (graph.op(user), target.is_gpu());
    let mut places = graph.operands(user).iter().enumerate().filter(|(_, operand)| **operand == id);
    places.all(|(i, _)| op.reads_bf16(i, gpu))
}
