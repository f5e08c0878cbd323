//! Pooling over windows. Sizes of operand and result decide rounding up or down; windows are clipped to the image.
//!
//! Forward kernels have an iteration per output row, gradients one per image, whose windows run in row order: each
//! adds its share to the image's gradient, which begins as zeros.

mod pixel;
mod stochastic;
mod windows;

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Compare, Elem, Index, Param, Unary, Val};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::common::Window;
use crate::recipes::common::partition::KernelWithOperands;
use pixel::Pixel;
pub use stochastic::{stochastic, stochastic_grad, stochastic_train, stochastic_train_grad};
pub use windows::Pooling;
use windows::Side;

/// The maximum of the cells inside the image.
pub fn max(cx: &mut LowerCx, window: &Window) -> Lowered {
    let shape = Pooling::forward(cx, window)?;
    max_over(cx, &shape)
}

pub(in crate::recipes) fn max_over(cx: &mut LowerCx, shape: &Pooling) -> Lowered {
    let mut d = KernelWithOperands::new(cx, "max_pool", Access::Write);
    let [from, to] = [cx.operands[0].buffer, cx.result.buffer].map(|buffer| cx.elem(buffer));
    let pointers = [Side::image(d.operands[0], Access::Read).of(from), Side::output(d.result, Access::Write).of(to)];
    if from == Elem::U8 {
        shape.forward_kernel(cx, &mut d, "max_pool", &pointers, false, None, |b, p, at, lanes| {
            let start = b.i32(0, lanes);
            let best = p.fold(b, at, &[start], |b, cell, _, carried| {
                let value = b.load(p.params[0], cell, lanes);
                vec![b.max(carried[0], value)]
            });
            b.store(p.params[1], p.output(at), best[0]);
        });
        d.launch(cx);
        return Ok(());
    }
    shape.forward_kernel(cx, &mut d, "max_pool", &pointers, false, None, |b, p, at, lanes| {
        let start = b.f32(f32::NEG_INFINITY, lanes);
        let best = p.fold(b, at, &[start], |b, cell, _, carried| {
            let value = b.load(p.params[0], cell, lanes);
            vec![b.max(carried[0], value)]
        });
        b.store(p.params[1], p.output(at), best[0]);
    });
    d.launch(cx);
    Ok(())
}

/// `(x, dy) -> dx`: each window's gradient goes to its first maximum in row order.
pub fn max_grad(cx: &mut LowerCx, window: &Window) -> Lowered {
    let shape = Pooling::gradient(cx, window, 1)?;
    max_grad_over(cx, &shape)
}

pub(in crate::recipes) fn max_grad_over(cx: &mut LowerCx, shape: &Pooling) -> Lowered {
    let mut d = KernelWithOperands::new(cx, "max_pool_grad", Access::ReadWrite);
    let pointers = [
        Side::image(d.operands[0], Access::Read).of(cx.elem(cx.operands[0].buffer)),
        Side::output(d.operands[1], Access::Read).of(cx.elem(cx.operands[1].buffer)),
        Side::image(d.result, Access::ReadWrite).of(cx.elem(cx.result.buffer)),
    ];
    shape.gradient_kernel(cx, &mut d, "max_pool_grad", &pointers, false, None, |b, p, at, lanes| {
        let (start, first) = (b.f32(f32::NEG_INFINITY, lanes), b.i32(0, lanes));
        let found = p.fold(b, at, &[start, first], |b, cell, number, carried| {
            let value = b.load(p.params[0], cell, lanes);
            let larger = b.compare(Compare::Gt, value, carried[0]);
            let number = p.number(b, number, lanes);
            vec![b.select(larger, value, carried[0]), b.select(larger, number, carried[1])]
        });
        let grad = b.load(p.params[1], p.output(at), lanes);
        give_to(b, p, at, lanes, p.params[2], found[1], grad);
    });
    d.launch(cx);
    Ok(())
}

/// Adds `grad` to the window's cell number `chosen` (per lane).
fn give_to(b: &mut MicroKernelBuilder, p: &Pixel, at: &Index, lanes: u32, dx: Param, chosen: Val, grad: Val) {
    let zero = b.f32(0.0, lanes);
    p.fold(b, at, &[], |b, cell, number, _| {
        let number = p.number(b, number, lanes);
        let is_chosen = b.compare(Compare::Eq, chosen, number);
        let share = b.select(is_chosen, grad, zero);
        add_to(b, dx, cell, share);
        vec![]
    });
}

/// `memory[at] += value`
fn add_to(b: &mut MicroKernelBuilder, memory: Param, at: Index, value: Val) {
    let lanes = b.ty(value).lanes;
    let old = b.load(memory, at.clone(), lanes);
    let new = b.add(old, value);
    b.store(memory, at, new);
}

/// The number of cells as a float in every lane.
fn cells(b: &mut MicroKernelBuilder, p: &Pixel, lanes: u32) -> Val {
    match p.cells {
        Ok(count) => b.f32(count as f32, lanes),
        Err(var) => {
            let count = b.op(crate::kernel::ir::Op::IndexI32 { index: var.into(), lanes });
            b.unary(Unary::ToFloat, count)
        }
    }
}

/// The mean of the cells inside the image.
pub fn avg(cx: &mut LowerCx, window: &Window) -> Lowered {
    let shape = Pooling::forward(cx, window)?;
    avg_over(cx, &shape)
}

pub(in crate::recipes) fn avg_over(cx: &mut LowerCx, shape: &Pooling) -> Lowered {
    let mut d = KernelWithOperands::new(cx, "avg_pool", Access::Write);
    let pointers = [Side::image(d.operands[0], Access::Read), Side::output(d.result, Access::Write)];
    shape.forward_kernel(cx, &mut d, "avg_pool", &pointers, true, None, |b, p, at, lanes| {
        let start = b.f32(0.0, lanes);
        let sum = p.fold(b, at, &[start], |b, cell, _, carried| {
            let value = b.load(p.params[0], cell, lanes);
            vec![b.add(carried[0], value)]
        });
        let count = cells(b, p, lanes);
        let mean = b.div(sum[0], count);
        b.store(p.params[1], p.output(at), mean);
    });
    d.launch(cx);
    Ok(())
}

/// Like [`avg`], of bytes, rounded to the nearest one.
pub fn avg_bytes(cx: &mut LowerCx, window: &Window) -> Lowered {
    let shape = Pooling::forward(cx, window)?;
    let mut d = KernelWithOperands::new(cx, "avg_pool_bytes", Access::Write);
    let pointers =
        [Side::image(d.operands[0], Access::Read).of(Elem::U8), Side::output(d.result, Access::Write).of(Elem::U8)];
    shape.forward_kernel(cx, &mut d, "avg_pool_bytes", &pointers, true, None, |b, p, at, lanes| {
        let start = b.i32(0, lanes);
        let sum = p.fold(b, at, &[start], |b, cell, _, carried| {
            let value = b.load(p.params[0], cell, lanes);
            vec![b.add(carried[0], value)]
        });
        let (sum, count) = (b.unary(Unary::ToFloat, sum[0]), cells(b, p, lanes));
        let mean = b.div(sum, count);
        let mean = b.unary(Unary::Round, mean);
        let mean = b.unary(Unary::ToInt, mean);
        b.store(p.params[1], p.output(at), mean);
    });
    d.launch(cx);
    Ok(())
}

/// `dy -> dx`
pub fn avg_grad(cx: &mut LowerCx, window: &Window) -> Lowered {
    let shape = Pooling::gradient(cx, window, 0)?;
    avg_grad_over(cx, &shape)
}

pub(in crate::recipes) fn avg_grad_over(cx: &mut LowerCx, shape: &Pooling) -> Lowered {
    let mut d = KernelWithOperands::new(cx, "avg_pool_grad", Access::ReadWrite);
    let pointers = [Side::output(d.operands[0], Access::Read), Side::image(d.result, Access::ReadWrite)];
    shape.gradient_kernel(cx, &mut d, "avg_pool_grad", &pointers, true, None, |b, p, at, lanes| {
        let grad = b.load(p.params[0], p.output(at), lanes);
        let count = cells(b, p, lanes);
        let share = b.div(grad, count);
        p.fold(b, at, &[], |b, cell, _, _| {
            add_to(b, p.params[1], cell, share);
            vec![]
        });
    });
    d.launch(cx);
    Ok(())
}
