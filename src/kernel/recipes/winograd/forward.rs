//! One convolution with bias and activation for batches: training, whose backward pass needs every layer's result.

use super::batches::{Batches, Epilogue};
use super::pays;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem};
use crate::kernel::recipes::Finish;
use crate::kernel::recipes::conv::Geometry;
use crate::kernel::site::{Site, Slot};
use crate::kernel::target::Batch;

/// What the convolution reads, and what happens to its results.
pub struct Layer {
    pub x: Slot,
    pub weights: Slot,
    pub bias: Option<Slot>,
    pub finish: Finish,
}

/// Writes the launches `(x, w, [b]) -> y` if the program is for batches and this algorithm is wanted and applies.
pub fn forward(site: &mut Site, g: Geometry, layer: &Layer) -> bool {
    let suits = site.target.batch == Batch::Training && pays(site.target, &g);
    let Some(batches) = suits.then(|| Batches::new(site, g)).flatten() else { return false };
    let weights = batches.form.weights(site, layer.weights);
    let bias = if layer.bias.is_some() { "_bias" } else { "" };
    let mut kernel = KernelBuilder::new(format!("winograd{}{bias}{}", batches.name(), layer.finish.name()));
    let mut args = vec![layer.x, weights];
    let source = kernel.buffer("x", Elem::F32, Access::Read);
    let panels = kernel.buffer("w", Elem::F32, Access::Read);
    let bias = layer.bias.map(|slot| {
        args.push(slot);
        kernel.buffer("b", Elem::F32, Access::Read)
    });
    args.push(site.result.slot);
    let target = kernel.buffer("y", Elem::F32, Access::Write);
    let epilogue = Epilogue { bias, finish: layer.finish };
    batches.kernel(site, &mut kernel, [source, panels, target], &epilogue);
    let kernel = kernel.finish();
    site.launch(kernel, &args);
    true
}
