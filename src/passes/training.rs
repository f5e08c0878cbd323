//! Makes a training step of a network: the layers' training forms, the loss, gradients, and the optimiser's update, all
//! as graph values. Nothing of a step happens outside the graph but feeding it.

use super::error::PassError;
use super::{autodiff, class_vector, dce, optimizer, step_input};
use crate::graph::{Graph, NodeId};
use crate::ops::arithmetic::{Add, Mul, ScaleBy};
use crate::ops::cross_entropy::{CrossEntropy, OneHot};
use crate::ops::reduce::LossMean;
use crate::ops::softmax::scores;
use crate::ops::source::Param;
use crate::ops::{Operator, TrainCx};
use ninc_runtime::plan::Role;
use ninc_runtime::spec::Recipe;

/// Turns the graph into a training step. Afterwards the outputs are `loss` (the batch's mean) and `logits`; `updates`
/// holds all that the step changes. Inputs are the network's own, the labels, the random key and the optimiser's
/// numbers, as far as they are needed. With `mixed`, each image's target is a mixture of its own label and its
/// partner's. With class weights, each image's loss is multiplied by a number that is fed with its label.
pub fn run(graph: &mut Graph, recipe: &Recipe, mixed: bool) -> Result<(), PassError> {
    let logits = loss_operand(graph)?;
    // Kept as an output so that the replacements below carry it along.
    graph.outputs = vec![("logits".into(), logits)];
    specialise(graph)?;
    let logits = graph.outputs[0].1;
    let (each, logits) = per_image_loss(graph, logits, recipe, mixed)?;
    let loss = graph.add(LossMean {}, &[each])?;
    graph.set_name(loss, "loss");
    graph.outputs = vec![("loss".into(), loss), ("logits".into(), logits)];
    let trainable: Vec<NodeId> =
        graph.ids().into_iter().filter(|&id| matches!(graph.op(id), Operator::Param(p) if learns(recipe, p))).collect();
    let gradients = autodiff::gradients(graph, loss, &trainable)?;
    let pairs: Vec<_> = trainable.into_iter().zip(gradients).filter_map(|(p, g)| Some((p, g?))).collect();
    if pairs.is_empty() {
        let nothing = "there is nothing to train: the result depends on no parameter that is not frozen";
        return Err(PassError::Network(nothing.into()));
    }
    optimizer::run(graph, recipe, &pairs)?;
    dce::run(graph)
}

/// Does training change a parameter? A rate of 0 leaves it as it is.
pub fn learns(recipe: &Recipe, param: &Param) -> bool {
    param.trainable && recipe.group_of(&param.name).rate.unwrap_or(param.rate) != 0.0
}

/// The value that the loss reads: the operand of a final softmax, which the loss contains, or the result itself.
fn loss_operand(graph: &Graph) -> Result<NodeId, PassError> {
    let [(_, result)] = graph.outputs.as_slice() else {
        let names: Vec<_> = graph.outputs.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(", ");
        let count = graph.outputs.len();
        return Err(PassError::Network(format!("training needs one result, this network has {count} ({names})")));
    };
    Ok(scores(graph, *result))
}

/// Replaces layers that behave differently in training (dropout, batch normalisation, …) by that form.
fn specialise(graph: &mut Graph) -> Result<(), PassError> {
    let key = step_input(graph, Role::Key)?;
    for id in graph.order() {
        let (op, operands) = (graph.op(id).clone(), graph.operands(id).to_vec());
        if let Some(form) = op.training(&mut TrainCx { graph, operands, key })? {
            graph.replace(id, form);
        }
    }
    dce::run(graph)
}

/// One number per image, and the logits that it is of.
fn per_image_loss(
    graph: &mut Graph,
    result: NodeId,
    recipe: &Recipe,
    mixed: bool,
) -> Result<(NodeId, NodeId), PassError> {
    let (ty, weighted) = (graph.ty(result).clone(), recipe.class_weights.is_some());
    let classes = ty.elements();
    let what = || PassError::Network(format!("cross entropy needs one number per class, the network's result is {ty}"));
    let logits = class_vector(graph, result)?.ok_or_else(what)?;
    let own = target(graph, Role::Labels, classes, recipe.label_smoothing)?;
    let other = mixed.then(|| target(graph, Role::Partners, classes, recipe.label_smoothing)).transpose()?;
    let each = match (weighted, other) {
        (true, other) => {
            let own = weighted_loss(graph, logits, own, Role::Weights)?;
            match other {
                None => own,
                Some(other) => {
                    let other = weighted_loss(graph, logits, other, Role::PartnerWeights)?;
                    graph.add(Add {}, &[own, other])?
                }
            }
        }
        (false, None) => graph.add(CrossEntropy {}, &[logits, own])?,
        (false, Some(other)) => {
            let (own, other) = (part(graph, Role::Share, own)?, part(graph, Role::Rest, other)?);
            let target = graph.add(Add {}, &[own, other])?;
            graph.add(CrossEntropy {}, &[logits, target])?
        }
    };
    Ok((each, logits))
}

/// A target, multiplied by the number of this role.
fn part(graph: &mut Graph, role: Role, target: NodeId) -> Result<NodeId, PassError> {
    let weight = step_input(graph, role)?;
    Ok(graph.add(ScaleBy {}, &[target, weight])?)
}

/// The loss of each image for a target, multiplied by the image's number of this role, which holds its share of a
/// mixture too.
fn weighted_loss(graph: &mut Graph, logits: NodeId, target: NodeId, role: Role) -> Result<NodeId, PassError> {
    let (loss, weights) = (graph.add(CrossEntropy {}, &[logits, target])?, step_input(graph, role)?);
    Ok(graph.add(Mul {}, &[loss, weights])?)
}

/// The distribution over the classes that the labels of this role stand for.
fn target(graph: &mut Graph, role: Role, classes: usize, smoothing: f64) -> Result<NodeId, PassError> {
    let labels = step_input(graph, role)?;
    Ok(graph.add(OneHot { classes, smoothing }, &[labels])?)
}
