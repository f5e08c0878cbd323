//! Pooling over windows, clipped to the image. `ceil` rounds the size up as Caffe and cuda-convnet do; a last window that
//! would begin beyond image and left padding is dropped.

use super::attr::attributes;

attributes! {
    /// `x[C, H, W] -> y[C, oh, ow]`
    MaxPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        ceil: bool,
    }
}
super::unfinished!(MaxPool);

attributes! {
    /// `(x, dy) -> dx`, to the first maximum in row order.
    MaxPoolGrad {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
    }
}
super::unfinished!(MaxPoolGrad);

attributes! {
    /// `x[C, H, W] -> y[C, oh, ow]`; the divisor counts cells inside the image only.
    AvgPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        ceil: bool,
    }
}
super::unfinished!(AvgPool);

attributes! {
    /// `dy -> dx[C, height, width]`
    AvgPoolGrad {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        height: usize,
        width: usize,
    }
}
super::unfinished!(AvgPoolGrad);
