//! Networks and weights of other programs: read into a model's text with its tensors, and written.

pub mod onnx;
pub mod sheet;
pub mod torch;
