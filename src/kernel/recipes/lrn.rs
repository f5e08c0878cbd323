//! Local response normalisation across channels.

use crate::kernel::site::{Lowered, Site, Unsupported};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Channels in the neighbourhood: `(size - 1)/2` before, `size/2` after.
    pub size: usize,
    /// Divided by `size`, as Caffe and PyTorch do.
    pub alpha: f32,
    pub beta: f32,
    pub k: f32,
}

/// `x -> x · (k + alpha/size · Σ_j x_j²)^-beta`
pub fn forward(site: &mut Site, _lrn: &Lrn) -> Lowered {
    Err(Unsupported(format!("{}: lrn::forward", site.name)))
}

/// `(x, dy) -> dx`
pub fn grad(site: &mut Site, _lrn: &Lrn) -> Lowered {
    Err(Unsupported(format!("{}: lrn::grad", site.name)))
}
