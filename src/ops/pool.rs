//! Pooling over windows, clipped to the image. `ceil` rounds the size up as Caffe and cuda-convnet do; a last window that
//! would begin beyond image and left padding is dropped.

use super::attr::attributes;
use super::layer;
use super::reference;
use super::schema::{LayerCx, LayerError, ParamSchema, Schema};
use super::window;
use super::{Case, Draw, GradCx};
use super::{Operator, OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
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

/// Images, channels, sizes and a window that tests try.
pub struct Shape {
    pub batch: usize,
    pub x: [usize; 3],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    pub ceil: bool,
}

impl Shape {
    pub fn image(&self) -> Type {
        Type::batched(&self.x)
    }

    /// Type of the result.
    pub fn pooled(&self) -> Type {
        pooled(&self.image(), &window::pooling(self.kernel, self.stride, self.pad), self.ceil)
            .expect("a shape that fits")
    }
}

/// Overlap, clipped last windows, padding, a last window dropped, gaps between windows, the whole map, one pixel.
pub const SHAPES: &[Shape] = &[
    Shape { batch: 2, x: [5, 8, 7], kernel: [3, 3], stride: [2, 2], pad: [0, 0], ceil: true },
    Shape { batch: 1, x: [9, 8, 7], kernel: [3, 3], stride: [2, 2], pad: [0, 0], ceil: false },
    Shape { batch: 2, x: [4, 5, 6], kernel: [3, 3], stride: [3, 3], pad: [1, 1], ceil: true },
    Shape { batch: 3, x: [3, 7, 5], kernel: [2, 3], stride: [1, 2], pad: [1, 0], ceil: true },
    Shape { batch: 1, x: [16, 7, 7], kernel: [2, 2], stride: [3, 3], pad: [0, 0], ceil: true },
    Shape { batch: 2, x: [1, 4, 3], kernel: [4, 3], stride: [4, 3], pad: [0, 0], ceil: true },
    Shape { batch: 2, x: [3, 1, 1], kernel: [1, 1], stride: [1, 1], pad: [0, 0], ceil: true },
];

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

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        let (dims, output) = (reference::nchw(&x.dims), [cx.ty.dims[1], cx.ty.dims[2]]);
        let mut y = Vec::with_capacity(cx.batch * cx.ty.elements());
        reference::each_window(
            dims,
            output,
            &window::pooling(self.kernel, self.stride, self.pad),
            |plane, _, rows, columns| {
                let start = plane * dims[2] * dims[3];
                y.push(x.data[reference::first_maximum(&x.data, start, dims[3], rows, columns)].f64());
            },
        );
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, String> {
        let &MaxPool { kernel, stride, pad, .. } = self;
        let (x, dy) = (cx.operands[0], cx.grad);
        Ok(vec![cx.wanted(0, MaxPoolGrad { kernel, stride, pad }, &[x, dy])?])
    }
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::max(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            let &Shape { kernel, stride, pad, ceil, .. } = s;
            Case::new(MaxPool { kernel, stride, pad, ceil }, s.batch, &[s.image()]).drawn(Draw::Distinct)
        };
        SHAPES.iter().map(case).collect()
    }
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

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[1].real());
        let (dims, [.., oh, ow]) = (reference::nchw(&x.dims), reference::nchw(&dy.dims));
        let mut dx = vec![0.0; x.data.len()];
        reference::each_window(
            dims,
            [oh, ow],
            &window::pooling(self.kernel, self.stride, self.pad),
            |plane, place, rows, columns| {
                let start = plane * dims[2] * dims[3];
                let best = reference::first_maximum(&x.data, start, dims[3], rows, columns);
                dx[best] += dy.data[plane * oh * ow + place].f64();
            },
        );
        reference::result(cx, dx)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::max_grad(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            let &Shape { kernel, stride, pad, .. } = s;
            Case::new(MaxPoolGrad { kernel, stride, pad }, s.batch, &[s.image(), s.pooled()]).drawn(Draw::Distinct)
        };
        SHAPES.iter().map(case).collect()
    }
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

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        let (dims, output) = (reference::nchw(&x.dims), [cx.ty.dims[1], cx.ty.dims[2]]);
        let mut y = Vec::with_capacity(cx.batch * cx.ty.elements());
        reference::each_window(
            dims,
            output,
            &window::pooling(self.kernel, self.stride, self.pad),
            |plane, _, rows, columns| {
                let cells = (rows.len() * columns.len()) as f64;
                let mut sum = 0.0;
                for row in rows {
                    let start = (plane * dims[2] + row) * dims[3];
                    sum += x.data[start + columns.start..start + columns.end].iter().map(|v| v.f64()).sum::<f64>();
                }
                y.push(sum / cells);
            },
        );
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, String> {
        let &AvgPool { kernel, stride, pad, .. } = self;
        let &[_, height, width] = cx.operand_type(0).dims.as_slice() else {
            return Err("a pooling of no image".into());
        };
        let dy = cx.grad;
        Ok(vec![cx.wanted(0, AvgPoolGrad { kernel, stride, pad, height, width }, &[dy])?])
    }
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::avg(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            let &Shape { kernel, stride, pad, ceil, .. } = s;
            Case::new(AvgPool { kernel, stride, pad, ceil }, s.batch, &[s.image()]).drawn(Draw::Normal)
        };
        SHAPES.iter().map(case).collect()
    }
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

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let dy = operands[0].real();
        let [images, channels, oh, ow] = reference::nchw(&dy.dims);
        let dims = [images, channels, self.height, self.width];
        let mut dx = vec![0.0; dims.iter().product()];
        reference::each_window(
            dims,
            [oh, ow],
            &window::pooling(self.kernel, self.stride, self.pad),
            |plane, place, rows, columns| {
                let share = dy.data[plane * oh * ow + place].f64() / (rows.len() * columns.len()) as f64;
                for row in rows {
                    let start = (plane * self.height + row) * self.width;
                    dx[start + columns.start..start + columns.end].iter_mut().for_each(|dx| *dx += share);
                }
            },
        );
        reference::result(cx, dx)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::avg_grad(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            let &Shape { kernel, stride, pad, x: [_, height, width], .. } = s;
            Case::new(AvgPoolGrad { kernel, stride, pad, height, width }, s.batch, &[s.pooled()])
        };
        SHAPES.iter().map(case).collect()
    }
}
