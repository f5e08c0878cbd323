//! Recipes: write the loop nest and the micro-kernels of a node, for a target. One file per family.
//!
//! Conventions. Images are `[N][H][W][C]`, vectors run along channels. A recipe reads shapes from `cx.operands` and
//! `cx.result`, adds micro-kernels to `cx.module()` (named by all that decides their code, so that equal ones are shared)
//! and appends launches. Every kernel is one `parallel` loop whose rounds are independent, each output element has one
//! owner that reduces in a fixed order, and nothing depends on the number of threads.

pub mod batch_norm;
pub mod contraction;
pub mod conv;
pub mod copy;
pub mod drop_connect;
pub mod elementwise;
pub mod fold;
pub mod gates;
pub mod global;
mod gpu;
pub mod linear;
pub mod local;
pub mod lrn;
pub mod math;
pub mod maxout;
pub mod movement;
pub mod peak;
pub mod pool;
pub mod prepare;
pub mod random;
pub mod reduce;
pub mod softmax;
pub mod split;
pub mod spread;
pub mod winograd;

use crate::types::Format;

/// A sliding window: rows first, then columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    pub dilation: [usize; 2],
}

impl Window {
    /// Of a 1x1 convolution.
    pub const ONE: Window = Window { kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };
}

/// Activation functions that an epilogue or an elementwise kernel can apply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    Relu,
    LeakyRelu { slope: f32 },
    Elu { alpha: f32 },
    Sigmoid,
    Tanh,
}

/// What happens to a result in registers before it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Finish {
    pub activation: Option<Function>,
    /// Rounded to this format, after the activation.
    pub round: Option<Format>,
}

/// One product of a fused chain: the convolution first, then 1x1 convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stage {
    pub bias: bool,
    pub finish: Finish,
}

impl From<Function> for Finish {
    fn from(function: Function) -> Finish {
        Finish { activation: Some(function), round: None }
    }
}

impl From<Option<Function>> for Finish {
    fn from(activation: Option<Function>) -> Finish {
        Finish { activation, round: None }
    }
}

/// How a pooling joins the chain before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduction {
    Max,
    Average,
}
