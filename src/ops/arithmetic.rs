//! Elementwise arithmetic.

use super::attr::attributes;

attributes! {
    /// `(a, b) -> a + b`, equal types.
    Add {}
}
super::unfinished!(Add);

attributes! {
    /// `(a, b) -> a·b`, equal types.
    Mul {}
}
super::unfinished!(Mul);

attributes! {
    /// `x -> factor·x`
    Scale {
        factor: f64,
    }
}
super::unfinished!(Scale);

attributes! {
    /// `(a, b) -> a + weight·(b - a)`: running averages.
    Mix {
        weight: f64,
    }
}
super::unfinished!(Mix);

attributes! {
    /// `(x, s[] shared) -> s·x`
    ScaleBy {}
}
super::unfinished!(ScaleBy);
