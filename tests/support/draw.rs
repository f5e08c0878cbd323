//! Random operands for the cases that operators list. Numbers are floats of 32 bits, so that f32 and f64 start equal.

use ninc::graph::interp::{Real, Tensor, Value};
use ninc::ops::{Case, Draw};
use ninc::types::{DType, Type};
use ninc_runtime::philox::Stream;

/// The operands of a case; `seed` gives others.
pub fn operands(case: &Case, seed: u64) -> Vec<Value<f32>> {
    let draw = |(i, ty): (usize, &Type)| value(ty, case.batch, case.draw, &mut Stream::new(seed, i as u32, 0));
    case.operands.iter().enumerate().map(draw).collect()
}

/// One value.
pub fn value(ty: &Type, batch: usize, draw: Draw, random: &mut Stream) -> Value<f32> {
    let dims = ty.full_dims(batch);
    let count = dims.iter().product();
    if ty.dtype != DType::F32 {
        let data = match draw {
            _ if ty.dtype == DType::U8 => (0..count).map(|_| random.below(256) as i32).collect(),
            Draw::Labels(classes) if ty.batched => (0..count).map(|_| random.below(classes as u32) as i32).collect(),
            // A random key: any word will do.
            _ => (0..count).map(|_| random.word() as i32).collect(),
        };
        return Value::Int(Tensor { dims, data });
    }
    let data = match draw {
        Draw::Distinct => distinct(count, random),
        Draw::Positive => (0..count).map(|_| 0.1 + random.unit()).collect(),
        Draw::Normal | Draw::Labels(_) => (0..count).map(|_| random.normal()).collect(),
    };
    Value::new(&dims, data)
}

/// Shuffled points of a grid around 0 that leaves 0 itself out.
fn distinct(count: usize, random: &mut Stream) -> Vec<f32> {
    let step = (8.0 / count.max(1) as f32).min(0.05);
    let mut points: Vec<f32> = (0..count).map(|i| (i as f32 - (count / 2) as f32 + 0.5) * step).collect();
    random.shuffle(&mut points);
    points
}

/// The elements, floats or integers, as float64.
pub fn numbers<T: Real>(value: &Value<T>) -> Vec<f64> {
    match value {
        Value::Real(t) => t.data.iter().map(|v| v.f64()).collect(),
        Value::Int(t) => t.data.iter().map(|&v| f64::from(v)).collect(),
    }
}

/// The same numbers in another float type.
pub fn convert<T: Real>(value: &Value<f32>) -> Value<T> {
    match value {
        Value::Real(t) => Value::new(&t.dims, t.data.iter().map(|v| T::of(f64::from(*v))).collect()),
        Value::Int(t) => Value::Int(t.clone()),
    }
}

/// Largest difference, relative to the largest number expected (at least `floor`).
pub fn error(expected: &[f64], got: &[f64], floor: f64) -> f64 {
    assert_eq!(expected.len(), got.len(), "as many numbers");
    let scale = expected.iter().fold(floor, |m, v| m.max(v.abs()));
    let worst = expected.iter().zip(got).fold(0.0, |m: f64, (a, b)| {
        let difference = (a - b).abs();
        // A NaN must not pass as no difference.
        if a == b {
            m
        } else if difference.is_finite() {
            m.max(difference)
        } else {
            f64::INFINITY
        }
    });
    worst / scale
}

/// Is the result of a case float numbers, made by kernels of any machine? `tests/int8.rs` compares bytes, bit for bit.
pub fn gives_floats(case: &Case) -> bool {
    let result = case.op.infer(&case.operands).expect("a case of matching types");
    result.dtype == DType::F32 && case.op.name() != "conv_int8"
}
