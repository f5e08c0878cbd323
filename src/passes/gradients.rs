//! Gradients of a network as it is at inference: for comparing them with those of another network or program.

use super::error::PassError;
use super::{autodiff, class_vector, dce, inference, step_input};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::cross_entropy::{CrossEntropy, OneHot};
use crate::ops::reduce::LossMean;
use crate::ops::softmax::scores;
use ninc_runtime::plan::Role;

/// What stands before the name of a parameter or input in the name of its gradient.
pub const GRADIENTS: &str = "grad/";

/// Makes of a network's graph one whose outputs are gradients with respect to the image and the parameters that a
/// training would change, in the order in which they are computed: the last layer's first. With `labelled` they are of
/// the first result's mean cross-entropy with labels, which are an input; else of the sum of its numbers, before a
/// softmax, whose sum never changes.
pub fn run(graph: &mut Graph, labelled: bool) -> Result<(), PassError> {
    let result = graph.outputs.first().map(|&(_, id)| scores(graph, id));
    let result = result.ok_or_else(|| PassError::Network("the network has no result".into()))?;
    graph.outputs = vec![("scores".into(), result)];
    inference::run(graph)?;
    let mut of = graph.outputs[0].1;
    if labelled {
        let what = || PassError::Network("the network's result is not one number per class".into());
        let logits = class_vector(graph, of)?.ok_or_else(what)?;
        let classes = graph.ty(logits).elements();
        let labels = step_input(graph, Role::Labels)?;
        let target = graph.add(OneHot { classes, smoothing: 0.0 }, &[labels])?;
        let each = graph.add(CrossEntropy {}, &[logits, target])?;
        of = graph.add(LossMean {}, &[each])?;
    }
    let name = |graph: &Graph, id: NodeId| match graph.op(id) {
        Operator::Param(param) => Some(param.name.clone()).filter(|_| param.trainable),
        Operator::Input(input) => Some(input.name.clone()).filter(|_| input.role == Role::Image),
        _ => None,
    };
    let wanted: Vec<(NodeId, String)> =
        graph.order().into_iter().rev().filter_map(|id| Some((id, name(graph, id)?))).collect();
    let ids: Vec<NodeId> = wanted.iter().map(|(id, _)| *id).collect();
    let gradients = autodiff::gradients(graph, of, &ids)?;
    let named =
        |((_, name), gradient): (&(NodeId, String), Option<NodeId>)| Some((format!("{GRADIENTS}{name}"), gradient?));
    graph.outputs = wanted.iter().zip(gradients).filter_map(named).collect();
    dce::run(graph)
}
