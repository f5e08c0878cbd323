//! Maxout (Goodfellow et al., 2013): the maximum over `pieces` consecutive channels.

use super::attr::attributes;

attributes! {
    /// `x[C·pieces, …] -> y[C, …]`
    Maxout {
        pieces: usize,
    }
}
super::unfinished!(Maxout);

attributes! {
    /// `(x, dy) -> dx`, to the first maximum.
    MaxoutGrad {
        pieces: usize,
    }
}
super::unfinished!(MaxoutGrad);
