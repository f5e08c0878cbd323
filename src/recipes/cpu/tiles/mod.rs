//! Convolutions of bf16 and of bytes on matrix units that multiply tiles: direct products, 32 pixels and 32 channels at
//! a time. A chain's 1x1 convolutions follow on the same pixels while these lie in the first level of cache.

mod blocks;
mod copy;
mod gradient;
pub mod linear;
mod loaded;
mod pairs;
mod panels;
pub mod parts;
mod shape;
mod sums;
mod unit;
mod weight;
mod write;

use crate::kernel::ir::Elem;
use crate::lower::target::{Algorithm, Batch, Target};
use crate::lower::{BufferId, LowerCx};
use crate::recipes::common::conv::{Geometry, Link};
use crate::recipes::cpu::bytes;
use crate::recipes::cpu::conv::rows::{rows_for_large_batch, rows_for_small_batch};
use crate::types::Format;
use blocks::{COLUMNS, End, TILE};
use shape::{Shape, Source};
use write::SHARES;

pub use blocks::{Blocks, Next};
pub use gradient::grad_input;
pub use pairs::turned;
pub use unit::Unit;
pub use weight::grad_weight;

/// Cycles of a product of two tiles.
const PRODUCT: f64 = 16.0;
/// Cycles of a block beside its products, where these are too few to hide it.
const BLOCK: f64 = 250.0;
/// Cycles by which a tile takes longer from the third level of cache than the products that it is for.
const FAR: usize = 56;
/// Part of the second level of cache from which on weights in parts are too large to be read by each block: blocks of
/// numbers in parts are read from there as well, so that panels may be too.
const HEAVY: usize = 2;

/// What tiles can multiply in the chain from `x`: bf16 where all factors are exact in it, else tf32 or float32, in
/// parts.
pub fn unit_of(cx: &LowerCx, x: BufferId, chain: &[Link]) -> Option<Unit> {
    let factors: Vec<BufferId> = std::iter::once(x).chain(chain.iter().map(|link| link.weights)).collect();
    let sums = chain.iter().map(|link| {
        let (g, [kh, kw]) = (link.geometry, link.geometry.window.kernel);
        Some((g.channels * kh * kw, Shape::new(Unit::Split, g, Elem::F32)?.terms().steps()))
    });
    let inner = chain.split_last().map_or(&[][..], |(_, inner)| inner);
    let rounded = |format| inner.iter().all(|link| link.epilogue.round == Some(format));
    let unit = unit_for(cx, &factors, &sums.collect::<Option<Vec<_>>>()?, rounded(Format::Tf32))?;
    let fits = if unit == Unit::Bf16 { rounded(Format::Bf16) } else { cx.target.batch != Batch::Training };
    fits.then_some(unit)
}

/// Says whether there are tiles, and whether these factors are exact in bf16.
fn multiplies_bf16(cx: &LowerCx, factors: &[BufferId]) -> bool {
    cx.target.cpu().tiles && factors.iter().all(|factor| cx.builder.exact.get(factor) == Some(&Format::Bf16))
}

/// What tiles can multiply where all of `factors` are, in sums of a number of terms and of steps. `inner`: are results
/// that are factors in their turn rounded to tf32?
fn unit_for(cx: &LowerCx, factors: &[BufferId], sums: &[(usize, usize)], inner: bool) -> Option<Unit> {
    if !cx.target.cpu().tiles {
        return None;
    }
    if multiplies_bf16(cx, factors) {
        return Some(Unit::Bf16);
    }
    let whole = factors.iter().all(|factor| cx.elem(*factor) == Elem::F32);
    let unit = if inner && factors.iter().all(|f| cx.builder.exact.contains_key(f)) { Unit::Tf32 } else { Unit::Split };
    let wanted = match cx.target.algorithm {
        Algorithm::Auto => cx.target.cpu().parts && sums.iter().all(|&(terms, steps)| accurate(unit, terms, steps)),
        Algorithm::Split => true,
        Algorithm::Direct | Algorithm::Winograd => false,
    };
    (whole && wanted).then_some(unit)
}

/// Is the bound of the error of a sum of products in parts at most that of float32's multiply-adds?
///
/// In units of 2^-24 of the sum of the products' sizes, to first order: a chain of multiply-adds rounds once a term.
/// Three parts leave out `middle · low` twice, at most 4 units; a step of 32 terms rounds 16 times in its even and in
/// its odd sum and once where these meet, whose sizes add up to those of the step's products; each of its six sums, or
/// four, is added to the whole with a rounding.
fn accurate(unit: Unit, depth: usize, steps: usize) -> bool {
    let left_out = if unit == Unit::Split { 4 } else { 0 };
    left_out + 16 + 1 + unit.products().len() * steps <= depth
}

/// Predicted cycles of a convolution's image.
pub fn cycles(target: &Target, unit: Unit, g: &Geometry) -> f64 {
    let Some(shape) = Shape::new(unit, *g, Elem::F32) else { return f64::INFINITY };
    let (steps, panels) = (shape.terms().steps(), g.outputs.div_ceil(COLUMNS) as f64);
    let products = 4.0 * PRODUCT * (steps * unit.products().len()) as f64;
    let copy = match shape.source {
        Source::Lines => shape.lines_size(),
        Source::Map | Source::Image => shape.map_size(),
    };
    let copy = copy as f64 / TILE as f64 * 4.0;
    let blocks = shape.walk().blocks() as f64 * panels;
    if unit.parts() == 1 {
        return blocks * (products * 1.2).max(BLOCK) + copy;
    }
    let weights = unit.bytes() * steps * unit.step() * g.outputs;
    let far = weights > target.cache[1] / HEAVY;
    let (images, copies) = match (far, target.batch) {
        (false, _) => (1, 1),
        (true, Batch::Latency) => (1, SHARES),
        (true, _) => (write::images(&shape), 1),
    };
    // The first block that meets a panel waits for it.
    let wait = if far { (FAR * 2 * unit.parts() * steps) as f64 * panels / images as f64 } else { 0.0 };
    blocks * (products * 1.3 + BLOCK) + wait + copy * copies as f64
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

/// Writes the launches of a chain from `x` to `y`.
pub fn forward(cx: &mut LowerCx, unit: Unit, x: BufferId, y: BufferId, chain: &[Link]) {
    let part = |link: &Link| {
        let Link { geometry, weights, bias, epilogue } = *link;
        Part { geometry, weights, bias, factor: None, mask: None, end: End::Floats(epilogue), zero: 0 }
    };
    launches(cx, unit, [x, y], &chain.iter().map(part).collect::<Vec<Part>>());
}

/// Writes the launches of a chain of bytes, if there are tiles and they can compute it.
pub fn of_bytes(cx: &mut LowerCx, x: BufferId, y: BufferId, chain: &[bytes::Link]) -> bool {
    let fits = chain.iter().all(|link| Shape::new(Unit::Bytes, link.geometry, Elem::U8).is_some());
    if !(cx.target.cpu().tiles && cx.target.batch != Batch::Training && fits) {
        return false;
    }
    let part = |link: &bytes::Link| {
        let bytes::Link { geometry, weights, factor, bias, zero, to, .. } = *link;
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
    let elem = unit.image().unwrap_or(Elem::F32);
    let buffer = cx.temp(&format!("stage{number}"), elem, 0, g.outputs * g.out[0] * g.out[1]);
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
    let part = if unit.parts() > 1 { HEAVY } else { 8 };
    weight_bytes(unit, link) > target.cache[1] / part
}

/// The shape with its rows dealt out to iterations: whole images in large batches, as far as their copies fit the
/// cache.
fn sliced(target: &Target, heavy: bool, shape: Shape) -> Shape {
    let fits = |rows: usize| shape.unit.elem().bytes() * shape.sliced(rows).copies() <= target.cache[1];
    let rows = match target.batch {
        Batch::Latency if !heavy => rows_for_small_batch(shape.rows, fits),
        _ => rows_for_large_batch(shape.rows, fits),
    };
    shape.sliced(rows)
}
