//! Stochastic pooling (Zeiler & Fergus, 2013). Cells count as `a = max(x, 0)`.

use super::pixel::Pixel;
use super::windows::{Pooling, Side};
use super::{add_to, give_to};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Compare, Index, Val};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::common::Window;
use crate::recipes::common::partition::KernelWithOperands;

/// `max(x, 0)` of a cell.
fn activity(b: &mut MicroKernelBuilder, p: &Pixel, cell: Index, lanes: u32) -> Val {
    let value = b.load(p.params[0], cell, lanes);
    let zero = b.f32(0.0, lanes);
    b.max(value, zero)
}

/// `(Σa, Σa²)`
fn sums(b: &mut MicroKernelBuilder, p: &Pixel, at: &Index, lanes: u32) -> (Val, Val) {
    let zero = b.f32(0.0, lanes);
    let sums = p.fold(b, at, &[zero, zero], |b, cell, _, carried| {
        let a = activity(b, p, cell, lanes);
        vec![b.add(carried[0], a), b.fma(a, a, carried[1])]
    });
    (sums[0], sums[1])
}

/// Stochastic pooling at inference: `Σa²/Σa` over the window's cells `a = max(x, 0)`, 0 where `Σa = 0`.
pub fn stochastic(cx: &mut LowerCx, window: &Window) -> Lowered {
    let shape = Pooling::forward(cx, window)?;
    let mut d = KernelWithOperands::new(cx, "stochastic_pool", Access::Write);
    let sides = [Side::image(d.operands[0], Access::Read), Side::output(d.result, Access::Write)];
    shape.forward_kernel(cx, &mut d, "stochastic_pool", &sides, false, None, |b, p, at, lanes| {
        let (sum, squares) = sums(b, p, at, lanes);
        let zero = b.f32(0.0, lanes);
        let quotient = b.div(squares, sum);
        let some = b.compare(Compare::Gt, sum, zero);
        let y = b.select(some, quotient, zero);
        b.store(p.params[1], p.output(at), y);
    });
    d.launch(cx);
    Ok(())
}

/// `(x, dy) -> dx` of the above: `(2a - y)/Σa`, 0 where `x <= 0`.
pub fn stochastic_grad(cx: &mut LowerCx, window: &Window) -> Lowered {
    let shape = Pooling::gradient(cx, window, 1)?;
    let mut d = KernelWithOperands::new(cx, "stochastic_pool_grad", Access::ReadWrite);
    let sides = [
        Side::image(d.operands[0], Access::Read),
        Side::output(d.operands[1], Access::Read),
        Side::image(d.result, Access::ReadWrite),
    ];
    shape.gradient_kernel(cx, &mut d, "stochastic_pool_grad", &sides, false, None, |b, p, at, lanes| {
        let (sum, squares) = sums(b, p, at, lanes);
        // Where the sum is 0 every cell is 0 and takes nothing; what the divisions give there is not used.
        let y = b.div(squares, sum);
        let grad = b.load(p.params[1], p.output(at), lanes);
        let scale = b.div(grad, sum);
        let (zero, minus) = (b.f32(0.0, lanes), b.unary(crate::kernel::ir::Unary::Neg, y));
        p.fold(b, at, &[], |b, cell, _, _| {
            let a = activity(b, p, cell.clone(), lanes);
            let twice = b.add(a, a);
            let slope = b.add(twice, minus);
            let share = b.mul(scale, slope);
            let above = b.compare(Compare::Gt, a, zero);
            let share = b.select(above, share, zero);
            add_to(b, p.params[2], cell, share);
            vec![]
        });
    });
    d.launch(cx);
    Ok(())
}

/// The first cell whose running sum reaches `u·Σa`: its number (-1 if there is none) and its activity.
fn pick(b: &mut MicroKernelBuilder, p: &Pixel, at: &Index, lanes: u32) -> (Val, Val) {
    let zero = b.f32(0.0, lanes);
    let total = p.fold(b, at, &[zero], |b, cell, _, carried| {
        let a = activity(b, p, cell, lanes);
        vec![b.add(carried[0], a)]
    })[0];
    let u = b.load(p.params[1], p.output(at), lanes);
    let threshold = b.mul(u, total);
    let nothing = b.i32(-1, lanes);
    let found = p.fold(b, at, &[zero, nothing, zero], |b, cell, number, carried| {
        let a = activity(b, p, cell, lanes);
        let running = b.add(carried[0], a);
        let reached = b.compare(Compare::Ge, running, threshold);
        let (number, free) = (p.number(b, number, lanes), b.i32(0, lanes));
        let candidate = b.select(reached, number, nothing);
        let value = b.select(reached, a, zero);
        let open = b.compare(Compare::Lt, carried[1], free);
        vec![running, b.select(open, candidate, carried[1]), b.select(open, value, carried[2])]
    });
    (found[1], found[2])
}

/// `(x, key) -> y`: picks the first cell in row order whose running sum reaches `u·Σa`; u is the random number of the
/// output element (its index in memory order, the image's index in the whole batch outermost). 0 where `Σa = 0`.
pub fn stochastic_train(cx: &mut LowerCx, window: &Window, stream: u32) -> Lowered {
    let shape = Pooling::forward(cx, window)?;
    let mut d = KernelWithOperands::new(cx, "stochastic_pool_train", Access::Write);
    let key = d.operands[1];
    let units = shape.units_for(cx, &mut d, key, stream);
    let sides = [Side::image(d.operands[0], Access::Read), Side::random(&units), Side::output(d.result, Access::Write)];
    shape.forward_kernel(cx, &mut d, "stochastic_pool_train", &sides, false, Some(&units), |b, p, at, lanes| {
        let (_, value) = pick(b, p, at, lanes);
        b.store(p.params[2], p.output(at), value);
    });
    d.launch(cx);
    Ok(())
}

/// `(x, dy, key) -> dx`: to the picked cell, if it is above 0.
pub fn stochastic_train_grad(cx: &mut LowerCx, window: &Window, stream: u32) -> Lowered {
    let shape = Pooling::gradient(cx, window, 1)?;
    let mut d = KernelWithOperands::new(cx, "stochastic_pool_train_grad", Access::ReadWrite);
    let key = d.operands[2];
    let units = shape.units_for(cx, &mut d, key, stream);
    let sides = [
        Side::image(d.operands[0], Access::Read),
        Side::random(&units),
        Side::output(d.operands[1], Access::Read),
        Side::image(d.result, Access::ReadWrite),
    ];
    let tag = "stochastic_pool_train_grad";
    shape.gradient_kernel(cx, &mut d, tag, &sides, false, Some(&units), |b, p, at, lanes| {
        let (number, value) = pick(b, p, at, lanes);
        let (grad, zero) = (b.load(p.params[2], p.output(at), lanes), b.f32(0.0, lanes));
        let above = b.compare(Compare::Gt, value, zero);
        let grad = b.select(above, grad, zero);
        give_to(b, p, at, lanes, p.params[3], number, grad);
    });
    d.launch(cx);
    Ok(())
}
