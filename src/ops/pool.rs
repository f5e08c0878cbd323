//! Pooling over windows, clipped to the image. `ceil` rounds the size up as Caffe and cuda-convnet do; a last window
//! that would begin beyond image and left padding is dropped.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::facts::{Elements, Reader, Receptive, Storage};
use super::layer;
use super::params::ParamSpec;
use super::reference::{self, Cells};
use super::schema::{LayerCx, LayerError, Schema};
use super::window::{self, Window};
use super::{Case, Draw, GradCx};
use super::{Operator, OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Tensor, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes;
use crate::types::{DType, Type};

/// Arguments of every pooling layer.
pub const POOL: &[ParamSpec] =
    &[layer::KERNEL.positional().spec, layer::POOL_STRIDE.spec, layer::PAD.spec, layer::CEIL.spec];

/// Checks the window, then adds the operator that `make` gives for it.
pub fn build(cx: &mut LayerCx, make: impl FnOnce(&Window, bool) -> Operator) -> Result<NodeId, LayerError> {
    let [_, height, width] = cx.image()?;
    let (window, ceil) = (cx.window(), cx.get(layer::CEIL));
    window::pool_output(&window, ceil, [height, width])?;
    let x = cx.operands[0];
    Ok(cx.graph.add(make(&window, ceil), &[x])?)
}

fn build_max(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    build(cx, |w, ceil| MaxPool { window: *w, ceil }.into())
}

fn build_avg(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    build(cx, |w, ceil| AvgPool { window: *w, ceil }.into())
}

/// Type of a pooling's result.
pub fn pooled(x: &Type, window: &Window, ceil: bool) -> Result<Type, ShapeError> {
    let [channels, height, width] = check::image(x)?;
    let [oh, ow] = window::pool_output(window, ceil, [height, width])?;
    check::sized(Type::batched(&[channels, oh, ow]))
}

/// Is `dy` the gradient of a pooling of `x`, whichever way it rounds?
pub fn unpooled(x: &Type, dy: &Type, window: &Window) -> Result<Type, ShapeError> {
    let ([channels, height, width], [outputs, oh, ow]) = (check::image(x)?, check::image(dy)?);
    if channels != outputs {
        return Err(format!("the gradient has {outputs} channels, the image {channels}").into());
    }
    window::pool_rounding(window, [height, width], [oh, ow])?;
    check::sized(x.clone())
}

/// Images, channels, sizes and a window that tests try.
pub struct Shape {
    /// Images.
    pub batch: usize,
    /// Channels, height and width of an image.
    pub x: [usize; 3],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns of padding on each side.
    pub pad: [usize; 2],
    /// Rounds the size of the result up.
    pub ceil: bool,
}

impl Shape {
    /// Returns the type of the images.
    pub fn image(&self) -> Type {
        Type::batched(&self.x)
    }

    /// Returns the window.
    pub fn window(&self) -> Window {
        window::pooling(self.kernel, self.stride, self.pad)
    }

    /// Type of the result.
    pub fn pooled(&self) -> Type {
        pooled(&self.image(), &self.window(), self.ceil).expect("a shape that fits")
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
    /// `x[C, H, W] -> y[C, oh, ow]`, of floats or of bytes.
    MaxPool {
        window: Window,
        ceil: bool = true,
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

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        let dtype = x.dtype;
        if dtype == DType::I32 {
            return Err(format!("floats or bytes are needed, but this is {x}").into());
        }
        let y = pooled(&Type { dtype: DType::F32, ..x.clone() }, &self.window, self.ceil)?;
        Ok(Type { dtype, ..y })
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        match operands[0] {
            Value::Real(x) => reference::pool(cx, x, &self.window, |cells| x.data[cells.first_maximum(&x.data)].f64()),
            Value::Int(x) => {
                let largest = |cells: &Cells| cells.places().map(|place| x.data[place]).max().unwrap_or(0);
                let data = reference::windows(cx, &x.dims, &self.window, largest);
                Value::Int(Tensor { dims: cx.ty.full_dims(cx.batch), data })
            }
        }
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, dy) = (cx.operands[0], cx.grad);
        Ok(vec![cx.wanted(0, MaxPoolGrad { window: self.window }, &[x, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::pool::max(cx, &self.window)
    }

    super::no_products!();

    super::usual!(memory, folding);

    fn elements(&self) -> Elements {
        Elements::Selected(0)
    }

    fn storage(&self) -> Storage {
        Storage::AsOperand(0)
    }

    fn reads_bf16(&self, _operand: usize, _by: Reader) -> bool {
        true
    }

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Window(self.window)
    }

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            let image = |dtype| Type { dtype, ..s.image() };
            [DType::F32, DType::U8].map(|dtype| {
                let op = MaxPool { window: s.window(), ceil: s.ceil };
                Case::new(op, s.batch, &[image(dtype)]).drawn(Draw::Distinct)
            })
        };
        SHAPES.iter().flat_map(case).collect()
    }
}

attributes! {
    /// `(x, dy) -> dx`, to the first maximum in row order.
    MaxPoolGrad {
        window: Window,
    }
}

impl OperatorDef for MaxPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        unpooled(x, dy, &self.window)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[1].real());
        reference::unpool(cx, reference::nchw(&x.dims), dy, &self.window, |dx, cells, dy| {
            dx[cells.first_maximum(&x.data)] += dy;
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::pool::max_grad(cx, &self.window)
    }

    super::no_products!();

    super::usual!(receptive, memory, folding);

    fn elements(&self) -> Elements {
        if self.window.disjoint() { Elements::Selected(1) } else { Elements::Computed }
    }

    fn storage(&self) -> Storage {
        if self.window.disjoint() { Storage::AsOperand(1) } else { Storage::Float32 }
    }

    fn reads_bf16(&self, _operand: usize, by: Reader) -> bool {
        by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            Case::new(MaxPoolGrad { window: s.window() }, s.batch, &[s.image(), s.pooled()]).drawn(Draw::Distinct)
        };
        SHAPES.iter().map(case).collect()
    }
}

attributes! {
    /// `x[C, H, W] -> y[C, oh, ow]`; the divisor counts cells inside the image only.
    AvgPool {
        window: Window,
        ceil: bool = true,
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

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        pooled(x, &self.window, self.ceil)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        reference::pool(cx, x, &self.window, |cells| {
            cells.places().map(|place| x.data[place].f64()).sum::<f64>() / cells.count() as f64
        })
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let &[_, height, width] = cx.operand_type(0).dims.as_slice() else {
            return Err(TrainingError::Operands("a pooling of no image"));
        };
        let dy = cx.grad;
        Ok(vec![cx.wanted(0, AvgPoolGrad { window: self.window, height, width }, &[dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::pool::avg(cx, &self.window)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, memory, folding);

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Window(self.window)
    }

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            Case::new(AvgPool { window: s.window(), ceil: s.ceil }, s.batch, &[s.image()]).drawn(Draw::Normal)
        };
        SHAPES.iter().map(case).collect()
    }
}

attributes! {
    /// `dy -> dx[C, height, width]`
    AvgPoolGrad {
        window: Window,
        height: usize,
        width: usize,
    }
}

impl OperatorDef for AvgPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [dy] = check::exactly(operands)?;
        let [channels, _, _] = check::image(dy)?;
        let x = Type::batched(&[channels, self.height, self.width]);
        unpooled(&x, dy, &self.window)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let dy = operands[0].real();
        let [images, channels, _, _] = reference::nchw(&dy.dims);
        reference::unpool(cx, [images, channels, self.height, self.width], dy, &self.window, |dx, cells, dy| {
            let share = dy / cells.count() as f64;
            cells.places().for_each(|place| dx[place] += share);
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::pool::avg_grad(cx, &self.window)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            let &Shape { x: [_, height, width], .. } = s;
            Case::new(AvgPoolGrad { window: s.window(), height, width }, s.batch, &[s.pooled()])
        };
        SHAPES.iter().map(case).collect()
    }
}
