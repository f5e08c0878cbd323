//! Dropout (Hinton et al., 2012).

use super::attr::attributes;

attributes! {
    /// Inference. `inverted`: identity (training divides by 1 - rate). Else, as in the paper's code: `(1 - rate)·x`.
    Dropout {
        rate: f64,
        inverted: bool,
        stream: u32,
    }
}
super::unfinished!(Dropout);

attributes! {
    /// `(x, key) -> mask·x` (divided by 1 - rate if `inverted`). Its own gradient.
    DropoutTrain {
        rate: f64,
        inverted: bool,
        stream: u32,
    }
}
super::unfinished!(DropoutTrain);
