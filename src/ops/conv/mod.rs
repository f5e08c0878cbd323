//! Convolution (cross-correlation, as in every framework). Weights are `[O, I/groups, kh, kw]`.

use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::ops::attr::attributes;
use crate::ops::error::{ShapeError, TrainingError};
use crate::ops::facts::{Elements, Folding, Reader, Receptive, Storage};
use crate::ops::layer::{self, blame};
use crate::ops::params::{Param, ParamSpec};
use crate::ops::reduce::ChannelSum;
use crate::ops::reference::{self, Sliding};
use crate::ops::schema::{LayerCx, LayerError, Schema};
use crate::ops::window::{self, Window};
use crate::ops::{Case, GradCx};
use crate::ops::{OperatorDef, check};
use crate::recipes::{self, Epilogue, Stage};
use crate::types::Format;
use crate::types::Type;
use shapes::{SHAPES, Shape};

mod shapes;

/// Channels of the result.
pub const CHANNELS: Param<usize> = layer::channels("channels", "Channels of the result.");

const CONV: &[ParamSpec] = &[
    CHANNELS.spec,
    layer::KERNEL.spec,
    layer::STRIDE.spec,
    layer::PAD.spec,
    layer::DILATION.spec,
    layer::GROUPS.spec,
    layer::BIAS.spec,
];

const CCCP: &[ParamSpec] = &[CHANNELS.positional().spec, layer::BIAS.spec];

/// Do channels divide into the groups?
pub fn check_groups(inputs: usize, outputs: usize, groups: usize) -> Result<(), LayerError> {
    for (what, channels) in [("input", inputs), ("output", outputs)] {
        if groups == 0 || channels % groups != 0 {
            let message = format!("{channels} {what} channels do not divide into {groups} groups");
            return Err(blame(layer::GROUPS, message, None));
        }
    }
    Ok(())
}

fn build_conv(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let [inputs, height, width] = cx.image()?;
    let (outputs, groups, window) = (cx.get(CHANNELS), cx.get(layer::GROUPS), cx.window());
    check_groups(inputs, outputs, groups)?;
    window::conv_output(&window, [height, width])?;
    build(cx, outputs, inputs, groups, &window)
}

fn build_cccp(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let [inputs, _, _] = cx.image()?;
    let outputs = cx.get(CHANNELS);
    build(cx, outputs, inputs, 1, &Window::ONE)
}

fn build(
    cx: &mut LayerCx,
    outputs: usize,
    inputs: usize,
    groups: usize,
    window: &Window,
) -> Result<NodeId, LayerError> {
    let mut operands = vec![cx.operands[0]];
    operands.push(cx.weight("weight", &[outputs, inputs / groups, window.kernel[0], window.kernel[1]])?);
    if cx.get(layer::BIAS) {
        operands.push(cx.bias("bias", &[outputs])?);
    }
    Ok(cx.graph.add(Conv2d { window: *window, groups }, &operands)?)
}

/// `[out, in per group, height, width]` of a convolution's weight.
pub fn weight_dims(ty: &Type) -> Result<[usize; 4], ShapeError> {
    check::shared(ty, "a convolution's weight")?;
    ty.dims
        .as_slice()
        .try_into()
        .map_err(|_| ShapeError(format!("a weight [out, in, height, width] is needed, but this is {ty}")))
}

/// `[out, in per group]` of a weight for this window.
fn windowed_dims(ty: &Type, window: &Window) -> Result<[usize; 2], ShapeError> {
    let [outputs, per_group, kh, kw] = weight_dims(ty)?;
    match [kh, kw] == window.kernel {
        true => Ok([outputs, per_group]),
        false => Err(format!("the weight's window is {kh}x{kw}, not {}x{}", window.kernel[0], window.kernel[1]).into()),
    }
}

/// Multiply-adds of a convolution per image, forward or backward.
fn products(output: &Type, weight: &Type) -> u64 {
    match (output.dims.as_slice(), weight.dims.as_slice()) {
        (&[_, h, w], weight) => (h * w) as u64 * weight.iter().product::<usize>() as u64,
        _ => 0,
    }
}

/// Shapes from full dimensions, the batch first.
fn sliding(x: &[usize], y: &[usize], window: &Window, groups: usize) -> Sliding {
    let ([images, inputs, height, width], [_, outputs, oh, ow]) = (reference::nchw(x), reference::nchw(y));
    let (size, output) = ([height, width], [oh, ow]);
    Sliding { images, inputs, size, outputs, output, groups, window: *window, unshared: false }
}

/// The result before the products: each channel's bias, or 0.
fn biased<T: Real>(cx: &EvalCx, bias: Option<&Value<T>>) -> Vec<f64> {
    let dims = reference::planes(&cx.ty.full_dims(cx.batch));
    let mut y = vec![0.0; dims.iter().product()];
    if let Some(bias) = bias {
        reference::each_plane(dims, |channel, places| y[places].fill(bias.real().data[channel].f64()));
    }
    y
}

attributes! {
    /// `(x[C, H, W], w[O, C/groups, kh, kw], [b[O]]) -> y[O, oh, ow]`, with
    /// `oh = (H + 2·pad - dilation·(kh - 1) - 1)/stride + 1` rounded down.
    Conv2d {
        window: Window,
        groups: usize = 1,
    }
}

impl OperatorDef for Conv2d {
    fn schemas() -> Vec<Schema> {
        vec![
            Schema {
                name: "conv",
                doc: "Convolution with learned weights `NAME.weight` [out, in/groups, height, width] and `NAME.bias`.",
                operands: (1, 1),
                params: CONV,
                weights: true,
                build: build_conv,
            },
            Schema {
                name: "cccp",
                doc: "1x1 convolution: the paper's cascaded cross channel pooling.",
                operands: (1, 1),
                params: CCCP,
                weights: true,
                build: build_cccp,
            },
        ]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let ([x, w], bias) = check::with_optional(operands)?;
        let [inputs, height, width] = check::image(x)?;
        let [outputs, per_group] = windowed_dims(w, &self.window)?;
        check_groups(inputs, outputs, self.groups)?;
        if per_group != inputs / self.groups {
            let groups = self.groups;
            return Err(format!(
                "the weight takes {per_group} channels, but there are {inputs}/{groups} in each group"
            )
            .into());
        }
        if let Some(bias) = bias {
            check::weight(bias, &[outputs], "the bias")?;
        }
        let [oh, ow] = window::conv_output(&self.window, [height, width])?;
        check::sized(Type::batched(&[outputs, oh, ow]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, w) = (operands[0].real(), operands[1].real());
        let sliding = sliding(&x.dims, &cx.ty.full_dims(cx.batch), &self.window, self.groups);
        let mut y = biased(cx, operands.get(2).copied());
        sliding.forward(&x.data, &w.data, &mut y);
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, w, dy) = (cx.operands[0], cx.operands[1], cx.grad);
        let &Conv2d { window, groups } = self;
        let [_, height, width] = check::image(&cx.operand_type(0))?;
        let input = Conv2dGradInput { window, groups, height, width, round: None };
        let weight = Conv2dGradWeight { window, groups };
        let mut gradients = vec![cx.wanted(0, input, &[w, dy])?, cx.wanted(1, weight, &[x, dy])?];
        if cx.operands.len() == 3 {
            gradients.push(cx.wanted(2, ChannelSum {}, &[dy])?);
        }
        Ok(gradients)
    }
    crate::ops::differentiable!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let stage = Stage { bias: cx.operands.len() == 3, ..Stage::default() };
        recipes::conv::forward(cx, &self.window, self.groups, &[stage], None)
    }

    fn multiply_adds(&self, operands: &[Type], result: &Type) -> u64 {
        products(result, &operands[1])
    }

    crate::ops::usual!(elements, storage, memory);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        // A step of training packs its weights from float32.
        if by == Reader::Tiles { operand == 0 } else { operand < 2 }
    }

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Window(self.window)
    }

    fn folding(&self) -> Folding {
        Folding::ScaleAndNorm
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &Shape, bias: bool| {
            let mut operands = vec![shape.image(), shape.weight()];
            operands.extend(bias.then(|| Type::shared(&[shape.output[0]])));
            let op = Conv2d { window: shape.window(), groups: shape.groups };
            Case::new(op, shape.batch, &operands)
        };
        SHAPES.iter().enumerate().map(|(i, shape)| case(shape, i % 3 != 1)).collect()
    }
}

attributes! {
    /// `(w, dy, [y]) -> dx[C, height, width]`; with y, the result of a ReLU behind x, dx is 0 where y is not above 0.
    /// Rounded to `round`, if there is one.
    Conv2dGradInput {
        window: Window,
        groups: usize = 1,
        height: usize,
        width: usize,
        round: Option<Format> = None,
    }
}

impl Conv2dGradInput {
    /// Whether tiles compute it: as a convolution with turned filters.
    fn on_tiles(&self) -> bool {
        let Window { kernel, stride, pad, dilation } = self.window;
        let inside = (0..2).all(|d| pad[d] < kernel[d]);
        self.groups == 1 && stride == [1, 1] && dilation == [1, 1] && inside
    }
}

impl OperatorDef for Conv2dGradInput {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let ([w, dy], y) = check::with_optional(operands)?;
        let [outputs, per_group] = windowed_dims(w, &self.window)?;
        let inputs = per_group.checked_mul(self.groups).ok_or("too many channels")?;
        check_groups(inputs, outputs, self.groups)?;
        let [oh, ow] = window::conv_output(&self.window, [self.height, self.width])?;
        check::gradient(&Type::batched(&[outputs, oh, ow]), dy)?;
        let x = check::sized(Type::batched(&[inputs, self.height, self.width]))?;
        match y {
            Some(y) if *y != x => Err(format!("a mask {y} for a gradient {x}").into()),
            _ => Ok(x),
        }
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (w, dy) = (operands[0].real(), operands[1].real());
        let sliding = sliding(&cx.ty.full_dims(cx.batch), &dy.dims, &self.window, self.groups);
        let mut dx = sliding.grad_input(&w.data, &dy.data);
        if let Some(y) = operands.get(2) {
            let hidden = dx.iter_mut().zip(&y.real().data).filter(|(_, y)| y.f64() <= 0.0);
            hidden.for_each(|(dx, _)| *dx = 0.0);
        }
        if let Some(format) = self.round {
            dx.iter_mut().for_each(|dx| *dx = format.round(*dx));
        }
        reference::result(cx, dx)
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::conv::grad_input(cx, &self.window, self.groups, Epilogue::rounding(self.round))
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        products(&operands[1], &operands[0])
    }

    crate::ops::usual!(receptive, memory, folding);

    fn storage(&self) -> Storage {
        if self.on_tiles() { Storage::OnTiles } else { Storage::Float32 }
    }

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn elements(&self) -> Elements {
        self.round.map_or(Elements::Computed, Elements::Rounded)
    }

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        match by {
            Reader::Inference => false,
            Reader::Tiles => self.on_tiles() && operand > 0,
            // In groups they may run by a processor's recipes, which read float32.
            Reader::Gpu => self.groups == 1 && operand < 2,
        }
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &Shape| {
            let &Shape { groups, input: [_, height, width], .. } = shape;
            let op = Conv2dGradInput { window: shape.window(), groups, height, width, round: None };
            let plain = vec![shape.weight(), Type::batched(&shape.output)];
            let masked = [&plain[..], &[shape.image()]].concat();
            [plain, masked].map(|operands| Case::new(op.clone(), shape.batch, &operands))
        };
        SHAPES.iter().flat_map(case).collect()
    }
}

attributes! {
    /// `(x, dy) -> dw[O, C/groups, kh, kw]`
    Conv2dGradWeight {
        window: Window,
        groups: usize = 1,
    }
}

impl OperatorDef for Conv2dGradWeight {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        let ([inputs, height, width], [outputs, _, _]) = (check::image(x)?, check::image(dy)?);
        check_groups(inputs, outputs, self.groups)?;
        let [oh, ow] = window::conv_output(&self.window, [height, width])?;
        check::gradient(&Type::batched(&[outputs, oh, ow]), dy)?;
        check::sized(Type::shared(&[outputs, inputs / self.groups, self.window.kernel[0], self.window.kernel[1]]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[1].real());
        let sliding = sliding(&x.dims, &dy.dims, &self.window, self.groups);
        reference::result(cx, sliding.grad_weight(&x.data, &dy.data, cx.ty.elements()))
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::conv::grad_weight(cx, &self.window, self.groups)
    }

    fn multiply_adds(&self, operands: &[Type], result: &Type) -> u64 {
        products(&operands[1], result)
    }

    crate::ops::usual!(elements, storage, receptive, memory, folding);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        // As for the input's gradient.
        by != Reader::Inference && self.groups == 1 && operand < 2
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &Shape| {
            let op = Conv2dGradWeight { window: shape.window(), groups: shape.groups };
            Case::new(op, shape.batch, &[shape.image(), Type::batched(&shape.output)])
        };
        SHAPES.iter().map(case).collect()
    }
}
