//! What several tests share.

pub mod draw;
pub mod vectors;
