//! Softmax and related functions over the channels of each position, and the loss.

use super::{cpu, gpu};
use crate::lower::target::{Gpu, Machine};
use crate::lower::{LowerCx, LowerError, Lowered};

pub use cpu::softmax::one_hot;

/// `x -> exp(x) / Σ exp(x)` over the channels of each position.
pub fn softmax(cx: &mut LowerCx) -> Lowered {
    choose(cx, cpu::softmax::softmax, gpu::softmax::softmax)
}

/// `(y, dy) -> dx`
pub fn softmax_grad(cx: &mut LowerCx) -> Lowered {
    choose(cx, cpu::softmax::softmax_grad, gpu::softmax::softmax_grad)
}

/// `x -> x - ln Σ exp(x)` over the channels of each position.
pub fn log_softmax(cx: &mut LowerCx) -> Lowered {
    choose(cx, cpu::softmax::log_softmax, gpu::softmax::log_softmax)
}

/// `(y, dy) -> dx`
pub fn log_softmax_grad(cx: &mut LowerCx) -> Lowered {
    choose(cx, cpu::softmax::log_softmax_grad, gpu::softmax::log_softmax_grad)
}

/// `(logits[C], target[C]) -> []` per image: `-Σ target · log_softmax(logits)`.
pub fn cross_entropy(cx: &mut LowerCx) -> Lowered {
    one_row(cx)?;
    choose(cx, cpu::softmax::cross_entropy, gpu::softmax::cross_entropy)
}

/// `(logits, target, dy[] per image) -> dlogits = dy · (softmax(logits) · Σ target - target)`
pub fn cross_entropy_grad(cx: &mut LowerCx) -> Lowered {
    one_row(cx)?;
    choose(cx, cpu::softmax::cross_entropy_grad, gpu::softmax::cross_entropy_grad)
}

/// Chooses work groups where rows are worth it, else a row at a time.
fn choose(cx: &mut LowerCx, cpu: fn(&mut LowerCx, usize) -> Lowered, gpu: fn(&mut LowerCx, &Gpu, usize)) -> Lowered {
    let ty = &cx.operands[0].ty;
    let (width, ..) = ty.chw().ok_or_else(|| LowerError::Bug(format!("{}: {ty} has no channels", cx.name)))?;
    let target = cx.target;
    match &target.machine {
        Machine::Gpu(machine) if super::gpu::softmax::suits(machine, width) => {
            gpu(cx, machine, width);
            Ok(())
        }
        _ => cpu(cx, width),
    }
}

/// Checks that the logits are one row, because the loss is one number an image.
fn one_row(cx: &LowerCx) -> Lowered {
    match cx.operands[0].ty.chw() {
        Some((_, 1, 1)) => Ok(()),
        _ => Err(LowerError::Bug(format!("{}: cross entropy of {}", cx.name, cx.operands[0].ty))),
    }
}
