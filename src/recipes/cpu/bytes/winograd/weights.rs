//! Weights in the domain of [`Whole`], as products of pairs read them.

use super::matrices::Whole;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Binary, Elem, Kernel, Val};
use crate::lower::{MicroKernelSpec, Packing, ProgramBuilder};
use crate::recipes::common::loops::piece;
use crate::recipes::common::winograd::{Size, apply};
use crate::recipes::cpu::bytes::Factors;
use std::fmt::{self, Display};

/// The transformed weights `[panel][point][row of the window][pair of channels][panel's width]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Weights {
    /// F(m, r).
    pub size: Size,
    /// Rows of the window, channels, outputs, and columns of a panel.
    pub sizes: [usize; 4],
    /// Lanes of a vector.
    pub lanes: u32,
}

impl Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "whole{}_{}", self.size, self.sizes[3])
    }
}

impl Packing for Weights {
    fn layout(&self) -> (Elem, usize) {
        let [rows, c, o, width] = self.sizes;
        (Elem::I32, o.div_ceil(width) * self.size.points() * rows * c.div_ceil(2) * width)
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let ([rows, c, o, width], size, lanes) = (self.sizes, self.size, self.lanes);
        let pairs = c.div_ceil(2);
        let point = rows * pairs * width;
        let mut kernel = KernelBuilder::new(format!("whole_weights_{size}_{rows}x{c}x{o}_{width}v{lanes}"));
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("u", Elem::I32, Access::Write);
        kernel.parallel("t", o.div_ceil(width) * rows, |k, t| {
            let (p, row) = (t.div(rows), t.rem(rows));
            piece(k, &p, o, width, |k, columns| {
                let mut pair = |channels: usize| {
                    builder.micro_kernel(Pair { size, channels, columns, weights: [c, o], point, width, lanes })
                };
                let source = &row * (size.r * c * o) + &p * width;
                let place = &p * (size.points() * point) + &row * (pairs * width);
                if c >= 2 {
                    let both = pair(2);
                    k.serial("c", c / 2, |k, i| {
                        k.call(both, [from.at(&source + &i * (2 * o)), to.at(&place + &i * width)]);
                    });
                }
                if !c.is_multiple_of(2) {
                    k.call(pair(1), [from.at(&source + (c - 1) * o), to.at(&place + (pairs - 1) * width)]);
                }
            });
        });
        kernel.finish()
    }
}

/// Transforms a row of the window of a pair of channels: `(w, u)`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Pair {
    size: Size,
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
        let Pair { size, channels, columns, weights: [c, o], point, width, lanes } = self;
        write!(f, "whole_pair_{size}_{channels}_{columns}of{width}_{c}x{o}_{point}v{lanes}")
    }
}

impl MicroKernelSpec for Pair {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let ([c, o], lanes) = (self.weights, self.lanes);
        let matrix = Whole::new(self.size.m, self.size.r).kernel;
        let w = b.pointer("w", Elem::F32, Access::Read);
        let u = b.pointer("u", Elem::I32, Access::Write);
        for first in (0..self.width).step_by(lanes as usize) {
            let present = self.columns.saturating_sub(first).min(lanes as usize) as u32;
            let mut words = vec![b.i32(0, lanes); matrix.len()];
            for channel in (0..self.channels).filter(|_| present > 0) {
                let at = |k: usize| (k * c + channel) * o + first;
                let taps: Vec<Val> = (0..self.size.r).map(|k| b.load_partial(w, at(k), lanes, present)).collect();
                for (word, value) in words.iter_mut().zip(apply(b, &matrix, &taps, lanes)) {
                    let part = Factors::Words.placed(b, value, channel);
                    *word = b.binary(Binary::Or, *word, part);
                }
            }
            for (point, word) in words.into_iter().enumerate() {
                b.store(u, point * self.point + first, word);
            }
        }
    }
}
