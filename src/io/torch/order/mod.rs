//! Layers of a state dict for those of a network, by their order: PyTorch keeps tensors in the order in which a module
//! made its layers, which is that of the computation in networks as people write them, under names that say little.
//!
//! Layers are of one kind where their tensors have the same names and shapes. Those of a kind must follow each other in
//! the network; where two lie in branches side by side, nothing is guessed. A normalisation belongs to the layer in
//! front of it, on both sides.

mod error;
mod search;

pub use error::MatchError;

use super::StateDict;
use crate::graph::NodeId;
use crate::model::Model;
use crate::ops::Operator;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Parts of names by which networks call the branch of a block that reads what the block reads. Its layers are made
/// behind the others, and computed from an earlier value.
const SHORT: [&str; 2] = ["downsample", "shortcut"];
/// The tensor that only normalisations have.
const STATISTIC: &str = "running_mean";

/// A layer of either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What its tensors' names begin with.
    pub name: String,
    /// The shapes of its tensors, by the rest of their names.
    pub parts: BTreeMap<String, Vec<usize>>,
}

/// Which layer of the file is which of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// The file's layer and the network's, in the order of the network's text.
    pub pairs: Vec<(Layer, Layer)>,
    /// Layers of the file of kinds that the network does not have.
    pub left: Vec<Layer>,
    /// Layers of the network of kinds that the file does not have.
    pub lacking: Vec<Layer>,
}

/// Finds the layers of the file for those of the network. Those that are `said` are each other's by name; other names
/// may be equal by chance.
pub fn matching(state: &StateDict, model: &Model, said: &BTreeSet<String>) -> Result<Matching, MatchError> {
    search::run(of_file(state), of_network(model), &model.graph, said)
}

/// Splits a tensor's name into that of its layer and the rest.
pub fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

impl Layer {
    fn is_norm(&self) -> bool {
        self.parts.contains_key(STATISTIC)
    }

    /// Does its name say that it lies on the short branch of a block? Gives the block's name.
    fn short(&self) -> Option<&str> {
        let mut end = 0;
        for part in self.name.split('.') {
            if SHORT.contains(&part) {
                return Some(&self.name[..end]);
            }
            end += part.len() + 1;
        }
        None
    }

    /// Its tensors in words.
    pub fn tensors(&self) -> String {
        self.parts.iter().map(|(part, dims)| format!("{part} {dims:?}")).collect::<Vec<_>>().join(", ")
    }
}

/// A layer of the network, and where it stands.
struct Placed {
    layer: Layer,
    /// The value that its call reads.
    reads: NodeId,
    /// The value that its call makes.
    makes: NodeId,
    /// Its number among the layers of the call, which read each other.
    step: usize,
    /// The layer whose value a normalisation reads.
    before: Option<usize>,
}

fn layers<'n>(tensors: impl Iterator<Item = (&'n str, &'n [usize])>) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (name, dims) in tensors {
        let (stem, part) = split(name);
        let at = *places.entry(stem).or_insert(layers.len());
        if at == layers.len() {
            layers.push(Layer { name: stem.into(), parts: BTreeMap::new() });
        }
        layers[at].parts.insert(part.into(), dims.to_vec());
    }
    layers
}

/// The file's layers in its order.
fn of_file(state: &StateDict) -> Vec<Layer> {
    layers(state.order.iter().filter_map(|name| Some((name.as_str(), &state.tensors.get(name)?.dims[..]))))
}

/// The network's layers in the order of its text.
fn of_network(model: &Model) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    // The last layer of the call that makes a value.
    let mut makers: HashMap<NodeId, usize> = HashMap::new();
    for call in &model.layers {
        let Some(&reads) = call.operands.first() else { continue };
        let params = call.params.iter().filter_map(|&id| match model.graph.op(id) {
            Operator::Param(param) => Some((param.name.as_str(), &param.dims[..])),
            _ => None,
        });
        for (step, layer) in layers(params).into_iter().enumerate() {
            let norm = layer.is_norm();
            // What several calls share is there once.
            let at = placed.iter().position(|other| other.layer.name == layer.name).unwrap_or(placed.len());
            if at == placed.len() {
                let before = makers.get(&reads).copied().filter(|_| norm);
                placed.push(Placed { layer, reads, makes: call.value, step, before });
            }
            if !norm {
                makers.insert(call.value, at);
            }
        }
    }
    placed
}
