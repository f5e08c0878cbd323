//! A model file, checked: what the front end gives to everything after it.

use crate::graph::Graph;
use ninc_runtime::formats::Formats;
use ninc_runtime::spec::{DataSpec, Recipe};

/// A checked model file.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network's name.
    pub name: String,
    /// The network as written: mlpconv whole, dropout and batch normalisation neither for training nor for inference.
    /// `graph.outputs` holds the results: one named after the last value, or those that `output` names.
    pub graph: Graph,
    /// A row per call of a layer function, in order: its name (`block1`, `conv1`), the function, its value and
    /// parameters.
    pub layers: Vec<Layer>,
    /// Its section `data`.
    pub data: Option<DataSpec>,
    /// Its section `train`.
    pub train: Option<Recipe>,
    /// Formats of the layers for inference, where weights state them: they are not the file's.
    pub formats: Option<Formats>,
}

/// A call of a layer, for reports.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The call's name.
    pub name: String,
    /// The function of the language.
    pub function: String,
    /// Its result.
    pub value: crate::graph::NodeId,
    /// Its operands.
    pub operands: Vec<crate::graph::NodeId>,
    /// Its parameters.
    pub params: Vec<crate::graph::NodeId>,
}
