//! Sums over pixels: products of tiles that are added to sums in memory, and what becomes of these at the end.

use super::blocks::TILE;
use super::pairs::turned;
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Elem, Index, Outer, Param, Ty, Val};
use crate::lower::MicroKernelSpec;
use std::fmt::{self, Display};

/// Words of a tile.
pub const WORDS: usize = TILE * TILE;
/// Longest run of steps without a store, for the reason that blocks have one: half of theirs, since operands come from
/// the second level of cache.
const WARM: usize = 8;
/// Steps, about, in a loop's body.
const BODY: usize = 4;

/// Adds the products of a block's pixels to one or two tiles of rows by one or two of columns:
/// `(a, b, sums, bundles)`. Strides are in words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sums {
    /// Tiles of rows, and of columns.
    pub tiles: [usize; 2],
    /// Rows of pixels, and steps of each.
    pub pixels: [usize; 2],
    /// From the first tile of rows of A to the second; its steps lie one behind the other.
    pub a_next: usize,
    /// From row to row of a tile of B.
    pub b_row: usize,
    /// From row to row of pixels of B, and from bundle to bundle.
    pub b_steps: [usize; 2],
    /// From tile to tile of sums: rows, columns.
    pub sums: [usize; 2],
}

impl Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Sums { tiles: [m, n], pixels: [rows, steps], a_next, b_row, b_steps: [row, bundle], sums: [down, across] } =
            self;
        write!(f, "tiles_sum_{m}x{n}_{rows}x{steps}_a{a_next}_b{b_row}_{row}_{bundle}_c{down}_{across}")
    }
}

/// A micro-kernel's memories.
struct Params {
    a: Param,
    b: Param,
    sums: Param,
}

impl MicroKernelSpec for Sums {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let p = Params {
            a: b.pointer("a", Elem::I32, Access::Read),
            b: b.pointer("b", Elem::I32, Access::Read),
            sums: b.pointer("sums", Elem::F32, Access::ReadWrite),
        };
        let bundles = b.int("bundles");
        let [rows, steps] = self.pixels;
        let body = divisor(rows, BODY.div_ceil(steps));
        let run = divisor(rows / body, WARM / (body * steps));
        let (a_row, [b_row, b_bundle]) = (steps * WORDS, self.b_steps);
        let start: Vec<Val> = self.places().map(|at| b.load_tile(p.sums, at, TILE, false)).collect();
        let sums = b.repeat("bundle", Index::from(bundles), &start, |b, bundle, sums| {
            let [a, at] = [rows * a_row, b_bundle].map(|step| Index::default().plus(bundle, step as i64));
            b.repeat("run", rows / body / run, sums, |b, y, sums| {
                let [a, at] = [(a, a_row), (at, b_row)].map(|(at, row)| at.plus(y, (run * body * row) as i64));
                let sums = b.repeat("y", run, sums, |b, y, sums| {
                    let [a, at] = [(a, a_row), (at, b_row)].map(|(at, row)| at.plus(y, (body * row) as i64));
                    (0..body).fold(sums.to_vec(), |sums, i| {
                        self.row(
                            b,
                            &p,
                            [a.clone().offset((i * a_row) as i64), at.clone().offset((i * b_row) as i64)],
                            sums,
                        )
                    })
                });
                b.store_tile(p.sums, 0usize, sums[0], TILE);
                sums
            })
        });
        self.places().zip(sums).for_each(|(at, sum)| b.store_tile(p.sums, at, sum, TILE));
    }
}

impl Sums {
    /// Where the tiles of sums lie.
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let ([m, n], [down, across]) = (self.tiles, self.sums);
        (0..m).flat_map(move |i| (0..n).map(move |j| i * down + j * across))
    }

    /// The products of a row of pixels.
    fn row(&self, b: &mut MicroKernelBuilder, p: &Params, [a, at]: [Index; 2], mut sums: Vec<Val>) -> Vec<Val> {
        let [m, n] = self.tiles;
        // Rows of few channels overlap: the next step reads their lines again.
        let stream = self.b_row >= TILE;
        for step in 0..self.pixels[1] {
            let from = at.clone().offset((step * TILE * self.b_row) as i64);
            let columns: Vec<Val> =
                (0..n).map(|j| b.load_tile(p.b, from.clone().offset((j * TILE) as i64), self.b_row, stream)).collect();
            for i in 0..m {
                let from = a.clone().offset((step * WORDS + i * self.a_next) as i64);
                let row = b.load_tile(p.a, from, TILE, false);
                for (j, column) in columns.iter().enumerate() {
                    sums[i * n + j] = b.outer(Outer::Bf16, sums[i * n + j], row, *column);
                }
            }
        }
        sums
    }
}

/// The largest divisor of `n` that is at most `most`, or 1.
fn divisor(n: usize, most: usize) -> usize {
    (1..=most.min(n)).rev().find(|d| n.is_multiple_of(*d)).unwrap_or(1)
}

/// Adds up the parts of a tile of sums, turned by its diagonal: `(parts, result)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fold {
    /// Tiles that are added, in order.
    pub parts: usize,
    /// Numbers from part to part.
    pub next: usize,
    /// Rows and columns of the result that exist.
    pub size: [usize; 2],
    /// Numbers from row to row of the result.
    pub pitch: usize,
}

impl Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Fold { parts, next, size: [rows, columns], pitch } = self;
        write!(f, "tiles_fold_{parts}x{next}_{rows}x{columns}of{pitch}")
    }
}

impl MicroKernelSpec for Fold {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let parts = b.pointer("parts", Elem::F32, Access::Read);
        let to = b.pointer("result", Elem::F32, Access::Write);
        let first: Vec<Val> = (0..TILE).map(|r| b.load(parts, r * TILE, Ty::ROW)).collect();
        let sums = b.repeat("part", self.parts - 1, &first, |b, part, sums| {
            let place = |r: usize| Index::from(self.next + r * TILE).plus(part, self.next as i64);
            (sums.iter().enumerate())
                .map(|(r, sum)| {
                    let value = b.load(parts, place(r), Ty::ROW);
                    b.add(*sum, value)
                })
                .collect()
        });
        let [rows, columns] = self.size;
        for (r, row) in turned(b, sums).into_iter().take(rows).enumerate() {
            b.store_partial(to, r * self.pitch, row, columns as u32);
        }
    }
}
