//! Convolution: forward chains, gradients of input and of weights.
//!
//! Images are NHWC, so the kw taps of one kernel row are kw·C consecutive numbers: a convolution is kh contractions of length
//! kw·C whose accumulators stay in registers. Rows of images that need padding go to scratch memory first.

mod choice;
mod forward;
mod geometry;
mod input;
mod parts;
mod pooling;
mod weight;

pub use forward::forward;
pub use geometry::Geometry;
pub use input::grad_input;
pub use weight::grad_weight;
