//! A network with its tensors to an ONNX file, in the form that engines agree on: explicit pads and axes, no functions,
//! a batch that is left open.

mod blocks;
mod coded;
mod messages;
mod nodes;

use super::error::ExportError;
use super::map::OURS;
use super::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto};
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::ops::Operator;
use crate::quantize::coded::Coded;
use messages::{floats, port};
use ninc_runtime::Tensor;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Operator sets that are written.
pub const OPSETS: std::ops::RangeInclusive<i64> = 13..=22;

/// What is exported.
pub struct Export<'a> {
    /// The network, for the names of its layers.
    pub model: &'a Model,
    /// What is computed: the network's graph, perhaps behind a preparation.
    pub graph: &'a Graph,
    /// Its tensors.
    pub tensors: &'a BTreeMap<String, Tensor>,
    /// What of it is bytes, whose graph and tensors the above are.
    pub coded: Option<&'a Coded>,
    /// The version of ONNX's operators.
    pub opset: i64,
    /// Texts of the file.
    pub metadata: Vec<(String, String)>,
}

/// A file under construction.
struct Writer<'a> {
    export: &'a Export<'a>,
    /// Names of values.
    names: HashMap<NodeId, String>,
    /// Names of values that were rounded to bytes.
    bytes: HashMap<NodeId, String>,
    /// The language's function of each layer's value.
    functions: HashMap<NodeId, &'a str>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// Names of constants that are there.
    known: BTreeSet<String>,
}

/// Writes a network; gives the file's bytes.
pub fn export(export: &Export) -> Result<Vec<u8>, ExportError> {
    if !OPSETS.contains(&export.opset) {
        return Err(ExportError::Opset(export.opset));
    }
    let mut writer = Writer::new(export);
    for id in needed(export) {
        writer.node(id)?;
    }
    let (inputs, outputs) = writer.ports();
    let graph = GraphProto {
        name: Some(export.model.name.clone()),
        node: writer.nodes,
        initializer: writer.constants,
        input: inputs,
        output: outputs,
        ..GraphProto::default()
    };
    let entry =
        |(key, value): &(String, String)| StringStringEntryProto { key: Some(key.clone()), value: Some(value.clone()) };
    let model = ModelProto {
        // The format's version that came with the operator set.
        ir_version: Some(match export.opset {
            ..=14 => 7,
            15..=18 => 8,
            19..=20 => 9,
            _ => 10,
        }),
        producer_name: Some(OURS.into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(export.opset) }],
        graph: Some(graph),
        metadata_props: export.metadata.iter().map(entry).collect(),
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

/// The values that results are made of, operands first.
fn needed(export: &Export) -> Vec<NodeId> {
    let graph = export.graph;
    let mut open: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            // Layers of bytes have their own weights.
            let bytes = export.coded.is_some_and(|coded| coded.layer(id).is_some());
            open.extend(graph.operands(id).iter().take(if bytes { 1 } else { usize::MAX }));
        }
    }
    graph.order().into_iter().filter(|id| seen.contains(id)).collect()
}

impl<'a> Writer<'a> {
    fn new(export: &'a Export<'a>) -> Writer<'a> {
        let (names, functions) = match export.coded {
            Some(coded) => {
                let names = coded::names(coded);
                let functions = coded::functions(export, &coded.graph, &names);
                (names, functions)
            }
            None => {
                let functions = export.model.layers.iter().map(|l| (l.value, l.function.as_str())).collect();
                (names(export), functions)
            }
        };
        let (bytes, known) = (HashMap::new(), BTreeSet::new());
        Writer { export, names, bytes, functions, nodes: vec![], constants: vec![], known }
    }
    fn graph(&self) -> &'a Graph {
        self.export.graph
    }

    fn name(&self, id: NodeId) -> String {
        self.names[&id].clone()
    }

    /// Returns the file's inputs and results.
    fn ports(&mut self) -> (Vec<super::proto::ValueInfoProto>, Vec<super::proto::ValueInfoProto>) {
        let graph = self.graph();
        let input = |id: &NodeId| matches!(graph.op(*id), Operator::Input(_));
        let inputs = graph.ids().into_iter().filter(input).map(|id| port(&self.name(id), graph.ty(id))).collect();
        let mut outputs = Vec::new();
        let mut renamed: BTreeSet<NodeId> = BTreeSet::new();
        for (name, id) in &graph.outputs {
            let from = self.name(*id);
            outputs.push(port(name, graph.ty(*id)));
            if from == *name {
                continue;
            }
            // A result has the name that it is asked for by, where it is not a result twice.
            match matches!(graph.op(*id), Operator::Input(_)) || !renamed.insert(*id) {
                true => drop(self.add(name, "Identity", &[&from], name, vec![])),
                false => self.rename(&from, name),
            }
            self.names.insert(*id, name.clone());
        }
        (inputs, outputs)
    }

    /// Gives a value another name.
    fn rename(&mut self, from: &str, to: &str) {
        let values = self.nodes.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output));
        values.filter(|value| *value == from).for_each(|value| *value = to.into());
    }

    /// Adds a constant of floats.
    fn constant(&mut self, name: &str, dims: &[usize], data: &[f32]) -> String {
        if self.known.insert(name.into()) {
            self.constants.push(floats(name, dims, data));
        }
        name.into()
    }

    /// Adds a constant of whole numbers.
    fn ints(&mut self, name: &str, data: &[i64]) -> String {
        if self.known.insert(name.into()) {
            self.constants.push(messages::ints(name, data));
        }
        name.into()
    }

    /// Adds the tensor of a parameter.
    fn parameter(&mut self, id: NodeId) -> Result<(), ExportError> {
        let name = self.name(id);
        let tensor = self.export.tensors.get(&name).ok_or_else(|| ExportError::Missing(name.clone()))?;
        self.constant(&name, &tensor.dims, &tensor.data);
        Ok(())
    }

    /// Adds a node `name` that makes the value `output`.
    fn add(
        &mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<super::proto::AttributeProto>,
    ) -> String {
        self.nodes.push(NodeProto {
            name: Some(name.into()),
            op_type: Some(op.into()),
            input: inputs.iter().map(|name| name.to_string()).collect(),
            output: vec![output.into()],
            attribute: attributes,
            ..NodeProto::default()
        });
        output.into()
    }

    /// Says what the last node is for.
    fn doc(&mut self, text: &str) {
        if let Some(node) = self.nodes.last_mut() {
            node.doc_string = Some(text.into());
        }
    }
}

/// Returns the name of an input or a parameter.
fn source(graph: &Graph, id: NodeId) -> Option<String> {
    match graph.op(id) {
        Operator::Input(input) => Some(input.name.clone()),
        Operator::Param(param) => Some(param.name.clone()),
        _ => None,
    }
}

/// Names a value that has no name.
fn unnamed(id: NodeId) -> String {
    format!("value.{}", id.index())
}

/// Names the values of a network as its layers are.
fn names(export: &Export) -> HashMap<NodeId, String> {
    let graph = export.graph;
    let mut names = HashMap::new();
    for id in graph.ids() {
        let own = source(graph, id).or_else(|| graph.node(id).name.clone());
        names.insert(id, own.unwrap_or_else(|| unnamed(id)));
    }
    for layer in &export.model.layers {
        if !matches!(graph.op(layer.value), Operator::Input(_)) {
            names.insert(layer.value, layer.name.clone());
        }
    }
    // Prepared images would have the name of the input that they are made of.
    let input = |id: &NodeId| matches!(graph.op(*id), Operator::Input(_));
    let inputs: BTreeSet<String> = names.iter().filter(|(id, _)| input(id)).map(|(_, name)| name.clone()).collect();
    let twice = names.iter_mut().filter(|(id, name)| !input(id) && inputs.contains(*name));
    twice.for_each(|(_, name)| name.push_str(".prepared"));
    names
}
