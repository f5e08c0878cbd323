//! What work costs on one core, in cycles: the model that chooses algorithms. It knows multiply-adds, bytes by the
//! level of cache they come from, and launches. The rates are rounded from measurements on Zen 4; a choice needs
//! ratios only, and those move little from core to core.

use super::target::Target;
use super::tile::{Tile, tile_time};
use crate::kernel::count::Work;

/// Cycles until all threads have passed a barrier and found their next iteration.
const LAUNCH: f64 = 4000.0;
/// Cycles of a call that stores a register tile, beside its multiply-adds.
const CALL: f64 = 30.0;
/// Vector operations in a cycle.
const UNITS: f64 = 2.0;
/// Bytes a cycle that one core reads from the second level, the third, and memory.
const BYTES: [f64; 3] = [32.0, 16.0, 5.0];

/// The speed at which predictions are shown as times.
const GIGAHERTZ: f64 = 3.0;

/// One way to compute a convolution, with its predicted cycles.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The algorithm and how it cuts the work, in words.
    pub name: String,
    /// Predicted cycles on one core.
    pub cycles: f64,
}

/// What was weighed for one convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Name of the layer and shape of the convolution.
    pub what: String,
    /// The forms that apply.
    pub candidates: Vec<Candidate>,
    /// Index of the one that was taken.
    pub taken: usize,
}

/// Cycles of independent vector operations.
pub fn operations(count: f64) -> f64 {
    count / UNITS
}

/// Cycles of `count` launches beside their work.
pub fn launches(count: usize) -> f64 {
    count as f64 * LAUNCH
}

/// Cycles of a product of `m` rows and `n` columns with sums of `k` terms, cut into tiles.
pub fn product(target: &Target, tile: Tile, m: usize, n: usize, k: usize) -> f64 {
    let rounding = if target.fma { 1.0 } else { 2.0 };
    let calls = m.div_ceil(tile.rows) * n.div_ceil(tile.columns());
    let stores = (m * n.div_ceil(target.lanes as usize)) as f64;
    rounding * operations(tile_time(tile, m, n) * k as f64) + calls as f64 * CALL + stores
}

/// Cycles to read `bytes` of something that has `size` bytes altogether, while all else that the program holds passes
/// through the caches as well.
pub fn stream(target: &Target, bytes: usize, size: usize) -> f64 {
    let level = match size {
        s if s <= target.cache[1] / 2 => 0,
        s if s <= target.cache[2] / 2 => 1,
        _ => 2,
    };
    bytes as f64 / BYTES[level]
}

/// The part of one core's multiply-adds that a launch is predicted to reach for an image of a batch, where it does
/// `work` by register tiles of this form on buffers of `bytes` bytes; `None` for a launch that multiplies nothing.
pub fn share_of_peak(target: &Target, work: &Work, tile: Option<Tile>, bytes: usize) -> Option<f64> {
    if work.multiply_adds == 0 {
        return None;
    }
    Some(vectors(target, work.multiply_adds) / cycles(target, work, tile, bytes))
}

/// Cycles of this many operations in full vectors.
fn vectors(target: &Target, count: u64) -> f64 {
    operations(count as f64 / f64::from(target.lanes))
}

/// Cycles of a launch that does `work` on buffers of `bytes` bytes, with register tiles of this form if it has any.
pub fn cycles(target: &Target, work: &Work, tile: Option<Tile>, bytes: usize) -> f64 {
    let waits = tile.map_or(1.0, |t| tile_time(t, t.rows, t.columns()) / (t.rows * t.vectors) as f64);
    let rounding = if target.fma { 1.0 } else { 2.0 };
    let arithmetic = rounding * waits * vectors(target, work.multiply_adds) + vectors(target, work.others);
    arithmetic.max(stream(target, bytes, bytes))
}

/// The choices as text; for each candidate the microseconds of an image on one core of 3 GHz.
pub fn explain(choices: &[Choice]) -> String {
    let mut text = String::from("microseconds an image on one core of 3 GHz\n");
    for choice in choices {
        text += &format!("{}\n", choice.what);
        for (i, c) in choice.candidates.iter().enumerate() {
            let mark = if i == choice.taken { '*' } else { ' ' };
            text += &format!("  {mark} {:<32} {:>9.1}\n", c.name, c.cycles / GIGAHERTZ / 1e3);
        }
    }
    text
}
