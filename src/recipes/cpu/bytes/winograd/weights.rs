//! Weights in the domain, as products of pairs read them.

use super::form::Tiles;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Binary, Elem, Index, Kernel, Param, Val};
use crate::lower::{MicroKernelSpec, Packing, ProgramBuilder};
use crate::recipes::common::loops::piece;
use crate::recipes::common::winograd::apply;
use crate::recipes::cpu::bytes::Factors;
use std::fmt::{self, Display};

/// The transformed weights `[panel][point][row of the window][pair of channels][panel's width]`, with one row where
/// rows are transformed as well.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Weights {
    /// What they are transformed to.
    pub tiles: Tiles,
    /// Channels, outputs, and columns of a panel.
    pub sizes: [usize; 3],
    /// Lanes of a vector.
    pub lanes: u32,
}

impl Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "whole{}_{}", self.tiles, self.sizes[2])
    }
}

impl Packing for Weights {
    fn layout(&self) -> (Elem, usize) {
        let [c, o, width] = self.sizes;
        (Elem::I32, o.div_ceil(width) * self.tiles.points() * self.tiles.summed() * c.div_ceil(2) * width)
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let ([c, o, width], tiles, lanes) = (self.sizes, self.tiles, self.lanes);
        // Rows of the window that are transformed apart.
        let (rows, pairs, row) = (tiles.summed(), c.div_ceil(2), tiles.size.r * c * o);
        let point = rows * pairs * width;
        let mut kernel = KernelBuilder::new(format!("whole_weights_{tiles}_{c}x{o}_{width}v{lanes}"));
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("u", Elem::I32, Access::Write);
        let between = kernel.scratch("between", Elem::F32, tiles.rows * tiles.size.points() * 2 * lanes as usize);
        kernel.parallel("t", o.div_ceil(width) * rows * pairs, |k, t| {
            let (p, at) = (t.div(rows * pairs), t.rem(rows * pairs));
            let (r, pair) = (at.div(pairs), at.rem(pairs));
            piece(k, &p, o, width, |k, columns| {
                let source = &r * row + &pair * (2 * o) + &p * width;
                let place = &p * (tiles.points() * point) + (&r * pairs + &pair) * width;
                let mut call = |k: &mut KernelBuilder, channels: usize| {
                    let spec = Pair { tiles, channels, columns, weights: [c, o], point, width, lanes };
                    let micro_kernel = builder.micro_kernel(spec);
                    k.call(micro_kernel, [from.at(&source), between.at(0), to.at(&place)]);
                };
                piece(k, &pair, c, 2, &mut call);
            });
        });
        kernel.finish()
    }
}

/// Transforms a pair of channels, of one row of the window or of all: `(w, between, u)`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Pair {
    tiles: Tiles,
    /// Channels that exist.
    channels: usize,
    /// Columns that exist, of `width`.
    columns: usize,
    /// Channels and outputs of the weights.
    weights: [usize; 2],
    /// Words of a point of a panel.
    point: usize,
    width: usize,
    lanes: u32,
}

impl Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Pair { tiles, channels, columns, weights: [c, o], point, width, lanes } = self;
        write!(f, "whole_pair_{tiles}_{channels}_{columns}of{width}_{c}x{o}_{point}v{lanes}")
    }
}

impl MicroKernelSpec for Pair {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let w = b.pointer("w", Elem::F32, Access::Read);
        let between = b.pointer("between", Elem::F32, Access::ReadWrite);
        let u = b.pointer("u", Elem::I32, Access::Write);
        for first in (0..self.width).step_by(self.lanes as usize) {
            self.rows(b, [w, between], first);
            self.columns(b, [between, u], first);
        }
    }
}

impl Pair {
    /// Rows of the window that are transformed together.
    fn together(&self) -> usize {
        self.tiles.rows / self.tiles.summed()
    }

    /// Along rows: from the weights of columns `first` on to `between`, `[row][point][channel][lane]`.
    fn rows(&self, b: &mut MicroKernelBuilder, [w, between]: [Param; 2], first: usize) {
        let ([c, o], lanes, r) = (self.weights, self.lanes, self.tiles.size.r);
        let present = self.columns.saturating_sub(first).min(lanes as usize) as u32;
        let matrix = self.tiles.across().kernel;
        for (row, channel) in (0..self.together()).flat_map(|row| (0..2).map(move |channel| (row, channel))) {
            let there = present > 0 && channel < self.channels;
            let at = |k: usize| ((row * r + k) * c + channel) * o + first;
            let zero = b.f32(0.0, lanes);
            let taps = (0..r).map(|k| if there { b.load_partial(w, at(k), lanes, present) } else { zero });
            let taps: Vec<Val> = taps.collect();
            for (point, value) in apply(b, &matrix, &taps, lanes).into_iter().enumerate() {
                b.store(between, ((row * matrix.len() + point) * 2 + channel) * lanes as usize, value);
            }
        }
    }

    /// Down the columns, and both channels together as words.
    fn columns(&self, b: &mut MicroKernelBuilder, [between, u]: [Param; 2], first: usize) {
        let (lanes, across) = (self.lanes, self.tiles.size.points());
        let one = vec![(0, vec![vec![1.0]])];
        let groups = self
            .tiles
            .down()
            .map_or(one, |down| down.groups.into_iter().map(|(first, whole)| (first, whole.kernel)).collect());
        b.repeat("x", across, &[], |b, x, _| {
            let mut point = 0;
            for (top, matrix) in &groups {
                let mut words = vec![b.i32(0, lanes); matrix.len()];
                for channel in 0..2 {
                    let step = i64::from(lanes);
                    let at =
                        |row: usize| Index::from(((top + row) * across * 2 + channel) as i64 * step).plus(x, 2 * step);
                    let taps: Vec<Val> = (0..matrix[0].len()).map(|row| b.load(between, at(row), lanes)).collect();
                    for (word, value) in words.iter_mut().zip(apply(b, matrix, &taps, lanes)) {
                        let part = Factors::Words.placed(b, value, channel);
                        *word = b.binary(Binary::Or, *word, part);
                    }
                }
                for word in words {
                    let place = Index::from((point * across * self.point + first) as i64).plus(x, self.point as i64);
                    b.store(u, place, word);
                    point += 1;
                }
            }
            vec![]
        });
    }
}
