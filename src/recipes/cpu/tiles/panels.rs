//! Weights as tiles: panels of 32 columns, step after step, each two tiles of pairs.

use super::blocks::{COLUMNS, STEP_WORDS, TILE};
use super::parts::pairs;
use super::unit::Unit;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Binary, Elem, Kernel, Param, Ty, Val};
use crate::lower::{BufferId, LowerCx, MicroKernelSpec, Packing, ProgramBuilder};
use crate::recipes::common::loops::piece;
use crate::recipes::common::names::elem_letters;
use crate::recipes::cpu::bytes::Factors;
use std::fmt::{self, Display};

/// The order of the terms of a product: `count` runs of `run` rows of weights, each filled up to `padded` terms with
/// zeros, and all of them to whole steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// What the terms are.
    pub unit: Unit,
    /// Runs.
    pub count: usize,
    /// Terms of a run.
    pub run: usize,
    /// Places of a run: a divisor or a multiple of a step.
    pub padded: usize,
}

impl Terms {
    /// Number of steps.
    pub fn steps(self) -> usize {
        (self.count * self.padded).div_ceil(self.unit.step())
    }

    /// Words of a panel.
    pub fn words(self) -> usize {
        self.steps() * self.unit.parts() * STEP_WORDS
    }

    /// The row of weights at a place.
    fn row(self, place: usize) -> Option<usize> {
        let (run, term) = (place / self.padded, place % self.padded);
        (run < self.count && term < self.run).then_some(run * self.run + term)
    }
}

/// Panels of `weights`, `[terms][columns]` in memory and exact in the unit's format: word
/// `((p·S + s)·2 + h)·256 + 16·k + n` is the pair (or the four) of terms from `32·s + 2·k` (or `64·s + 4·k`) on, of
/// column `32·p + 16·h + n`, with S steps in all. Where terms have parts, a step is that of each part in turn.
pub fn panels(cx: &mut LowerCx, weights: BufferId, terms: Terms, columns: usize) -> BufferId {
    let source = cx.elem(weights);
    cx.packed(weights, Panels { terms, columns, source })
}

/// The panels of `columns` columns in runs that one micro-kernel takes: how many, columns of each, the first one. The
/// whole ones come first.
pub fn runs(columns: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let (full, rest) = (columns / COLUMNS, columns % COLUMNS);
    [(full, COLUMNS, 0), (usize::from(rest > 0), rest, full)].into_iter().filter(|(count, ..)| *count > 0)
}

#[derive(PartialEq, Eq, Hash)]
struct Panels {
    terms: Terms,
    columns: usize,
    source: Elem,
}

impl Display for Panels {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Terms { unit, count, run, padded } = self.terms;
        write!(f, "tiles{}{count}x{run}of{padded}", unit.name())
    }
}

impl Packing for Panels {
    fn layout(&self) -> (Elem, usize) {
        (Elem::I32, self.columns.div_ceil(COLUMNS) * self.terms.words())
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let Panels { terms, columns, source } = *self;
        let mut kernel = KernelBuilder::new(format!("{self}x{columns}{}", elem_letters("_", &[source])));
        let from = kernel.buffer("w", source, Access::Read);
        let to = kernel.buffer("panels", Elem::I32, Access::Write);
        let (steps, words) = (terms.steps(), terms.unit.parts() * STEP_WORDS);
        // Runs of whole steps repeat; short ones are few.
        let all = terms.unit.step();
        let (iterations, steps_of) = if terms.padded >= all { (terms.count, terms.padded / all) } else { (1, steps) };
        let mut step = |s: usize, width: usize| {
            let rows: Vec<Option<usize>> = (s * all..(s + 1) * all).map(|place| terms.row(place)).collect();
            let first = rows.iter().flatten().next().copied().unwrap_or(0);
            let rows = rows.into_iter().map(|row| row.map(|row| row - first)).collect();
            (first, builder.micro_kernel(Step { unit: terms.unit, rows, pitch: columns, columns: width, source }))
        };
        kernel.parallel("p", columns.div_ceil(COLUMNS), |k, p| {
            piece(k, &p, columns, COLUMNS, |k, width| {
                k.serial("run", iterations, |k, run| {
                    for s in 0..steps_of {
                        let (first, micro_kernel) = step(s, width);
                        let row = &run * terms.run + first;
                        let at = &p * (steps * words) + &run * (steps_of * words) + s * words;
                        k.call(micro_kernel, [from.at(row * columns + &p * COLUMNS), to.at(at)]);
                    }
                });
            });
        });
        kernel.finish()
    }
}

/// One step of a panel: `(w, panel)`.
#[derive(PartialEq, Eq, Hash)]
struct Step {
    unit: Unit,
    /// The row of weights at each place, counted from the first.
    rows: Vec<Option<usize>>,
    /// Elements of a row of weights.
    pitch: usize,
    /// Columns that exist.
    columns: usize,
    source: Elem,
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let rows = self.rows.iter().flatten().count();
        let unit = self.unit.name();
        write!(f, "tiles_step{unit}_{rows}x{}_of{}{}", self.columns, self.pitch, elem_letters("_", &[self.source]))
    }
}

impl MicroKernelSpec for Step {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let w = b.pointer("w", self.source, Access::Read);
        let panel = b.pointer("panel", Elem::I32, Access::Write);
        for (k, terms) in self.rows.chunks(self.unit.in_word()).enumerate() {
            for half in 0..2 {
                let words = match self.unit {
                    Unit::Bf16 | Unit::Split | Unit::Tf32 => {
                        let [low, high] = [0, 1].map(|i| self.part(b, w, terms[i], half));
                        pairs(b, self.unit, [low, high])
                    }
                    Unit::Bytes => vec![self.four(b, w, terms, half)],
                };
                for (part, word) in words.into_iter().enumerate() {
                    b.store(panel, part * STEP_WORDS + (half * TILE + k) * TILE, word);
                }
            }
        }
    }
}

impl Step {
    fn four(&self, b: &mut MicroKernelBuilder, w: Param, rows: &[Option<usize>], half: usize) -> Val {
        let mut word = b.i32(0, Ty::ROW);
        for (place, row) in rows.iter().enumerate() {
            if let (Some(row), width @ 1..) = (row, self.width(half)) {
                let value = b.load_partial(w, row * self.pitch + half * TILE, Ty::ROW, width);
                let value = Factors::Bytes.placed(b, value, place);
                word = b.binary(Binary::Or, word, value);
            }
        }
        word
    }

    /// Columns of a half that exist.
    fn width(&self, half: usize) -> u32 {
        self.columns.saturating_sub(half * TILE).min(TILE) as u32
    }

    /// 16 columns of a row, zeros where there are none.
    fn part(&self, b: &mut MicroKernelBuilder, w: Param, row: Option<usize>, half: usize) -> Val {
        let width = self.width(half);
        let Some(row) = row.filter(|_| width > 0) else { return b.f32(0.0, Ty::ROW) };
        b.load_partial(w, row * self.pitch + half * TILE, Ty::ROW, width)
    }
}
