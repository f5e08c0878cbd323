//! A network with layers of bytes as floats that are rounded to bytes in places: for formats of other programs, which
//! say it so.

use super::ranges::Coding;
use crate::fold::{evaluate, simplified};
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::ops::Operator;
use crate::ops::source::{Init, Param};
use crate::passes::error::PassError;
use crate::passes::{dce, quantize};
use ninc_runtime::formats::Formats;
use ninc_runtime::{Error, Result, Tensor};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A network of floats, and what is bytes in it.
#[derive(Clone, Debug)]
pub struct Coded {
    /// The network; all that its layers read beside values of the image are parameters.
    pub graph: Graph,
    /// Its tensors; those of layers of bytes are whole numbers.
    pub tensors: BTreeMap<String, Tensor>,
    /// Layers of bytes by their results: name, and the coding of what they read.
    layers: HashMap<NodeId, (String, Coding)>,
    /// Values of bytes.
    values: HashMap<NodeId, Coding>,
    /// Those of them that a layer of bytes makes: whatever reads these reads bytes.
    made: HashSet<NodeId>,
}

/// Makes the network as it runs with these formats, for the parameters that it reads.
pub fn graph(model: &Model, formats: &Formats) -> Result<Graph> {
    let mut graph = simplified(model)?;
    quantize::run(&mut graph, formats).map_err(|e| e.of("quantize"))?;
    Ok(graph)
}

impl Coded {
    /// Looks at a network and its quantised weights; `join` may put something in front of the network.
    pub fn new(
        model: &Model,
        formats: &Formats,
        tensors: &BTreeMap<String, Tensor>,
        join: impl FnOnce(&mut Graph) -> std::result::Result<(), PassError>,
    ) -> Result<Coded> {
        let mut named = model.clone();
        // Passes keep the names of values, not the values.
        for layer in &model.layers {
            if !matches!(named.graph.op(layer.value), Operator::Input(_)) {
                named.graph.set_name(layer.value, &layer.name);
            }
        }
        let mut graph = simplified(&named)?;
        join(&mut graph).map_err(|e| e.of("prepare"))?;
        let mut all = quantize::layers(&graph);
        all.retain(|layer| formats.is_int8(&layer.name));
        let number = |name: &str| {
            let scale = tensors.get(&format!("{name}.scale")).and_then(|t| t.data.first());
            let both = scale.zip(formats.zeros.get(name));
            let coding = both.map(|(&scale, &zero)| Coding { scale, zero });
            coding.ok_or_else(|| Error::new(format!("the weights lack the scale or the zero of `{name}`")))
        };
        let outputs: HashSet<NodeId> = all.iter().map(|layer| layer.output()).collect();
        let named = quantize::stated(&graph, &all, formats);
        let values = named.iter().map(|(name, id)| Ok((*id, number(name)?))).collect::<Result<HashMap<_, _>>>()?;
        let coding = |image| values.get(&quantize::source(&graph, image)).copied().unwrap_or(Coding::PLAIN);
        let layers = all.iter().map(|layer| (layer.id, (layer.name.clone(), coding(layer.image)))).collect();
        let made = values.keys().copied().filter(|id| outputs.contains(id)).collect();
        let mut coded = Coded { graph, tensors: tensors.clone(), layers, values, made };
        coded.constants()?;
        Ok(coded)
    }

    /// Makes parameters of what layers of floats read that is computed from parameters alone.
    fn constants(&mut self) -> Result<()> {
        let mut wanted: Vec<(NodeId, String)> = Vec::new();
        let graph = &self.graph;
        for id in graph.ids().into_iter().filter(|&id| graph.ty(id).batched && !self.layers.contains_key(&id)) {
            let operands = graph.operands(id);
            let stem = operands.get(1).and_then(|&w| quantize::stem(graph, w));
            for (i, &operand) in operands.iter().enumerate() {
                let computed = !graph.ty(operand).batched && !matches!(graph.op(operand), Operator::Param(_));
                if computed && wanted.iter().all(|(other, _)| *other != operand) {
                    let name = match (i, stem) {
                        (1, Some(stem)) => format!("{stem}.weight"),
                        (2, Some(stem)) => format!("{stem}.bias"),
                        _ => format!("value.{}", operand.index()),
                    };
                    wanted.push((operand, name));
                }
            }
        }
        let mut numbers = evaluate(&self.graph, wanted.iter().map(|(id, _)| *id), &self.tensors)?;
        for (id, name) in wanted {
            let Some(tensor) = numbers.remove(&id) else { continue };
            let param = Param::new(name.clone(), &tensor.dims, Init::Constant { value: 0.0 });
            let param = self.graph.add(param, &[]).map_err(|e| Error::new(e.to_string()))?;
            self.graph.replace(id, param);
            self.tensors.insert(name, tensor);
        }
        dce::run(&mut self.graph).map_err(|e| e.of("dce"))
    }

    /// The name of a layer of bytes by its result, and the coding of what it reads.
    pub fn layer(&self, id: NodeId) -> Option<(&str, Coding)> {
        self.layers.get(&id).map(|(name, coding)| (name.as_str(), *coding))
    }

    /// The layer's name, of bytes or not, that a value is the result of.
    pub fn product(&self, id: NodeId) -> Option<&str> {
        let weight = self.graph.operands(id).get(1)?;
        quantize::stem(&self.graph, *weight)
    }

    /// The coding of a value that is made of bytes where it comes from, whoever reads it.
    pub fn made(&self, id: NodeId) -> Option<Coding> {
        self.values.get(&id).copied().filter(|_| self.made.contains(&id))
    }

    /// The coding that a value has where it is read as bytes.
    pub fn coding(&self, id: NodeId) -> Option<Coding> {
        self.values.get(&quantize::source(&self.graph, id)).copied()
    }

    /// Does the value take over the bytes of its operand?
    pub fn carries(&self, id: NodeId) -> bool {
        quantize::source(&self.graph, id) != id
    }

    /// Is this operand read as bytes?
    pub fn reads_bytes(&self, id: NodeId, operand: NodeId) -> bool {
        match self.graph.op(id) {
            Operator::GlobalAvgPool(_) => self.made.contains(&quantize::source(&self.graph, operand)),
            _ => self.layers.contains_key(&id) && self.graph.ty(operand).batched,
        }
    }

    /// Is a value that takes over bytes read as floats by anyone?
    pub fn read_as_floats(&self, id: NodeId) -> bool {
        let graph = &self.graph;
        let floats = |&user: &NodeId| match self.carries(user) {
            true => self.read_as_floats(user),
            false => !self.reads_bytes(user, id),
        };
        graph.is_result(id) || graph.users(id).iter().any(floats)
    }
}
