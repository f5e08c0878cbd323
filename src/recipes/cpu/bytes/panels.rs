//! Weights in words: panels as wide as a register tile, run after run.

use super::factors::Factors;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Binary, Elem, Kernel};
use crate::lower::{BufferId, LowerCx, MicroKernelSpec, Packing, ProgramBuilder};
use crate::recipes::common::loops::piece;
use std::fmt::{self, Display};

/// The terms of a sum: `count` runs of `run` rows of weights, each filled up to whole words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// Runs.
    pub count: usize,
    /// Terms of a run.
    pub run: usize,
    /// What a word holds.
    pub factors: Factors,
}

impl Terms {
    /// Words of a run.
    pub fn words(self) -> usize {
        self.run.div_ceil(self.factors.in_word())
    }

    /// Words of all runs.
    pub fn all(self) -> usize {
        self.count * self.words()
    }
}

/// Panels of `weights`, `[terms][columns]` in memory: word `(p·W + k)·width + n` is the terms of word k of column
/// `width·p + n`, W the words of all runs. Columns that are none are 0.
pub fn panels(cx: &mut LowerCx, weights: BufferId, terms: Terms, columns: usize, width: usize) -> BufferId {
    let lanes = cx.target.lanes;
    cx.packed(weights, Panels { terms, columns, width, lanes })
}

#[derive(PartialEq, Eq, Hash)]
struct Panels {
    terms: Terms,
    columns: usize,
    width: usize,
    lanes: u32,
}

impl Display for Panels {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}{}x{}_{}", self.terms.factors.name(), self.terms.count, self.terms.run, self.width)
    }
}

impl Packing for Panels {
    fn layout(&self) -> (Elem, usize) {
        (Elem::I32, self.columns.div_ceil(self.width) * self.terms.all() * self.width)
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let &Panels { terms, columns, width, lanes } = self;
        let mut kernel = KernelBuilder::new(format!("{self}x{columns}"));
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("panels", Elem::I32, Access::Write);
        let factors = terms.factors;
        let (whole, rest) = (terms.run / factors.in_word(), terms.run % factors.in_word());
        kernel.parallel("p", columns.div_ceil(width), |k, p| {
            piece(k, &p, columns, width, |k, present| {
                let mut word =
                    |rows: usize| builder.micro_kernel(Word { rows, pitch: columns, present, width, lanes, factors });
                k.serial("run", terms.count, |k, run| {
                    let source = &run * (terms.run * columns) + &p * width;
                    let target = &p * (terms.all() * width) + &run * (terms.words() * width);
                    if whole > 0 {
                        let micro_kernel = word(factors.in_word());
                        k.serial("k", whole, |k, i| {
                            let source = &source + &i * (factors.in_word() * columns);
                            k.call(micro_kernel, [from.at(source), to.at(&target + &i * width)]);
                        });
                    }
                    if rest > 0 {
                        let source = &source + whole * factors.in_word() * columns;
                        k.call(word(rest), [from.at(source), to.at(&target + whole * width)]);
                    }
                });
            });
        });
        kernel.finish()
    }
}

/// A row of words: `(w, panel)`.
#[derive(PartialEq, Eq, Hash)]
struct Word {
    /// Rows of weights, at most as many as a word has terms.
    rows: usize,
    /// Elements of a row.
    pitch: usize,
    /// Columns that exist, of `width`.
    present: usize,
    width: usize,
    lanes: u32,
    factors: Factors,
}

impl Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Word { rows, pitch, present, width, lanes, factors } = self;
        write!(f, "{}_word{rows}_{present}of{width}_{pitch}_v{lanes}", factors.name())
    }
}

impl MicroKernelSpec for Word {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let w = b.pointer("w", Elem::F32, Access::Read);
        let panel = b.pointer("panel", Elem::I32, Access::Write);
        for first in (0..self.width).step_by(self.lanes as usize) {
            let lanes = self.lanes;
            let width = self.present.saturating_sub(first).min(lanes as usize) as u32;
            let mut word = b.i32(0, lanes);
            for row in (0..self.rows).filter(|_| width > 0) {
                let value = b.load_partial(w, row * self.pitch + first, lanes, width);
                let part = self.factors.placed(b, value, row);
                word = b.binary(Binary::Or, word, part);
            }
            b.store(panel, first, word);
        }
    }
}
