//! Convolutions of bf16 and of bytes on matrix units that multiply tiles: direct products, 32 pixels and 32 channels at
//! a time. A chain's 1x1 convolutions follow on the same pixels while these lie in the first level of cache.

mod blocks;
mod copy;
mod gradient;
pub mod linear;
mod pairs;
mod panels;
mod shape;
mod sums;
mod unit;
mod weight;
mod write;

use crate::kernel::ir::Elem;
use crate::lower::target::{Batch, Target};
use crate::lower::{BufferId, LowerCx};
use crate::recipes::common::conv::{Geometry, Link};
use crate::recipes::cpu::bytes;
use crate::recipes::cpu::conv::rows::{rows_for_large_batch, rows_for_small_batch};
use crate::types::Format;
use blocks::{COLUMNS, End, TILE};
use shape::{Shape, Source};
use unit::Unit;

pub use blocks::{Blocks, Next};
pub use gradient::grad_input;
pub use weight::grad_weight;

/// Cycles of a product of two tiles.
const PRODUCT: f64 = 16.0;
/// Cycles of a block beside its products, where these are too few to hide it.
const BLOCK: f64 = 250.0;

/// Can tiles compute the chain from `x`? All factors must be exact in bf16.
pub fn applies(cx: &LowerCx, x: BufferId, chain: &[Link]) -> bool {
    let exact = |buffer: BufferId| cx.builder.exact.get(&buffer) == Some(&Format::Bf16);
    let rounded = |link: &Link| link.epilogue.round == Some(Format::Bf16);
    let inner = chain.split_last().map_or(&[][..], |(_, inner)| inner);
    cx.target.cpu().tiles
        && exact(x)
        && chain.iter().all(|link| exact(link.weights))
        && inner.iter().all(rounded)
        && Shape::new(Unit::Bf16, chain[0].geometry, Elem::F32).is_some()
}

/// Predicted cycles of a convolution's image.
pub fn cycles(g: &Geometry) -> f64 {
    let Some(shape) = Shape::new(Unit::Bf16, *g, Elem::F32) else { return f64::INFINITY };
    let panels = g.outputs.div_ceil(COLUMNS) as f64;
    let products = 4.0 * PRODUCT * shape.terms().steps() as f64;
    let copy = match shape.source {
        Source::Lines => shape.lines_size(),
        Source::Map | Source::Image => shape.map_size(),
    };
    shape.walk().blocks() as f64 * panels * (products * 1.2).max(BLOCK) + copy as f64 / TILE as f64 * 4.0
}

/// A convolution of a chain with its operands.
#[derive(Clone, Copy)]
struct Part {
    geometry: Geometry,
    weights: BufferId,
    bias: Option<BufferId>,
    factor: Option<BufferId>,
    /// Results are 0 where this is not above 0.
    mask: Option<BufferId>,
    end: End,
    /// The byte that stands for 0 in its image, if that is bytes.
    zero: usize,
}

/// Writes the launches of a chain of bf16 from `x` to `y`.
pub fn forward(cx: &mut LowerCx, x: BufferId, y: BufferId, chain: &[Link]) {
    let part = |link: &Link| {
        let Link { geometry, weights, bias, epilogue } = *link;
        Part { geometry, weights, bias, factor: None, mask: None, end: End::Floats(epilogue), zero: 0 }
    };
    launches(cx, Unit::Bf16, [x, y], &chain.iter().map(part).collect::<Vec<Part>>());
}

/// Writes the launches of a chain of bytes, if there are tiles and they can compute it.
pub fn of_bytes(cx: &mut LowerCx, x: BufferId, y: BufferId, chain: &[bytes::Link]) -> bool {
    let fits = chain.iter().all(|link| Shape::new(Unit::Bytes, link.geometry, Elem::U8).is_some());
    if !(cx.target.cpu().tiles && cx.target.batch != Batch::Training && fits) {
        return false;
    }
    let part = |link: &bytes::Link| {
        let bytes::Link { geometry, weights, factor, bias, zero, to } = *link;
        Part { geometry, weights, bias: Some(bias), factor: Some(factor), mask: None, end: End::Whole(to), zero }
    };
    launches(cx, Unit::Bytes, [x, y], &chain.iter().map(part).collect::<Vec<Part>>());
    true
}

fn launches(cx: &mut LowerCx, unit: Unit, [x, y]: [BufferId; 2], chain: &[Part]) {
    // Weights that fill the cache stay there only while all pixels of some channels are computed.
    let large = cx.target.cache[1] / 4;
    let mut from = x;
    let mut begin = 0;
    for end in 1..=chain.len() {
        let few = cx.target.batch == Batch::Latency && end == begin + 1 && heavy(cx.target, unit, &chain[begin]);
        if end < chain.len() && !few && weight_bytes(unit, &chain[end]) <= large {
            continue;
        }
        let to = if end == chain.len() { y } else { between(cx, unit, &chain[end - 1], end) };
        write::launch(cx, unit, [from, to], &chain[begin..end]);
        (from, begin) = (to, end);
    }
}

/// Memory for the result of a link, exact in the unit's format.
fn between(cx: &mut LowerCx, unit: Unit, link: &Part, number: usize) -> BufferId {
    let g = &link.geometry;
    let buffer = cx.temp(&format!("stage{number}"), unit.elem(), 0, g.outputs * g.out[0] * g.out[1]);
    if unit == Unit::Bf16 {
        cx.builder.exact.insert(buffer, Format::Bf16);
    }
    buffer
}

fn weight_bytes(unit: Unit, link: &Part) -> usize {
    let (g, [kh, kw]) = (&link.geometry, link.geometry.window.kernel);
    unit.bytes() * kh * kw * g.channels * g.outputs
}

/// Are the weights so large that all pixels should be multiplied by one panel before the next?
fn heavy(target: &Target, unit: Unit, link: &Part) -> bool {
    weight_bytes(unit, link) > target.cache[1] / 8
}

/// The shape with its rows dealt out to iterations: whole images in large batches, as far as their copies fit the
/// cache.
fn sliced(target: &Target, heavy: bool, shape: Shape) -> Shape {
    let fits = |rows: usize| shape.unit.bytes() * shape.sliced(rows).copies() <= target.cache[1];
    let rows = match target.batch {
        Batch::Latency if !heavy => rows_for_small_batch(shape.rows, fits),
        _ => rows_for_large_batch(shape.rows, fits),
    };
    shape.sliced(rows)
}
