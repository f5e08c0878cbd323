//! Weights of bytes from float weights: ranges of values from images, whole numbers for layers, and a network with them
//! to try. What is measured decides; nothing is drawn at random, so equal files give equal weights.

pub mod coded;
pub mod floats;
pub mod imported;
mod narrow;
pub mod ranges;
pub mod tensors;

use crate::fold::{evaluate, simplified};
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::ops::Operator;
use crate::passes::{INFERENCE, dce, quantize};
use crate::pipeline::{self, Options, Program};
use crate::prepare;
use crate::types::DType;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::formats::{Formats, LayerFormat};
use ninc_runtime::weights::load;
use ninc_runtime::{Engine, Error, Result, Tensor};
use quantize::Layer;
use ranges::{Coding, Histogram, Method};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tensors::{Floats, whole};

/// Name of the value that networks are compared by: what the last softmax reads, or the result. Those of further
/// results are called `@scores1` and so on.
pub const SCORES: &str = "@scores";

/// Runs a program on all calibration images: called with each batch's number of images and its results.
pub type Feeder<'a> = dyn FnMut(&mut dyn Engine, &[&str], &mut dyn FnMut(Vec<Tensor>) -> Result<()>) -> Result<()> + 'a;

/// A float network that is to be quantised.
pub struct Network {
    name: String,
    graph: Graph,
    tensors: BTreeMap<String, Tensor>,
    layers: Vec<Layer>,
    /// What each layer has in floats.
    floats: BTreeMap<String, Floats>,
    /// Histograms of the values that layers may read as bytes.
    histograms: HashMap<NodeId, Histogram>,
    /// How many terms of sums weights leave room for in 16 bits where products are direct: 1, 2 or 4 (as it begins).
    pub narrow: usize,
}

/// A quantised network: its formats and the tensors that a program with them needs.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// Formats of the layers.
    pub formats: Formats,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Network {
    /// Looks at a network with its weights; an error if no layer can multiply bytes.
    pub fn new(model: &Model, tensors: &BTreeMap<String, Tensor>) -> Result<Network> {
        let mut graph = simplified(model)?;
        if graph.outputs.is_empty() {
            return Err(Error::new(format!("network {} has no result", model.name)));
        }
        let scores = |(i, &(_, result)): (usize, &(String, NodeId))| {
            let name = if i == 0 { SCORES.into() } else { format!("{SCORES}{i}") };
            match graph.op(result) {
                Operator::Softmax(_) | Operator::LogSoftmax(_) => (name, graph.operands(result)[0]),
                _ => (name, result),
            }
        };
        graph.outputs = graph.outputs.iter().enumerate().map(scores).collect();
        let layers = quantize::layers(&graph);
        if layers.is_empty() {
            return Err(Error::new(format!("network {} has no layer that can multiply bytes", model.name))
                .with_help("convolutions without groups and linear layers can"));
        }
        let parameters = layers.iter().flat_map(|layer| graph.operands(layer.id)[1..].to_vec());
        let values = evaluate(&graph, parameters.collect::<Vec<_>>().into_iter(), tensors)?;
        let floats = |layer: &Layer| {
            let operands = graph.operands(layer.id);
            let bias = operands.get(2).map_or(Tensor::zeros(&layer.weight[..1]), |bias| values[bias].clone());
            let weight = Tensor { dims: layer.weight.to_vec(), data: values[&operands[1]].data.clone() };
            (layer.name.clone(), Floats { weight, bias, means: vec![] })
        };
        let floats = layers.iter().map(floats).collect();
        let (name, tensors) = (model.name.clone(), tensors.clone());
        Ok(Network { name, graph, tensors, layers, floats, histograms: HashMap::new(), narrow: 4 })
    }

    /// Names of the layers that can multiply bytes.
    pub fn layers(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.name.clone()).collect()
    }

    /// Names of the results of its programs, [`SCORES`] first.
    pub fn results(&self) -> Vec<String> {
        self.graph.outputs.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Measures ranges and means on images, which `feed` runs programs on. Twice: counts need the ends.
    pub fn calibrate(&mut self, image: &Image, options: &Options, feed: &mut Feeder) -> Result<()> {
        let sources: Vec<NodeId> = quantize::values(&self.graph, &self.layers).into_iter().map(|(_, id)| id).collect();
        let images: Vec<NodeId> = self.layers.iter().map(|layer| layer.image).collect();
        let mut graph = self.graph.clone();
        let wanted: Vec<NodeId> = sources.iter().chain(&images).copied().collect();
        let names: Vec<String> = (0..wanted.len()).map(|i| format!("@{i}")).collect();
        graph.outputs = names.iter().cloned().zip(wanted).collect();
        dce::run(&mut graph).map_err(|e| e.of("dce"))?;
        let mut program = image.compile(graph, options)?;
        load(&self.tensors, &mut *program.engine)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut histograms = vec![Histogram::default(); sources.len()];
        let mut sums: Vec<Vec<f64>> = images.iter().map(|&id| vec![0.0; self.graph.ty(id).dims[0]]).collect();
        let mut counts = vec![0u64; images.len()];
        feed(&mut *program.engine, &names, &mut |results| {
            let (values, inputs) = results.split_at(histograms.len());
            values.iter().zip(&mut histograms).for_each(|(value, histogram)| histogram.widen(&value.data));
            for (i, input) in inputs.iter().enumerate() {
                let (channels, places) = (input.dims[1], input.dims[2..].iter().product::<usize>());
                for (at, plane) in input.data.chunks(places).enumerate() {
                    sums[i][at % channels] += plane.iter().map(|&v| f64::from(v)).sum::<f64>();
                }
                counts[i] += (input.data.len() / channels) as u64;
            }
            Ok(())
        })?;
        feed(&mut *program.engine, &names[..sources.len()], &mut |results| {
            results.iter().zip(&mut histograms).for_each(|(value, histogram)| histogram.count(&value.data));
            Ok(())
        })?;
        self.histograms = sources.into_iter().zip(histograms).collect();
        for ((layer, sums), count) in self.layers.iter().zip(sums).zip(counts) {
            let means = sums.into_iter().map(|sum| sum / count.max(1) as f64).collect();
            self.floats.entry(layer.name.clone()).and_modify(|floats| floats.means = means);
        }
        Ok(())
    }

    /// The network with these formats of layers, ranges by this method.
    pub fn quantised(&self, layers: &BTreeMap<String, LayerFormat>, method: Method) -> Result<Quantised> {
        let int8 = |layer: &&Layer| layers.get(&layer.name) == Some(&LayerFormat::Int8);
        let int8: Vec<Layer> = self.layers.iter().filter(int8).cloned().collect();
        let values = quantize::values(&self.graph, &int8);
        let coding = |id: &NodeId| self.histograms.get(id).map(|histogram| histogram.coding(method));
        let unmeasured = || Error::new(format!("{}: a value has not been measured", self.name));
        let mut formats = Formats { layers: layers.clone(), ..Formats::default() };
        let mut tensors = self.tensors.clone();
        for (name, id) in &values {
            let Coding { scale, zero } = coding(id).ok_or_else(unmeasured)?;
            formats.zeros.insert(name.clone(), zero);
            tensors.insert(format!("{name}.scale"), Tensor::scalar(scale));
        }
        for layer in &int8 {
            let from = quantize::source(&self.graph, layer.image);
            let coding = coding(&from).ok_or_else(unmeasured)?;
            // What the first layer rounds goes through all others.
            let inner = self.layers.iter().any(|other| other.output() == from);
            let terms = if inner && layer.is_direct(&self.graph) { self.narrow } else { 1 };
            let whole = whole(&self.floats[&layer.name], coding, terms);
            formats.state_narrow(&layer.name, &whole.weight);
            tensors.insert(format!("{}.weight", layer.name), whole.weight);
            tensors.insert(format!("{}.weight.scale", layer.name), whole.scales);
            tensors.insert(format!("{}.bias", layer.name), whole.bias);
        }
        // Only what a program with these formats reads.
        let graph = self.with(&formats)?;
        let read = |id| match graph.op(id) {
            Operator::Param(param) => Some(param.name.as_str()),
            _ => None,
        };
        let read: BTreeSet<&str> = graph.ids().into_iter().filter_map(read).collect();
        tensors.retain(|name, _| read.contains(name.as_str()));
        Ok(Quantised { formats, tensors })
    }

    fn with(&self, formats: &Formats) -> Result<Graph> {
        let mut graph = self.graph.clone();
        quantize::run(&mut graph, formats).map_err(|e| e.of("quantize"))?;
        Ok(graph)
    }

    /// A program that gives the scores of the network as it is, or with a quantised form.
    pub fn program(&self, quantised: Option<&Quantised>, image: &Image, options: &Options) -> Result<Program> {
        let mut graph = match quantised {
            Some(quantised) => self.with(&quantised.formats)?,
            None => self.graph.clone(),
        };
        quantize::chains(&mut graph).map_err(|e| e.of("join"))?;
        for pass in INFERENCE.iter().skip_while(|pass| pass.name != "fuse") {
            (pass.run)(&mut graph).map_err(|e| e.of(pass.name))?;
        }
        let mut program = image.compile(graph, options)?;
        load(quantised.map_or(&self.tensors, |quantised| &quantised.tensors), &mut *program.engine)?;
        Ok(program)
    }
}

/// How images come into programs.
pub struct Image<'a> {
    /// What is done to them first.
    pub preparation: Option<&'a Preparation>,
    /// What their numbers are.
    pub dtype: DType,
}

impl Image<'_> {
    fn compile(&self, mut graph: Graph, options: &Options) -> Result<Program> {
        let Some(preparation) = self.preparation else { return pipeline::graph(&graph, options) };
        prepare::join(&mut graph, preparation.form(), self.dtype).map_err(|e| e.of("prepare"))?;
        let mut program = pipeline::graph(&graph, options)?;
        prepare::write(&mut *program.engine, preparation)?;
        Ok(program)
    }
}
