//! Helpers that several tests share.

pub mod compiled;
pub mod draw;
pub mod leaves;
pub mod vectors;
