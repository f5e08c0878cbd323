//! Convolutions of bytes.

use super::common::Window;
use super::cpu;
use crate::lower::{LowerCx, LowerError, Lowered};

pub use super::common::int8::{bias, dequantize, factor, global_mean, quantize};

/// `(x, then for each stage w, factor, bias) -> y`: a convolution of bytes, then 1x1 convolutions; `zeros` are the
/// bytes that stand for 0, `narrow` how many terms of each stage may be summed in 16 bits.
pub fn conv(cx: &mut LowerCx, window: &Window, zeros: &[usize], narrow: &[usize]) -> Lowered {
    if cx.target.is_gpu() {
        let what = "int8 weights are for processors: a GPU computes the float weights that they were made from";
        return Err(LowerError::Unsupported(format!("{}: {what}", cx.name)));
    }
    cpu::bytes::forward(cx, window, zeros, narrow)
}
