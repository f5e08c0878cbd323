//! All integration tests: one binary, one module per room.

// A test that panics says where.
#![allow(clippy::unwrap_used)]

mod cli;
mod conv;
mod data;
mod front;
mod golden;
mod kernels;
mod library;
mod nets;
mod ops;
mod passes;
mod pipeline;
mod plans;
mod random;
mod readme;
mod recipes;
mod support;
mod tidy;
mod trace;
mod vectors;
#[cfg(target_arch = "x86_64")]
mod x86;
