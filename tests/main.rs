//! One test binary: one link for all integration tests.

mod conv;
mod front;
mod tidy;
//! The integration tests, one binary.
//! All integration tests: one binary, one module per room.

mod golden;
mod kernels;
mod recipes;
mod nets;
mod passes;
mod random;
mod support;
mod trace;
mod tmp;
//! All integration tests, one binary.

