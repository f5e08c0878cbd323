//! A model file, checked: what the front end gives to everything after it.

use crate::graph::Graph;
use ninc_runtime::spec::{DataSpec, Recipe};

#[derive(Clone, Debug)]
pub struct Model {
    pub name: String,
    /// The network as written: mlpconv whole, dropout and batch normalisation neither for training nor for inference.
    /// `graph.outputs` holds the results: one named after the last value, or those that `output` names.
    pub graph: Graph,
    /// A row per call of a layer function, in order: its name (`block1`, `conv1`), the function, its value and parameters.
    pub layers: Vec<Layer>,
    pub data: Option<DataSpec>,
    pub train: Option<Recipe>,
}

#[derive(Clone, Debug)]
pub struct Layer {
    pub name: String,
    pub function: String,
    pub value: crate::graph::NodeId,
    pub operands: Vec<crate::graph::NodeId>,
    pub params: Vec<crate::graph::NodeId>,
}
