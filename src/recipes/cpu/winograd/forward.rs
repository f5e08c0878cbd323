//! One convolution with bias and activation for batches: training, whose backward pass needs every layer's result.

use super::batches::{Batches, BiasedEpilogue};
use super::pays;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem};
use crate::lower::target::Batch;
use crate::lower::{BufferId, LowerCx};
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;

/// What the convolution reads, and what happens to its results.
pub struct Layer {
    /// The image.
    pub x: BufferId,
    /// The weights as they are.
    pub weights: BufferId,
    /// One number for each output channel.
    pub bias: Option<BufferId>,
    /// What comes after the bias.
    pub epilogue: Epilogue,
}

/// Writes the launches `(x, w, [b]) -> y` if the program is for batches and this algorithm is wanted and applies.
pub fn forward(cx: &mut LowerCx, g: Geometry, layer: &Layer) -> bool {
    let suits = cx.target.batch == Batch::Training && pays(cx.target, &g);
    let Some(batches) = suits.then(|| Batches::new(cx, g)).flatten() else { return false };
    let weights = batches.form.weights(cx, layer.weights);
    let bias = if layer.bias.is_some() { "_bias" } else { "" };
    let mut kernel = KernelBuilder::new(format!("winograd{}{bias}{}", batches.name(), layer.epilogue.name()));
    let mut args = vec![layer.x, weights];
    let source = kernel.buffer("x", Elem::F32, Access::Read);
    let panels = kernel.buffer("w", Elem::F32, Access::Read);
    let bias = layer.bias.map(|buffer| {
        args.push(buffer);
        kernel.buffer("b", Elem::F32, Access::Read)
    });
    args.push(cx.result.buffer);
    let target = kernel.buffer("y", Elem::F32, Access::Write);
    let epilogue = BiasedEpilogue { bias, epilogue: layer.epilogue };
    batches.kernel(cx, &mut kernel, [source, panels, target], &epilogue);
    let kernel = kernel.finish();
    cx.launch(batches.form.method(), kernel, &args);
    true
}
