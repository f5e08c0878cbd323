//! Which values are kept as bf16 in memory: those whose elements are exact in it, where all that read them multiply pairs of
//! bf16 in one instruction, or copy. Elsewhere a float32 costs fewer instructions than the memory it takes is worth.

use crate::graph::{Graph, NodeId};
use crate::kernel::target::{Batch, Target};
use crate::ops::Operator;

pub fn suits(graph: &Graph, target: &Target, id: NodeId) -> bool {
    // A step of training reads its values in too many ways.
    let pairs = target.bf16 && target.gpu.is_none() && target.batch != Batch::Training;
    pairs && kept(graph, id)
}

fn kept(graph: &Graph, id: NodeId) -> bool {
    let users = graph.users(id);
    makes(graph, id) && !graph.is_result(id) && !users.is_empty() && users.iter().all(|&user| reads(graph, user, id))
}

/// Are the elements exact, and can the operator's kernels store them so?
fn makes(graph: &Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Operator::RoundBf16(_) => true,
        Operator::MlpConv(chain) => chain.pool.is_empty() && chain.rounds.last() == Some(&true),
        Operator::MaxPool(_) => kept(graph, graph.operands(id)[0]),
        _ => false,
    }
}

/// Do the kernels of `user` take this operand as bf16? Products take their factors so, poolings an image.
fn reads(graph: &Graph, user: NodeId, id: NodeId) -> bool {
    let places = || graph.operands(user).iter().enumerate().filter(move |(_, operand)| **operand == id).map(|(i, _)| i);
    match graph.op(user) {
        Operator::Conv2d(_) | Operator::Linear(_) => places().all(|i| i < 2),
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
