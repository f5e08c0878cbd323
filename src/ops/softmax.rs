//! Softmax and its logarithm over the channels of each position.

use super::attr::attributes;

attributes! {
    /// `x -> exp(x - max) / Σ`
    Softmax {}
}
super::unfinished!(Softmax);

attributes! {
    /// `(y, dy) -> dx`
    SoftmaxGrad {}
}
super::unfinished!(SoftmaxGrad);

attributes! {
    /// `x -> x - max - ln Σ exp(x - max)`
    LogSoftmax {}
}
super::unfinished!(LogSoftmax);

attributes! {
    /// `(y, dy) -> dx`
    LogSoftmaxGrad {}
}
super::unfinished!(LogSoftmaxGrad);
