//! Elementary functions as micro-kernel code, for vectors of any lanes: argument reduction, then a polynomial.
//!
//! The coefficients are Chebyshev fits on the reduced interval (error far below half an ulp), computed for this file.
//! All lanes of all back ends give the same bits as long as they agree on the rounding of `fma`.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Binary, Compare, Unary, Val};
use crate::types::Format;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts: the first has 9 bits, so that its product with an exponent is exact without fused multiply-add.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `(e^r - 1 - r)/r²` for `|r| <= ln 2 / 2`, lowest power first.
const EXP: [f32; 5] = [0.5, 0.166_665_73, 0.041_666_55, 0.008_363_774, 0.001_392_692_7];
/// `(ln(1 + f) - f + f²/2)/f³` for `1 + f` in `[√½, √2]`.
const LN: [f32; 9] = [
    0.333_333_3,
    -0.249_999_97,
    0.200_007_23,
    -0.166_678_26,
    0.142_488_05,
    -0.124_248_65,
    0.116_872_445,
    -0.114_871_316,
    0.069_761_515,
];
/// `(tanh(x) - x)/x³` as a function of `x²`, `|x| <= 0.625`.
const TANH: [f32; 5] = [-0.333_333_28, 0.133_327_7, -0.053_850_908, 0.020_997_18, -0.006_096_714];

/// `x` rounded as [`Format::round`] does.
pub fn round(b: &mut MicroKernelBuilder, x: Val, format: Format) -> Val {
    let lanes = b.ty(x).lanes;
    let lacks = format.lacks();
    let bits = b.unary(Unary::AsInt, x);
    let places = b.i32(lacks as i32, lanes);
    let upper = b.binary(Binary::ShrU, bits, places);
    let one = b.i32(1, lanes);
    let odd = b.binary(Binary::And, upper, one);
    // Just below half of the last place, and one more where that makes it even.
    let half = b.i32((1 << (lacks - 1)) - 1, lanes);
    let sum = b.add(bits, half);
    let sum = b.add(sum, odd);
    let mask = b.i32(-1 << lacks, lanes);
    let rounded = b.binary(Binary::And, sum, mask);
    let rounded = b.unary(Unary::AsFloat, rounded);
    // A sum with a NaN's bits might run over into a number.
    let number = b.compare(Compare::Eq, x, x);
    b.select(number, rounded, x)
}

/// `Σ coefficients[i] · x^i` by Horner's rule.
pub(super) fn polynomial(b: &mut MicroKernelBuilder, x: Val, coefficients: &[f32]) -> Val {
    let lanes = b.ty(x).lanes;
    let (last, rest) = coefficients.split_last().expect("a polynomial has coefficients");
    let mut sum = b.f32(*last, lanes);
    for &c in rest.iter().rev() {
        let c = b.f32(c, lanes);
        sum = b.fma(sum, x, c);
    }
    sum
}

/// `2^n` for integers n in -126 to 127.
fn power_of_two(b: &mut MicroKernelBuilder, n: Val) -> Val {
    let lanes = b.ty(n).lanes;
    let bias = b.i32(127, lanes);
    let biased = b.add(n, bias);
    let shift = b.i32(23, lanes);
    let bits = b.binary(Binary::Shl, biased, shift);
    b.unary(Unary::AsFloat, bits)
}

/// `e^x`: at most 2 ulp, infinity above 88.73, 0 far below, NaN stays NaN.
pub fn exp(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    // Beyond these bounds the result is infinite or 0 anyway. The bound stands on the left so that a NaN passes.
    let (top, bottom) = (b.f32(90.0, lanes), b.f32(-110.0, lanes));
    let x = b.min(top, x);
    let x = b.max(bottom, x);
    let log2_e = b.f32(LOG2_E, lanes);
    let scaled = b.mul(x, log2_e);
    let n = b.unary(Unary::Round, scaled);
    let (high, low) = (b.f32(-LN_2_HIGH, lanes), b.f32(-LN_2_LOW, lanes));
    let r = b.fma(n, high, x);
    let r = b.fma(n, low, r);
    let p = polynomial(b, r, &EXP);
    let square = b.mul(r, r);
    let p = b.fma(p, square, r);
    let one = b.f32(1.0, lanes);
    let p = b.add(p, one);
    // 2^n in two halves, because n goes beyond the exponents that a float has.
    let n = b.unary(Unary::ToInt, n);
    let shift = b.i32(1, lanes);
    let half = b.binary(Binary::ShrS, n, shift);
    let rest = b.sub(n, half);
    let half = power_of_two(b, half);
    let p = b.mul(p, half);
    let rest = power_of_two(b, rest);
    b.mul(p, rest)
}

/// Natural logarithm: at most 2 ulp, also of denormals; `ln 0 = -∞`, NaN below 0.
pub fn ln(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    // Denormals are scaled up first.
    let tiny = b.f32(f32::MIN_POSITIVE, lanes);
    let is_tiny = b.compare(Compare::Lt, x, tiny);
    let up = b.f32(8_388_608.0, lanes);
    let scaled = b.mul(x, up);
    let normal = b.select(is_tiny, scaled, x);
    let (correction, zero) = (b.f32(23.0, lanes), b.f32(0.0, lanes));
    let correction = b.select(is_tiny, correction, zero);

    // x = (1 + f)·2^e with 1 + f in [√½, √2): subtracting the bits of √½ moves the border between exponents there.
    let root = b.i32(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32, lanes);
    let bits = b.unary(Unary::AsInt, normal);
    let bits = b.sub(bits, root);
    let (shift, mantissa) = (b.i32(23, lanes), b.i32(0x7F_FFFF, lanes));
    let e = b.binary(Binary::ShrS, bits, shift);
    let e = b.unary(Unary::ToFloat, e);
    let e = b.sub(e, correction);
    let m = b.binary(Binary::And, bits, mantissa);
    let m = b.add(m, root);
    let m = b.unary(Unary::AsFloat, m);
    let one = b.f32(1.0, lanes);
    let f = b.sub(m, one);

    let square = b.mul(f, f);
    let cube = b.mul(square, f);
    let p = polynomial(b, f, &LN);
    let (low, high) = (b.f32(LN_2_LOW, lanes), b.f32(LN_2_HIGH, lanes));
    let small = b.mul(e, low);
    let small = b.fma(p, cube, small);
    let half = b.f32(-0.5, lanes);
    let small = b.fma(square, half, small);
    let sum = b.add(f, small);
    let finite = b.fma(e, high, sum);

    // Infinity and NaN are their own logarithms; what is not above 0 is 0, or has none.
    let infinity = b.f32(f32::INFINITY, lanes);
    let is_finite = b.compare(Compare::Lt, x, infinity);
    let result = b.select(is_finite, finite, x);
    let (minus_infinity, nan) = (b.f32(f32::NEG_INFINITY, lanes), b.f32(f32::NAN, lanes));
    let is_zero = b.compare(Compare::Eq, x, zero);
    let result = b.select(is_zero, minus_infinity, result);
    let is_negative = b.compare(Compare::Lt, x, zero);
    b.select(is_negative, nan, result)
}

/// Hyperbolic tangent: at most 3 ulp, odd, exact at ±0 and ±∞.
pub fn tanh(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    let square = b.mul(x, x);
    let p = polynomial(b, square, &TANH);
    let cube = b.mul(square, x);
    let near = b.fma(p, cube, x);

    // 1 - 2/(e^2|x| + 1), the sign put back as bits.
    let size = b.unary(Unary::Abs, x);
    let twice = b.add(size, size);
    let e = exp(b, twice);
    let (one, two) = (b.f32(1.0, lanes), b.f32(2.0, lanes));
    let below = b.add(e, one);
    let quotient = b.div(two, below);
    let far = b.sub(one, quotient);
    let (bits, far) = (b.unary(Unary::AsInt, x), b.unary(Unary::AsInt, far));
    let sign = b.i32(i32::MIN, lanes);
    let sign = b.binary(Binary::And, bits, sign);
    let far = b.binary(Binary::Or, far, sign);
    let far = b.unary(Unary::AsFloat, far);

    let border = b.f32(0.625, lanes);
    let is_far = b.compare(Compare::Gt, size, border);
    b.select(is_far, far, near)
}

/// Logistic function `1/(1 + e^-x)`: at most 4 ulp where the result is a normal number.
pub fn sigmoid(b: &mut MicroKernelBuilder, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    let minus = b.unary(Unary::Neg, x);
    let e = exp(b, minus);
    let one = b.f32(1.0, lanes);
    let below = b.add(e, one);
    b.div(one, below)
}

/// `x^y` for `x > 0`. Quarters up to 4 (the exponents that local response normalisation uses) go through square roots:
/// at most 4 ulp. Others are `e^(y · ln x)`, whose relative error grows with `|y · ln x|`.
pub fn pow(b: &mut MicroKernelBuilder, x: Val, y: f32) -> Val {
    let quarters = y * 4.0;
    if quarters.fract() == 0.0 && quarters.abs() <= 16.0 {
        return pow_quarters(b, x, quarters as i32);
    }
    let lanes = b.ty(x).lanes;
    let l = ln(b, x);
    let y = b.f32(y, lanes);
    let product = b.mul(l, y);
    exp(b, product)
}

/// `x^(quarters/4)` as a product of roots and powers.
fn pow_quarters(b: &mut MicroKernelBuilder, x: Val, quarters: i32) -> Val {
    let lanes = b.ty(x).lanes;
    let count = quarters.unsigned_abs();
    let mut product: Option<Val> = None;
    let mut times = |b: &mut MicroKernelBuilder, factor: Val| {
        product = Some(product.map_or(factor, |p| b.mul(p, factor)));
    };
    if count & 3 != 0 {
        let root = b.unary(Unary::Sqrt, x);
        if count & 1 != 0 {
            let fourth = b.unary(Unary::Sqrt, root);
            times(b, fourth);
        }
        if count & 2 != 0 {
            times(b, root);
        }
    }
    for _ in 0..count / 4 {
        times(b, x);
    }
    let one = b.f32(1.0, lanes);
    match product {
        None => one,
        Some(p) if quarters < 0 => b.div(one, p),
        Some(p) => p,
    }
}
