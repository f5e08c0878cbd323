//! The shapes of convolutions and of chains of them.

mod geometry;
mod links;

pub use geometry::Geometry;
pub use links::{Link, links};
