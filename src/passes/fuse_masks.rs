//! Joins the gradient of a ReLU to the product before it, the gradient of a 1x1 convolution's input: a comparison while
//! the results are in registers, instead of a trip to memory. Larger windows are left to the Winograd domain. Roundings
//! are joined to what makes their values likewise.

use super::error::PassError;
use super::{dce, only_user};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::activation::{ActivationGrad, Function};
use crate::ops::batch_norm::BatchNormGradInput;
use crate::ops::conv::Conv2dGradInput;
use crate::ops::gelu::{Gelu, GeluGrad};
use crate::ops::round::Round;

/// Joins the gradients of ReLUs to the products before them, and roundings to what makes their values.
pub fn run(graph: &mut Graph) -> Result<(), PassError> {
    for id in graph.order() {
        if let Some((product, y)) = masked(graph, id) {
            let operands = [graph.operands(product), &[y]].concat();
            let fused = graph.add(graph.op(product).clone(), &operands)?;
            graph.replace(id, fused);
        }
    }
    dce::run(graph)?;
    for id in graph.order() {
        if let Some((product, op)) = rounded(graph, id) {
            let operands = graph.operands(product).to_vec();
            let fused = graph.add(op, &operands)?;
            graph.replace(id, fused);
        }
    }
    dce::run(graph)
}

/// The value that `id` alone reads, to round it; and the operator that does both.
fn rounded(graph: &Graph, id: NodeId) -> Option<(NodeId, Operator)> {
    let &Operator::Round(Round { to }) = graph.op(id) else { return None };
    let value = graph.operands(id)[0];
    let round = Some(to);
    let op = match graph.op(value).clone() {
        Operator::Conv2dGradInput(op) => Conv2dGradInput { round, ..op }.into(),
        Operator::ActivationGrad(op) => ActivationGrad { round, ..op }.into(),
        Operator::Gelu(op) => Gelu { round, ..op }.into(),
        Operator::GeluGrad(op) => GeluGrad { round, ..op }.into(),
        Operator::BatchNormGradInput(op) => BatchNormGradInput { round, ..op }.into(),
        _ => return None,
    };
    (only_user(graph, value) == Some(id)).then_some((value, op))
}

/// The product and the ReLU's result, if `id` is the only user of such a product.
fn masked(graph: &Graph, id: NodeId) -> Option<(NodeId, NodeId)> {
    let Operator::ActivationGrad(activation) = graph.op(id) else { return None };
    let &[y, product] = graph.operands(id) else { return None };
    let Operator::Conv2dGradInput(conv) = graph.op(product) else { return None };
    let &[w, dy] = graph.operands(product) else { return None };
    let pointwise = conv.window.kernel == [1, 1];
    let alone = only_user(graph, product) == Some(id) && ![w, dy].contains(&y);
    let plain = activation.function == Function::Relu && activation.round.is_none();
    (plain && pointwise && alone).then_some((product, y))
}
