//! Joins the gradient of a ReLU, and a rounding, to the product before it, the gradient of a 1x1 convolution's input: a
//! comparison while the results are in registers, instead of a trip to memory. Larger windows are left to the Winograd
//! domain.

use super::error::PassError;
use super::{dce, only_user};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::activation::Function;
use crate::ops::conv::Conv2dGradInput;
use crate::ops::round::Round;

/// Joins the gradients of ReLUs, and roundings, to the products before them.
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

/// The product whose result `id` alone reads, to round it; and the operator that does both.
fn rounded(graph: &Graph, id: NodeId) -> Option<(NodeId, Conv2dGradInput)> {
    let &Operator::Round(Round { to }) = graph.op(id) else { return None };
    let product = graph.operands(id)[0];
    let Operator::Conv2dGradInput(op) = graph.op(product) else { return None };
    (only_user(graph, product) == Some(id)).then(|| (product, Conv2dGradInput { round: Some(to), ..op.clone() }))
}

/// The product and the ReLU's result, if `id` is the only user of such a product.
fn masked(graph: &Graph, id: NodeId) -> Option<(NodeId, NodeId)> {
    let Operator::ActivationGrad(activation) = graph.op(id) else { return None };
    let &[y, product] = graph.operands(id) else { return None };
    let Operator::Conv2dGradInput(conv) = graph.op(product) else { return None };
    let &[w, dy] = graph.operands(product) else { return None };
    let pointwise = conv.window.kernel == [1, 1];
    let alone = only_user(graph, product) == Some(id) && ![w, dy].contains(&y);
    (activation.function == Function::Relu && pointwise && alone).then_some((product, y))
}
