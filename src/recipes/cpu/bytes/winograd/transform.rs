//! The ways to the domain and back, as micro-kernels.

use super::form::Tiles;
use super::matrices::{Back, Down, Whole};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Binary, Elem, Index, Param, Unary, Val};
use crate::lower::MicroKernelSpec;
use crate::recipes::common::int8::To;
use crate::recipes::common::loops::for_vectors;
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
        for_vectors(b, channels, lanes, |b, at, count| {
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
        });
    }
}

/// Transforms rows that are transformed along themselves down the columns: `(rows, v)`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Columns {
    /// Rows of the window.
    pub window: usize,
    /// Elements of a row.
    pub row: usize,
    /// Elements between the points of v.
    pub point: usize,
    /// Lanes of a vector.
    pub lanes: u32,
}

impl Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Columns { window, row, point, lanes } = self;
        write!(f, "whole_columns_{window}_{row}_{point}v{lanes}")
    }
}

impl MicroKernelSpec for Columns {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let down = Down::new(self.window);
        let rows = b.pointer("rows", Elem::I16, Access::Read);
        let v = b.pointer("v", Elem::I16, Access::Write);
        b.elements(self.row, self.lanes, |b, at, lanes| {
            let mut point = 0;
            for (first, whole) in &down.groups {
                let place = |i: usize| at.clone().offset(((first + i) * self.row) as i64);
                let values = (0..whole.input.len()).map(|i| {
                    let value = b.load(rows, place(i), lanes);
                    b.unary(Unary::ToFloat, value)
                });
                let values: Vec<Val> = values.collect();
                for value in apply(b, &whole.input, &values, lanes) {
                    let value = b.unary(Unary::ToInt, value);
                    b.store(v, at.clone().offset((point * self.point) as i64), value);
                    point += 1;
                }
            }
        });
    }
}

/// Makes a tile's results of its sums: `(m, between, y, factor, bias)`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Output {
    pub tiles: Tiles,
    /// Rows and columns of results that are in the image.
    pub present: [usize; 2],
    /// Output channels of the panel, and elements from row to row and from column to column of the image.
    pub columns: [usize; 3],
    /// Lanes of a vector.
    pub lanes: u32,
    /// What sums become.
    pub to: To,
    /// In memory of this type.
    pub elem: Elem,
}

impl Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Output { tiles, present: [down, across], columns: [columns, row, outputs], lanes, to, elem } = self;
        let to = to.name();
        write!(f, "whole_output_{tiles}_{down}x{across}_{columns}of{row}_{outputs}v{lanes}{to}_{elem}")
    }
}

impl MicroKernelSpec for Output {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let m = b.pointer("m", Elem::I32, Access::Read);
        let between = b.pointer("between", Elem::I32, Access::ReadWrite);
        let y = b.pointer("y", self.elem, Access::Write);
        let factor = b.pointer("factor", Elem::F32, Access::Read);
        let bias = b.pointer("bias", Elem::I32, Access::Read);
        for first in (0..self.columns[0]).step_by(self.lanes as usize) {
            let sums = first * self.tiles.points();
            match self.tiles.down() {
                None => self.row(b, [m, y, factor, bias], (sums, first), 0, None),
                Some(down) => {
                    self.columns(b, [m, between], sums, &down);
                    for i in 0..self.present[0] {
                        let at = i * self.tiles.size.points() * self.lanes as usize;
                        self.row(b, [between, y, factor, bias], (at, first), i, Some(&down.output[i]));
                    }
                }
            }
        }
    }
}

impl Output {
    /// Down the columns: sums of all points at `m` to `[row of results][point along rows][lane]`, too large by the
    /// divisor of the row.
    fn columns(&self, b: &mut MicroKernelBuilder, [m, between]: [Param; 2], at: usize, down: &Down) {
        let (lanes, across) = (self.lanes, self.tiles.size.points() as i64);
        let step = i64::from(lanes);
        b.repeat("x", across as usize, &[], |b, x, _| {
            let place = |row: usize, at: usize| Index::from(at as i64 + row as i64 * across * step).plus(x, step);
            let sums: Vec<Val> =
                (0..Down::points(self.tiles.rows)).map(|point| b.load(m, place(point, at), lanes)).collect();
            for (i, value) in combined(b, &down.output, &sums, lanes).into_iter().enumerate() {
                b.store(between, place(i, 0), value);
            }
            vec![]
        });
    }

    /// Row `i` of the tile's results: from sums at `at` of `m`, for channels `first` of the panel on.
    fn row(
        &self,
        b: &mut MicroKernelBuilder,
        [m, y, factor, bias]: [Param; 4],
        (at, first): (usize, usize),
        i: usize,
        after: Option<&Back>,
    ) {
        let (lanes, [columns, row, outputs]) = (self.lanes, self.columns);
        let count = (columns - first).min(lanes as usize) as u32;
        let load = |x: usize| at + x * lanes as usize;
        let sums: Vec<Val> = (0..self.tiles.size.points()).map(|x| b.load(m, load(x), lanes)).collect();
        let back: Vec<Back> = self.tiles.across().output;
        let back: Vec<Back> = back.iter().map(|row| after.map_or(row.clone(), |other| row.after(other))).collect();
        let [factor, bias] = [factor, bias].map(|p| b.load_partial(p, first, lanes, count));
        let values = combined(b, &back, &sums, lanes);
        for (x, (value, back)) in values.into_iter().zip(&back).enumerate().take(self.present[1]) {
            let value = divided(b, value, back, lanes);
            let sum = b.add(value, bias);
            let sum = b.unary(Unary::ToFloat, sum);
            let value = b.mul(sum, factor);
            let value = self.to.apply(b, value);
            b.store_partial(y, i * row + x * outputs + first, value, count);
        }
    }
}

/// The sums of rows of the way back: those of neighbouring points ±p share what is even and what is odd in p.
fn combined(b: &mut MicroKernelBuilder, back: &[Back], sums: &[Val], lanes: u32) -> Vec<Val> {
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
    let row = |at: usize| {
        let mut total = None;
        for (value, coefficients) in &terms {
            let c = coefficients[at];
            if c != 0 {
                total = Some(accumulate(b, total, *value, c, lanes));
            }
        }
        total.unwrap_or_else(|| b.i32(0, lanes))
    };
    (0..back.len()).map(row).collect()
}

/// What a row's sum gives too much is divided out.
fn divided(b: &mut MicroKernelBuilder, sum: Val, row: &Back, lanes: u32) -> Val {
    let odd = scaled(b, sum, row.inverse.into(), lanes);
    let shift = b.i32(row.shift as i32, lanes);
    if row.shift == 0 { odd } else { b.binary(Binary::ShrS, odd, shift) }
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
