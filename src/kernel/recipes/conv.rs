//! Convolution: direct forward chains, gradients of input and of weights.

use super::{Reduction, Stage, Window};
use crate::kernel::site::{Lowered, Site, Unsupported};

/// `(x, w, [b], w, [b], …) -> y`: a convolution, then 1x1 convolutions, each with its bias and activation, then perhaps a
/// pooling, without a trip to memory in between.
pub fn forward(
    site: &mut Site,
    _window: &Window,
    _groups: usize,
    _stages: &[Stage],
    _pool: Option<(Reduction, Window)>,
) -> Lowered {
    Err(Unsupported(format!("{}: conv::forward", site.name)))
}

/// `(w, dy) -> dx`, the result's type says the image's size.
pub fn grad_input(site: &mut Site, _window: &Window, _groups: usize) -> Lowered {
    Err(Unsupported(format!("{}: conv::grad_input", site.name)))
}

/// `(x, dy) -> dw`.
pub fn grad_weight(site: &mut Site, _window: &Window, _groups: usize) -> Lowered {
    Err(Unsupported(format!("{}: conv::grad_weight", site.name)))
}
