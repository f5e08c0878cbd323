//! Unshared convolution: a kernel of its own for each output position.

use super::Window;
use crate::kernel::site::{Lowered, Site, Unsupported};

/// `(x, w[P, O, I, kh, kw], [b[O, P]]) -> y[O, oh, ow]`, P = oh·ow.
pub fn forward(site: &mut Site, _window: &Window, _bias: bool) -> Lowered {
    Err(Unsupported(format!("{}: local::forward", site.name)))
}

/// `(w, dy) -> dx`
pub fn grad_input(site: &mut Site, _window: &Window) -> Lowered {
    Err(Unsupported(format!("{}: local::grad_input", site.name)))
}

/// `(x, dy) -> dw`
pub fn grad_weight(site: &mut Site, _window: &Window) -> Lowered {
    Err(Unsupported(format!("{}: local::grad_weight", site.name)))
}
