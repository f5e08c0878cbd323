//! What other rooms ask an operator besides its value: the answers of the duties of [`super::OperatorDef`].

use super::window::Window;
use crate::graph::{Graph, NodeId};
use crate::types::Format;

/// What is known about the elements of a result, for `--precision`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elements {
    /// Nothing is known: they are new numbers.
    Computed,
    /// Each was rounded to this format.
    Rounded(Format),
    /// Each is an element of the operand of this number, unchanged, or 0.
    Selected(usize),
}

/// How kernels can store a result whose elements are exact in bf16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Storage {
    /// As float32 alone.
    Float32,
    /// As float32 or bf16.
    Bf16,
    /// As float32, or as bf16 by a training step on tiles.
    OnTiles,
    /// As the operand of this number is stored.
    AsOperand(usize),
}

/// Whose kernels read a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A processor's, at inference.
    Inference,
    /// Those of a training step on tiles: the factors of products are exact in bf16.
    Tiles,
    /// A GPU's.
    Gpu,
}

/// Which pixels of the first operand a pixel of the result depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Receptive {
    /// The pixel at its own place.
    Point,
    /// A sliding window.
    Window(Window),
    /// All pixels.
    Whole,
}

/// Where a result lies while a program runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Memory {
    /// In the arena, from its computation to its last use.
    Arena,
    /// In a place of its own, for as long as the program exists.
    Own,
}

/// Whether an operator has a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Derivative {
    /// It has none: gradients, updates and inference are made of it, and nothing is differentiated twice.
    None,
    /// It has one with respect to all operands of floats but these, which count as constants.
    Except(&'static [usize]),
}

/// What a layer's weights, its second operand, can take in at inference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Folding {
    /// Nothing.
    Nothing,
    /// A constant factor of its first operand.
    Scale,
    /// A constant factor, and a normalisation of the result's channels, which are the outermost dimension of the
    /// weights.
    ScaleAndNorm,
}

/// The format that every element of a value was rounded to.
pub fn exact(graph: &Graph, id: NodeId) -> Option<Format> {
    match graph.op(id).elements() {
        Elements::Computed => None,
        Elements::Rounded(to) => Some(to),
        Elements::Selected(from) => exact(graph, graph.operands(id)[from]),
    }
}
