//! A register tile of sums of products of whole numbers.

use super::panels::Terms;
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Address, Elem, Index, Op, Param, Unary, Val};
use crate::lower::MicroKernelSpec;
use crate::lower::tile::Tile;
use crate::recipes::common::int8::To;
use std::fmt::{self, Display};
use std::ops::Range;

/// Words that one iteration of the loop over a run takes.
const UNROLL: usize = 4;

/// What becomes of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// They start from their bias, are scaled, and become this, in memory of this type.
    Results(To, Elem),
    /// They start from 0 and are stored as they are, whole vectors.
    Sums {
        /// Elements from vector to vector.
        vector: usize,
    },
}

impl End {
    /// What memory holds.
    fn elem(self) -> Elem {
        match self {
            End::Results(_, elem) => elem,
            End::Sums { .. } => Elem::I32,
        }
    }

    /// A part of names.
    pub fn name(self) -> String {
        match self {
            End::Results(to, Elem::I16) => format!("{}_wide", to.name()),
            End::Results(to, _) => to.name(),
            End::Sums { vector } => format!("_sums{vector}"),
        }
    }
}

/// One micro-kernel: `(a, b, y)`, then `(factor, bias)` where results are wanted. Strides count elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    /// Lanes of a vector.
    pub lanes: u32,
    /// Pixels.
    pub rows: usize,
    /// Results of each.
    pub columns: usize,
    /// Columns of the panel.
    pub width: usize,
    /// Terms of the sums.
    pub terms: Terms,
    /// Rows of runs, and runs of each.
    pub runs: [usize; 2],
    /// From row to row of runs of a, and from run to run.
    pub a_runs: [usize; 2],
    /// From pixel to pixel of a.
    pub a_row: usize,
    /// From pixel to pixel of y.
    pub y_row: usize,
    /// What sums become.
    pub end: End,
}

impl Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Product { lanes, rows, columns, width, terms, runs, a_runs, a_row, y_row, end } = self;
        let kind = terms.factors.name();
        write!(f, "{kind}_{rows}x{columns}of{width}v{lanes}_k{}x{}x{}", runs[0], runs[1], terms.run)?;
        write!(f, "_a{}_{}_{a_row}_y{y_row}{}", a_runs[0], a_runs[1], end.name())
    }
}

impl MicroKernelSpec for Product {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let image = self.terms.factors.image();
        let p = [b.pointer("a", image, Access::Read), b.pointer("b", Elem::I32, Access::Read)];
        let y = b.pointer("y", self.end.elem(), Access::Write);
        match self.end {
            End::Results(to, _) => self.results(b, p, y, to),
            End::Sums { vector } => {
                let start = vec![b.i32(0, self.lanes); self.rows * self.vectors()];
                for (i, sum) in self.sums(b, p, start).into_iter().enumerate() {
                    let (m, v) = (i / self.vectors(), i % self.vectors());
                    b.store(y, m * self.y_row + v * vector, sum);
                }
            }
        }
    }

    fn tile(&self) -> Option<Tile> {
        Some(Tile { rows: self.rows, vectors: self.vectors(), lanes: self.lanes })
    }
}

impl Product {
    fn results(&self, b: &mut MicroKernelBuilder, p: [Param; 2], y: Param, to: To) {
        let factor = b.pointer("factor", Elem::F32, Access::Read);
        let bias = b.pointer("bias", Elem::I32, Access::Read);
        let start: Vec<Val> = (0..self.vectors()).map(|v| self.part(b, bias, v)).collect();
        let sums = self.sums(b, p, start.repeat(self.rows));
        let factors: Vec<Val> = (0..self.vectors()).map(|v| self.part(b, factor, v)).collect();
        for (i, sum) in sums.into_iter().enumerate() {
            let (m, v) = (i / self.vectors(), i % self.vectors());
            let value = b.unary(Unary::ToFloat, sum);
            let value = b.mul(value, factors[v]);
            let value = to.apply(b, value);
            b.store_partial(y, m * self.y_row + v * self.lanes as usize, value, self.present(v));
        }
    }

    fn sums(&self, b: &mut MicroKernelBuilder, p: [Param; 2], start: Vec<Val>) -> Vec<Val> {
        self.runs(b, p, 0, [Index::default(), Index::default()], start)
    }

    fn vectors(&self) -> usize {
        self.columns.div_ceil(self.lanes as usize)
    }

    /// Columns of vector `v` that exist.
    fn present(&self, v: usize) -> u32 {
        (self.columns - v * self.lanes as usize).min(self.lanes as usize) as u32
    }

    /// Vector `v` of what there is one of for each column.
    fn part(&self, b: &mut MicroKernelBuilder, memory: Param, v: usize) -> Val {
        b.load_partial(memory, v * self.lanes as usize, self.lanes, self.present(v))
    }

    /// The products of all runs of a row of them (`level` 1), or of all rows (0).
    fn runs(
        &self,
        b: &mut MicroKernelBuilder,
        p: [Param; 2],
        level: usize,
        [a, at]: [Index; 2],
        sums: Vec<Val>,
    ) -> Vec<Val> {
        match self.runs.get(level) {
            None => self.run(b, p, a, at, sums),
            Some(1) => self.runs(b, p, level + 1, [a, at], sums),
            Some(&count) => b.repeat(["i", "j"][level], count, &sums, |b, i, sums| {
                let inner = if level == 0 { self.runs[1] } else { 1 };
                let a = a.plus(i, self.a_runs[level] as i64);
                let at = at.plus(i, (inner * self.terms.words() * self.width) as i64);
                self.runs(b, p, level + 1, [a, at], sums.to_vec())
            }),
        }
    }

    /// The products of a run.
    fn run(&self, b: &mut MicroKernelBuilder, p: [Param; 2], a: Index, at: Index, sums: Vec<Val>) -> Vec<Val> {
        let words = self.terms.words();
        let looped = if words > 2 * UNROLL { words / UNROLL } else { 0 };
        let mut sums = sums;
        if looped > 0 {
            sums = b.repeat("k", looped, &sums, |b, k, sums| {
                let a = a.clone().plus(k, (UNROLL * self.terms.factors.in_word()) as i64);
                let at = at.clone().plus(k, (UNROLL * self.width) as i64);
                self.words(b, p, 0..UNROLL, [&a, &at], sums.to_vec())
            });
        }
        self.words(b, p, looped * UNROLL..words, [&a, &at], sums)
    }

    /// The products of some words of each pixel with rows of words.
    fn words(
        &self,
        b: &mut MicroKernelBuilder,
        p: [Param; 2],
        words: Range<usize>,
        [a, at]: [&Index; 2],
        sums: Vec<Val>,
    ) -> Vec<Val> {
        let together = self.terms.factors.together();
        let place = |k: usize| {
            let a = a.clone().offset((k * self.terms.factors.in_word()) as i64);
            (a, at.clone().offset((k * self.width) as i64))
        };
        words.clone().step_by(together).fold(sums, |sums, k| {
            let places: Vec<_> = (k..(k + together).min(words.end)).map(place).collect();
            self.word(b, p, &places, sums)
        })
    }

    /// The products of words of each pixel with rows of words, which lie in registers, or are read for each product.
    fn word(&self, b: &mut MicroKernelBuilder, p: [Param; 2], places: &[(Index, Index)], sums: Vec<Val>) -> Vec<Val> {
        let factors = self.terms.factors;
        let kept: Vec<Vec<Val>> = match factors.beside().panel {
            true => (0..self.vectors()).map(|v| self.panel(b, p, places, v)).collect(),
            false => vec![],
        };
        let mut sums = sums;
        for m in 0..self.rows {
            let image = self.image(b, p, places, m);
            for v in 0..self.vectors() {
                let weights = kept.get(v).cloned().unwrap_or_else(|| self.panel(b, p, places, v));
                let acc = &mut sums[m * self.vectors() + v];
                *acc = factors.dot(b, *acc, &image, &weights);
            }
        }
        sums
    }

    /// Words of pixel `m`.
    fn image(&self, b: &mut MicroKernelBuilder, [a, _]: [Param; 2], places: &[(Index, Index)], m: usize) -> Vec<Val> {
        let word = |(index, _): &(Index, Index)| {
            let from = Address { base: a, index: index.clone().offset((m * self.a_row) as i64) };
            b.op(Op::BroadcastPacked { from, lanes: self.lanes })
        };
        places.iter().map(word).collect()
    }

    /// Vector `v` of rows of words.
    fn panel(
        &self,
        b: &mut MicroKernelBuilder,
        [_, panel]: [Param; 2],
        places: &[(Index, Index)],
        v: usize,
    ) -> Vec<Val> {
        let column = (v * self.lanes as usize) as i64;
        places.iter().map(|(_, at)| b.load(panel, at.clone().offset(column), self.lanes)).collect()
    }
}
