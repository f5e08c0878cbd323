//! What the language knows of a layer: its parameters, and how a call becomes graph nodes.

use super::error::ShapeError;
use super::params::{Args, FromArg, Param, ParamSpec};
use super::source::Init;
use crate::graph::{Graph, NodeId};

/// One function of the language that makes a graph value: `conv`, `max_pool`, `dropout`.
pub struct Schema {
    /// The function's name in the language.
    pub name: &'static str,
    /// One line, imperative or noun phrase, shown in the reference.
    pub doc: &'static str,
    /// Values that flow in: `x |> f(…)` gives the first, `f(x, y, …)` all. `(least, most)`.
    pub operands: (usize, usize),
    /// The function's own parameters, in the order of the reference.
    pub params: &'static [ParamSpec],
    /// Whether it makes parameters: it accepts the per-layer settings (`init`, `rate`, `decay`, …).
    pub weights: bool,
    /// Adds the nodes. The arguments are there, of the right kind and complete.
    pub build: fn(&mut LayerCx) -> Result<NodeId, LayerError>,
}

/// Settings of a layer's parameters: the call's own, or those of `defaults { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How weights are drawn.
    pub init: Init,
    /// Factor on the optimiser's rate, for weights.
    pub rate: f64,
    /// Factor on the optimiser's rate, for biases.
    pub bias_rate: f64,
    /// Factor on the optimiser's weight decay, for weights.
    pub decay: f64,
    /// Factor on the optimiser's weight decay, for biases.
    pub bias_decay: f64,
    /// Bound on the L2 norm of the weights of each output.
    pub max_norm: Option<f64>,
    /// Whether training leaves the parameters as they are.
    pub frozen: bool,
}

impl Default for Settings {
    /// He's initialisation for layers followed by ReLU; multipliers 1 and 1, 1 and 0.
    fn default() -> Settings {
        Settings {
            init: Init::He,
            rate: 1.0,
            bias_rate: 1.0,
            decay: 1.0,
            bias_decay: 0.0,
            max_norm: None,
            frozen: false,
        }
    }
}

/// What went wrong in building a layer, and which argument is to blame (the whole call if none is).
#[derive(Clone, Debug, PartialEq)]
pub struct LayerError {
    /// Name of the parameter whose argument is to blame.
    pub param: Option<&'static str>,
    /// One sentence, with the arithmetic where it is about shapes.
    pub message: String,
    /// The way out, if one is known.
    pub help: Option<String>,
    /// Whether the sentence says by itself which layer it is about.
    pub names_layer: bool,
}

impl From<String> for LayerError {
    fn from(message: String) -> LayerError {
        LayerError { param: None, message, help: None, names_layer: false }
    }
}

impl From<ShapeError> for LayerError {
    fn from(error: ShapeError) -> LayerError {
        error.0.into()
    }
}

/// Keeps the sentence alone, for `infer`, which has no arguments to point at.
impl From<LayerError> for ShapeError {
    fn from(error: LayerError) -> ShapeError {
        ShapeError(error.message)
    }
}

/// The call being built.
pub struct LayerCx<'a> {
    /// Where the nodes are added.
    pub graph: &'a mut Graph,
    /// The values that flow in.
    pub operands: Vec<NodeId>,
    /// The call's arguments.
    pub args: Args,
    /// Settings for the parameters that the layer makes.
    pub settings: Settings,
    /// The layer's name, first part of its parameters' names.
    pub name: String,
    /// Number of the layer's stream of random numbers, different for each layer of the network.
    pub stream: u32,
}

impl LayerCx<'_> {
    /// The argument of one of the layer's parameters, or its default.
    pub fn get<T: FromArg>(&self, param: Param<T>) -> T {
        self.args.get(param)
    }
}
