//! Layers of bytes: convolutions and linear layers that weights state to be int8 become sums of whole numbers, as
//! `ops::int8` defines them, and layers that are stated to be bf16 multiply rounded numbers.
//!
//! A value that a layer of bytes reads is made of bytes where it comes from: by the layer before, whose ReLU is the
//! lower end of the bytes, else by `quantize`. Poolings and changes of shape in between work on bytes. Whatever else
//! reads such a value gets it as floats again.

use super::error::PassError;
use super::{dce, only_user, round};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::int8::{AvgPoolBytes, ConvInt8, Dequantize, GlobalAvgBytes, Int8Bias, Int8Factor, Quantize};
use crate::ops::pool::AvgPool;
use crate::ops::reshape::Reshape;
use crate::ops::source::{Init, Param};
use crate::ops::window::{Window, pooling};
use crate::types::Format;
use ninc_runtime::formats::{Formats, LayerFormat};
use std::collections::{BTreeSet, HashMap};

/// Most products of a sum, so that it does not leave 31 bits.
const MOST_TERMS: usize = 1 << 16;

/// A layer that can multiply bytes: a convolution without groups, or a linear layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its weight's name without `.weight`.
    pub name: String,
    /// Its result.
    pub id: NodeId,
    /// The image that it reads; that before the change of shape in front of a linear layer.
    pub image: NodeId,
    /// The weights' dimensions as those of a convolution.
    pub weight: [usize; 4],
    window: Window,
    /// A ReLU behind its result, with an upper limit or without, if nothing else reads that. The largest byte is the
    /// limit, since it stands for the largest value that came out.
    relu: Option<NodeId>,
}

impl Layer {
    /// Is nothing faster than the products themselves, so that sums in 16 bits are of use?
    pub fn is_direct(&self, graph: &Graph) -> bool {
        let places = graph.ty(self.id).dims.iter().skip(1).product::<usize>();
        let apart = self.window.dilation[1] > 1 && self.weight[1].is_multiple_of(8);
        self.window.stride != [1, 1] || self.weight[3] == 1 || places == 1 || apart
    }

    /// The value that the layer makes.
    pub fn output(&self) -> NodeId {
        self.relu.unwrap_or(self.id)
    }
}

/// The layers of a graph in the order of its values.
pub fn layers(graph: &Graph) -> Vec<Layer> {
    let mut names = BTreeSet::new();
    let all = graph.order().into_iter().filter_map(|id| layer(graph, id));
    all.filter(|layer| names.insert(layer.name.clone())).collect()
}

fn layer(graph: &Graph, id: NodeId) -> Option<Layer> {
    let operands = graph.operands(id);
    let (&x, &w) = (operands.first()?, operands.get(1)?);
    let dims = graph.ty(w).dims.as_slice();
    let (image, window, weight) = match (graph.op(id), dims) {
        (Operator::Conv2d(conv), &[o, c, kh, kw]) if conv.groups == 1 => (x, conv.window, [o, c, kh, kw]),
        (Operator::Linear(_), &[o, features]) => {
            let flat = matches!(graph.op(x), Operator::Reshape(_)).then(|| graph.operands(x)[0]);
            let image = flat.filter(|&image| graph.ty(image).dims.len() == 3).unwrap_or(x);
            let (c, h, w) = graph.ty(image).chw()?;
            (c * h * w == features).then_some((image, pooling([h, w], [1, 1], [0, 0]), [o, c, h, w]))?
        }
        _ => return None,
    };
    let name = stem(graph, w)?.to_string();
    let relu = match graph.users(id).as_slice() {
        &[user] => match graph.op(user) {
            Operator::Activation(a) => a.function.limits().filter(|[low, _]| *low == Some(0.0)).map(|_| user),
            _ => None,
        },
        _ => None,
    };
    let fits = graph.ty(x).batched && weight[1..].iter().product::<usize>() < MOST_TERMS;
    fits.then_some(Layer { name, id, image, weight, window, relu })
}

/// The name of the layer whose weights these are.
pub fn stem(graph: &Graph, weights: NodeId) -> Option<&str> {
    weight_name(graph, weights)?.strip_suffix(".weight")
}

/// The parameter that the value is made of.
fn weight_name(graph: &Graph, id: NodeId) -> Option<&str> {
    match graph.op(id) {
        Operator::Param(param) => Some(&param.name),
        _ => graph.operands(id).first().and_then(|&first| weight_name(graph, first)),
    }
}

/// Where the bytes of a value come from: poolings and changes of shape take them as they are.
pub fn source(graph: &Graph, id: NodeId) -> NodeId {
    match graph.op(id) {
        Operator::MaxPool(_) | Operator::AvgPool(_) | Operator::Reshape(_) => source(graph, graph.operands(id)[0]),
        _ => id,
    }
}

/// The values of bytes where these layers multiply such: their names in files of weights.
pub fn values(graph: &Graph, int8: &[Layer]) -> Vec<(String, NodeId)> {
    let made: HashMap<NodeId, &Layer> = int8.iter().map(|layer| (layer.output(), layer)).collect();
    let mut values: Vec<(String, NodeId)> = Vec::new();
    for layer in int8 {
        let from = source(graph, layer.image);
        if values.iter().all(|(_, id)| *id != from) {
            let name = made.get(&from).map_or(format!("{}.input", layer.name), |by| format!("{}.output", by.name));
            values.push((name, from));
        }
    }
    for id in graph.order().into_iter().filter(|&id| matches!(graph.op(id), Operator::GlobalAvgPool(_))) {
        let from = source(graph, graph.operands(id)[0]);
        if let Some(by) = made.get(&from).filter(|_| values.iter().all(|(_, id)| *id != from)) {
            values.push((format!("{}.output", by.name), from));
        }
    }
    values
}

/// The values of bytes that formats state: those above, and results that are rounded whoever reads them.
pub fn stated(graph: &Graph, int8: &[Layer], formats: &Formats) -> Vec<(String, NodeId)> {
    let mut values = values(graph, int8);
    let outputs = int8.iter().map(|layer| (format!("{}.output", layer.name), layer.output()));
    for (name, id) in outputs.filter(|(name, _)| formats.zeros.contains_key(name)) {
        if values.iter().all(|(_, other)| *other != id) {
            values.push((name, id));
        }
    }
    values
}

/// Gives the layers their formats.
pub fn run(graph: &mut Graph, formats: &Formats) -> Result<(), PassError> {
    let all = layers(graph);
    let lacks = formats.layers.iter().find(|(name, _)| all.iter().all(|layer| layer.name != **name));
    if let Some((name, format)) = lacks.filter(|(_, format)| **format != LayerFormat::F32) {
        let what =
            format!("the weights have the layer `{name}` in {}, and the network has no such layer", format.name());
        return Err(PassError::Network(what));
    }
    let of = |layer: &&Layer, format| formats.layers.get(&layer.name) == Some(&format);
    for layer in all.iter().filter(|layer| of(layer, LayerFormat::Bf16)) {
        round::factors(graph, layer.id, Format::Bf16)?;
    }
    let int8: Vec<Layer> = layers(graph).into_iter().filter(|layer| of(&layer, LayerFormat::Int8)).collect();
    let values = stated(graph, &int8, formats);
    let mut work = Work { graph, formats, values, bytes: HashMap::new(), scales: HashMap::new() };
    for layer in &int8 {
        work.layer(layer)?;
    }
    work.means()?;
    dce::run(graph)
}

struct Work<'a> {
    graph: &'a mut Graph,
    formats: &'a Formats,
    /// Values of bytes, by the floats that they stand for.
    values: Vec<(String, NodeId)>,
    /// The bytes that stand for a value.
    bytes: HashMap<NodeId, NodeId>,
    scales: HashMap<String, NodeId>,
}

impl Work<'_> {
    fn name_of(&self, value: NodeId) -> Option<String> {
        self.values.iter().find(|(_, id)| *id == value).map(|(name, _)| name.clone())
    }

    fn zero(&self, name: &str) -> Result<usize, PassError> {
        let zero = self.formats.zeros.get(name).copied();
        zero.map(usize::from).ok_or_else(|| PassError::Network(format!("the weights lack the zero of `{name}`")))
    }

    fn parameter(&mut self, name: String, dims: &[usize], value: f64) -> Result<NodeId, PassError> {
        let init = Init::Constant { value };
        let param = Param { trainable: false, rate: 0.0, decay: 0.0, ..Param::new(name, dims, init) };
        Ok(self.graph.add(param, &[])?)
    }

    fn scale(&mut self, name: &str) -> Result<NodeId, PassError> {
        if let Some(&id) = self.scales.get(name) {
            return Ok(id);
        }
        let id = self.parameter(format!("{name}.scale"), &[], 1.0)?;
        self.scales.insert(name.into(), id);
        Ok(id)
    }

    /// The source of a value, with its name, zero and scale.
    fn from(&mut self, value: NodeId) -> Result<(usize, NodeId), PassError> {
        let from = source(self.graph, value);
        let name = self.name_of(from).ok_or_else(|| PassError::Graph("a value of bytes without a name".into()))?;
        Ok((self.zero(&name)?, self.scale(&name)?))
    }

    /// The bytes of a value.
    fn bytes(&mut self, id: NodeId) -> Result<NodeId, PassError> {
        if let Some(&bytes) = self.bytes.get(&id) {
            return Ok(bytes);
        }
        let op = self.graph.op(id).clone();
        let bytes = match op {
            Operator::MaxPool(_) | Operator::AvgPool(_) | Operator::Reshape(_) => {
                let x = self.bytes(self.graph.operands(id)[0])?;
                match op {
                    Operator::AvgPool(AvgPool { window, ceil }) => {
                        self.graph.add(AvgPoolBytes { window, ceil }, &[x])?
                    }
                    op => self.graph.add(op, &[x])?,
                }
            }
            _ => {
                let (zero, scale) = self.from(id)?;
                self.graph.add(Quantize { zero }, &[id, scale])?
            }
        };
        self.bytes.insert(id, bytes);
        Ok(bytes)
    }

    fn layer(&mut self, layer: &Layer) -> Result<(), PassError> {
        let name = &layer.name;
        let (zero, scale) = self.from(layer.image)?;
        let image = self.bytes(layer.image)?;
        let x = match self.graph.ty(image).dims.as_slice() {
            &[features] => self.graph.add(Reshape { dims: vec![features, 1, 1] }, &[image])?,
            _ => image,
        };
        let outputs = layer.weight[0];
        let w = self.parameter(format!("{name}.weight"), &layer.weight, 0.0)?;
        let scales = self.parameter(format!("{name}.weight.scale"), &[outputs], 1.0)?;
        let bias = self.parameter(format!("{name}.bias"), &[outputs], 0.0)?;
        let bias = self.graph.add(Int8Bias { zero }, &[w, bias])?;
        let narrow: Vec<usize> = self.formats.narrow.get(name).map(|&terms| terms.into()).into_iter().collect();
        let conv = |work: &mut Self, to: Option<(usize, NodeId)>| -> Result<NodeId, PassError> {
            let factors = [Some(scale), Some(scales), to.map(|(_, scale)| scale)];
            let factors: Vec<NodeId> = factors.into_iter().flatten().collect();
            let factor = work.graph.add(Int8Factor {}, &factors)?;
            let zeros = [Some(zero), to.map(|(zero, _)| zero)].into_iter().flatten().collect();
            let y = work
                .graph
                .add(ConvInt8 { window: layer.window, zeros, narrow: narrow.clone() }, &[x, w, factor, bias])?;
            match work.graph.ty(layer.id).dims.len() {
                1 => Ok(work.graph.add(Reshape { dims: vec![outputs] }, &[y])?),
                _ => Ok(y),
            }
        };
        let output = layer.output();
        let Some(value) = self.name_of(output) else {
            let y = conv(self, None)?;
            self.graph.replace(layer.id, y);
            return Ok(());
        };
        let (zero, scale) = (self.zero(&value)?, self.scale(&value)?);
        if layer.relu.is_some() && zero != 0 {
            let what = format!("`{value}` comes from a ReLU, so the byte 0 must stand for 0, not {zero}");
            return Err(PassError::Network(what));
        }
        let bytes = conv(self, Some((zero, scale)))?;
        let floats = self.graph.add(Dequantize { zero }, &[bytes, scale])?;
        if layer.relu.is_some() && self.graph.is_result(layer.id) {
            let y = conv(self, None)?;
            self.graph.replace(output, floats);
            self.graph.replace(layer.id, y);
        } else {
            self.graph.replace(output, floats);
        }
        // Layers were found before their operands were replaced.
        self.bytes.extend([(output, bytes), (floats, bytes)]);
        self.values.push((value, floats));
        Ok(())
    }

    /// Means of whole maps whose values are bytes.
    fn means(&mut self) -> Result<(), PassError> {
        for id in self.graph.order() {
            if !matches!(self.graph.op(id), Operator::GlobalAvgPool(_)) {
                continue;
            }
            let x = self.graph.operands(id)[0];
            let from = source(self.graph, x);
            if !self.bytes.contains_key(&from) || !matches!(self.graph.op(from), Operator::Dequantize(_)) {
                continue;
            }
            let ((zero, scale), x) = (self.from(x)?, self.bytes(x)?);
            let mean = self.graph.add(GlobalAvgBytes { zero }, &[x, scale])?;
            self.graph.replace(id, mean);
        }
        Ok(())
    }
}

/// Joins each 1x1 convolution of bytes to the one before, if nothing else reads its result.
pub fn chains(graph: &mut Graph) -> Result<(), PassError> {
    for id in graph.order() {
        let Operator::ConvInt8(next) = graph.op(id).clone() else { continue };
        let operands = graph.operands(id).to_vec();
        let Operator::ConvInt8(first) = graph.op(operands[0]).clone() else { continue };
        if next.window != Window::ONE || only_user(graph, operands[0]) != Some(id) {
            continue;
        }
        let operands = [graph.operands(operands[0]), &operands[1..]].concat();
        let joined = graph.add(first.joined(&next), &operands)?;
        graph.replace(id, joined);
        dce::run(graph)?;
    }
    Ok(())
}
