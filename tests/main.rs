//! All integration tests: one binary, one module per room.

mod golden;
mod nets;
mod passes;
mod random;
mod trace;
