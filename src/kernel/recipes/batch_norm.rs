//! Batch normalisation: statistics and gradients.

use crate::kernel::site::{Lowered, Site, Unsupported};

/// `(x, mean) -> variance[C]`, over batch and positions, biased (divided by their count).
pub fn variance(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: batch_norm::variance", site.name)))
}

/// `(x, mean, variance, dy) -> Σ dy · (x - mean)/sqrt(variance + epsilon)` per channel: the gradient of gamma.
pub fn grad_gamma(site: &mut Site, _epsilon: f32) -> Lowered {
    Err(Unsupported(format!("{}: batch_norm::grad_gamma", site.name)))
}

/// `(x, gamma, mean, variance, dy, dgamma, dbeta) -> dx` through the batch statistics, with n = images · positions:
/// `gamma/σ · (dy - dbeta/n - x̂ · dgamma/n)`.
pub fn grad_input(site: &mut Site, _epsilon: f32) -> Lowered {
    Err(Unsupported(format!("{}: batch_norm::grad_input", site.name)))
}
