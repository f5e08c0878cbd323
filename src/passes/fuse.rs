//! Fuses convolution, bias, activation and rounding with the 1x1 convolutions that follow into one mlpconv, so that the
//! values in between stay in cache. Chains written by hand and those of `mlpconv` look the same here.

use super::{dce, only_user};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::activation::Activation;
use crate::ops::conv::Conv2d;
use crate::ops::mlpconv::MlpConv;
use crate::ops::round::Round;
use crate::types::Format;

/// Inference: chains as long as they go.
pub fn chains(graph: &mut Graph) -> Result<(), String> {
    run(graph, usize::MAX)
}

/// Training: a convolution with its activation. Longer chains would have to store what they are there to avoid.
pub fn pairs(graph: &mut Graph) -> Result<(), String> {
    run(graph, 1)
}

fn run(graph: &mut Graph, most: usize) -> Result<(), String> {
    for id in graph.order() {
        // A chain that began earlier has swallowed this one, if it is gone.
        if !graph.contains(id) {
            continue;
        }
        let Operator::Conv2d(first) = graph.op(id).clone() else { continue };
        let chain = follow(graph, id, most);
        if chain.stages.len() < 2 && chain.stages.iter().all(|s| s.activation.is_none() && s.round.is_none()) {
            continue;
        }
        let fused = graph.add(chain.operator(graph, &first), &chain.operands(graph, id))?;
        graph.replace(chain.last, fused);
        dce::run(graph)?;
    }
    Ok(())
}

struct Stage {
    conv: NodeId,
    activation: Option<Activation>,
    round: Option<Format>,
}

struct Chain {
    stages: Vec<Stage>,
    /// The value that the chain makes.
    last: NodeId,
}

fn follow(graph: &Graph, first: NodeId, most: usize) -> Chain {
    let mut chain = Chain { stages: vec![], last: first };
    loop {
        let conv = chain.last;
        let mut activation = None;
        if let Some(user) = only_user(graph, conv)
            && let Operator::Activation(function) = graph.op(user)
        {
            activation = Some(function.clone());
            chain.last = user;
        }
        let mut round = None;
        if let Some(user) = only_user(graph, chain.last)
            && let &Operator::Round(Round { to }) = graph.op(user)
        {
            round = Some(to);
            chain.last = user;
        }
        chain.stages.push(Stage { conv, activation, round });
        match only_user(graph, chain.last) {
            Some(next) if chain.stages.len() < most && joins(graph, next, chain.last) => chain.last = next,
            _ => return chain,
        }
    }
}

/// Is `id` a 1x1 convolution that maps each position of `x` by itself?
fn joins(graph: &Graph, id: NodeId, x: NodeId) -> bool {
    let Operator::Conv2d(conv) = graph.op(id) else { return false };
    let operands = graph.operands(id);
    conv.stride == [1, 1]
        && conv.pad == [0, 0]
        && conv.groups == 1
        && operands[0] == x
        && !operands[1..].contains(&x)
        && graph.ty(operands[1]).dims[2..] == [1, 1]
}

impl Chain {
    fn operator(&self, graph: &Graph, first: &Conv2d) -> MlpConv {
        let function = |s: &Stage| s.activation.as_ref().map_or("none".into(), |a| a.function.clone());
        MlpConv {
            stride: first.stride,
            pad: first.pad,
            dilation: first.dilation,
            groups: first.groups,
            biases: self.stages.iter().map(|s| graph.operands(s.conv).len() == 3).collect(),
            activations: self.stages.iter().map(function).collect(),
            slopes: self.stages.iter().map(|s| s.activation.as_ref().map_or(0.0, |a| a.slope)).collect(),
            rounds: self.stages.iter().map(|s| s.round).collect(),
            pool: String::new(),
            pool_kernel: [1, 1],
            pool_stride: [1, 1],
            pool_pad: [0, 0],
            pool_ceil: true,
        }
    }

    fn operands(&self, graph: &Graph, first: NodeId) -> Vec<NodeId> {
        let mut operands = vec![graph.operands(first)[0]];
        for stage in &self.stages {
            operands.extend(&graph.operands(stage.conv)[1..]);
        }
        operands
    }
}
