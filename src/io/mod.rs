//! Networks and weights of other programs: read into a model's text with its tensors, and written.

pub mod caffe;
pub mod error;
pub mod onnx;
pub mod sheet;
pub mod torch;

use sheet::Written;
use std::collections::BTreeMap;

/// What a network of another program becomes.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The network's text with its tensors.
    pub written: Written,
    /// The sizes of the input's images.
    pub input: Vec<usize>,
    /// The file's texts.
    pub metadata: BTreeMap<String, String>,
    /// What people should know of the network that came of it.
    pub notes: Vec<String>,
}
