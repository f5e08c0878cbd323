//! `--precision bf16`: rounds the factors of every product to bf16. The roundings are values of the graph, so that interpreters
//! and kernels mean the same; sums, and all else, stay float32.
//!
//! A value that a product reads is rounded where it is made, and all that read it read the rounded one: it need not be kept
//! twice. Parameters are rounded for products only; an update moves the float32 ones.

use super::Pass;
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::round::RoundBf16;

pub const PASS: Pass = Pass { name: "bf16", run };

pub fn run(graph: &mut Graph) -> Result<(), String> {
    for id in graph.order() {
        if !multiplies(graph.op(id)) {
            continue;
        }
        // Both factors of a product come first; a bias is added.
        for i in 0..2 {
            let factor = graph.operands(id)[i];
            if !exact(graph, factor) {
                round(graph, source(graph, factor))?;
            }
        }
    }
    Ok(())
}

/// Is the result a sum of products of the first two operands?
pub fn multiplies(op: &Operator) -> bool {
    matches!(
        op,
        Operator::Conv2d(_)
            | Operator::Conv2dGradInput(_)
            | Operator::Conv2dGradWeight(_)
            | Operator::Linear(_)
            | Operator::LinearGradInput(_)
            | Operator::LinearGradWeight(_)
            | Operator::LocalConv(_)
            | Operator::LocalConvGradInput(_)
            | Operator::LocalConvGradWeight(_)
            | Operator::DropConnect(_)
            | Operator::DropConnectTrain(_)
            | Operator::DropConnectGradInput(_)
            | Operator::DropConnectGradWeight(_)
    )
}

/// Does the operator give elements of its operand as they are?
fn selects(op: &Operator) -> bool {
    matches!(op, Operator::Reshape(_) | Operator::MaxPool(_) | Operator::GlobalMaxPool(_))
}

/// Is every element a bf16?
pub fn exact(graph: &Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Operator::RoundBf16(_) => true,
        Operator::MlpConv(chain) => chain.rounded(),
        Operator::Conv2dGradInput(product) => product.rounded,
        op => selects(op) && exact(graph, graph.operands(id)[0]),
    }
}

/// The value to round: selecting from rounded elements is rounding the selected ones, and the maker can round as it stores.
fn source(graph: &Graph, id: NodeId) -> NodeId {
    let mut id = id;
    while selects(graph.op(id)) && !matches!(graph.op(graph.operands(id)[0]), Operator::Param(_)) {
        id = graph.operands(id)[0];
    }
    id
}

fn round(graph: &mut Graph, id: NodeId) -> Result<(), String> {
    let mut users = graph.users(id);
    if matches!(graph.op(id), Operator::Param(_)) {
        users.retain(|&user| multiplies(graph.op(user)));
    }
    let rounded = graph.add(RoundBf16 {}, &[id])?;
    graph.replace_in(id, rounded, &users);
    Ok(())
}
