//! All integration tests: one binary, one module per room.

mod conv;
mod front;
mod golden;
mod kernels;
mod nets;
mod ops;
mod passes;
mod random;
mod recipes;
mod support;
mod tidy;
mod trace;
mod vectors;
