//! Fully connected layers.

use super::Stage;
use crate::kernel::site::{Lowered, Site, Unsupported};

/// `(x[F], w[O, F], [b[O]]) -> y[O]`
pub fn forward(site: &mut Site, _stage: Stage) -> Lowered {
    Err(Unsupported(format!("{}: linear::forward", site.name)))
}

/// `(w, dy) -> dx`
pub fn grad_input(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: linear::grad_input", site.name)))
}

/// `(x, dy) -> dw`
pub fn grad_weight(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: linear::grad_weight", site.name)))
}
