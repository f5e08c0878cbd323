//! PReLU (He et al., 2015): a learned slope per channel for negative values.

use super::attr::attributes;

attributes! {
    /// `(x, slope[C]) -> y`
    Prelu {}
}
super::unfinished!(Prelu);

attributes! {
    /// `(x, slope, dy) -> dx`
    PreluGradInput {}
}
super::unfinished!(PreluGradInput);

attributes! {
    /// `(x, dy) -> dslope[C]`
    PreluGradSlope {}
}
super::unfinished!(PreluGradSlope);
