//! A model as nodes between named values, functions inlined, initialisers read.

use super::super::error::ImportError;
use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::tensor_shape_proto::dimension::Value as Size;
use super::super::proto::type_proto::Value as TypeValue;
use super::super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use super::external::Files;
use super::tensor::{self, Const};
use super::{faults, functions, qoperators};
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

/// Most nodes of a graph, functions inlined.
pub const MOST_NODES: usize = 100_000;

/// The newest set of ONNX's operators that is known: that of onnx 1.22.
const NEWEST: i64 = 27;

/// A node: an operator on named values.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, which may be empty.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// Where the operator is defined; empty for ONNX's own.
    pub domain: String,
    /// Names of its operands; an empty one is left out.
    pub inputs: Vec<String>,
    /// Names of its results.
    pub outputs: Vec<String>,
    /// Conditions under which it is computed, by name.
    pub when: Vec<(String, bool)>,
    /// What people are told about it.
    pub doc: String,
    /// An attribute that is there twice.
    pub twice: Option<String>,
    attributes: BTreeMap<String, AttributeProto>,
}

impl Node {
    /// Takes a node of the file.
    pub fn new(node: NodeProto) -> Node {
        let domain = node.domain().trim_start_matches("ai.onnx").to_string();
        let (mut attributes, mut twice) = (BTreeMap::new(), None);
        for attribute in node.attribute {
            let name = attribute.name().to_string();
            if attributes.insert(name.clone(), attribute).is_some() {
                twice = Some(name);
            }
        }
        Node {
            name: node.name.unwrap_or_default(),
            op: node.op_type.unwrap_or_default(),
            domain,
            inputs: node.input,
            outputs: node.output,
            when: vec![],
            doc: node.doc_string.unwrap_or_default(),
            twice,
            attributes,
        }
    }

    /// Returns the name of an operand that is there.
    pub fn input(&self, i: usize) -> Option<&str> {
        self.inputs.get(i).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Returns an attribute.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.get(name)
    }

    /// Goes through all attributes with their names.
    pub fn all(&self) -> impl Iterator<Item = (&String, &AttributeProto)> {
        self.attributes.iter()
    }

    /// Returns all attributes, to be changed.
    pub fn attributes(&mut self) -> &mut BTreeMap<String, AttributeProto> {
        &mut self.attributes
    }

    /// Returns a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        let a = self.attribute(name)?;
        // Some programs leave out a number that is 0.
        a.i.or_else(|| (a.r#type() == AttributeType::Int).then_some(0))
    }

    /// Returns a float.
    pub fn float(&self, name: &str) -> Option<f32> {
        let a = self.attribute(name)?;
        a.f.or_else(|| (a.r#type() == AttributeType::Float).then_some(0.0))
    }

    /// Returns a list of whole numbers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| &a.ints[..])
    }

    /// Returns a list of floats.
    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|a| &a.floats[..])
    }

    /// Returns a text.
    pub fn text(&self, name: &str) -> Option<String> {
        let bytes = self.attribute(name)?.s.as_ref()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Returns a tensor.
    pub fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attribute(name)?.t.as_ref()
    }

    /// Returns a graph.
    pub fn graph(&self, name: &str) -> Option<&GraphProto> {
        self.attribute(name)?.g.as_ref()
    }

    /// Returns what people find it by.
    pub fn label(&self) -> String {
        match (self.name.is_empty(), self.outputs.first()) {
            (true, Some(output)) => output.clone(),
            _ => self.name.clone(),
        }
    }
}

/// An input or output of the graph.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its sizes, `None` where the file leaves them open; an input without a shape has none at all.
    pub dims: Option<Vec<Option<usize>>>,
}

/// A model as nodes between named values.
#[derive(Debug)]
pub struct Net {
    /// The graph's name.
    pub name: String,
    /// The program that wrote it.
    pub producer: String,
    /// The version of ONNX's operators.
    pub opset: i64,
    /// Nodes, as the file orders them.
    pub nodes: Vec<Node>,
    /// Initialisers.
    pub constants: HashMap<String, Rc<Const>>,
    /// Inputs that are no initialisers.
    pub inputs: Vec<Port>,
    /// Results.
    pub outputs: Vec<Port>,
    /// The file's texts.
    pub metadata: BTreeMap<String, String>,
}

impl Net {
    /// Reads a file's bytes; values that lie beside it are read from `folder`.
    pub fn read(bytes: Vec<u8>, folder: Option<&Path>) -> Result<Net, ImportError> {
        let model = ModelProto::decode(Bytes::from(bytes)).map_err(|e| ImportError::Damaged(e.to_string()))?;
        Net::of(model, folder)
    }

    /// Takes a model apart.
    pub fn of(model: ModelProto, folder: Option<&Path>) -> Result<Net, ImportError> {
        let mut files = Files::of(folder);
        let producer = model.producer_name().to_string();
        let metadata = model.metadata_props.iter().map(|e| (e.key().into(), e.value().into())).collect();
        let Some(graph) = model.graph else { return Err(ImportError::Damaged("it holds no graph".into())) };
        let opset = opset(&model.opset_import)?;
        let mut constants = HashMap::new();
        for initialiser in &graph.initializer {
            let (name, tensor) = (initialiser.name(), tensor::read(initialiser, &mut files)?);
            if constants.insert(name.to_string(), Rc::new(tensor)).is_some() {
                return Err(ImportError::tensor(name, "is there twice"));
            }
        }
        if !graph.sparse_initializer.is_empty() {
            return Err(ImportError::Ports("it holds sparse tensors, which are not read".into()));
        }
        let nodes = qoperators::apart(functions::inlined(graph.node, &model.functions)?, opset);
        let known = graph.input.iter().map(|i| i.name().to_string()).chain(constants.keys().cloned());
        let faults = faults::of(&nodes, known, opset);
        if !faults.is_empty() {
            return Err(ImportError::Refused(faults));
        }
        let inputs = graph.input.iter().filter(|i| !constants.contains_key(i.name())).map(port).collect();
        let outputs = graph.output.iter().map(port).collect();
        let name = graph.name.unwrap_or_default();
        Ok(Net { name, producer, opset, nodes, constants, inputs, outputs, metadata })
    }

    /// Puts operands before users; an error where nodes need each other, or a value that nothing makes.
    pub fn sort(&mut self) -> Result<(), ImportError> {
        let known = |name: &str| name.is_empty() || self.constants.contains_key(name);
        let ports: HashSet<&str> = self.inputs.iter().map(|i| i.name.as_str()).collect();
        let mut waiting: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut missing = vec![0usize; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            let conditions = node.when.iter().map(|(name, _)| name);
            let needed = node.inputs.iter().chain(conditions);
            for name in needed.filter(|name| !known(name) && !ports.contains(name.as_str())) {
                waiting.entry(name).or_default().push(i);
                missing[i] += 1;
            }
        }
        // The file's order where it is one.
        let mut ready: BTreeSet<usize> = (0..missing.len()).filter(|&i| missing[i] == 0).collect();
        let mut order = Vec::new();
        while let Some(i) = ready.pop_first() {
            order.push(i);
            for name in &self.nodes[i].outputs {
                for user in waiting.remove(name.as_str()).unwrap_or_default() {
                    missing[user] -= 1;
                    if missing[user] == 0 {
                        ready.insert(user);
                    }
                }
            }
        }
        if let Some(i) = missing.iter().position(|&count| count > 0) {
            let node = &self.nodes[i];
            let absent = node.inputs.iter().find(|name| waiting.contains_key(name.as_str())).map_or("", |name| name);
            let message = format!("node `{}` reads `{absent}`, which nothing before it makes", node.label());
            return Err(ImportError::Damaged(message));
        }
        let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.into_iter().filter_map(|i| nodes[i].take()).collect();
        Ok(())
    }
}

/// Returns the version of ONNX's own operators, by which the nodes are read.
fn opset(sets: &[OperatorSetIdProto]) -> Result<i64, ImportError> {
    let own = |set: &&OperatorSetIdProto| set.domain().is_empty() || set.domain() == "ai.onnx";
    let versions: BTreeSet<i64> = sets.iter().filter(own).map(OperatorSetIdProto::version).collect();
    let wrong = match versions.iter().copied().collect::<Vec<_>>()[..] {
        [version] if (1..=NEWEST).contains(&version) => return Ok(version),
        [] => "it names no operator set of ONNX, by which its nodes are to be read".to_string(),
        [version] => format!("its operator set is {version}, where those from 1 to {NEWEST} are known"),
        _ => format!("it names several operator sets of ONNX: {versions:?}"),
    };
    Err(ImportError::Opset(wrong))
}

fn port(info: &ValueInfoProto) -> Port {
    let shape = match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TypeValue::TensorType(tensor)) => tensor.shape.as_ref(),
        _ => None,
    };
    let size = |value: &Option<Size>| match value {
        Some(Size::DimValue(v)) => usize::try_from(*v).ok().filter(|v| *v > 0),
        _ => None,
    };
    let dims = shape.map(|shape| shape.dim.iter().map(|d| size(&d.value)).collect());
    Port { name: info.name().to_string(), dims }
}
