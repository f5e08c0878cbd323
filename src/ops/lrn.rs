//! Local response normalisation across channels (Krizhevsky et al., 2012).

use super::attr::attributes;

attributes! {
    /// `x -> x·(k + alpha/size · Σ x_j²)^-beta` over `size` neighbouring channels.
    Lrn {
        size: usize,
        alpha: f64,
        beta: f64,
        k: f64,
    }
}
super::unfinished!(Lrn);

attributes! {
    /// `(x, dy) -> dx`
    LrnGrad {
        size: usize,
        alpha: f64,
        beta: f64,
        k: f64,
    }
}
super::unfinished!(LrnGrad);
