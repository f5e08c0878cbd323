//! Copies of image rows that tiles of A are loaded from.

use super::blocks::TILE;
use super::panels::Terms;
use super::parts::parts;
use super::unit::Unit;
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Elem, Index, Val};
use crate::lower::MicroKernelSpec;
use crate::recipes::common::names::elem_letters;
use std::fmt::{self, Display};

/// A row of an image into a row of the padded copy, zeros around it: `(to, from)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pixels {
    /// Columns of zeros before the image's first one.
    pub left: usize,
    /// Columns of the image that are copied; 0 for a row of zeros.
    pub count: usize,
    /// Columns of the copy.
    pub width: usize,
    pub channels: usize,
    /// Elements from column to column of the copy.
    pub pitch: usize,
    /// Elements from part to part of a number, where it has more than one.
    pub apart: usize,
    /// Of the image.
    pub elem: Elem,
    /// What the copy is for.
    pub unit: Unit,
    /// The byte that stands for 0, where bytes are copied.
    pub zero: usize,
}

impl Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Pixels { left, count, width, channels, pitch, apart, elem, unit, zero } = self;
        let kind = elem_letters("_", &[*elem]);
        write!(f, "tiles_row{}_{channels}of{pitch}_{left}_{count}_of{width}{kind}", unit.name())?;
        if unit.parts() > 1 {
            write!(f, "_apart{apart}")?;
        }
        if *zero != 0 { write!(f, "_z{zero}") } else { Ok(()) }
    }
}

impl MicroKernelSpec for Pixels {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let to = b.pointer("to", self.unit.elem(), Access::Write);
        let from = b.pointer("from", self.elem, Access::Read);
        let (c, pitch, end) = (self.channels, self.pitch, self.left + self.count);
        for (begin, end) in [(0, self.left), (end, self.width)] {
            rows(b, end.saturating_sub(begin), [c, pitch, 0], |b, [at, _], lanes| {
                let zero = zero(b, self.unit, self.zero, lanes);
                let at = at.offset((begin * pitch) as i64);
                (0..self.unit.parts()).for_each(|i| b.store(to, at.clone().offset((i * self.apart) as i64), zero));
            });
        }
        rows(b, self.count, [c, pitch, c], |b, [at, source], lanes| {
            let value = b.load(from, source, lanes);
            let at = at.offset((self.left * pitch) as i64);
            let at = |i: usize| at.clone().offset((i * self.apart) as i64);
            parts(b, self.unit, value).into_iter().enumerate().for_each(|(i, part)| b.store(to, at(i), part));
        });
    }
}

/// `count` pixels of `channels` elements that are `to` apart, and `from` in the source.
pub(super) fn rows(
    b: &mut MicroKernelBuilder,
    count: usize,
    [channels, to, from]: [usize; 3],
    mut body: impl FnMut(&mut MicroKernelBuilder, [Index; 2], u32),
) {
    let lanes = TILE as u32;
    if count == 0 {
        return;
    }
    // Without gaps they are one.
    if channels == to && [0, channels].contains(&from) {
        return b.elements(count * channels, lanes, |b, at, lanes| body(b, [at.clone(), at], lanes));
    }
    b.repeat("x", count, &[], |b, x, _| {
        b.elements(channels, lanes, |b, at, lanes| {
            body(b, [at.clone().plus(x, to as i64), at.plus(x, from as i64)], lanes);
        });
        vec![]
    });
}

/// Rows of the padded copy into a row of lines: `(lines, map)`. Line x holds `runs` runs of terms, one of each row from
/// the map's on, and zeros.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lines {
    pub terms: Terms,
    /// Runs of a line.
    pub runs: usize,
    /// Elements of a line.
    pub line: usize,
    /// Lines of a row.
    pub width: usize,
    /// Elements of a row of the map, and from the start of a line's terms to the next line's.
    pub pitch: usize,
    pub step: usize,
    /// Elements of the map from part to part of a number, where it has more than one.
    pub apart: usize,
}

impl Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Lines { terms: Terms { unit, run, padded, .. }, runs, line, width, pitch, step, apart } = self;
        let unit = unit.name();
        write!(f, "tiles_lines{unit}_{runs}x{run}of{padded}_{width}x{line}_from{pitch}_{step}")?;
        if *apart > 0 { write!(f, "_apart{apart}") } else { Ok(()) }
    }
}

impl MicroKernelSpec for Lines {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let Terms { unit, run, padded, .. } = self.terms;
        let to = b.pointer("lines", unit.elem(), Access::Write);
        let from = b.pointer("map", unit.elem(), Access::Read);
        let lanes = padded.min(TILE);
        b.repeat("x", self.width, &[], |b, x, _| {
            for (part, at) in (0..unit.parts()).flat_map(|part| (0..self.line).step_by(lanes).map(move |at| (part, at)))
            {
                let (j, term) = (at / padded, at % padded);
                let count = run.saturating_sub(term).min(lanes) as u32;
                let value = match j < self.runs && count > 0 {
                    true => {
                        let index = Index::from(part * self.apart + j * self.pitch + term).plus(x, self.step as i64);
                        b.load_partial(from, index, lanes as u32, count)
                    }
                    // Whatever bytes are there, weights of 0 meet them.
                    false => zero(b, unit, 0, lanes as u32),
                };
                let place = Index::from(part * self.line + at).plus(x, (unit.parts() * self.line) as i64);
                b.store(to, place, value);
            }
            vec![]
        });
    }
}

/// What stands for 0.
fn zero(b: &mut MicroKernelBuilder, unit: Unit, zero: usize, lanes: u32) -> Val {
    match unit {
        Unit::Bf16 | Unit::Split | Unit::Tf32 => b.f32(0.0, lanes),
        Unit::Bytes => b.i32(zero as i32, lanes),
    }
}
