//! Integer arithmetic around products of bytes. No multiplication is fused with an addition, so that all machines give
//! the same bits.

use super::elementwise;
use super::loops::{for_vectors, piece};
use super::partition::KernelWithOperands;
use super::pool::Pooling;
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr, Unary, Val};
use crate::lower::{LowerCx, LowerError, Lowered, code};

/// Columns of an iteration.
const COLUMNS: usize = 256;

/// What sums of products become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum To {
    /// Floats.
    Floats,
    /// Bytes; `zero` stands for 0.
    Bytes {
        /// The byte for 0.
        zero: usize,
    },
}

impl To {
    /// What memory holds.
    pub fn elem(self) -> Elem {
        match self {
            To::Floats => Elem::F32,
            To::Bytes { .. } => Elem::U8,
        }
    }

    /// The value to store, of scaled sums.
    pub fn apply(self, b: &mut MicroKernelBuilder, scaled: Val) -> Val {
        match self {
            To::Floats => scaled,
            To::Bytes { zero } => byte(b, scaled, zero),
        }
    }

    /// A part of names.
    pub fn name(self) -> String {
        match self {
            To::Floats => "_f".into(),
            To::Bytes { zero } => format!("_z{zero}"),
        }
    }
}

/// The nearest whole number plus `zero`, 0 or 255 beyond.
fn byte(b: &mut MicroKernelBuilder, value: Val, zero: usize) -> Val {
    if zero == 0 {
        return b.unary(Unary::ToByte, value);
    }
    // A whole number before it is added: a tie goes to an even number, and `zero` may be odd.
    let value = b.unary(Unary::Round, value);
    let zero = b.f32(zero as f32, b.ty(value).lanes);
    let value = b.add(value, zero);
    b.unary(Unary::ToByte, value)
}

/// `(x, scale[]) -> bytes`
pub fn quantize(cx: &mut LowerCx, zero: usize) -> Lowered {
    elementwise::map_with(cx, &format!("quantize_z{zero}"), zero, |&zero, b, v, _| {
        let value = b.div(v[0], v[1]);
        byte(b, value, zero)
    })
}

/// `(bytes, scale[]) -> y`
pub fn dequantize(cx: &mut LowerCx, zero: usize) -> Lowered {
    elementwise::map_with(cx, &format!("dequantize_z{zero}"), zero, |&zero, b, v, lanes| {
        let zero = b.i32(zero as i32, lanes);
        let value = b.sub(v[0], zero);
        let value = b.unary(Unary::ToFloat, value);
        b.mul(value, v[1])
    })
}

/// `(scale of x[], scales of weights[O], [scale of y[]]) -> factor[O]`
pub fn factor(cx: &mut LowerCx) -> Lowered {
    elementwise::map(cx, "int8_factor", |b, v, _| {
        let product = b.mul(v[0], v[1]);
        v.get(2).map_or(product, |y| b.div(product, *y))
    })
}

/// `(w, bias[O]) -> i32[O]`: the bias less `zero` times each output's sum of weights.
pub fn bias(cx: &mut LowerCx, zero: usize) -> Lowered {
    let (outputs, elements) = (cx.result.ty.elements(), cx.operands[0].ty.elements());
    let lanes = cx.target.lanes;
    let mut d = KernelWithOperands::new(cx, "int8_bias", Access::Write);
    let (w, bias, y) = (d.operands[0], d.operands[1], d.result);
    d.kernel.parallel("p", outputs.div_ceil(COLUMNS), |k, p| {
        piece(k, &p, outputs, COLUMNS, |k, columns| {
            let params = ([elements / outputs, columns, outputs, zero], lanes);
            let name = format!("int8_bias_z{zero}_{}x{columns}of{outputs}_v{lanes}", elements / outputs);
            let micro_kernel = cx.micro_kernel(code(name, params, |&([terms, columns, pitch, zero], lanes), b| {
                let w = b.pointer("w", Elem::F32, Access::Read);
                let bias = b.pointer("bias", Elem::F32, Access::Read);
                let y = b.pointer("y", Elem::I32, Access::Write);
                b.elements(columns, lanes, |b, at, lanes| {
                    let start = b.i32(0, lanes);
                    let sum = b.repeat("k", terms, &[start], |b, k, sum| {
                        let weight = b.load(w, at.clone().plus(k, pitch as i64), lanes);
                        let weight = b.unary(Unary::ToInt, weight);
                        vec![b.add(sum[0], weight)]
                    });
                    let zero = b.i32(zero as i32, lanes);
                    let sum = b.mul(sum[0], zero);
                    let value = b.load(bias, at.clone(), lanes);
                    let value = b.unary(Unary::ToInt, value);
                    let value = b.sub(value, sum);
                    b.store(y, at, value);
                });
            }));
            let column = &p * COLUMNS;
            k.call(micro_kernel, [w.at(&column), bias.at(&column), y.at(&column)]);
        });
    });
    d.launch(cx);
    Ok(())
}

/// `(x, scale[]) -> y[C]`: the mean of each channel.
pub fn global_mean(cx: &mut LowerCx, shape: &Pooling, zero: usize) -> Lowered {
    let (channels, places) = (shape.channels, shape.size[0] * shape.size[1]);
    if places > 1 << 23 {
        return Err(LowerError::Unsupported(format!("{}: {places} bytes do not add up in 32 bits", cx.name)));
    }
    let lanes = cx.target.lanes;
    let mut d = KernelWithOperands::new(cx, "global_avg_bytes", Access::Write);
    let (x, scale, y) = (d.operands[0], d.operands[1], d.result);
    let name = format!("global_avg_bytes_z{zero}_{places}x{channels}_v{lanes}");
    let params = ([places, channels, zero], lanes);
    let micro_kernel = cx.micro_kernel(code(name, params, |&([places, channels, zero], lanes), b| {
        let x = b.pointer("x", Elem::U8, Access::Read);
        let scale = b.pointer("scale", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        for_vectors(b, channels, lanes, |b, at, width| {
            let start = b.i32(-((places * zero) as i32), lanes);
            let sum = b.repeat("place", places, &[start], |b, place, sum| {
                let value = b.load_partial(x, at.clone().plus(place, channels as i64), lanes, width);
                vec![b.add(sum[0], value)]
            });
            let (sum, count) = (b.unary(Unary::ToFloat, sum[0]), b.f32(places as f32, lanes));
            let mean = b.div(sum, count);
            let scale = b.broadcast(scale, 0usize, lanes);
            let mean = b.mul(mean, scale);
            b.store_partial(y, at, mean, width);
        });
    }));
    d.kernel.parallel("n", Expr::BATCH, |k, n| {
        k.call(micro_kernel, [x.at(&n * (places * channels)), scale.at(0), y.at(&n * channels)]);
    });
    d.launch(cx);
    Ok(())
}
