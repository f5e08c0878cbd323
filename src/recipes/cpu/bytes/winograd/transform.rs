//! The ways to the domain and back, as micro-kernels.

use super::matrices::{Back, Whole};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Binary, Elem, Index, Unary, Val};
use crate::lower::MicroKernelSpec;
use crate::recipes::common::int8::To;
use crate::recipes::common::winograd::{Size, apply};
use std::fmt::{self, Display};

/// Transforms a tile of a row of bytes for all channels: `(row, v)`. Whole numbers below 2^24 are exact as floats, and
/// so is all that is computed with them here.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Input {
    /// F(m, r).
    pub size: Size,
    pub channels: usize,
    /// Elements between the points of v.
    pub point: usize,
    /// Lanes of a vector.
    pub lanes: u32,
}

impl Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Input { size, channels, point, lanes } = self;
        write!(f, "whole_input_{size}_{channels}_{point}v{lanes}")
    }
}

impl MicroKernelSpec for Input {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let (size, channels, lanes) = (self.size, self.channels, self.lanes);
        let matrix = Whole::new(size.m, size.r).input;
        let row = b.pointer("row", Elem::U8, Access::Read);
        let v = b.pointer("v", Elem::I16, Access::Write);
        let part = |b: &mut MicroKernelBuilder, at: Index, count: u32| {
            let place = |i: usize, step: usize| at.clone().offset((i * step) as i64);
            let bytes = (0..size.points()).map(|i| {
                let byte = b.load_partial(row, place(i, channels), lanes, count);
                b.unary(Unary::ToFloat, byte)
            });
            let bytes: Vec<Val> = bytes.collect();
            for (i, value) in apply(b, &matrix, &bytes, lanes).into_iter().enumerate() {
                let value = b.unary(Unary::ToInt, value);
                // A pair's missing half is 0, as lanes beyond the count are.
                b.store_partial(v, place(i, self.point), value, count.next_multiple_of(2).min(lanes));
            }
        };
        let (whole, rest) = (channels / lanes as usize, channels % lanes as usize);
        if whole > 0 {
            b.repeat("c", whole, &[], |b, c, _| {
                part(b, Index::default().plus(c, lanes.into()), lanes);
                vec![]
            });
        }
        if rest > 0 {
            part(b, (whole * lanes as usize).into(), rest as u32);
        }
    }
}

/// Makes a tile's results of its sums: `(m, y, factor, bias)`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Output {
    /// F(m, r).
    pub size: Size,
    /// Results that are in the image.
    pub across: usize,
    /// Output channels of the panel, and of the image.
    pub columns: [usize; 2],
    /// Lanes of a vector.
    pub lanes: u32,
    /// What sums become.
    pub to: To,
    /// In memory of this type.
    pub elem: Elem,
}

impl Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Output { size, across, columns: [columns, outputs], lanes, to, elem } = self;
        write!(f, "whole_output_{size}_{across}_{columns}of{outputs}v{lanes}{}_{elem}", to.name())
    }
}

impl MicroKernelSpec for Output {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let (lanes, [columns, outputs]) = (self.lanes, self.columns);
        let back = Whole::new(self.size.m, self.size.r).output;
        let points = self.size.points();
        let m = b.pointer("m", Elem::I32, Access::Read);
        let y = b.pointer("y", self.elem, Access::Write);
        let factor = b.pointer("factor", Elem::F32, Access::Read);
        let bias = b.pointer("bias", Elem::I32, Access::Read);
        for first in (0..columns).step_by(lanes as usize) {
            let count = (columns - first).min(lanes as usize) as u32;
            let sums: Vec<Val> = (0..points).map(|i| b.load(m, first * points + i * lanes as usize, lanes)).collect();
            let [factor, bias] = [factor, bias].map(|p| b.load_partial(p, first, lanes, count));
            for (i, value) in results(b, &back, &sums, lanes).into_iter().enumerate().take(self.across) {
                let sum = b.add(value, bias);
                let sum = b.unary(Unary::ToFloat, sum);
                let value = b.mul(sum, factor);
                let value = self.to.apply(b, value);
                b.store_partial(y, i * outputs + first, value, count);
            }
        }
    }
}

/// The way back: sums of neighbouring points ±p share what is even and what is odd in p.
fn results(b: &mut MicroKernelBuilder, back: &[Back], sums: &[Val], lanes: u32) -> Vec<Val> {
    let alike = |i: usize, sign: i64| {
        let pair = |row: &Back| row.coefficients[i] == sign * row.coefficients[i + 1];
        i + 1 < sums.len() && back.iter().all(|row| pair(row) || row.coefficients[i] == -sign * row.coefficients[i + 1])
    };
    // What is added up: a sum with its coefficients, or a pair's sum and difference with theirs.
    let mut terms: Vec<(Val, Vec<i64>)> = Vec::new();
    let mut i = 0;
    while i < sums.len() {
        let own = |sign: i64| {
            let coefficient = |row: &Back| {
                let [a, c] = [row.coefficients[i], row.coefficients[i + 1]];
                if a == sign * c { a } else { 0 }
            };
            back.iter().map(coefficient).collect::<Vec<i64>>()
        };
        if alike(i, 1) {
            let (even, odd) = (b.add(sums[i], sums[i + 1]), b.sub(sums[i], sums[i + 1]));
            terms.extend([(even, own(1)), (odd, own(-1))]);
            i += 2;
        } else {
            terms.push((sums[i], back.iter().map(|row| row.coefficients[i]).collect()));
            i += 1;
        }
    }
    let row = |(at, row): (usize, &Back)| {
        let mut total = None;
        for (value, coefficients) in &terms {
            let c = coefficients[at];
            if c != 0 {
                total = Some(accumulate(b, total, *value, c, lanes));
            }
        }
        let total = total.unwrap_or_else(|| b.i32(0, lanes));
        let total = scaled(b, total, row.inverse.into(), lanes);
        let shift = b.i32(row.shift as i32, lanes);
        if row.shift == 0 { total } else { b.binary(Binary::ShrS, total, shift) }
    };
    back.iter().enumerate().map(row).collect()
}

/// `total + c · value`.
fn accumulate(b: &mut MicroKernelBuilder, total: Option<Val>, value: Val, c: i64, lanes: u32) -> Val {
    let Some(total) = total else { return scaled(b, value, c, lanes) };
    let part = scaled(b, value, c.abs(), lanes);
    if c < 0 { b.sub(total, part) } else { b.add(total, part) }
}

/// `c · value`, wrapping.
fn scaled(b: &mut MicroKernelBuilder, value: Val, c: i64, lanes: u32) -> Val {
    match c {
        1 => value,
        c if c > 1 && (c as u64).is_power_of_two() => {
            let shift = b.i32(c.trailing_zeros() as i32, lanes);
            b.binary(Binary::Shl, value, shift)
        }
        c => {
            let factor = b.i32(c as i32, lanes);
            b.mul(value, factor)
        }
    }
}
