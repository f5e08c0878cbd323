//! A network as a list of the language's layers with their tensors: what readers of foreign files fill in, and what
//! becomes a model's text.

mod affine;
mod blocks;
mod body;
mod bytes;
mod definitions;
mod layers;
mod names;
mod repeats;
mod settings;
mod text;
mod units;

pub use bytes::{Bytes, WEIGHT};
pub use layers::{convolution, turned};
pub use names::identifier;
pub use repeats::Style;

use crate::quantize::imported::Stated;
use ninc_runtime::Tensor;
use std::collections::BTreeMap;

/// A layer by its place in the list.
pub type LayerId = usize;

/// An argument of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A whole number.
    Int(usize),
    /// One number for rows and one for columns.
    Pair([usize; 2]),
    /// A list of whole numbers.
    Ints(Vec<usize>),
    /// Another number.
    Float(f32),
    /// `true` or `false`.
    Bool(bool),
    /// A word.
    Word(&'static str),
    /// A word with or without arguments of its own: `normal(std = 0.05)`.
    Call(String),
}

/// Arguments by name; those that are as the language takes them unless said are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args(pub Vec<(&'static str, Arg)>);

impl Args {
    /// Adds an argument.
    pub fn with(mut self, name: &'static str, value: Arg) -> Args {
        self.0.push((name, value));
        self
    }

    /// Adds an argument unless it is the default.
    pub fn unless(self, name: &'static str, value: Arg, default: Arg) -> Args {
        if value == default { self } else { self.with(name, value) }
    }

    /// Returns an argument.
    pub fn get(&self, name: &str) -> Option<&Arg> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

/// A layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// The language's function; `input` for the input.
    pub function: &'static str,
    /// Its arguments.
    pub args: Args,
    /// The values that flow in.
    pub operands: Vec<LayerId>,
    /// The name that the file gives it.
    pub name: Option<String>,
    /// The `mlpconv` that the file says it is a part of.
    pub block: Option<String>,
    /// Its tensors, by what follows the layer's name: `weight`, `conv.bias`.
    pub params: BTreeMap<&'static str, Tensor>,
    /// Its shape, without the batch.
    pub dims: Vec<usize>,
    /// What is bytes of it, in files of quantised networks.
    pub bytes: Bytes,
}

/// A network.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// Its name.
    pub name: String,
    /// Its layers, operands before users; the first is the input.
    pub layers: Vec<Layer>,
    /// Its results by name.
    pub outputs: Vec<(String, LayerId)>,
    /// How many layers a file has with weights of whole numbers.
    pub quantised: usize,
}

/// A model's text, with the tensors by their names in it.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The network's part of a model file, in no particular layout.
    pub text: String,
    /// Its tensors.
    pub tensors: BTreeMap<String, Tensor>,
    /// Layers whose weights are whole numbers that stand for these tensors, by name.
    pub stated: BTreeMap<String, Stated>,
    /// How many layers the file has with weights of whole numbers.
    pub quantised: usize,
}

impl Sheet {
    /// Adds a layer.
    pub fn add(&mut self, layer: Layer) -> LayerId {
        self.layers.push(layer);
        self.layers.len() - 1
    }

    /// Writes the network. Where names are free, chains of a convolution and 1x1 convolutions are put together that the
    /// file does not name as one.
    pub fn write(mut self, style: Style) -> Written {
        self.live();
        self.affines();
        self.computed();
        self.live();
        self.codings();
        self.chains(style == Style::Free);
        self.live();
        text::write(self, style)
    }

    /// Makes a value of results that are the input as it is.
    fn computed(&mut self) {
        if self.outputs.iter().all(|(_, id)| *id != 0) {
            return;
        }
        let dims = self.layers[0].dims.clone();
        let args = Args::default().with("shape", Arg::Ints(dims.clone()));
        let same = self.add(Layer { function: "reshape", args, operands: vec![0], dims, ..Layer::default() });
        self.outputs.iter_mut().filter(|(_, id)| *id == 0).for_each(|(_, id)| *id = same);
    }

    /// Counts the uses of each layer; outputs count.
    fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.layers.len()];
        let operands = self.layers.iter().flat_map(|layer| &layer.operands);
        operands.chain(self.outputs.iter().map(|(_, id)| id)).for_each(|&id| uses[id] += 1);
        uses
    }

    /// Drops layers that no output needs; the input stays.
    fn live(&mut self) {
        let mut needed = vec![false; self.layers.len()];
        self.outputs.iter().for_each(|&(_, id)| needed[id] = true);
        for id in (0..self.layers.len()).rev() {
            if needed[id] {
                self.layers[id].operands.iter().for_each(|&o| needed[o] = true);
            }
        }
        needed[0] = true;
        let mut place = vec![0; needed.len()];
        let mut kept = Vec::new();
        for (id, mut layer) in std::mem::take(&mut self.layers).into_iter().enumerate().filter(|(id, _)| needed[*id]) {
            layer.operands.iter_mut().for_each(|o| *o = place[*o]);
            place[id] = kept.len();
            kept.push(layer);
        }
        self.layers = kept;
        self.outputs.iter_mut().for_each(|(_, id)| *id = place[*id]);
    }
}
