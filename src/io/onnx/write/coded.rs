//! Layers of bytes, in the form that engines recognise: floats that are rounded to bytes and taken back as floats
//! (`QuantizeLinear`, `DequantizeLinear`) in front of each layer that multiplies bytes, and behind it.

use super::super::error::ExportError;
use super::super::proto::tensor_proto::DataType;
use super::messages::{int, whole};
use super::nodes::activation;
use super::{Export, Writer, source, unnamed};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::quantize::coded::Coded;
use crate::quantize::ranges::Coding;
use std::collections::{BTreeSet, HashMap};

/// Names the values of a network whose layers are no longer those of the language.
pub fn names(coded: &Coded) -> HashMap<NodeId, String> {
    let graph = &coded.graph;
    let mut names: HashMap<NodeId, String> = HashMap::new();
    let mut taken = BTreeSet::new();
    for id in graph.order() {
        let behind = || {
            let before = graph.operands(id).first().filter(|before| coded.product(**before).is_some())?;
            let word = match graph.op(id) {
                Operator::Activation(op) => activation(op.function).0.to_lowercase(),
                op => op.name().into(),
            };
            Some(format!("{}.{word}", names.get(before)?))
        };
        let layer = || coded.product(id).map(String::from).or_else(|| graph.node(id).name.clone()).or_else(behind);
        let own = source(graph, id).or_else(layer).filter(|name| taken.insert(name.clone()));
        names.insert(id, own.unwrap_or_else(|| unnamed(id)));
    }
    names
}

/// Finds the language's function of each layer that is left, by its name; layers of blocks have those of their blocks.
pub fn functions<'a>(export: &Export<'a>, graph: &Graph, names: &HashMap<NodeId, String>) -> HashMap<NodeId, &'a str> {
    let layers = &export.model.layers;
    let of = |name: &str| layers.iter().find(|layer| layer.name == name).map(|layer| layer.function.as_str());
    let all = graph.ids().into_iter().filter_map(|id| {
        let name = names.get(&id)?;
        let block = || name.rsplit_once('.').and_then(|(block, _)| of(block)).filter(|function| *function == "mlpconv");
        Some((id, of(name).or_else(block)?))
    });
    all.collect()
}

impl Writer<'_> {
    /// Returns what a value's node is called: in a block, after the layer before it.
    pub(super) fn label(&self, id: NodeId, name: &str) -> String {
        let before = self.graph().operands(id)[0];
        match (self.export.coded.and_then(|coded| coded.product(before)), self.functions.get(&before)) {
            (Some(product), Some(&"mlpconv")) => format!("{product}.{}", self.graph().op(id).name()),
            _ => name.into(),
        }
    }

    /// Returns the names of a value's operands, rounded to bytes where it reads such.
    pub(super) fn operands(&mut self, id: NodeId) -> Result<Vec<String>, ExportError> {
        let operands = self.graph().operands(id);
        let Some(coded) = self.export.coded else { return Ok(operands.iter().map(|&o| self.name(o)).collect()) };
        if let Some((layer, image)) = coded.layer(id) {
            let x = self.bytes(operands[0])?;
            let dims = &self.graph().ty(operands[1]).dims;
            return Ok(vec![x, self.weight(layer, dims)?, self.bias(layer, image)?]);
        }
        let inner = coded.carries(id) && coded.coding(id).is_some() && !coded.read_as_floats(id);
        let read = |w: &mut Self, o: NodeId| match inner || coded.reads_bytes(id, o) {
            true => w.bytes(o),
            false => Ok(w.name(o)),
        };
        operands.iter().map(|&o| read(self, o)).collect()
    }

    /// Returns the name of a value that has been rounded to bytes.
    fn bytes(&mut self, id: NodeId) -> Result<String, ExportError> {
        if let Some(name) = self.bytes.get(&id) {
            return Ok(name.clone());
        }
        let Some((coded, coding)) = self.export.coded.and_then(|coded| Some((coded, coded.coding(id)?))) else {
            return Err(self.none(id, "its bytes have no scale"));
        };
        let mut name = self.name(id);
        if coded.carries(id) && coded.read_as_floats(id) {
            // There is a value of floats already.
            let operand = self.bytes(self.graph().operands(id)[0])?;
            name += ".bytes";
            self.node_on(id, &name.clone(), &[&operand])?;
        }
        let name = self.there_and_back(&name, coding);
        self.bytes.insert(id, name.clone());
        Ok(name)
    }

    /// Rounds a value that is bytes for all that read it.
    pub(super) fn rounded(&mut self, id: NodeId) {
        if let Some(coding) = self.export.coded.and_then(|coded| coded.made(id)) {
            let name = self.there_and_back(&self.name(id), coding);
            self.bytes.insert(id, name.clone());
            self.names.insert(id, name);
        }
    }

    /// Adds the two nodes that round to bytes and give floats again.
    fn there_and_back(&mut self, value: &str, Coding { scale, zero }: Coding) -> String {
        let (bytes, floats) = (format!("{value}.quantized"), format!("{value}.dequantized"));
        let scale = self.constant(&format!("{bytes}.scale"), &[], &[scale]);
        let zero = self.whole(&format!("{bytes}.zero"), &[], DataType::Uint8, &[i32::from(zero)]);
        self.add(&bytes, "QuantizeLinear", &[value, &scale, &zero], &bytes, vec![]);
        self.add(&floats, "DequantizeLinear", &[&bytes, &scale, &zero], &floats, vec![])
    }

    /// Adds a layer's weights: signed bytes with a scale for each output.
    fn weight(&mut self, layer: &str, dims: &[usize]) -> Result<String, ExportError> {
        let name = format!("{layer}.weight");
        let (data, scales) = (self.numbers(&name)?, self.numbers(&format!("{name}.scale"))?);
        let zeros = vec![0; scales.len()];
        self.dequantized(&name, dims, DataType::Int8, (&data, &scales, &zeros))
    }

    /// Adds a layer's biases, whose scales are the products of both factors'.
    fn bias(&mut self, layer: &str, image: Coding) -> Result<String, ExportError> {
        let name = format!("{layer}.bias");
        let (data, scales) = (self.numbers(&name)?, self.numbers(&format!("{layer}.weight.scale"))?);
        let scales: Vec<f32> = scales.iter().map(|scale| image.scale * scale).collect();
        let zeros = vec![0; scales.len()];
        self.dequantized(&name, &[data.len()], DataType::Int32, (&data, &scales, &zeros))
    }

    fn dequantized(
        &mut self,
        name: &str,
        dims: &[usize],
        kind: DataType,
        (data, scales, zeros): (&[f32], &[f32], &[i32]),
    ) -> Result<String, ExportError> {
        let whole: Vec<i32> = data.iter().map(|&v| v as i32).collect();
        let whole = self.whole(name, dims, kind, &whole);
        let scale = self.constant(&format!("{name}.scale"), &[scales.len()], scales);
        let zero = self.whole(&format!("{name}.zero"), &[zeros.len()], kind, zeros);
        let floats = format!("{name}.dequantized");
        Ok(self.add(&floats, "DequantizeLinear", &[&whole, &scale, &zero], &floats, vec![int("axis", 0)]))
    }

    fn numbers(&self, name: &str) -> Result<Vec<f32>, ExportError> {
        let tensor = self.export.tensors.get(name);
        tensor.map(|tensor| tensor.data.clone()).ok_or_else(|| ExportError::Missing(name.into()))
    }

    /// Adds a constant of whole numbers of a type.
    fn whole(&mut self, name: &str, dims: &[usize], kind: DataType, data: &[i32]) -> String {
        if self.known.insert(name.into()) {
            self.constants.push(whole(name, dims, kind, data));
        }
        name.into()
    }
}
