//! The loss.

use super::attr::attributes;

attributes! {
    /// `(logits[C], target[C]) -> [] per image`: `-Σ target·log_softmax(logits)`. Not differentiated with respect to the target.
    CrossEntropy {}
}
super::unfinished!(CrossEntropy);

attributes! {
    /// `(logits, target, dy) -> dlogits`
    CrossEntropyGrad {}
}
super::unfinished!(CrossEntropyGrad);

attributes! {
    /// `labels -> [classes]`: `1 - smoothing + smoothing/classes` at the label, `smoothing/classes` elsewhere.
    OneHot {
        classes: usize,
        smoothing: f64,
    }
}
super::unfinished!(OneHot);
