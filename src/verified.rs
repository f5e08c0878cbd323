//! A witness that a check has passed: only the verifiers can make one, and the next step demands it.

use std::fmt;
use std::ops::Deref;

/// A `T` that its verifier accepted. It is read-only: whoever wants to change it takes it out and verifies again.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Vouches that `value` has passed all checks: for verifiers alone.
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

/// All that a verifier found wrong, at least one thing: a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults<E>(pub Vec<E>);

impl<E: fmt::Display> fmt::Display for Faults<E> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(E::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Faults<E> {}
