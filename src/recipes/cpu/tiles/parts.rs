//! float32 as the sum of three numbers of bf16.
//!
//! A normal number x is m · 2^e with 24 bits. `high` is its upper 8 bits, cut off, so that it overflows nowhere. The
//! rest `r = x - high` has the lower 16 bits: the subtraction is exact. `middle` is r rounded to 8 bits, and
//! `r - middle` is at most half a place of these, a whole number of places of x: at most 8 bits. So `low` is exact too,
//! and `high + middle + low = x`, with `|middle| <= 2^-7 |x|` and `|low| <= 2^-16 |x|`. Tiles take parts below 2^-126
//! as 0: below 2^-103 in x (1e-31) the last places get lost, below 2^-126 all of x.
//!
//! An infinity or NaN is (±1, 0, x): it meets only `high` of the other factor, which is 0 where that is 0, and never
//! the zeros in the other parts, which would make a NaN of an infinity. Two of them meet each other's ±1.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Binary, Compare, Ty, Unary, Val};

/// The bits of a float32 that bf16 has.
const UPPER: i32 = !0xffff;

/// The parts of each lane: high, middle, low.
pub fn three(b: &mut MicroKernelBuilder, x: Val) -> [Val; 3] {
    let lanes = b.ty(x).lanes;
    let bits = b.unary(Unary::AsInt, x);
    let upper = b.i32(UPPER, lanes);
    let high_bits = b.binary(Binary::And, bits, upper);
    let high = b.unary(Unary::AsFloat, high_bits);
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
    // Without the upper bit of its exponent an infinity is 1.
    let exponent = b.i32(!0x4000_0000, lanes);
    let one = b.binary(Binary::And, high_bits, exponent);
    let one = b.unary(Unary::AsFloat, one);
    // The sum makes a NaN quiet: one with a bit among its upper ones.
    let twice = b.add(x, x);
    [b.select(finite, high, one), b.select(finite, middle, zero), b.select(finite, low, twice)]
}

/// The bits of each lane's parts in the upper half of words, zeros below.
pub fn three_words(b: &mut MicroKernelBuilder, x: Val) -> [Val; 3] {
    three(b, x).map(|part| {
        let bits = b.unary(Unary::AsInt, part);
        let upper = b.i32(UPPER, Ty::ROW);
        b.binary(Binary::And, bits, upper)
    })
}
