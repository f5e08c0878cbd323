//! Convolution: forward chains, gradients of input and of weights.
//!
//! Images are NHWC, so the kw taps of one kernel row are kw·C consecutive numbers: a convolution is kh contractions of length
//! kw·C whose accumulators stay in registers. Rows of images that need padding go to scratch memory first.

mod choice;
mod forward;
mod geometry;
mod input;
mod links;
mod parts;
mod pooling;
mod weight;

pub use geometry::Geometry;
pub use links::{Link, links};
pub use parts::short_sums;

use super::{Finish, Reduction, Stage, Window, gpu};
use crate::lower::{LowerCx, Lowered};

/// `(x, w, [b], w, [b], …) -> y`: a convolution, then 1x1 convolutions, each with its bias and activation, then perhaps a
/// pooling.
pub fn forward(
    cx: &mut LowerCx,
    window: &Window,
    groups: usize,
    stages: &[Stage],
    pool: Option<(Reduction, Window)>,
) -> Lowered {
    match tiled(cx, groups) {
        true => gpu::forward(cx, window, groups, stages, pool),
        false => forward::forward(cx, window, groups, stages, pool),
    }
}

/// `(w, dy, [y]) -> dx`; with y, dx is 0 where y is not above 0.
pub fn grad_input(cx: &mut LowerCx, window: &Window, groups: usize, finish: Finish) -> Lowered {
    match tiled(cx, groups) {
        true => gpu::grad_input(cx, window, groups, finish),
        false => input::grad_input(cx, window, groups, finish),
    }
}

/// `(x, dy) -> dw`
pub fn grad_weight(cx: &mut LowerCx, window: &Window, groups: usize) -> Lowered {
    match tiled(cx, groups) {
        true => gpu::grad_weight(cx, window, groups),
        false => weight::grad_weight(cx, window, groups),
    }
}

/// By work groups with tiles in local memory? Not where a group has but few channels, which would leave tiles empty.
fn tiled(cx: &LowerCx, groups: usize) -> bool {
    let channels = |ty: &crate::types::Type| ty.dims.first().map_or(0, |c| c / groups.max(1));
    let images = cx.operands.iter().chain([&cx.result]).map(|o| &o.ty).filter(|ty| ty.batched);
    let narrow = groups > 1 && images.map(channels).max().unwrap_or(0) < 4;
    cx.target.gpu.is_some() && !narrow
}
