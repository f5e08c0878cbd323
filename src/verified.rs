//! A witness that a check has passed: only the verifiers can make one, and the next step demands it.

use std::ops::Deref;

/// A `T` that its verifier accepted. It is read-only: whoever wants to change it takes it out and verifies again.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// For verifiers alone: vouches that `value` has passed all checks.
    pub(crate) fn vouch(value: T) -> Verified<T> {
        Verified(value)
    }

    /// Gives the value back to be changed; the witness is gone.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
