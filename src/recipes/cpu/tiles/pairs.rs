//! Operands whose terms are pixels: words hold the numbers of two images at one place, so that any shift by a tap is a
//! shift of whole words.

use super::blocks::TILE;
use super::copy::rows;
use super::parts::pair;
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Elem, Index, Param, Ty, Unary, Val};
use crate::lower::MicroKernelSpec;
use crate::recipes::common::names::elem_letters;
use std::fmt::{self, Display};

/// A row of two images, exact in bf16, as words with zeros around it: `(to, first, second)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pairs {
    /// Images that exist: where there is one, or none, zeros stand for the others.
    pub images: usize,
    /// Columns of zeros before the images' first one.
    pub left: usize,
    /// Columns of the images that are copied.
    pub count: usize,
    /// Columns of the copy.
    pub width: usize,
    /// Channels that are copied.
    pub channels: usize,
    /// Channels of the images.
    pub from: usize,
    /// Words from column to column of the copy.
    pub pitch: usize,
    /// Of the images.
    pub elem: Elem,
}

impl Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Pairs { images, left, count, width, channels, from, pitch, elem } = self;
        let kind = elem_letters("_", &[*elem]);
        write!(f, "tiles_pairs{images}_{channels}of{from}to{pitch}_{left}_{count}_of{width}{kind}")
    }
}

impl MicroKernelSpec for Pairs {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let to = b.pointer("to", Elem::I32, Access::Write);
        let images = ["first", "second"].map(|name| b.pointer(name, self.elem, Access::Read));
        let &Pairs { left, width, channels, from, pitch, .. } = self;
        let count = if self.images == 0 { 0 } else { self.count };
        let right = if count == 0 { left } else { left + count };
        for (begin, end) in [(0, left), (right, width)] {
            rows(b, end.saturating_sub(begin), [channels, pitch, 0], |b, [at, _], lanes| {
                let zero = b.i32(0, lanes);
                b.store(to, at.offset((begin * pitch) as i64), zero);
            });
        }
        rows(b, count, [channels, pitch, from], |b, [at, source], lanes| {
            let word = self.word(b, images, source, lanes);
            b.store(to, at.offset((left * pitch) as i64), word);
        });
    }
}

impl Pairs {
    /// The first image's bits in the lower half. Numbers are exact in bf16: their own lower halves are 0.
    fn word(&self, b: &mut MicroKernelBuilder, images: [Param; 2], at: Index, lanes: u32) -> Val {
        let mut bits = |image: Param| {
            let value = b.load(image, at.clone(), lanes);
            b.unary(Unary::AsInt, value)
        };
        let (first, second) = (bits(images[0]), (self.images == 2).then(|| bits(images[1])));
        let second = second.unwrap_or_else(|| b.i32(0, lanes));
        pair(b, first, second)
    }
}

/// Tiles turned by a diagonal: `(to, from)`. Word `16·c + r` of tile t is word `16·t + c` of row r.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Turns {
    /// Tiles.
    pub count: usize,
    /// Words from row to row.
    pub pitch: usize,
    /// Words from tile to tile of the result.
    pub next: usize,
}

impl Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "tiles_turn_{}of{}_to{}", self.count, self.pitch, self.next)
    }
}

impl MicroKernelSpec for Turns {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let to = b.pointer("to", Elem::I32, Access::Write);
        let from = b.pointer("from", Elem::I32, Access::Read);
        b.repeat("t", self.count, &[], |b, t, _| {
            let row = |r: usize| Index::from(r * self.pitch).plus(t, TILE as i64);
            let rows: Vec<Val> = (0..TILE).map(|r| b.load(from, row(r), Ty::ROW)).collect();
            for (c, column) in turned(b, rows).into_iter().enumerate() {
                b.store(to, Index::from(c * TILE).plus(t, self.next as i64), column);
            }
            vec![]
        });
    }
}

/// The columns of 16 rows of 16 lanes: in each of four rounds the upper rows go between the lower ones.
pub fn turned(b: &mut MicroKernelBuilder, mut rows: Vec<Val>) -> Vec<Val> {
    for _ in 0..TILE.ilog2() {
        let half = TILE / 2;
        rows = (0..half)
            .flat_map(|r| [false, true].map(|high| (r, high)))
            .map(|(r, high)| b.zip(rows[r], rows[r + half], high))
            .collect();
    }
    rows
}
