//! DropConnect: a linear layer whose weights and biases are masked anew for each image.

use super::common::{Stage, weight_sizes};
use super::{cpu, linear};
use crate::lower::{Constant, LowerCx, Lowered};

pub use cpu::drop_connect::{grad_bias, grad_input, grad_weight, train};

/// Inference, the mean over all masks: `(x[F], w[O, F], b[O]) -> (1 - rate)·(w·x + b)`.
pub fn mean(cx: &mut LowerCx, rate: f64) -> Lowered {
    let (_, outputs) = weight_sizes(cx, &cx.operands[1].ty)?;
    linear::forward(cx, Stage { bias: true, ..Stage::default() })?;
    cpu::drop_connect::scale(cx, outputs, Constant::from((1.0 - rate) as f32));
    Ok(())
}
