//! The gradient of a convolution's input on tiles: a convolution of dy with each filter turned by half a turn, inputs
//! and outputs exchanged.

use super::blocks::End;
use super::unit::Unit;
use super::{Part, launches};
use crate::lower::{BufferId, LowerCx};
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::winograd::mirrored;
use crate::recipes::cpu::winograd::turned;

/// Writes the launches `(w, dy, [mask]) -> dx` for the convolution `g` if there are tiles and its factors are exact in
/// bf16. Where the mask is not above 0, dx is 0.
pub fn grad_input(
    cx: &mut LowerCx,
    g: Geometry,
    [w, dy]: [BufferId; 2],
    mask: Option<BufferId>,
    epilogue: Epilogue,
) -> bool {
    let factors = super::multiplies_bf16(cx, &[w, dy]);
    let Some(geometry) = mirrored(&g).filter(|_| factors) else { return false };
    let weights = turned(cx, w, &g);
    let end = End::Floats(epilogue);
    let part = Part { geometry, weights, bias: None, factor: None, mask, end, zero: 0 };
    let result = cx.result.buffer;
    launches(cx, Unit::Bf16, [dy, result], &[part]);
    true
}
