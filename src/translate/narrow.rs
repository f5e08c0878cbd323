//! Which values are kept as bf16 in memory: those whose elements are exact in it, where all that read them are products
//! or copy. On a processor they must multiply pairs of bf16 in one instruction: elsewhere a float32 costs fewer
//! instructions than the memory it takes is worth. A GPU's products widen numbers on their way into local memory.

use crate::graph::{Graph, NodeId};
use crate::lower::target::{Batch, Target};
use crate::ops::{Operator, round};
use crate::types::Format;

pub fn suits(graph: &Graph, target: &Target, id: NodeId) -> bool {
    // On a processor, a step of training reads its values in too many ways.
    let pairs = target.bf16 && target.batch != Batch::Training;
    (pairs || target.gpu.is_some()) && kept(graph, target, id)
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
    match graph.op(id) {
        Operator::Round(_) | Operator::MlpConv(_) => round::exact(graph, id) == Some(Format::Bf16),
        Operator::MaxPool(_) => kept(graph, target, graph.operands(id)[0]),
        _ => false,
    }
}

/// Do the kernels of `user` take this operand as bf16? Products take their factors so, poolings an image.
fn reads(graph: &Graph, target: &Target, user: NodeId, id: NodeId) -> bool {
    let places = || graph.operands(user).iter().enumerate().filter(move |(_, operand)| **operand == id).map(|(i, _)| i);
    let (gpu, factors) = (target.gpu.is_some(), || places().all(|i| i < 2));
    match graph.op(user) {
        Operator::Conv2d(_) | Operator::Linear(_) => factors(),
        // By a GPU's recipes alone; in groups they may run by a processor's.
        Operator::LinearGradInput(_) | Operator::LinearGradWeight(_) => gpu && factors(),
        Operator::Conv2dGradInput(conv) => gpu && conv.groups == 1 && factors(),
        Operator::Conv2dGradWeight(conv) => gpu && conv.groups == 1 && factors(),
        Operator::MlpConv(chain) => {
            // The image, then for each stage its weights and perhaps a bias.
            let stages = chain.biases.iter().scan(1, |at, &bias| {
                let own = *at;
                *at += 1 + usize::from(bias);
                Some(own)
            });
            let factors: Vec<usize> = std::iter::once(0).chain(stages).collect();
            places().all(|i| factors.contains(&i))
        }
        Operator::MaxPool(_) => true,
        _ => false,
    }
}
