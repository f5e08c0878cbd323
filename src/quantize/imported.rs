//! Layers of bytes from files of other programs: those whose rounding is exactly that of our layers of bytes become
//! such; all others stay floats.

use super::ranges::Coding;
use crate::fold::simplified;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::ops::Operator;
use crate::passes::quantize::{self, Layer};
use ninc_runtime::formats::{Formats, LayerFormat};
use ninc_runtime::{Result, Tensor};
use std::collections::BTreeMap;

/// What a file says of a layer whose weights are whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    /// The scale of each output's weights.
    pub scales: Vec<f32>,
    /// Biases as whole numbers, in units of the product of both scales; `None` where there are none.
    pub bias: Option<Vec<f32>>,
    /// What the biases were as floats when they were read: what changed them since is not whole.
    pub floats: Option<Vec<f32>>,
    /// How the image that it reads is rounded.
    pub input: Coding,
    /// How its result is rounded, behind its ReLU if it has one.
    pub output: Option<Coding>,
}

/// Gives layers the format int8 where all that they read and make is stated, and their tensors whole numbers; `None`
/// where there are no such layers.
pub fn formats(
    model: &Model,
    tensors: &mut BTreeMap<String, Tensor>,
    stated: &BTreeMap<String, Stated>,
) -> Result<Option<Formats>> {
    if stated.is_empty() {
        return Ok(None);
    }
    let graph = simplified(model)?;
    let whole =
        |layer: &Layer| whole(&graph, layer, tensors, stated.get(&layer.name)?).map(|w| (layer.name.clone(), w));
    let mut layers = quantize::layers(&graph);
    let numbers: BTreeMap<String, [Tensor; 3]> = layers.iter().filter_map(whole).collect();
    layers.retain(|layer| numbers.contains_key(&layer.name));
    // A layer that cannot be has users that cannot be either.
    loop {
        let broken = broken(&graph, &layers, stated);
        match broken.is_empty() {
            true => break,
            false => layers.retain(|layer| !broken.contains(&layer.name)),
        }
    }
    if layers.is_empty() {
        return Ok(None);
    }
    let mut formats = Formats::default();
    let outputs = layers.iter().map(|layer| (format!("{}.output", layer.name), layer.output()));
    for (name, id) in quantize::values(&graph, &layers).into_iter().chain(outputs.collect::<Vec<_>>()) {
        if let Some(Coding { scale, zero }) = coding(&graph, &layers, stated, id) {
            formats.zeros.insert(name.clone(), zero);
            tensors.insert(format!("{name}.scale"), Tensor::scalar(scale));
        }
    }
    for (name, [weight, scales, bias]) in numbers {
        if layers.iter().any(|layer| layer.name == name) {
            formats.layers.insert(name.clone(), LayerFormat::Int8);
            formats.state_narrow(&name, &weight);
            tensors.insert(format!("{name}.weight"), weight);
            tensors.insert(format!("{name}.weight.scale"), scales);
            tensors.insert(format!("{name}.bias"), bias);
        }
    }
    Ok(Some(formats))
}

/// Returns a layer's weights, scales and biases as whole numbers, if its floats are still exactly what these stand for.
fn whole(graph: &Graph, layer: &Layer, tensors: &BTreeMap<String, Tensor>, stated: &Stated) -> Option<[Tensor; 3]> {
    let own = |i: usize| match graph.operands(layer.id).get(i).map(|&id| graph.op(id)) {
        Some(Operator::Param(param)) => tensors.get(&param.name),
        _ => None,
    };
    let weight = own(1)?;
    let (outputs, terms) = (layer.weight[0], weight.data.len() / layer.weight[0]);
    let scale = |i: usize| if stated.scales.len() == 1 { stated.scales[0] } else { stated.scales[i] };
    if ![1, outputs].contains(&stated.scales.len()) {
        return None;
    }
    let number = |(i, &w): (usize, &f32)| {
        let whole = (w / scale(i / terms)).round_ties_even();
        (whole.abs() <= 128.0 && whole < 128.0 && whole * scale(i / terms) == w).then_some(whole)
    };
    let data: Vec<f32> = weight.data.iter().enumerate().map(number).collect::<Option<_>>()?;
    let bias = match (&stated.bias, own(2), graph.operands(layer.id).len()) {
        (None, None, 2) => vec![0.0; outputs],
        (Some(bias), Some(floats), _) if stated.floats.as_ref() == Some(&floats.data) => bias.clone(),
        _ => return None,
    };
    let scales = (0..outputs).map(scale).collect();
    Some([
        Tensor { dims: layer.weight.to_vec(), data },
        Tensor { dims: vec![outputs], data: scales },
        Tensor { dims: vec![outputs], data: bias },
    ])
}

/// How a value of bytes is rounded: as the layer that makes it says, and all that read it; `None` where they differ.
fn coding(graph: &Graph, layers: &[Layer], stated: &BTreeMap<String, Stated>, value: NodeId) -> Option<Coding> {
    let own = layers.iter().find(|layer| layer.output() == value).map(|layer| (stated[&layer.name].output, layer));
    let readers = layers.iter().filter(|layer| quantize::source(graph, layer.image) == value);
    let mut inputs = readers.map(|layer| stated[&layer.name].input);
    let first = match own {
        Some((output, _)) => output?,
        None => inputs.next()?,
    };
    // The lower end of the bytes is the ReLU.
    let fits = own.is_none_or(|(_, layer)| layer.output() == layer.id || first.zero == 0);
    (fits && inputs.all(|input| input == first)).then_some(first)
}

/// The layers that make or read a value whose rounding is not one.
fn broken(graph: &Graph, layers: &[Layer], stated: &BTreeMap<String, Stated>) -> Vec<String> {
    let values = quantize::values(graph, layers);
    let wrong: Vec<NodeId> =
        values.into_iter().map(|(_, id)| id).filter(|&id| coding(graph, layers, stated, id).is_none()).collect();
    let touches =
        |layer: &&Layer| wrong.contains(&layer.output()) || wrong.contains(&quantize::source(graph, layer.image));
    layers.iter().filter(touches).map(|layer| layer.name.clone()).collect()
}
