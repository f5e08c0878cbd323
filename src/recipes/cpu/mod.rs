//! Recipes for processors: register tiles that stay over all terms of a sum, scratch memory that fits a cache,
//! vectors along channels. A GPU runs them too where it has nothing better: their iterations are work items there.

pub mod bytes;
pub mod contraction;
pub mod conv;
pub mod drop_connect;
pub mod frame;
pub mod linear;
pub mod local;
pub mod matrix;
pub mod peak;
pub mod reduce;
pub mod softmax;
pub mod tiles;
pub mod winograd;
