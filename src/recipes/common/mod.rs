//! What recipes for processors and for GPUs share: the words they describe layers with, partitions of work, code inside
//! micro-kernels, and recipes that are the same on both, whose iterations are a GPU's work items.

pub mod activation;
pub mod conv;
pub mod elementwise;
pub mod fold;
pub mod gates;
pub mod int8;
pub mod loops;
pub mod lrn;
pub mod math;
pub mod maxout;
pub mod movement;
pub mod names;
pub mod partition;
pub mod pool;
pub mod prepare;
pub mod random;
pub mod spread;
pub mod sums;
pub mod winograd;

use crate::lower::{Constant, LowerCx, LowerError};
use crate::types::{Format, Type};

/// `(inputs, outputs)` of a linear layer's weight `[out, in]`.
pub fn weight_sizes(cx: &LowerCx, ty: &Type) -> Result<(usize, usize), LowerError> {
    match *ty.dims.as_slice() {
        [outputs, inputs] if inputs > 0 && outputs > 0 => Ok((inputs, outputs)),
        _ => Err(LowerError::Bug(format!("{}: a linear layer with weights {ty}", cx.name))),
    }
}

/// A sliding window: rows first, then columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Its size.
    pub kernel: [usize; 2],
    /// Cells from window to window.
    pub stride: [usize; 2],
    /// Cells of zeros on each side.
    pub pad: [usize; 2],
    /// Cells from tap to tap.
    pub dilation: [usize; 2],
}

impl Window {
    /// The window of a 1x1 convolution.
    pub const ONE: Window = Window { kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };

    /// Returns the cells that `n` neighbouring windows span along dimension `d`.
    pub fn reach(&self, d: usize, n: usize) -> usize {
        (n - 1) * self.stride[d] + self.dilation[d] * (self.kernel[d] - 1) + 1
    }

    /// Is each cell in at most one window?
    pub fn disjoint(&self) -> bool {
        (0..2).all(|d| self.reach(d, 1) <= self.stride[d])
    }
}

/// Activation functions that an epilogue or an elementwise kernel can apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `max(x, 0)`
    Relu,
    /// `x` above 0, `slope·x` below.
    LeakyRelu {
        /// Factor below 0.
        slope: Constant,
    },
    /// `x` above 0, `alpha·(exp(x) - 1)` below.
    Elu {
        /// Factor below 0.
        alpha: Constant,
    },
    /// `1/(1 + exp(-x))`
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `min(max(x, low), high)`, with one limit or both.
    Clip {
        /// The least result.
        low: Option<Constant>,
        /// The largest result.
        high: Option<Constant>,
    },
}

impl Function {
    /// Returns its name in reports and in names of kernels.
    pub fn name(self) -> &'static str {
        match self {
            Function::Relu => "relu",
            Function::LeakyRelu { .. } => "leaky_relu",
            Function::Elu { .. } => "elu",
            Function::Sigmoid => "sigmoid",
            Function::Tanh => "tanh",
            Function::Clip { .. } => "clip",
        }
    }
}

/// What happens to a result in registers before it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epilogue {
    /// The activation, applied first.
    pub activation: Option<Function>,
    /// The format that the result is rounded to, after the activation.
    pub round: Option<Format>,
}

/// One product of a fused chain: the convolution first, then 1x1 convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stage {
    /// Whether there is a bias operand.
    pub bias: bool,
    /// What happens to sums before they are stored.
    pub epilogue: Epilogue,
}

impl Epilogue {
    /// Leaves the result as it is.
    pub const NONE: Epilogue = Epilogue { activation: None, round: None };

    /// Rounds the result to a format, if there is one.
    pub fn rounding(round: Option<Format>) -> Epilogue {
        Epilogue { activation: None, round }
    }
}

impl From<Function> for Epilogue {
    fn from(function: Function) -> Epilogue {
        Epilogue { activation: Some(function), round: None }
    }
}

impl From<Option<Function>> for Epilogue {
    fn from(activation: Option<Function>) -> Epilogue {
        Epilogue { activation, round: None }
    }
}

/// How a pooling joins the chain before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The largest value of a window.
    Max,
    /// The mean of a window.
    Average,
}
