//! All integration tests: one binary, one module per room.

mod conv;
mod front;
mod golden;
mod kernels;
mod nets;
mod passes;
mod random;
mod recipes;
mod support;
mod tidy;
mod trace;
#[cfg(target_arch = "x86_64")]
mod x86;
