//! How a class's score changes with a value inside the network: for maps that show where a network sees what it says.

use super::error::PassError;
use super::{autodiff, class_vector, dce, inference, step_input};
use crate::graph::Graph;
use crate::ops::arithmetic::Mul;
use crate::ops::cross_entropy::OneHot;
use crate::ops::softmax::scores;
use ninc_runtime::plan::Role;

/// Name of the output that [`run`] gives the value itself.
pub const VALUE: &str = "@value";
/// Name of the output that [`run`] gives the gradient.
pub const GRADIENT: &str = "@gradient";

/// Makes of a network's graph one with two outputs: the value named `name`, and the gradient with respect to it of the
/// score (before a softmax) of each image's class. Classes are an input with the role of labels. Layers compute as they
/// do at inference.
pub fn run(graph: &mut Graph, name: &str) -> Result<(), PassError> {
    let missing = || PassError::Network(format!("the network has no value `{name}`"));
    let value = graph.named(name).ok_or_else(missing)?;
    let result = graph.outputs.first().map(|&(_, id)| scores(graph, id));
    let result = result.ok_or_else(|| PassError::Network("the network has no result".into()))?;
    // Outputs are carried along by what replaces them.
    graph.outputs = vec![("scores".into(), result), (VALUE.into(), value)];
    inference::run(graph)?;
    let (result, value) = (graph.outputs[0].1, graph.outputs[1].1);
    let classes = graph.ty(result).elements();
    let what = || PassError::Network("the network's result is not one number per class".into());
    let flat = class_vector(graph, result)?.ok_or_else(what)?;
    let labels = step_input(graph, Role::Labels)?;
    let chosen = graph.add(OneHot { classes, smoothing: 0.0 }, &[labels])?;
    let score = graph.add(Mul {}, &[flat, chosen])?;
    let gradient = autodiff::gradients(graph, score, &[value])?.pop().flatten();
    let gradient =
        gradient.ok_or_else(|| PassError::Network(format!("the scores do not depend on the value `{name}`")))?;
    graph.outputs = vec![(VALUE.into(), value), (GRADIENT.into(), gradient)];
    dce::run(graph)
}
