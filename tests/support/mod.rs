//! Helpers that several tests share.

pub mod compiled;
pub mod draw;
pub mod leaves;
#[cfg(unix)]
pub mod memory;
pub mod training;
pub mod vectors;
