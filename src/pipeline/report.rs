//! What a compilation reports: its numbers, and the parameters of the program.

use crate::graph::{Graph, NodeId};
use crate::lower::Origins;
use crate::ops::Operator;
use ninc_runtime::init::{Init, Parameter};
use std::collections::BTreeMap;
use std::time::Duration;

/// A parameter or state of a program, for whoever initialises, saves and loads it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    /// Its name.
    pub name: String,
    /// Sizes of its dimensions, in PyTorch's layout.
    pub dims: Vec<usize>,
    /// How it is initialised.
    pub init: Init,
    /// Does training change it?
    pub trainable: bool,
    /// Whether it belongs to the optimiser: saved in checkpoints, not with the weights.
    pub state: bool,
}

impl ParamInfo {
    /// Returns it as the runtime knows it.
    pub fn parameter(&self) -> Parameter {
        Parameter { name: self.name.clone(), dims: self.dims.clone(), init: self.init, state: self.state }
    }
}

/// Numbers about a compiled program.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Kernel launches of one run.
    pub launches: usize,
    /// Launches when parameters change.
    pub prepare: usize,
    /// Multiply-adds per image as the graph defines them.
    pub multiply_adds: u64,
    /// Numbers in parameters, states of the optimiser left out.
    pub parameters: usize,
    /// Wall time of each step in order.
    pub times: Vec<(String, Duration)>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// On a GPU, the chains that can be one kernel: their names, and the products that they are otherwise.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Where the kernels come from.
    pub origins: Origins,
}

/// Multiply-adds per image of all nodes.
pub fn multiply_adds(graph: &Graph) -> u64 {
    let work = |&id: &NodeId| {
        let operands: Vec<_> = graph.operands(id).iter().map(|&o| graph.ty(o).clone()).collect();
        graph.op(id).multiply_adds(&operands, graph.ty(id))
    };
    graph.ids().iter().map(work).sum()
}

/// Returns the parameters of a graph in the order of their nodes, states last.
pub fn params(graph: &Graph) -> Vec<ParamInfo> {
    let mut params: Vec<ParamInfo> = Vec::new();
    for id in graph.ids() {
        if let Operator::Param(p) = graph.op(id) {
            params.push(ParamInfo {
                name: p.name.clone(),
                dims: p.dims.clone(),
                init: p.init,
                trainable: p.trainable,
                state: p.state,
            });
        }
    }
    params.sort_by_key(|p| p.state);
    params
}
