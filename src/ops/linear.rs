//! Fully connected layers.

use super::attr::attributes;

attributes! {
    /// `(x[F], w[O, F], [b[O]]) -> y[O]`
    Linear {}
}
super::unfinished!(Linear);

attributes! {
    /// `(w, dy) -> dx`
    LinearGradInput {}
}
super::unfinished!(LinearGradInput);

attributes! {
    /// `(x, dy) -> dw`
    LinearGradWeight {}
}
super::unfinished!(LinearGradWeight);
