//! Convolution: forward chains, gradients of input and of weights.
//!
//! Images are NHWC, so the kw taps of one kernel row are kw·C consecutive numbers: a convolution is kh contractions
//! of length kw·C whose accumulators stay in registers. Rows of images that need padding go to scratch memory first.

mod choice;
mod forward;
mod input;
mod parts;
mod pooling;
pub mod rows;
mod weight;

pub use forward::forward;
pub use input::grad_input;
pub use weight::grad_weight;

use super::contraction::Matrix;
use crate::recipes::common::conv::Geometry;

/// The weights of a convolution as matrices.
fn matrix(g: &Geometry) -> Matrix {
    let taps = g.window.kernel[0] * g.window.kernel[1];
    Matrix { taps, inner: g.inner(), groups: g.groups, columns: g.columns() }
}
