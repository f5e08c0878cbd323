//! One convolution with bias and activation for batches: training, whose backward pass needs every layer's result.

use super::batches::{Batches, Epilogue};
use super::pays;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem};
use crate::kernel::recipes::Function;
use crate::kernel::recipes::contraction::function_name;
use crate::kernel::recipes::conv::Geometry;
use crate::kernel::site::{Site, Slot};

/// What the convolution reads, and its activation.
pub struct Layer {
    pub x: Slot,
    pub weights: Slot,
    pub bias: Option<Slot>,
    pub activation: Option<Function>,
}

/// Writes the launches `(x, w, [b]) -> y` if the program is for batches and this algorithm is wanted and applies.
pub fn forward(site: &mut Site, g: Geometry, layer: &Layer) -> bool {
    let suits = site.target.batches && pays(site.target, &g);
    let Some(batches) = suits.then(|| Batches::new(site, g)).flatten() else { return false };
    let weights = batches.form.weights(site, layer.weights);
    let bias = if layer.bias.is_some() { "_bias" } else { "" };
    let activation = layer.activation.map_or(String::new(), function_name);
    let mut kernel = KernelBuilder::new(format!("winograd{}{bias}{activation}", batches.name()));
    let mut args = vec![layer.x, weights];
    let source = kernel.buffer("x", Elem::F32, Access::Read);
    let panels = kernel.buffer("w", Elem::F32, Access::Read);
    let bias = layer.bias.map(|slot| {
        args.push(slot);
        kernel.buffer("b", Elem::F32, Access::Read)
    });
    args.push(site.result.slot);
    let target = kernel.buffer("y", Elem::F32, Access::Write);
    let epilogue = Epilogue { bias, activation: layer.activation };
    batches.kernel(site, &mut kernel, [source, panels, target], &epilogue);
    let kernel = kernel.finish();
    site.launch(kernel, &args);
    true
}
