//! Concatenation along channels and its gradient.

use super::attr::attributes;

attributes! {
    /// `(a, b, …) -> channels of a, then of b, …`
    Concat {}
}
super::unfinished!(Concat);

attributes! {
    /// Channels `begin .. begin + len`.
    Slice {
        begin: usize,
        len: usize,
    }
}
super::unfinished!(Slice);
