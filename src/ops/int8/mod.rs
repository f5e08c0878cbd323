//! Integer arithmetic: bytes that stand for `scale · (byte - zero)`, products of them with signed 8-bit weights summed
//! in 32 bits, and what leads there and back. Only `passes::quantize` makes these operators, from the formats that
//! weights state.
//!
//! Every step is a whole number or one operation on float32 that is rounded once, so that interpreters and machines
//! give equal bits whatever their vectors, and whether or not they fuse multiplications with additions.

mod bytes;
mod conv;
mod numbers;
mod pool;

pub use bytes::{Dequantize, Quantize};
pub use conv::ConvInt8;
pub use numbers::{Int8Bias, Int8Factor};
pub use pool::{AvgPoolBytes, GlobalAvgBytes};

use super::error::ShapeError;
use crate::graph::interp::{Real, Value};
use crate::types::{DType, Type};

/// The byte nearest to `value` (ties to even) behind `zero`; 0 or 255 beyond, and 0 for what is not a number.
fn byte(value: f32, zero: usize) -> i32 {
    let zero = zero as f32;
    let (low, high) = (-zero, 255.0 - zero);
    let value = if value > low { value } else { low };
    (if value < high { value } else { high }.round_ties_even() + zero) as i32
}

/// A value of bytes.
fn bytes(ty: &Type) -> Result<(), ShapeError> {
    match (ty.dtype, ty.batched) {
        (DType::U8, true) => Ok(()),
        _ => Err(format!("bytes of each image are needed, but this is {ty}").into()),
    }
}

/// Returns the type with bytes instead of floats.
fn of_bytes(ty: Type) -> Type {
    Type { dtype: DType::U8, ..ty }
}

/// Returns the type with floats instead of bytes.
fn of_floats(ty: &Type) -> Type {
    Type { dtype: DType::F32, ..ty.clone() }
}

fn zero_point(zero: usize) -> Result<(), ShapeError> {
    if zero <= 255 { Ok(()) } else { Err(format!("the byte {zero} for 0 is not in 0 to 255").into()) }
}

/// A number in single precision, in which the arithmetic is defined.
fn single<T: Real>(value: &Value<T>, at: usize) -> f32 {
    value.real().data[at].f64() as f32
}
