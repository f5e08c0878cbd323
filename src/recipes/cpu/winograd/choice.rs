//! When the algorithm is worth its transforms in a batch.

use super::results;
use crate::lower::target::{Algorithm, Target};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::winograd::Transforms;

/// A transform's multiply-adds of one number, and how much slower they run than products in registers.
const TRANSFORM: usize = 16;

/// Is Winograd's form of `g` wanted: asked for, or much less work than the direct form? Whether the algorithm applies
/// is not checked here.
pub fn pays(target: &Target, g: &Geometry) -> bool {
    let [kh, kw] = g.window.kernel;
    match target.algorithm {
        Algorithm::Winograd => return true,
        Algorithm::Direct => return false,
        Algorithm::Auto | Algorithm::Split => {}
    }
    if kh != kw || !(2..=7).contains(&kh) || g.channels.min(g.outputs) < 16 {
        return false;
    }
    let f = Transforms::new(results(kh), kh);
    let numbers = g.out[0].div_ceil(f.m) * g.out[1].div_ceil(f.m) * f.frequencies();
    let winograd = numbers * (g.channels * g.outputs + TRANSFORM * (g.channels + g.outputs));
    3 * winograd <= 2 * g.out[0] * g.out[1] * kh * kw * g.channels * g.outputs
}
