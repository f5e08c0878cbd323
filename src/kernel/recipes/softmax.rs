//! Softmax and its kin over the channels of each position, and the loss.

use crate::kernel::site::{Lowered, Site, Unsupported};

pub fn softmax(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: softmax::softmax", site.name)))
}

/// `(y, dy) -> dx`
pub fn softmax_grad(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: softmax::softmax_grad", site.name)))
}

pub fn log_softmax(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: softmax::log_softmax", site.name)))
}

/// `(y, dy) -> dx`
pub fn log_softmax_grad(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: softmax::log_softmax_grad", site.name)))
}

/// `(logits[C], target[C]) -> []` per image: `-Σ target · log_softmax(logits)`.
pub fn cross_entropy(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: softmax::cross_entropy", site.name)))
}

/// `(logits, target, dy[] per image) -> dlogits = dy · (softmax(logits) · Σ target - target)`
pub fn cross_entropy_grad(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: softmax::cross_entropy_grad", site.name)))
}

/// `labels (I32, one per image) -> [C]`: `1 - smoothing + smoothing/C` at the label, `smoothing/C` elsewhere.
pub fn one_hot(site: &mut Site, _smoothing: f32) -> Lowered {
    Err(Unsupported(format!("{}: softmax::one_hot", site.name)))
}
