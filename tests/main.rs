//! One test binary: one link for all integration tests.

mod front;
mod tidy;
