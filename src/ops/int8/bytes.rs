//! From floats to bytes and back.

use super::{byte, bytes, of_bytes, of_floats, single, zero_point};
use crate::graph::interp::{EvalCx, Real, Tensor, Value};
use crate::lower::{LowerCx, Lowered};
use crate::ops::attr::attributes;
use crate::ops::error::ShapeError;
use crate::ops::{Case, Draw, OperatorDef, check, reference};
use crate::recipes::int8;
use crate::types::Type;

attributes! {
    /// `(x, scale[]) -> bytes`: `x / scale`, rounded to the nearest whole number (ties to even), plus `zero`, and 0 or
    /// 255 beyond; what is not a number becomes 0. ONNX's `QuantizeLinear`.
    Quantize {
        /// The byte that stands for 0.
        zero: usize,
    }
}

attributes! {
    /// `(bytes, scale[]) -> y = (byte - zero) · scale`. ONNX's `DequantizeLinear`.
    Dequantize {
        /// The byte that stands for 0.
        zero: usize,
    }
}

fn types() -> Vec<Type> {
    vec![Type::batched(&[3, 5, 7]), Type::batched(&[17])]
}

impl OperatorDef for Quantize {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, scale] = check::exactly(operands)?;
        zero_point(self.zero)?;
        check::per_image(x)?;
        check::scalar(scale, "the scale")?;
        Ok(of_bytes(x.clone()))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let scale = single(operands[1], 0);
        let data = operands[0].real().data.iter().map(|x| byte(x.f64() as f32 / scale, self.zero)).collect();
        Value::Int(Tensor { dims: cx.ty.full_dims(cx.batch), data })
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        int8::quantize(cx, self.zero)
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |(zero, ty): (usize, Type)| Case::new(Quantize { zero }, 3, &[ty, Type::shared(&[])]);
        [0, 77].into_iter().zip(types()).map(case).map(|case| case.drawn(Draw::Positive)).collect()
    }
}

impl OperatorDef for Dequantize {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, scale] = check::exactly(operands)?;
        zero_point(self.zero)?;
        bytes(x)?;
        check::scalar(scale, "the scale")?;
        Ok(of_floats(x))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let scale = single(operands[1], 0);
        let value = |&x: &i32| f64::from((x - self.zero as i32) as f32 * scale);
        reference::result(cx, operands[0].int().data.iter().map(value).collect())
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        int8::dequantize(cx, self.zero)
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |(zero, ty): (usize, Type)| Case::new(Dequantize { zero }, 3, &[of_bytes(ty), Type::shared(&[])]);
        [0, 128].into_iter().zip(types()).map(case).collect()
    }
}
