//! Unshared convolution: each output position has weights of its own.

use super::attr::attributes;

attributes! {
    /// `(x[C, H, W], w[oh·ow, O, C, kh, kw], [b[O, oh·ow]]) -> y[O, oh, ow]`
    LocalConv {
        stride: [usize; 2],
        pad: [usize; 2],
    }
}
super::unfinished!(LocalConv);

attributes! {
    /// `(w, dy) -> dx[C, height, width]`
    LocalConvGradInput {
        stride: [usize; 2],
        pad: [usize; 2],
        height: usize,
        width: usize,
    }
}
super::unfinished!(LocalConvGradInput);

attributes! {
    /// `(x, dy) -> dw`
    LocalConvGradWeight {
        stride: [usize; 2],
        pad: [usize; 2],
        kernel: [usize; 2],
    }
}
super::unfinished!(LocalConvGradWeight);
