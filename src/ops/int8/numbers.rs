//! The numbers that integer sums need, from those that files of weights hold. They depend on parameters alone, so that
//! they are computed once.

use super::{single, zero_point};
use crate::graph::interp::{EvalCx, Real, Tensor, Value};
use crate::lower::{LowerCx, Lowered};
use crate::ops::attr::attributes;
use crate::ops::error::ShapeError;
use crate::ops::{Case, Draw, OperatorDef, check, conv, reference};
use crate::recipes::int8;
use crate::types::Type;

attributes! {
    /// `(scale of x[], scales of the weights[O], [scale of y[]]) -> factor[O]`: `x · w`, divided by y's where there is
    /// one, each step rounded to float32. It turns sums of products into results.
    Int8Factor {}
}

attributes! {
    /// `(w[O, C, kh, kw], bias[O]) -> i32[O]`: the bias, which is whole and counts products, less `zero` times the sum
    /// of each output's weights: what sums of the raw bytes of x have too much.
    Int8Bias {
        /// The byte of x that stands for 0.
        zero: usize,
    }
}

impl OperatorDef for Int8Factor {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let ([x, w], y) = check::with_optional(operands)?;
        check::scalar(x, "the scale")?;
        check::shared(w, "the scale of weights")?;
        y.map_or(Ok(()), |y| check::scalar(y, "the scale"))?;
        match w.dims.as_slice() {
            [_] => Ok(w.clone()),
            _ => Err(format!("a scale for each output is needed, but this is {w}").into()),
        }
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = single(operands[0], 0);
        let factor = |o: usize| {
            let product = x * single(operands[1], o);
            f64::from(operands.get(2).map_or(product, |y| product / single(y, 0)))
        };
        reference::result(cx, (0..cx.ty.elements()).map(factor).collect())
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        int8::factor(cx)
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let (scale, scales) = (Type::shared(&[]), Type::shared(&[19]));
        let all = [scale.clone(), scales, scale];
        (2..=3).map(|count| Case::new(Int8Factor {}, 1, &all[..count]).drawn(Draw::Positive)).collect()
    }
}

impl OperatorDef for Int8Bias {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [w, bias] = check::exactly(operands)?;
        zero_point(self.zero)?;
        let [outputs, ..] = conv::weight_dims(w)?;
        check::weight(bias, &[outputs], "the bias")?;
        Ok(Type::ints(false, &[outputs]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (w, bias) = (operands[0].real(), operands[1].real());
        let terms = w.data.len() / bias.data.len();
        let sums = w.data.chunks(terms).map(|w| w.iter().map(|w| w.f64() as i32).fold(0, i32::wrapping_add));
        let of = |(bias, sum): (&T, i32)| (bias.f64() as i32).wrapping_sub(sum.wrapping_mul(self.zero as i32));
        let data = bias.data.iter().zip(sums).map(of).collect();
        Value::Int(Tensor { dims: cx.ty.dims.clone(), data })
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        int8::bias(cx, self.zero)
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |&(zero, dims): &(usize, [usize; 4])| {
            Case::new(Int8Bias { zero }, 1, &[Type::shared(&dims), Type::shared(&dims[..1])])
        };
        [(0, [5, 3, 2, 2]), (101, [37, 4, 3, 1]), (255, [16, 70, 1, 1])].iter().map(case).collect()
    }
}
