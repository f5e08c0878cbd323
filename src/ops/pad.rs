//! Explicit padding and its gradient.

use super::attr::attributes;

attributes! {
    /// `x[C, H, W] -> [C, top + H + bottom, left + W + right]`, `value` around.
    Pad {
        top: usize,
        bottom: usize,
        left: usize,
        right: usize,
        value: f64,
    }
}
super::unfinished!(Pad);

attributes! {
    /// `x -> [C, height, width]` from row `top`, column `left`.
    Crop {
        top: usize,
        left: usize,
        height: usize,
        width: usize,
    }
}
super::unfinished!(Crop);
