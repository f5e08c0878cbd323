//! Float weights from quantised ones: the numbers that the whole ones stand for.

use crate::fold::simplified;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::ops::Operator;
use crate::passes::quantize::{self, Layer};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Result, Tensor};

/// Makes weights that state no formats: those of layers of bytes times their scales, all else as it is.
pub fn floats(model: &Model, weights: Weights) -> Result<Weights> {
    let Some(formats) = &weights.formats else { return Ok(weights) };
    let graph = simplified(model)?;
    let int8: Vec<Layer> = quantize::layers(&graph).into_iter().filter(|layer| formats.is_int8(&layer.name)).collect();
    let values = quantize::stated(&graph, &int8, formats);
    let mut tensors = weights.tensors.clone();
    for layer in &int8 {
        let from = quantize::source(&graph, layer.image);
        let value = values.iter().find(|(_, id)| *id == from).map_or("", |(name, _)| name);
        let [weight, bias, scales, image] = [
            format!("{}.weight", layer.name),
            format!("{}.bias", layer.name),
            scale(&format!("{}.weight", layer.name)),
            scale(value),
        ]
        .map(|name| weights.tensors.get(&name).filter(|t| !t.data.is_empty()).ok_or_else(|| lacks(&name)));
        let (weight, bias, scales, image) = (weight?, bias?, scales?, image?.data[0]);
        let terms = weight.data.len().div_ceil(scales.data.len());
        let of = |i: usize| scales.data[i / terms];
        let floats: Vec<f32> = weight.data.iter().enumerate().map(|(i, w)| w * of(i)).collect();
        let biases = bias.data.iter().zip(&scales.data).map(|(b, scale)| b * image * scale).collect();
        for (place, data) in graph.operands(layer.id)[1..].iter().zip([floats, biases]) {
            let name = parameter(&graph, *place).ok_or_else(|| folded(model))?;
            let dims = graph.ty(*place).dims.clone();
            if data.len() != dims.iter().product::<usize>() {
                return Err(Error::new(format!("the quantised weights have another size of `{name}` than {dims:?}")));
            }
            tensors.insert(name.into(), Tensor { dims, data });
        }
    }
    values.iter().for_each(|(name, _)| drop(tensors.remove(&scale(name))));
    int8.iter().for_each(|layer| drop(tensors.remove(&scale(&format!("{}.weight", layer.name)))));
    Ok(Weights { tensors, formats: None, ..weights })
}

fn scale(name: &str) -> String {
    format!("{name}.scale")
}

fn parameter(graph: &Graph, id: NodeId) -> Option<&str> {
    match graph.op(id) {
        Operator::Param(param) => Some(&param.name),
        _ => None,
    }
}

fn lacks(name: &str) -> Error {
    Error::new(format!("the quantised weights lack `{name}`"))
}

fn folded(model: &Model) -> Error {
    Error::new(format!("{} computes some weights itself, and the quantised ones hold only the results", model.name))
        .with_help("take the float weights that these were made from")
}
