//! Sums in a fixed order: over the batch, over rows, over all of a parameter.

use super::common::sums::{Sizes, SumEnd, whole_sum};
use super::{cpu, gpu};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::Val;
use crate::lower::target::Machine;
use crate::lower::{LowerCx, LowerError, Lowered, Params, Pure, Stateless};

pub use super::common::sums::{Mean, SMALL, clip_factor};
pub use cpu::reduce::max_norm;

/// `result[c] = Σ over images and positions of term(operands)`. Operands are batched `[C, H, W]` or `[C]`, all of one
/// type, or shared `[C]`, broadcast. `what` names the term, for people.
pub fn channels<T>(cx: &mut LowerCx, what: &str, mean: Mean, term: T) -> Lowered
where
    T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
{
    let end = SumEnd { mean, accumulates: true, with: vec![], function: Pure::new((), whole_sum) };
    sums(cx, what, term, end)
}

/// Like [`channels`]; at the end `function(params, builder, sum, values of the shared operands `with`, lanes)` gives
/// the result.
pub fn finished<T, P: Params, F>(
    cx: &mut LowerCx,
    what: &str,
    mean: Mean,
    with: &[usize],
    term: T,
    params: P,
    function: F,
) -> Lowered
where
    T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
    F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
{
    sums(
        cx,
        what,
        term,
        SumEnd { mean, accumulates: false, with: with.to_vec(), function: Pure::new(params, function) },
    )
}

fn sums<T, P: Params, F>(cx: &mut LowerCx, what: &str, term: T, end: SumEnd<P, F>) -> Lowered
where
    T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
    F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
{
    let sizes = Sizes::of(cx, what)?;
    let target = cx.target;
    match &target.machine {
        Machine::Cpu(_) => cpu::reduce::sums(cx, what, &sizes, term, end),
        Machine::Gpu(gpu) => gpu::sums::channels(cx, gpu, what, &sizes, term, end),
    }
    Ok(())
}

/// `x (one number per image) -> shared []`: the mean over the whole batch.
pub fn batch_mean(cx: &mut LowerCx) -> Lowered {
    if cx.operands[0].ty.elements() != 1 {
        return Err(LowerError::Bug(format!("{}: batch mean of {}", cx.name, cx.operands[0].ty)));
    }
    let target = cx.target;
    match &target.machine {
        Machine::Cpu(_) => cpu::reduce::batch_mean(cx),
        Machine::Gpu(gpu) => gpu::sums::whole_batch(cx, gpu, "batch_mean", 1, Mean::OverAll),
    }
    Ok(())
}

/// `x[C, H, W] per image -> shared [C, H·W]`: the sum over the batch.
pub fn sum_batch(cx: &mut LowerCx) -> Lowered {
    let (target, elements) = (cx.target, cx.result.ty.elements());
    match &target.machine {
        Machine::Cpu(_) => cpu::reduce::sum_batch(cx),
        Machine::Gpu(gpu) => gpu::sums::whole_batch(cx, gpu, "sum_batch", elements, Mean::No),
    }
    Ok(())
}

/// `shared x -> shared []`: the sum of squares, of `x` times [`SMALL`] if `small`.
pub fn sum_squares(cx: &mut LowerCx, small: bool) -> Lowered {
    let target = cx.target;
    match &target.machine {
        Machine::Cpu(_) => cpu::reduce::sum_squares(cx, small),
        Machine::Gpu(gpu) => gpu::sums::sum_squares(cx, gpu, small),
    }
    Ok(())
}
