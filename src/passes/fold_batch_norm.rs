//! At inference a batch normalisation after a convolution or a linear layer is part of its weights and bias: `w' =
//! w·g`, `b' = (b - mean)·g + beta` with `g = gamma/sqrt(variance + epsilon)`. The folded parameters are graph values
//! that depend on parameters alone, so they are computed when weights are loaded, not in each run.

use super::error::PassError;
use super::{dce, fold_scale::prepared, only_user};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::facts::Folding;
use crate::ops::fold::{FoldBias, FoldWeight};
use crate::ops::source::Fill;

/// Folds batch normalisations into the products before them.
pub fn run(graph: &mut Graph) -> Result<(), PassError> {
    for id in graph.order() {
        let Operator::BatchNorm(norm) = graph.op(id) else { continue };
        let epsilon = norm.epsilon;
        let (layer, statistics) = (graph.operands(id)[0], graph.operands(id)[1..].to_vec());
        let foldable = graph.op(layer).folding() == Folding::ScaleAndNorm;
        let fixed = |ids: &[NodeId]| ids.iter().all(|&o| prepared(graph, o));
        if foldable && only_user(graph, layer) == Some(id) && fixed(&statistics) && fixed(&graph.operands(layer)[1..]) {
            let folded = fold(graph, layer, &statistics, epsilon)?;
            graph.replace(id, folded);
        }
    }
    dce::run(graph)
}

/// Puts the normalisation into the layer's parameters; `statistics` are gamma, beta, mean, variance.
fn fold(graph: &mut Graph, layer: NodeId, statistics: &[NodeId], epsilon: f64) -> Result<NodeId, PassError> {
    let operands = graph.operands(layer).to_vec();
    let [gamma, beta, mean, variance] = statistics else {
        return Err(PassError::Graph("a batch normalisation without four parameters".into()));
    };
    let weight = graph.add(FoldWeight { epsilon }, &[operands[1], *gamma, *variance])?;
    let bias = match operands.get(2) {
        Some(&bias) => bias,
        None => graph.add(Fill { value: 0.0, batched: false, dims: graph.ty(*beta).dims.clone() }, &[])?,
    };
    let bias = graph.add(FoldBias { epsilon }, &[bias, *gamma, *beta, *mean, *variance])?;
    let op = graph.op(layer).clone();
    Ok(graph.add(op, &[operands[0], weight, bias])?)
}
