//! Passes: graph to graph, one file each. Every pass keeps what the interpreter computes (up to rounding), may run
//! twice without changing anything the second time, and leaves no node behind that nobody uses.

use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::reshape::Reshape;
use crate::ops::source::Input;
use crate::types::{DType, Format};
use error::PassError;
use ninc_runtime::plan::Role;

pub mod autodiff;
pub mod cse;
pub mod dce;
pub mod error;
pub mod expand;
pub mod fold_batch_norm;
pub mod fold_constants;
pub mod fold_scale;
pub mod freeze;
pub mod fuse;
pub mod fuse_batch_norm;
pub mod fuse_masks;
pub mod gradients;
pub mod inference;
pub mod optimizer;
pub mod quantize;
pub mod round;
pub mod score_gradient;
pub mod training;

/// A rewrite with the name that `--emit opt:NAME` and `--time-passes` know it by.
#[derive(Clone, Copy)]
pub struct Pass {
    /// Its name.
    pub name: &'static str,
    /// Rewrites the graph.
    pub run: fn(&mut Graph) -> Result<(), PassError>,
}

/// The passes of inference in order.
pub const INFERENCE: &[Pass] = &[
    // First, so that nothing after it has to know a chain in two forms; `fuse` builds the final chains again.
    Pass { name: "expand", run: expand::run },
    // Dropout must be gone before the folds look at a layer's neighbours.
    Pass { name: "inference", run: inference::run },
    // Merges pads, scales and reshapes: makes the patterns of the next two shorter.
    Pass { name: "fold_constants", run: fold_constants::run },
    // Before fusion: a normalisation between convolution and activation would end a chain.
    Pass { name: "fold_batch_norm", run: fold_batch_norm::run },
    // After batch norm, whose folded weights take a scale as well as any others.
    Pass { name: "fold_scale", run: fold_scale::run },
    // The folds may have built the same prepared weights twice.
    Pass { name: "cse", run: cse::run },
    // Last: it looks for values with one user, which everything before makes more of.
    Pass { name: "fuse", run: fuse::chains },
    Pass { name: "dce", run: dce::run },
];

/// The passes of inference up to fusion, which fold all they can into weights, and the rest.
pub fn folds() -> (&'static [Pass], &'static [Pass]) {
    up_to_fusion(INFERENCE)
}

/// Cuts a list of passes before fusion.
pub fn up_to_fusion(list: &[Pass]) -> (&[Pass], &[Pass]) {
    list.split_at(list.iter().position(|pass| pass.name == "fuse").unwrap_or(list.len()))
}

/// Before the training graph is built: gradients are defined for plain convolutions and activations only.
pub const BEFORE_TRAINING: &[Pass] = &[
    Pass { name: "expand", run: expand::run },
    // Fewer nodes to differentiate.
    Pass { name: "fold_constants", run: fold_constants::run },
];

/// After loss, gradients and updates were added.
pub const AFTER_TRAINING: &[Pass] = &[
    // Autodiff seeds with constants and scales.
    Pass { name: "fold_constants", run: fold_constants::run },
    // Gradients of neighbours compute common parts again.
    Pass { name: "cse", run: cse::run },
    // Only pairs: the backward pass needs every activation, so a chain would not save its memory.
    Pass { name: "fuse", run: fuse::pairs },
    // In training a normalisation stands between a convolution and its activation, so that `fuse` does not join these.
    Pass { name: "fuse_batch_norm", run: fuse_batch_norm::run },
    // A gradient's way through a ReLU, or a rounding, costs as much memory traffic as a whole 1x1 convolution.
    Pass { name: "fuse_masks", run: fuse_masks::run },
    Pass { name: "dce", run: dce::run },
];

/// A list of passes with what the precision asks for: the format that products multiply, float32 if there is none.
pub fn with(precision: Option<Format>, passes: &[Pass]) -> Vec<Pass> {
    let mut list = passes.to_vec();
    if let (Some(format), Some(fuse)) = (precision, passes.iter().position(|p| p.name == "fuse")) {
        // After the folds, which make weights, and before fusion, which takes roundings into the products' chains.
        list.insert(fuse, round::pass(format));
    }
    list
}

/// Returns the only user of a value that is not a result of the graph.
fn only_user(graph: &Graph, id: NodeId) -> Option<NodeId> {
    match graph.users(id).as_slice() {
        [user] if !graph.is_result(id) => Some(*user),
        _ => None,
    }
}

/// Finds the step's input of that role, or adds it. Its name cannot be a user's, who has no `@` in names.
fn step_input(graph: &mut Graph, role: Role) -> Result<NodeId, PassError> {
    let found = |&id: &NodeId| matches!(graph.op(id), Operator::Input(input) if input.role == role);
    if let Some(id) = graph.ids().into_iter().find(found) {
        return Ok(id);
    }
    let (dtype, batched, dims) = match role {
        Role::Labels | Role::Partners => (DType::I32, true, vec![]),
        Role::Weights | Role::PartnerWeights => (DType::F32, true, vec![]),
        Role::Key => (DType::I32, false, vec![4]),
        _ => (DType::F32, false, vec![]),
    };
    Ok(graph.add(Input { name: format!("@{}", role.name()), role, dtype, batched, dims }, &[])?)
}

/// Returns scores as a vector with one number a class; `None` where their shape is another.
fn class_vector(graph: &mut Graph, scores: NodeId) -> Result<Option<NodeId>, PassError> {
    Ok(match graph.ty(scores).dims[..] {
        [_] => Some(scores),
        [classes, 1, 1] => Some(graph.add(Reshape { dims: vec![classes] }, &[scores])?),
        _ => None,
    })
}

/// Names a value unless another has that name.
fn name_once(graph: &mut Graph, id: NodeId, name: &str) {
    if graph.ids().iter().all(|&other| graph.node(other).name.as_deref() != Some(name)) {
        graph.set_name(id, name);
    }
}
