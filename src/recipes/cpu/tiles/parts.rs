//! float32 as the sum of three numbers of bf16, and tf32 as that of two.
//!
//! A normal number x is m · 2^e with 24 bits. `high` is its upper 8 bits, cut off, so that it overflows nowhere. The
//! rest `r = x - high` has the lower 16 bits: the subtraction is exact. `middle` is r rounded to 8 bits, and
//! `r - middle` is at most half a place of these, a whole number of places of x: at most 8 bits. So `low` is exact too,
//! and `high + middle + low = x`, with `|middle| <= 2^-7 |x|` and `|low| <= 2^-16 |x|`. Tiles take parts below 2^-126
//! as 0: below 2^-103 in x (1e-31) the last places get lost. Below 2^-126 (denormal numbers) `high` is ±2^-126: tiles
//! see that in place of x, or 0 for 0.
//!
//! An infinity or NaN is (±1, 0, x): it meets only `high` of the other factor, which is 0 where that is 0 and nowhere
//! else, and never the zeros in the other parts, which would make a NaN of an infinity. Two of them meet each other's
//! ±1.
//!
//! A number of tf32 has 11 bits. `high` is the largest number of 8 bits whose size is *below* its own, and `low` the
//! rest: at most 4 bits, and never 0 unless the number is. So all four products may be made: an infinity (x, ±1) meets
//! no zero but that of a 0. Parts below 2^-126 are ±2^-126: below 2^-115 in x (2e-35) the last places get lost.

use super::unit::Unit;
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Binary, Compare, Unary, Val};

/// The bits of a float32 that bf16 has.
const UPPER: i32 = !0xffff;

/// The parts of each lane: high, middle, low.
pub fn three(b: &mut MicroKernelBuilder, x: Val) -> [Val; 3] {
    let lanes = b.ty(x).lanes;
    let bits = b.unary(Unary::AsInt, x);
    let upper = b.i32(UPPER, lanes);
    let high_bits = b.binary(Binary::And, bits, upper);
    let high = b.unary(Unary::AsFloat, high_bits);
    let high = not_below(b, high, x);
    let rest = b.sub(x, high);
    // Half a place of bf16 more, then cut off: ties go away from 0.
    let rest_bits = b.unary(Unary::AsInt, rest);
    let half = b.i32(0x8000, lanes);
    let rounded = b.add(rest_bits, half);
    let rounded = b.binary(Binary::And, rounded, upper);
    let middle = b.unary(Unary::AsFloat, rounded);
    let low = b.sub(rest, middle);

    let size = b.unary(Unary::Abs, x);
    let (infinity, zero) = (b.f32(f32::INFINITY, lanes), b.f32(0.0, lanes));
    let finite = b.compare(Compare::Lt, size, infinity);
    let one = one(b, high_bits);
    // The sum makes a NaN quiet: one with a bit among its upper ones.
    let twice = b.add(x, x);
    [b.select(finite, high, one), b.select(finite, middle, zero), b.select(finite, low, twice)]
}

/// The parts of each lane, which is a number of tf32: high, low.
pub fn two(b: &mut MicroKernelBuilder, x: Val) -> [Val; 2] {
    let lanes = b.ty(x).lanes;
    let (less, upper) = (b.f32(1.0 - f32::EPSILON * 2048.0, lanes), b.i32(UPPER, lanes));
    // Exact, and less than a place of tf32 below x.
    let below = b.mul(x, less);
    let bits = b.unary(Unary::AsInt, below);
    let bits = b.binary(Binary::And, bits, upper);
    let high = b.unary(Unary::AsFloat, bits);
    let low = b.sub(x, high);
    let (size, infinity) = (b.unary(Unary::Abs, x), b.f32(f32::INFINITY, lanes));
    let finite = b.compare(Compare::Lt, size, infinity);
    let one = one(b, bits);
    let parts = [high, low].map(|part| not_below(b, part, x));
    [b.select(finite, parts[0], high), b.select(finite, parts[1], one)]
}

/// The part of x, of its sign, at the least 2^-126, which tiles do not take as 0, unless x is 0.
fn not_below(b: &mut MicroKernelBuilder, part: Val, x: Val) -> Val {
    let lanes = b.ty(x).lanes;
    let (least, zero) = (b.f32(f32::MIN_POSITIVE, lanes), b.f32(0.0, lanes));
    let (own, size) = (b.unary(Unary::Abs, x), b.unary(Unary::Abs, part));
    let some = b.compare(Compare::Lt, zero, own);
    let least = b.select(some, least, zero);
    let size = b.max(size, least);
    let [size, bits] = [size, x].map(|v| b.unary(Unary::AsInt, v));
    let sign = b.i32(i32::MIN, lanes);
    let sign = b.binary(Binary::And, bits, sign);
    let signed = b.binary(Binary::Or, size, sign);
    b.unary(Unary::AsFloat, signed)
}

/// 1 with the sign of an infinity, whose bits these are.
fn one(b: &mut MicroKernelBuilder, bits: Val) -> Val {
    let lanes = b.ty(bits).lanes;
    // Without the upper bit of its exponent an infinity is 1.
    let exponent = b.i32(!0x4000_0000, lanes);
    let one = b.binary(Binary::And, bits, exponent);
    b.unary(Unary::AsFloat, one)
}

/// The parts of each lane, as many as the unit has.
pub fn parts(b: &mut MicroKernelBuilder, unit: Unit, x: Val) -> Vec<Val> {
    match unit {
        Unit::Split => three(b, x).into(),
        Unit::Tf32 => two(b, x).into(),
        Unit::Bf16 | Unit::Bytes => vec![x],
    }
}

/// The pairs of the parts of two vectors, a word each: `first` in the lower halves.
pub fn pairs(b: &mut MicroKernelBuilder, unit: Unit, [first, second]: [Val; 2]) -> Vec<Val> {
    let [first, second] = [first, second].map(|x| parts(b, unit, x));
    let both = first.into_iter().zip(second);
    both.map(|(first, second)| {
        let [first, second] = [first, second].map(|part| b.unary(Unary::AsInt, part));
        if unit.parts() == 1 {
            return pair(b, first, second);
        }
        // What the first part leaves to the next ones.
        let upper = b.i32(UPPER, b.ty(second).lanes);
        let second = b.binary(Binary::And, second, upper);
        pair(b, first, second)
    })
    .collect()
}

/// Words of the upper halves of two vectors of bits, the second one's lower halves 0: the first one's below.
pub fn pair(b: &mut MicroKernelBuilder, first: Val, second: Val) -> Val {
    let sixteen = b.i32(16, b.ty(first).lanes);
    let low = b.binary(Binary::ShrU, first, sixteen);
    b.binary(Binary::Or, low, second)
}
