//! Pooling over the whole map; the result is a feature vector `[C]`.

use super::attr::attributes;

attributes! {
    /// `x[C, H, W] -> y[C]`
    GlobalAvgPool {}
}
super::unfinished!(GlobalAvgPool);

attributes! {
    /// `dy[C] -> dx[C, height, width]`
    GlobalAvgPoolGrad {
        height: usize,
        width: usize,
    }
}
super::unfinished!(GlobalAvgPoolGrad);

attributes! {
    /// `x[C, H, W] -> y[C]`
    GlobalMaxPool {}
}
super::unfinished!(GlobalMaxPool);

attributes! {
    /// `(x, dy) -> dx`, to the first maximum.
    GlobalMaxPoolGrad {}
}
super::unfinished!(GlobalMaxPoolGrad);
