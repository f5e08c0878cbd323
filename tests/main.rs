//! One test binary: one link for all integration tests.

mod conv;
mod front;
mod tidy;
