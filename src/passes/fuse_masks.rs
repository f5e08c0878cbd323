//! Joins the gradient of a ReLU to the product before it, the gradient of a 1x1 convolution's input: a comparison while the
//! results are in registers, instead of a trip to memory. Larger windows are left to the Winograd domain.

use super::{dce, only_user};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;

pub fn run(graph: &mut Graph) -> Result<(), String> {
    for id in graph.order() {
        if let Some((product, y)) = masked(graph, id) {
            let operands = [graph.operands(product), &[y]].concat();
            let fused = graph.add(graph.op(product).clone(), &operands)?;
            graph.replace(id, fused);
        }
    }
    dce::run(graph)
}

/// The product and the ReLU's result, if `id` is the only user of such a product.
fn masked(graph: &Graph, id: NodeId) -> Option<(NodeId, NodeId)> {
    let Operator::ActivationGrad(activation) = graph.op(id) else { return None };
    let &[y, product] = graph.operands(id) else { return None };
    let Operator::Conv2dGradInput(_) = graph.op(product) else { return None };
    let &[w, dy] = graph.operands(product) else { return None };
    let pointwise = graph.ty(w).dims[2..] == [1, 1];
    let alone = only_user(graph, product) == Some(id) && ![w, dy].contains(&y);
    (activation.function == "relu" && pointwise && alone).then_some((product, y))
}
