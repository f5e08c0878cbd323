//! Pooling over a whole map.

use crate::kernel::site::{Lowered, Site, Unsupported};

/// `x[C, H, W] -> y[C]`, the mean.
pub fn avg(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: global::avg", site.name)))
}

/// `dy[C] -> dx[C, H, W]`
pub fn avg_grad(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: global::avg_grad", site.name)))
}

/// `x[C, H, W] -> y[C]`
pub fn max(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: global::max", site.name)))
}

/// `(x, dy) -> dx`, all of it to the first maximum in row order.
pub fn max_grad(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: global::max_grad", site.name)))
}
