//! Which values are kept as bf16 in memory: those whose elements are exact in it, where all that read them are products
//! or copy. On a processor the products must take pairs or tiles of bf16 in one instruction, and in training tiles:
//! elsewhere widening a bf16 costs more than the memory that it saves is worth. A GPU's products widen numbers on their
//! way into local memory.

use crate::graph::{Graph, NodeId};
use crate::lower::target::{Batch, Target};
use crate::ops::facts::{Reader, Storage, exact};
use crate::types::Format;

/// Is this value kept as bf16?
pub fn as_bf16(graph: &Graph, target: &Target, id: NodeId) -> bool {
    reader(target).is_some_and(|by| kept(graph, by, id))
}

/// Who would read it.
fn reader(target: &Target) -> Option<Reader> {
    let cpu = target.cpu();
    match target.batch {
        _ if target.is_gpu() => Some(Reader::Gpu),
        Batch::Training => target.trains_on_tiles().then_some(Reader::Tiles),
        _ => (cpu.bf16 || cpu.tiles).then_some(Reader::Inference),
    }
}

fn kept(graph: &Graph, by: Reader, id: NodeId) -> bool {
    let users = graph.users(id);
    makes(graph, by, id)
        && !graph.is_result(id)
        && !users.is_empty()
        && users.iter().all(|&user| reads(graph, by, user, id))
}

/// Are the elements exact, and can the operator's kernels store them so?
fn makes(graph: &Graph, by: Reader, id: NodeId) -> bool {
    let exact = || exact(graph, id) == Some(Format::Bf16);
    match graph.op(id).storage() {
        Storage::Float32 => false,
        Storage::Bf16 => exact(),
        Storage::OnTiles => by == Reader::Tiles && exact() && multiplies_bf16(graph, id),
        Storage::AsOperand(from) => kept(graph, by, graph.operands(id)[from]),
    }
}

/// Do the kernels of `user` take this operand as bf16, in all its places?
fn reads(graph: &Graph, by: Reader, user: NodeId, id: NodeId) -> bool {
    let op = graph.op(user);
    let mut places = graph.operands(user).iter().enumerate().filter(|(_, operand)| **operand == id);
    (by != Reader::Tiles || multiplies_bf16(graph, user)) && places.all(|(i, _)| op.reads_bf16(i, by))
}

/// Are the factors of its products, if it has any, exact in bf16?
fn multiplies_bf16(graph: &Graph, id: NodeId) -> bool {
    let operands = graph.operands(id);
    graph.op(id).factors().iter().all(|&i| exact(graph, operands[i]) == Some(Format::Bf16))
}
