//! Pooling over windows, clipped to the image. `ceil` rounds the size up as Caffe and cuda-convnet do; a last window that
//! would begin beyond image and left padding is dropped.

use super::attr::attributes;
use super::layer;
use super::schema::{LayerCx, LayerError, ParamSchema, Schema};
use super::window;
use super::{Operator, OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

/// Arguments of every pooling layer.
pub const POOL: &[ParamSchema] =
    &[layer::positional(layer::kernel("Size of the window.")), layer::pool_stride(), layer::pad(), layer::ceil()];

/// Checks the window, then adds the operator that `make` gives for it.
pub fn build(cx: &mut LayerCx, make: impl FnOnce(&window::Window, bool) -> Operator) -> Result<NodeId, LayerError> {
    let [_, height, width] = cx.image()?;
    let (window, ceil) = (cx.window(), cx.bool("ceil"));
    window::pool_output(&window, ceil, [height, width])?;
    let x = cx.operands[0];
    Ok(cx.graph.add(make(&window, ceil), &[x])?)
}

fn build_max(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    build(cx, |w, ceil| MaxPool { kernel: w.kernel, stride: w.stride, pad: w.pad, ceil }.into())
}

fn build_avg(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    build(cx, |w, ceil| AvgPool { kernel: w.kernel, stride: w.stride, pad: w.pad, ceil }.into())
}

/// Type of a pooling's result.
pub fn pooled(x: &Type, window: &window::Window, ceil: bool) -> Result<Type, String> {
    let [channels, height, width] = check::image(x)?;
    let [oh, ow] = window::pool_output(window, ceil, [height, width])?;
    check::sized(Type::batched(&[channels, oh, ow]))
}

/// Is `dy` the gradient of a pooling of `x`, whichever way it rounds?
pub fn unpooled(x: &Type, dy: &Type, window: &window::Window) -> Result<Type, String> {
    let ([channels, height, width], [outputs, oh, ow]) = (check::image(x)?, check::image(dy)?);
    if channels != outputs {
        return Err(format!("the gradient has {outputs} channels, the image {channels}"));
    }
    window::pool_rounding(window, [height, width], [oh, ow])?;
    check::sized(x.clone())
}

attributes! {
    /// `x[C, H, W] -> y[C, oh, ow]`
    MaxPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        ceil: bool,
    }
}

impl OperatorDef for MaxPool {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "max_pool",
            doc: "Maximum over windows, clipped to the image.",
            operands: (1, 1),
            params: POOL,
            weights: false,
            build: build_max,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        pooled(x, &window::pooling(self.kernel, self.stride, self.pad), self.ceil)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::max(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();
}

attributes! {
    /// `(x, dy) -> dx`, to the first maximum in row order.
    MaxPoolGrad {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
    }
}

impl OperatorDef for MaxPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, dy] = check::exactly(operands)?;
        unpooled(x, dy, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::max_grad(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();
}

attributes! {
    /// `x[C, H, W] -> y[C, oh, ow]`; the divisor counts cells inside the image only.
    AvgPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        ceil: bool,
    }
}

impl OperatorDef for AvgPool {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "avg_pool",
            doc: "Mean over windows, clipped to the image; the divisor counts cells inside the image only.",
            operands: (1, 1),
            params: POOL,
            weights: false,
            build: build_avg,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        pooled(x, &window::pooling(self.kernel, self.stride, self.pad), self.ceil)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::avg(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();
}

attributes! {
    /// `dy -> dx[C, height, width]`
    AvgPoolGrad {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        height: usize,
        width: usize,
    }
}

impl OperatorDef for AvgPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [dy] = check::exactly(operands)?;
        let [channels, _, _] = check::image(dy)?;
        let x = Type::batched(&[channels, self.height, self.width]);
        unpooled(&x, dy, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::avg_grad(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();
}
