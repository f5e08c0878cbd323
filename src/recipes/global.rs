//! Pooling over a whole map: windows as large as the image.

use super::common::pool::{self, Pooling};
use super::gpu;
use crate::lower::target::Machine;
use crate::lower::{LowerCx, LowerError, Lowered};
use crate::types::Type;

/// A pooling of whole images.
pub fn shape(cx: &LowerCx, image: &Type) -> Result<Pooling, LowerError> {
    let chw = image.chw().ok_or_else(|| LowerError::Bug(format!("{}: {image} is not an image", cx.name)))?;
    Ok(Pooling::global(chw))
}

/// `x[C, H, W] -> y[C]`, the mean.
pub fn avg(cx: &mut LowerCx) -> Lowered {
    let shape = shape(cx, &cx.operands[0].ty)?;
    let [height, width] = shape.size;
    let target = cx.target;
    if let Machine::Gpu(gpu) = &target.machine
        && gpu::sums::image_mean(cx, gpu, [shape.channels, height * width])
    {
        return Ok(());
    }
    pool::avg_over(cx, &shape)
}

/// `dy[C] -> dx[C, H, W]`
pub fn avg_grad(cx: &mut LowerCx) -> Lowered {
    let shape = shape(cx, &cx.result.ty)?;
    pool::avg_grad_over(cx, &shape)
}

/// `x[C, H, W] -> y[C]`
pub fn max(cx: &mut LowerCx) -> Lowered {
    let shape = shape(cx, &cx.operands[0].ty)?;
    pool::max_over(cx, &shape)
}

/// `(x, dy) -> dx`, all of it to the first maximum in row order.
pub fn max_grad(cx: &mut LowerCx) -> Lowered {
    let shape = shape(cx, &cx.operands[0].ty)?;
    pool::max_grad_over(cx, &shape)
}
