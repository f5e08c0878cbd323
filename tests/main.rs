//! One test binary: one link for all integration tests.

mod conv;
mod front;
mod tidy;
//! The integration tests, one binary.

mod kernels;
mod recipes;
mod support;
