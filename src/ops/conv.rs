//! Convolution (cross-correlation, as in every framework). Window sizes come from the weight `[O, I/groups, kh, kw]`.

use super::attr::attributes;

attributes! {
    /// `(x[C, H, W], w[O, C/groups, kh, kw], [b[O]]) -> y[O, oh, ow]`, `oh = (H + 2·pad - dilation·(kh - 1) - 1)/stride + 1` rounded down.
    Conv2d {
        stride: [usize; 2],
        pad: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
    }
}
super::unfinished!(Conv2d);

attributes! {
    /// `(w, dy) -> dx[C, height, width]`
    Conv2dGradInput {
        stride: [usize; 2],
        pad: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
        height: usize,
        width: usize,
    }
}
super::unfinished!(Conv2dGradInput);

attributes! {
    /// `(x, dy) -> dw[O, C/groups, kh, kw]`
    Conv2dGradWeight {
        stride: [usize; 2],
        pad: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
        kernel: [usize; 2],
    }
}
super::unfinished!(Conv2dGradWeight);
