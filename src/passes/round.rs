//! `--precision bf16` and `tf32`: round the factors of every product to that format. The roundings are values of the
//! graph, so that interpreters and kernels mean the same; sums, and all else, stay float32, but for the images that
//! batch normalisation and GELU read in training: they are rounded to bf16 as well.
//!
//! A value that a product reads is rounded where it is made, and all that read it read the rounded one: it need not be
//! kept twice. Parameters are rounded for products only; an update moves the float32 ones.

use super::Pass;
use super::error::PassError;
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::batch_norm::BatchNormGradInput;
use crate::ops::facts::{Elements, exact};
use crate::ops::round::Round;
use crate::types::Format;

/// The pass that rounds to this format.
pub fn pass(to: Format) -> Pass {
    let run: fn(&mut Graph) -> Result<(), PassError> = match to {
        Format::Bf16 => |graph| run(graph, Format::Bf16),
        Format::Tf32 => |graph| run(graph, Format::Tf32),
    };
    Pass { name: to.name(), run }
}

fn run(graph: &mut Graph, to: Format) -> Result<(), PassError> {
    graph.order().into_iter().try_for_each(|id| factors(graph, id, to))
}

/// Rounds the factors of one product, and in bf16 what crosses memory more often than any other value of a training:
/// the image that is normalised and the gradient that comes back to it, and what a GELU reads in both directions.
pub fn factors(graph: &mut Graph, id: NodeId, to: Format) -> Result<(), PassError> {
    let places = match (graph.op(id), to) {
        (Operator::BatchMean(_) | Operator::GeluGrad(_), Format::Bf16) => vec![0],
        (Operator::BatchNormGradInput(_), Format::Bf16) => vec![BatchNormGradInput::GRADIENT],
        (op, _) => op.factors(),
    };
    for i in places {
        let factor = graph.operands(id)[i];
        if exact(graph, factor) != Some(to) {
            round(graph, source(graph, factor), to)?;
        }
    }
    Ok(())
}

/// The value to round: selecting from rounded elements is rounding the selected ones, and the maker can round as it
/// stores.
fn source(graph: &Graph, id: NodeId) -> NodeId {
    let mut id = id;
    while let Elements::Selected(from) = graph.op(id).elements() {
        let from = graph.operands(id)[from];
        if matches!(graph.op(from), Operator::Param(_)) {
            break;
        }
        id = from;
    }
    id
}

fn round(graph: &mut Graph, id: NodeId, to: Format) -> Result<(), PassError> {
    let mut users = graph.users(id);
    if matches!(graph.op(id), Operator::Param(_)) {
        users.retain(|&user| !graph.op(user).factors().is_empty());
    }
    let rounded = graph.add(Round { to }, &[id])?;
    graph.replace_in(id, rounded, &users);
    Ok(())
}
