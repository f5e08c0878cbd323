//! Convolutions: by work groups with tiles in local memory on a GPU, else by register tiles.

use super::common::{Epilogue, Reduction, Stage, Window};
use super::{cpu, gpu};
use crate::lower::target::{Gpu, Machine};
use crate::lower::{LowerCx, Lowered};

/// `(x, w, [b], w, [b], …) -> y`: a convolution, then 1x1 convolutions, each with its bias and activation, then
/// perhaps a pooling.
pub fn forward(
    cx: &mut LowerCx,
    window: &Window,
    groups: usize,
    stages: &[Stage],
    pool: Option<(Reduction, Window)>,
) -> Lowered {
    match tiled(cx, groups) {
        Some(gpu) => gpu::conv::forward(cx, gpu, (window, groups), stages, pool),
        None => cpu::conv::forward(cx, window, groups, stages, pool),
    }
}

/// `(w, dy, [y]) -> dx`; with y, dx is 0 where y is not above 0.
pub fn grad_input(cx: &mut LowerCx, window: &Window, groups: usize, epilogue: Epilogue) -> Lowered {
    match tiled(cx, groups) {
        Some(gpu) => gpu::conv::grad_input(cx, gpu, (window, groups), epilogue),
        None => cpu::conv::grad_input(cx, window, groups, epilogue),
    }
}

/// `(x, dy) -> dw`
pub fn grad_weight(cx: &mut LowerCx, window: &Window, groups: usize) -> Lowered {
    match tiled(cx, groups) {
        Some(gpu) => gpu::conv::grad_weight(cx, gpu, window, groups),
        None => cpu::conv::grad_weight(cx, window, groups),
    }
}

/// The GPU, if its work groups should compute tiles: not where a group of the convolution has few channels, which
/// would leave tiles empty.
fn tiled<'a>(cx: &LowerCx<'a>, groups: usize) -> Option<&'a Gpu> {
    let Machine::Gpu(gpu) = &cx.target.machine else { return None };
    let channels = |ty: &crate::types::Type| ty.dims.first().map_or(0, |c| c / groups.max(1));
    let images = cx.operands.iter().chain([&cx.result]).map(|o| &o.ty).filter(|ty| ty.batched);
    let few = groups > 1 && images.map(channels).max().unwrap_or(0) < 4;
    (!few).then_some(gpu)
}
