//! Activations that weigh a value by a probability, and their slopes: `x·Φ(x)` (gelu) and `x·σ(x)` (silu).
//!
//! Where they fall towards 0, factors are taken within bounds beyond which nothing changes, so that infinities give
//! limits instead of `∞·0`. Bounds stand on the left of minima and maxima, where a NaN passes.

use super::math::{exp, polynomial, sigmoid};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Compare, Unary, Val};

/// Beyond this `Φ(-x)` and the normal density are below every float.
const FAR: f32 = 14.0;
/// `√(2π)·φ(t)·u·P(u) = Φ(-t)` with `u = 1/(1 + SPREAD·t)` for t in `[0, FAR]`, lowest power first: a Chebyshev fit,
/// off by 2e-8.
const TAIL: [f32; 9] = [
    0.139_618_71,
    0.139_912_29,
    0.119_444_914,
    0.107_114_59,
    -0.027_046_608,
    0.165_051,
    -0.260_961_24,
    0.146_545_83,
    -0.029_679_522,
];
const SPREAD: f32 = 0.35;
/// `2·√(2/π)`, and Hendrycks and Gimpel's factor of the cube.
const TANH_SCALE: f32 = 1.595_769;
const TANH_CUBE: f32 = 0.044_715;

/// `x` within `[-bound, bound]`.
fn clamped(b: &mut MicroKernelBuilder, x: Val, bound: f32) -> Val {
    let lanes = b.ty(x).lanes;
    let (top, bottom) = (b.f32(bound, lanes), b.f32(-bound, lanes));
    let x = b.min(top, x);
    b.max(bottom, x)
}

/// `x`, at least `-bound`.
fn bounded(b: &mut MicroKernelBuilder, x: Val, bound: f32) -> Val {
    let bottom = b.f32(-bound, b.ty(x).lanes);
    b.max(bottom, x)
}

/// `e^(-x²/2)` and `u·P(u)`, whose product is `Φ(-|x|)`.
fn tail(b: &mut MicroKernelBuilder, x: Val) -> (Val, Val) {
    let lanes = b.ty(x).lanes;
    let size = b.unary(Unary::Abs, x);
    let far = b.f32(FAR, lanes);
    let t = b.min(far, size);
    // The square's rounding error would count in the exponent.
    let square = b.mul(t, t);
    let minus = b.unary(Unary::Neg, square);
    let rest = b.fma(t, t, minus);
    let half = b.f32(-0.5, lanes);
    let (power, rest) = (b.mul(half, square), b.mul(half, rest));
    let power = exp(b, power);
    let power = b.fma(power, rest, power);
    let (one, spread) = (b.f32(1.0, lanes), b.f32(SPREAD, lanes));
    let below = b.fma(spread, t, one);
    let u = b.div(one, below);
    let p = polynomial(b, u, &TAIL);
    (power, b.mul(u, p))
}

/// `x·Φ(x)`: at most 8 ulp where the result is a normal number.
pub fn gelu(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    let (power, ratio) = tail(b, x);
    let (one, zero) = (b.f32(1.0, lanes), b.f32(0.0, lanes));
    let outside = b.mul(power, ratio);
    let inside = b.sub(one, outside);
    let above = b.mul(x, inside);
    // Multiplied in this order the small factors do not leave the normal numbers before the result does.
    let below = bounded(b, x, FAR);
    let below = b.mul(below, ratio);
    let below = b.mul(below, power);
    let positive = b.compare(Compare::Gt, x, zero);
    b.select(positive, above, below)
}

/// `Φ(x) + x·φ(x)`: off by at most 3e-7.
pub fn gelu_slope(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    let (power, ratio) = tail(b, x);
    let (one, zero) = (b.f32(1.0, lanes), b.f32(0.0, lanes));
    let below = b.mul(power, ratio);
    let above = b.sub(one, below);
    let positive = b.compare(Compare::Gt, x, zero);
    let cdf = b.select(positive, above, below);
    let x = clamped(b, x, FAR);
    // 1/√(2π)
    let scale = b.f32(0.398_942_3, lanes);
    let density = b.mul(power, scale);
    b.fma(x, density, cdf)
}

/// `x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2`, as `x·σ(z)` with twice that argument: off by at most `4 + 3·|z|` ulp, 0
/// where z is below -88.7.
pub fn gelu_tanh(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let x = bounded(b, x, FAR);
    let z = tanh_argument(b, x);
    gate(b, x, z)
}

fn tanh_argument(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    let (one, cube, scale) = (b.f32(1.0, lanes), b.f32(TANH_CUBE, lanes), b.f32(TANH_SCALE, lanes));
    let square = b.mul(x, x);
    let sum = b.fma(cube, square, one);
    let product = b.mul(x, sum);
    b.mul(scale, product)
}

/// `x/(1 + e^-z)`
fn gate(b: &mut MicroKernelBuilder, x: Val, z: Val) -> Val {
    let minus = b.unary(Unary::Neg, z);
    let power = exp(b, minus);
    let one = b.f32(1.0, b.ty(x).lanes);
    let below = b.add(power, one);
    b.div(x, below)
}

/// The slope of [`gelu_tanh`]: off by at most 3e-6.
pub fn gelu_tanh_slope(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    let x = clamped(b, x, FAR);
    let z = tanh_argument(b, x);
    // z' = TANH_SCALE·(1 + 3·TANH_CUBE·x²)
    let (scale, cube) = (b.f32(TANH_SCALE, lanes), b.f32(3.0 * TANH_CUBE * TANH_SCALE, lanes));
    let square = b.mul(x, x);
    let slope = b.fma(cube, square, scale);
    let inner = b.mul(x, slope);
    gate_slope(b, z, inner)
}

/// `σ(z) + σ(z)·(1 - σ(z))·inner`
fn gate_slope(b: &mut MicroKernelBuilder, z: Val, inner: Val) -> Val {
    let s = sigmoid(b, z);
    let one = b.f32(1.0, b.ty(z).lanes);
    let rest = b.sub(one, s);
    let rest = b.mul(rest, inner);
    b.fma(s, rest, s)
}

/// Beyond this `σ(-x)` is below every float.
const SIGMOID_FAR: f32 = 128.0;

/// `x·σ(x)`: at most 4 ulp, 0 below -88.7.
pub fn silu(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let x = bounded(b, x, SIGMOID_FAR);
    gate(b, x, x)
}

/// `σ(x)·(1 + x·(1 - σ(x)))`: off by at most 1e-6.
pub fn silu_slope(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let x = clamped(b, x, SIGMOID_FAR);
    gate_slope(b, x, x)
}
