//! Fuses convolution, bias, activation and rounding with the 1x1 convolutions that follow into one mlpconv, so that the
//! values in between stay in cache. Chains written by hand and those of `mlpconv` look the same here.

use super::error::PassError;
use super::{dce, only_user};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::activation::{Activation, Function};
use crate::ops::conv::Conv2d;
use crate::ops::mlpconv::{MlpConv, Stage};
use crate::ops::round::Round;
use crate::ops::window::Window;
use crate::types::Format;

/// Fuses for inference: chains as long as they go.
pub fn chains(graph: &mut Graph) -> Result<(), PassError> {
    run(graph, usize::MAX)
}

/// Fuses for training: a convolution with its activation. Longer chains would have to store the values that they are
/// there to avoid.
pub fn pairs(graph: &mut Graph) -> Result<(), PassError> {
    run(graph, 1)
}

fn run(graph: &mut Graph, most: usize) -> Result<(), PassError> {
    let mut clean = false;
    for id in graph.order() {
        // A chain that began earlier has swallowed this one, if it is gone.
        if !graph.contains(id) {
            continue;
        }
        let Operator::Conv2d(first) = graph.op(id).clone() else { continue };
        let chain = follow(graph, id, most);
        if chain.links.len() < 2 && chain.links.iter().all(|s| s.activation.is_none() && s.round.is_none()) {
            continue;
        }
        let fused = graph.add(chain.operator(graph, &first), &chain.operands(graph, id))?;
        graph.replace(chain.last, fused);
        // What else is dead goes with the first chain; then each leaves nothing but itself behind.
        match clean {
            true => chain.nodes.iter().rev().for_each(|node| graph.remove(*node)),
            false => dce::run(graph)?,
        }
        clean = true;
    }
    Ok(())
}

/// A convolution, and what is done to its result.
struct Link {
    conv: NodeId,
    activation: Option<Function>,
    round: Option<Format>,
}

struct Chain {
    links: Vec<Link>,
    /// What it consists of, each behind what it reads.
    nodes: Vec<NodeId>,
    /// The value that the chain computes.
    last: NodeId,
}

fn follow(graph: &Graph, first: NodeId, most: usize) -> Chain {
    let mut chain = Chain { links: vec![], nodes: vec![first], last: first };
    loop {
        let conv = chain.last;
        let mut activation = None;
        if let Some(user) = only_user(graph, conv)
            && let &Operator::Activation(Activation { function }) = graph.op(user)
        {
            activation = Some(function);
            chain.step(user);
        }
        let mut round = None;
        if let Some(user) = only_user(graph, chain.last)
            && let &Operator::Round(Round { to }) = graph.op(user)
        {
            round = Some(to);
            chain.step(user);
        }
        chain.links.push(Link { conv, activation, round });
        match only_user(graph, chain.last) {
            Some(next) if chain.links.len() < most && joins(graph, next, chain.last) => chain.step(next),
            _ => return chain,
        }
    }
}

/// Is `id` a 1x1 convolution that maps each position of `x` by itself?
fn joins(graph: &Graph, id: NodeId, x: NodeId) -> bool {
    let Operator::Conv2d(conv) = graph.op(id) else { return false };
    let operands = graph.operands(id);
    let Window { kernel, stride, pad, .. } = conv.window;
    [kernel, stride, pad] == [[1, 1], [1, 1], [0, 0]]
        && conv.groups == 1
        && operands[0] == x
        && !operands[1..].contains(&x)
}

impl Chain {
    /// Goes on to the value that is computed of the last one.
    fn step(&mut self, next: NodeId) {
        self.nodes.push(next);
        self.last = next;
    }

    fn operator(&self, graph: &Graph, first: &Conv2d) -> MlpConv {
        let stage = |link: &Link| {
            let bias = graph.operands(link.conv).len() == 3;
            Stage { bias, activation: link.activation, round: link.round }
        };
        let stages = self.links.iter().map(stage).collect();
        MlpConv { window: first.window, groups: first.groups, stages, pool: None }
    }

    fn operands(&self, graph: &Graph, first: NodeId) -> Vec<NodeId> {
        let mut operands = vec![graph.operands(first)[0]];
        for link in &self.links {
            operands.extend(&graph.operands(link.conv)[1..]);
        }
        operands
    }
}
