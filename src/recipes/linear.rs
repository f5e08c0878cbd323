//! Fully connected layers.

use super::common::Stage;
use super::{cpu, gpu};
use crate::lower::target::Machine;
use crate::lower::{LowerCx, Lowered};

/// `(x[F], w[O, F], [b[O]]) -> y[O]`
pub fn forward(cx: &mut LowerCx, stage: Stage) -> Lowered {
    let target = cx.target;
    match &target.machine {
        Machine::Cpu(_) => cpu::linear::forward(cx, stage),
        Machine::Gpu(gpu) => gpu::linear::forward(cx, gpu, stage),
    }
}

/// `(w, dy) -> dx`
pub fn grad_input(cx: &mut LowerCx) -> Lowered {
    let target = cx.target;
    match &target.machine {
        Machine::Cpu(_) => cpu::linear::grad_input(cx),
        Machine::Gpu(gpu) => gpu::linear::grad_input(cx, gpu),
    }
}

/// `(x, dy) -> dw`
pub fn grad_weight(cx: &mut LowerCx) -> Lowered {
    let target = cx.target;
    match &target.machine {
        Machine::Cpu(_) => cpu::linear::grad_weight(cx),
        Machine::Gpu(gpu) => gpu::linear::grad_weight(cx, gpu),
    }
}
