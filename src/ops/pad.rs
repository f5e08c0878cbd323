//! Explicit padding and its gradient.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::layer::blame;
use super::params::{Bounds, Param, ParamSpec};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, GradCx};
use super::{OperatorDef, check, window};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::movement;
use crate::types::Type;

const fn side(name: &'static str, doc: &'static str) -> Param<usize> {
    Param::int(name, 0, window::MOST, doc)
}
const PIXELS: Param<usize> = side("pixels", "Pixels on every side that is not given.").or(0).positional();
const TOP: Param<Option<usize>> = side("top", "Rows above.").optional();
const BOTTOM: Param<Option<usize>> = side("bottom", "Rows below.").optional();
const LEFT: Param<Option<usize>> = side("left", "Columns to the left.").optional();
const RIGHT: Param<Option<usize>> = side("right", "Columns to the right.").optional();
const VALUE: Param<f64> = Param::float("value", Bounds::closed(-1e30, 1e30), "What the new pixels hold.").or(0.0);
const PAD: &[ParamSpec] = &[PIXELS.spec, TOP.spec, BOTTOM.spec, LEFT.spec, RIGHT.spec, VALUE.spec];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    cx.image()?;
    let side = |param: Param<Option<usize>>| cx.get(param).unwrap_or(cx.get(PIXELS));
    let (top, bottom, left, right) = (side(TOP), side(BOTTOM), side(LEFT), side(RIGHT));
    if top + bottom + left + right == 0 {
        return Err(blame(
            PIXELS,
            "this adds no pixels".into(),
            Some("pad(pixels = 1) adds one on every side".to_string()),
        ));
    }
    let (value, x) = (cx.get(VALUE), cx.operands[0]);
    Ok(cx.graph.add(Pad { top, bottom, left, right, value }, &[x])?)
}

attributes! {
    /// `x[C, H, W] -> [C, top + H + bottom, left + W + right]`, `value` around.
    Pad {
        top: usize,
        bottom: usize,
        left: usize,
        right: usize,
        value: f64 = 0.0,
    }
}

impl OperatorDef for Pad {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "pad",
            doc: "Adds pixels around the image.",
            operands: (1, 1),
            params: PAD,
            weights: false,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        let [channels, height, width] = check::image(x)?;
        let sum = |a: usize, b: usize, c: usize| a.checked_add(b)?.checked_add(c);
        let (height, width) = (sum(self.top, height, self.bottom), sum(self.left, width, self.right));
        let (Some(height), Some(width)) = (height, width) else {
            return Err("too many pixels of padding".into());
        };
        check::sized(Type::batched(&[channels, height, width]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        let [_, _, height, width] = reference::nchw(&x.dims);
        let dims @ [.., oh, ow] = reference::nchw(&cx.ty.full_dims(cx.batch));
        let mut y = vec![T::of(self.value); dims.iter().product()];
        for row in 0..dims[0] * dims[1] * height {
            let (plane, row_of_plane) = (row / height, row % height);
            let start = (plane * oh + self.top + row_of_plane) * ow + self.left;
            y[start..start + width].copy_from_slice(&x.data[row * width..(row + 1) * width]);
        }
        Value::new(&dims, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let &[_, height, width] = cx.operand_type(0).dims.as_slice() else {
            return Err(TrainingError::Operands("padding of no image"));
        };
        let (op, dy) = (Crop { top: self.top, left: self.left, height, width }, cx.grad);
        Ok(vec![cx.wanted(0, op, &[dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        movement::pad(cx, self.top, self.left, self.value as f32)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |[top, bottom, left, right]: [usize; 4], value, x: &[usize]| {
            Case::new(Pad { top, bottom, left, right, value }, 2, &[Type::batched(x)])
        };
        vec![
            case([1, 1, 1, 1], 0.0, &[3, 4, 5]),
            case([2, 0, 1, 3], -1.5, &[9, 2, 3]),
            case([0, 0, 0, 1], 0.5, &[1, 1, 1]),
        ]
    }
}

attributes! {
    /// `x -> [C, height, width]` from row `top`, column `left`.
    Crop {
        top: usize,
        left: usize,
        height: usize,
        width: usize,
    }
}

impl OperatorDef for Crop {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        let [channels, height, width] = check::image(x)?;
        let within = |begin: usize, len: usize, size: usize| begin.checked_add(len).is_some_and(|end| end <= size);
        if !within(self.top, self.height, height) || !within(self.left, self.width, width) {
            let Crop { top, left, height, width } = self;
            return Err(format!("{height}·{width} pixels from row {top}, column {left} are not all inside {x}").into());
        }
        check::sized(Type::batched(&[channels, self.height, self.width]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        let dims @ [.., height, width] = reference::nchw(&x.dims);
        let mut y = Vec::with_capacity(cx.batch * cx.ty.elements());
        for row in 0..dims[0] * dims[1] * self.height {
            let (plane, row_of_plane) = (row / self.height, row % self.height);
            let start = (plane * height + self.top + row_of_plane) * width + self.left;
            y.extend_from_slice(&x.data[start..start + self.width]);
        }
        Value::new(&cx.ty.full_dims(cx.batch), y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let &[_, height, width] = cx.operand_type(0).dims.as_slice() else {
            return Err(TrainingError::Operands("cropping of no image"));
        };
        let (bottom, right) = (height - self.top - self.height, width - self.left - self.width);
        let (op, dy) = (Pad { top: self.top, bottom, left: self.left, right, value: 0.0 }, cx.grad);
        Ok(vec![cx.wanted(0, op, &[dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        movement::crop(cx, self.top, self.left)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |top, left, height, width, x: &[usize]| {
            Case::new(Crop { top, left, height, width }, 2, &[Type::batched(x)])
        };
        vec![case(1, 2, 3, 2, &[3, 5, 6]), case(0, 0, 4, 4, &[8, 4, 4]), case(3, 0, 1, 1, &[17, 4, 2])]
    }
}
