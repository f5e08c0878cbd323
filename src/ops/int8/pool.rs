//! Means of bytes. The maximum is that of `max_pool`, which takes bytes too.

use super::{bytes, of_bytes, of_floats, single, zero_point};
use crate::graph::interp::{EvalCx, Real, Tensor, Value};
use crate::lower::{LowerCx, Lowered};
use crate::ops::attr::attributes;
use crate::ops::error::ShapeError;
use crate::ops::facts::Receptive;
use crate::ops::pool::{SHAPES, Shape, pooled};
use crate::ops::window::Window;
use crate::ops::{Case, OperatorDef, check, reference};
use crate::recipes::pool;
use crate::recipes::{global, int8};
use crate::types::Type;

attributes! {
    /// `x[C, H, W] -> y[C, oh, ow]`, both bytes of one scale: the sum of the cells inside the image divided by their
    /// number in float32, rounded to the nearest whole number, ties to even.
    AvgPoolBytes {
        window: Window,
        ceil: bool = true,
    }
}

attributes! {
    /// `(x[C, H, W], scale[]) -> y[C]`: from bytes to floats: the whole sum, less `zero` for each place, as float32;
    /// divided by the number of places; times the scale.
    GlobalAvgBytes {
        /// The byte that stands for 0.
        zero: usize,
    }
}

impl OperatorDef for AvgPoolBytes {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        bytes(x)?;
        Ok(of_bytes(pooled(&of_floats(x), &self.window, self.ceil)?))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].int();
        let data = reference::windows(cx, &x.dims, &self.window, |cells| {
            let sum: i32 = cells.places().map(|place| x.data[place]).sum();
            (sum as f32 / cells.count() as f32).round_ties_even() as i32
        });
        Value::Int(Tensor { dims: cx.ty.full_dims(cx.batch), data })
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        pool::avg_bytes(cx, &self.window)
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, reads_bf16, memory, folding);

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Window(self.window)
    }

    fn cases() -> Vec<Case> {
        let case =
            |s: &Shape| Case::new(AvgPoolBytes { window: s.window(), ceil: s.ceil }, s.batch, &[of_bytes(s.image())]);
        SHAPES.iter().map(case).collect()
    }
}

impl OperatorDef for GlobalAvgBytes {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, scale] = check::exactly(operands)?;
        zero_point(self.zero)?;
        bytes(x)?;
        check::scalar(scale, "the scale")?;
        let [channels, _, _] = check::image(&of_floats(x))?;
        check::sized(Type::batched(&[channels]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, scale) = (operands[0].int(), single(operands[1], 0));
        let mut y = Vec::with_capacity(cx.batch * cx.ty.elements());
        reference::each_plane(reference::planes(&x.dims), |_, places| {
            let (count, zero) = (places.len() as f32, (self.zero * places.len()) as i32);
            let sum = x.data[places].iter().sum::<i32>() - zero;
            y.push(f64::from(sum as f32 / count * scale));
        });
        reference::result(cx, y)
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let shape = global::shape(cx, &cx.operands[0].ty)?;
        int8::global_mean(cx, &shape, self.zero)
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, reads_bf16, memory, folding);

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Whole
    }

    fn cases() -> Vec<Case> {
        let case = |&(zero, image): &(usize, [usize; 3])| {
            Case::new(GlobalAvgBytes { zero }, 2, &[of_bytes(Type::batched(&image)), Type::shared(&[])])
        };
        [(0, [5, 3, 4]), (128, [10, 8, 8]), (7, [33, 1, 7])].iter().map(case).collect()
    }
}
