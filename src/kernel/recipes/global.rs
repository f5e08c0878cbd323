//! Pooling over a whole map: windows as large as the image.

use super::gpu;
use super::pool::{self, Pooling};
use crate::kernel::site::{Lowered, Site, Unsupported};
use crate::types::Type;

fn shape(site: &Site, image: &Type) -> Result<Pooling, Unsupported> {
    let chw = image.chw().ok_or_else(|| Unsupported(format!("{}: {image} is no image", site.name)))?;
    Ok(Pooling::global(chw))
}

/// `x[C, H, W] -> y[C]`, the mean.
pub fn avg(site: &mut Site) -> Lowered {
    let shape = shape(site, &site.operands[0].ty)?;
    let [height, width] = shape.size;
    if site.target.gpu.is_some() && gpu::sums::image_mean(site, [shape.channels, height * width]) {
        return Ok(());
    }
    pool::avg_over(site, &shape)
}

/// `dy[C] -> dx[C, H, W]`
pub fn avg_grad(site: &mut Site) -> Lowered {
    let shape = shape(site, &site.result.ty)?;
    pool::avg_grad_over(site, &shape)
}

/// `x[C, H, W] -> y[C]`
pub fn max(site: &mut Site) -> Lowered {
    let shape = shape(site, &site.operands[0].ty)?;
    pool::max_over(site, &shape)
}

/// `(x, dy) -> dx`, all of it to the first maximum in row order.
pub fn max_grad(site: &mut Site) -> Lowered {
    let shape = shape(site, &site.operands[0].ty)?;
    pool::max_grad_over(site, &shape)
}
