//! Unshared convolution: each output position has weights of its own.

use super::attr::attributes;
use super::conv::CHANNELS;
use super::error::{ShapeError, TrainingError};
use super::facts::{Folding, Receptive};
use super::layer;
use super::params::ParamSpec;
use super::reduce::BatchSum;
use super::reference::{self, Sliding};
use super::schema::{LayerCx, LayerError, Schema};
use super::window::{self, Window};
use super::{Case, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes;
use crate::types::Type;

const LOCAL_CONV: &[ParamSpec] =
    &[CHANNELS.spec, layer::KERNEL.spec, layer::STRIDE.spec, layer::PAD.spec, layer::BIAS.spec];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let [inputs, height, width] = cx.image()?;
    let (outputs, window) = (cx.get(CHANNELS), cx.window());
    let [oh, ow] = window::conv_output(&window, [height, width])?;
    let mut operands = vec![cx.operands[0]];
    operands.push(cx.weight("weight", &[oh * ow, outputs, inputs, window.kernel[0], window.kernel[1]])?);
    if cx.get(layer::BIAS) {
        operands.push(cx.bias("bias", &[outputs, oh * ow])?);
    }
    Ok(cx.graph.add(LocalConv { window }, &operands)?)
}

/// `[positions, out, in, height, width]` of an unshared weight.
fn weight_dims(ty: &Type) -> Result<[usize; 5], ShapeError> {
    check::shared(ty, "an unshared weight")?;
    let dims = ty.dims.as_slice().try_into();
    dims.map_err(|_| ShapeError(format!("a weight [positions, out, in, height, width] is needed, but this is {ty}")))
}

attributes! {
    /// `(x[C, H, W], w[oh·ow, O, C, kh, kw], [b[O, oh·ow]]) -> y[O, oh, ow]`
    LocalConv {
        window: Window,
    }
}

impl OperatorDef for LocalConv {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "local_conv",
            doc: "Unshared convolution: each position of the result has weights and a bias of its own.",
            operands: (1, 1),
            params: LOCAL_CONV,
            weights: true,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let ([x, w], bias) = check::with_optional(operands)?;
        let [inputs, height, width] = check::image(x)?;
        let [_, outputs, _, _, _] = weight_dims(w)?;
        let [oh, ow] = window::conv_output(&self.window, [height, width])?;
        let [kh, kw] = self.window.kernel;
        check::weight(w, &[oh * ow, outputs, inputs, kh, kw], "the weight")?;
        if let Some(bias) = bias {
            check::weight(bias, &[outputs, oh * ow], "the bias")?;
        }
        check::sized(Type::batched(&[outputs, oh, ow]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, w) = (operands[0].real(), operands[1].real());
        let dims = cx.ty.full_dims(cx.batch);
        let mut y = vec![0.0; dims.iter().product()];
        if let Some(bias) = operands.get(2) {
            // [O, positions] lies as one image does.
            let bias = &bias.real().data;
            y.iter_mut().enumerate().for_each(|(i, y)| *y = bias[i % bias.len()].f64());
        }
        sliding(&x.dims, &dims, self.window).forward(&x.data, &w.data, &mut y);
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, w, dy) = (cx.operands[0], cx.operands[1], cx.grad);
        let &LocalConv { window } = self;
        let &[_, height, width] = cx.operand_type(0).dims.as_slice() else {
            return Err(TrainingError::Operands("an unshared convolution of no image"));
        };
        let mut gradients = vec![
            cx.wanted(0, LocalConvGradInput { window, height, width }, &[w, dy])?,
            cx.wanted(1, LocalConvGradWeight { window }, &[x, dy])?,
        ];
        if cx.operands.len() == 3 {
            gradients.push(cx.wanted(2, BatchSum {}, &[dy])?);
        }
        Ok(gradients)
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let bias = cx.operands.len() == 3;
        recipes::local::forward(cx, &self.window, bias)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[1].elements() as u64
    }

    super::usual!(elements, storage, reads_bf16, memory);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Window(self.window)
    }

    fn folding(&self) -> Folding {
        Folding::Scale
    }

    fn cases() -> Vec<Case> {
        let case = |&(x, w, y, window): &Shape, bias: bool| {
            let mut operands = vec![Type::batched(&x), Type::shared(&w)];
            operands.extend(bias.then(|| Type::shared(&[y[0], y[1] * y[2]])));
            Case::new(LocalConv { window }, 2, &operands)
        };
        SHAPES.iter().flat_map(|shape| [case(shape, true), case(shape, false)]).collect()
    }
}

/// Shapes from full dimensions, the batch first.
fn sliding(x: &[usize], y: &[usize], window: Window) -> Sliding {
    let ([images, inputs, height, width], [_, outputs, oh, ow]) = (reference::nchw(x), reference::nchw(y));
    let (size, output) = ([height, width], [oh, ow]);
    Sliding { images, inputs, size, outputs, output, groups: 1, window, unshared: true }
}

/// Image, weight, result and window that tests try.
type Shape = ([usize; 3], [usize; 5], [usize; 3], Window);
const SHAPES: &[Shape] = &[
    ([3, 5, 6], [20, 5, 3, 2, 2], [5, 4, 5], window::pooling([2, 2], [1, 1], [0, 0])),
    ([3, 5, 6], [9, 10, 3, 3, 3], [10, 3, 3], window::pooling([3, 3], [2, 2], [1, 1])),
    ([1, 4, 4], [1, 1, 1, 4, 4], [1, 1, 1], window::pooling([4, 4], [1, 1], [0, 0])),
    ([2, 6, 5], [12, 3, 2, 2, 2], [3, 4, 3], Window { kernel: [2, 2], dilation: [2, 2], ..Window::ONE }),
];

attributes! {
    /// `(w, dy) -> dx[C, height, width]`
    LocalConvGradInput {
        window: Window,
        height: usize,
        width: usize,
    }
}

impl OperatorDef for LocalConvGradInput {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [w, dy] = check::exactly(operands)?;
        let [_, outputs, inputs, _, _] = weight_dims(w)?;
        let [oh, ow] = window::conv_output(&self.window, [self.height, self.width])?;
        let [kh, kw] = self.window.kernel;
        check::weight(w, &[oh * ow, outputs, inputs, kh, kw], "the weight")?;
        check::gradient(&Type::batched(&[outputs, oh, ow]), dy)?;
        check::sized(Type::batched(&[inputs, self.height, self.width]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (w, dy) = (operands[0].real(), operands[1].real());
        let sliding = sliding(&cx.ty.full_dims(cx.batch), &dy.dims, self.window);
        reference::result(cx, sliding.grad_input(&w.data, &dy.data))
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::local::grad_input(cx, &self.window)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[0].elements() as u64
    }

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn cases() -> Vec<Case> {
        let case = |&([_, height, width], w, y, window): &Shape| {
            let op = LocalConvGradInput { window, height, width };
            Case::new(op, 2, &[Type::shared(&w), Type::batched(&y)])
        };
        SHAPES.iter().map(case).collect()
    }
}

attributes! {
    /// `(x, dy) -> dw`
    LocalConvGradWeight {
        window: Window,
    }
}

impl OperatorDef for LocalConvGradWeight {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        let ([inputs, height, width], [outputs, _, _]) = (check::image(x)?, check::image(dy)?);
        let [oh, ow] = window::conv_output(&self.window, [height, width])?;
        check::gradient(&Type::batched(&[outputs, oh, ow]), dy)?;
        check::sized(Type::shared(&[oh * ow, outputs, inputs, self.window.kernel[0], self.window.kernel[1]]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[1].real());
        let sliding = sliding(&x.dims, &dy.dims, self.window);
        reference::result(cx, sliding.grad_weight(&x.data, &dy.data, cx.ty.elements()))
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::local::grad_weight(cx, &self.window)
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        result.elements() as u64
    }

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn cases() -> Vec<Case> {
        let case = |&(x, _, y, window): &Shape| {
            let op = LocalConvGradWeight { window };
            Case::new(op, 3, &[Type::batched(&x), Type::batched(&y)])
        };
        SHAPES.iter().map(case).collect()
    }
}
