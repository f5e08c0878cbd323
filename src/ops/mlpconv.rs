//! The paper's layer: a convolution and 1x1 convolutions (cccp) on top, each with bias and activation. As the language
//! writes it, and as the fusion pass makes it of hand-written chains.

use super::attr::attributes;

attributes! {
    /// `(x, w, [b], w, [b], …) -> y`. Stage i has a bias where `biases[i]`, and `activations[i]` (a name as
    /// [`super::activation::Activation`] has it, `none` for linear; parameters in `slopes[i]`). An optional pooling joins at the end:
    /// `pool` is empty, `max` or `average`.
    MlpConv {
        stride: [usize; 2],
        pad: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
        biases: Vec<bool>,
        activations: Vec<String>,
        slopes: Vec<f64>,
        pool: String,
        pool_kernel: [usize; 2],
        pool_stride: [usize; 2],
        pool_pad: [usize; 2],
        pool_ceil: bool,
    }
}
super::unfinished!(MlpConv);
