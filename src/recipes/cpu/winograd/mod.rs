//! Winograd's convolution, any F(m, r): a tile of m x m results costs (m + r - 1)² products instead of m²·r².
//!
//! Per iteration: transform the tiles of the (padded) image for all channels, multiply channel matrices frequency by
//! frequency through the one contraction, transform back with bias and activation. Layouts follow the caches: V is
//! `[frequency][tile][channel]` with a frequency's stride that does not alias, M is `[tile][vector][frequency][lane]`,
//! so that the transform back reads consecutive memory.

mod batches;
mod choice;
mod forward;
mod group;
mod input_gradient;
mod output;
mod small_batch;
mod thin;
mod weight_gradient;
mod weights;

pub use choice::pays;
pub use forward::{Layer, forward};
pub use input_gradient::{grad_input, turned};
pub use output::Operands;
pub use weight_gradient::grad_weight;

use output::{End, Output};
pub use thin::Thin;
use weights::Weights;

use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, Index, Memory, MicroKernelId};
use crate::lower::cost;
use crate::lower::target::Target;
use crate::lower::tile::{Tile, tile};
use crate::lower::{BufferId, LowerCx, Method, code};
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::{for_vectors, panel_loop, pieces};
use crate::recipes::common::winograd::{Patch, Size, Transforms, applies, both_sides};
use crate::recipes::cpu::contraction::{Contraction, Count, Init};
use crate::recipes::cpu::frame::Frame;

/// Elements between the frequencies of V beyond its contents: powers of two would share sets of the cache.
const SKEW: usize = 16;

/// How one convolution is done: tiles of an iteration, sizes of memory.
#[derive(Clone, Debug)]
pub struct Winograd {
    transforms: Transforms,
    geometry: Geometry,
    /// Register tile of the products.
    tile: Tile,
    /// Rows and columns of tiles in an iteration; more rows than an image has stand for several images.
    tiles: [usize; 2],
}

/// Scratch memory of an iteration.
#[derive(Clone, Copy)]
pub struct Memories {
    between: Memory,
    v: Memory,
    m: Memory,
}

/// Results per side of a tile for windows of `r` taps: more save products and lose digits.
fn results(r: usize) -> usize {
    match r {
        2 | 3 | 5 => 4,
        4 => 3,
        _ => 2,
    }
}

impl Winograd {
    /// Plans a convolution that the algorithm applies to; `None` for others, and where no cut of the image fits the
    /// cache. With `whole_rows`, iterations must be equal blocks of rows.
    pub fn new(cx: &LowerCx, g: Geometry, whole_rows: bool) -> Option<Winograd> {
        let m = results(g.window.kernel[0]);
        Winograd::iterations(cx.target, g, m, whole_rows, 0)
    }

    /// Plans iterations for tiles of `m` x `m` results; `row_bytes` of other memory go with each row of results.
    pub fn iterations(target: &Target, g: Geometry, m: usize, whole_rows: bool, row_bytes: usize) -> Option<Winograd> {
        if !applies(&g) {
            return None;
        }
        let down = g.out[0].div_ceil(m);
        let equal = |rows: usize| {
            rows == down || down.is_multiple_of(rows) && (!whole_rows || g.out[0].is_multiple_of(rows * m))
        };
        let fits = |w: &Winograd| 4 * w.elements() <= target.cache[1] && row_bytes * w.rows() <= target.cache[1];
        let cut = |rows: usize| Winograd::cut(target, g, m, rows);
        (1..=down).rev().filter(|&rows| equal(rows)).map(cut).find(fits)
    }

    /// Iterations of `rows` rows of tiles.
    fn cut(target: &Target, g: Geometry, m: usize, rows: usize) -> Winograd {
        let transforms = Transforms::new(m, g.window.kernel[0]);
        let across = g.out[1].div_ceil(m);
        let tile = tile(target, rows * across, g.outputs);
        Winograd { transforms, geometry: g, tile, tiles: [rows, across] }
    }

    fn count(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// Elements between the frequencies of V.
    fn pitch(&self) -> usize {
        self.count() * self.geometry.channels + SKEW
    }

    /// Elements between tiles of M. A power of two would put all tiles' numbers of a frequency into the same few
    /// places of the nearest cache.
    fn tile_pitch(&self) -> usize {
        self.tile.vectors * self.transforms.frequencies() * self.tile.lanes as usize + SKEW
    }

    fn lens(&self) -> [usize; 3] {
        let (f, lanes) = (self.transforms.frequencies(), self.tile.lanes as usize);
        [f * lanes, f * self.pitch(), self.count() * self.tile_pitch()]
    }

    /// Elements of scratch memory of an iteration.
    fn elements(&self) -> usize {
        let padded = self.rows_in() * self.frame().pitch();
        self.lens().iter().sum::<usize>() + padded
    }

    /// Images of an iteration.
    pub fn images(&self) -> usize {
        (self.tiles[0] / self.geometry.out[0].div_ceil(self.transforms.m)).max(1)
    }

    /// Rows of tiles of an image in an iteration.
    fn tile_rows(&self) -> usize {
        self.tiles[0] / self.images()
    }

    /// Rows of results of an iteration (the last iteration may have fewer, if iterations need not be equal).
    pub fn rows(&self) -> usize {
        (self.tile_rows() * self.transforms.m).min(self.geometry.out[0])
    }

    /// Rows of the padded image that an iteration reads.
    pub fn rows_in(&self) -> usize {
        self.tile_rows() * self.transforms.m + self.transforms.r - 1
    }

    /// The padded copy: as wide as the tiles, which may reach beyond the image.
    pub fn frame(&self) -> Frame {
        let g = &self.geometry;
        Frame {
            image: g.image,
            channels: g.channels,
            left: -(g.window.pad[1] as i64),
            width: self.tiles[1] * self.transforms.m + self.transforms.r - 1,
        }
    }

    /// Predicted cycles of this many iterations: transforms there and back, and products that read the weights once.
    pub fn cycles(&self, target: &Target, iterations: usize) -> f64 {
        let (g, f) = (&self.geometry, self.transforms.frequencies());
        let lanes = f64::from(target.lanes);
        // Measured: the transforms wait for memory about as long as they compute.
        let there = (f * self.count() * g.channels) as f64 * (0.4 + 3.5 / lanes);
        let back = (f * self.count() * g.outputs) as f64 * (0.2 + 2.0 / lanes);
        let weights = 4 * f * g.channels * g.outputs;
        let products = f as f64 * cost::product(target, self.tile, self.count(), g.outputs, g.channels);
        iterations as f64 * (there + back + products.max(cost::stream(target, weights, weights)))
    }

    /// Describes an iteration.
    pub fn cut_name(&self) -> String {
        let images = if self.images() > 1 { format!(", {} images", self.images()) } else { String::new() };
        format!("{}x{} tiles{images}", self.tile_rows(), self.tiles[1])
    }

    /// Returns the method, for reports.
    pub fn method(&self) -> Method {
        self.transforms.method()
    }

    /// Returns a part of the kernel's name.
    pub fn name(&self) -> String {
        format!("_f{}x{}_{}x{}", self.transforms.m, self.transforms.r, self.tiles[0], self.tiles[1])
    }

    /// Adds the scratch memory.
    pub fn scratch(&self, kernel: &mut KernelBuilder) -> Memories {
        let [between, v, m] = self.lens();
        Memories {
            between: kernel.scratch("between", Elem::F32, between),
            v: kernel.scratch("v", Elem::F32, v),
            m: kernel.scratch("m", Elem::F32, m),
        }
    }

    /// The transformed weights `[panel][frequency][channel][panel's width]`: a panel's products read them as one
    /// stream.
    pub fn weights(&self, cx: &mut LowerCx, weights: BufferId) -> BufferId {
        let g = &self.geometry;
        let sizes = [g.channels, g.outputs, self.tile.columns()];
        let source = cx.elem(weights);
        cx.packed(weights, Weights { size: self.transforms.size(), sizes, lanes: self.tile.lanes, source })
    }

    /// One iteration: tiles of `from` (the padded copy) to the image rows at `to`; `left` rows of results remain from
    /// there on.
    pub fn product(&self, cx: &mut LowerCx, k: &mut KernelBuilder, p: &Operands, memories: Memories, left: &Expr) {
        let g = &self.geometry;
        self.transform(cx, k, p.from, memories, &0.into());
        panel_loop(k, g.outputs, self.tile.columns(), (&0.into(), 1), |k, panel, columns| {
            self.panel(cx, k, (p.weights, memories.v, memories.m), &0.into(), (&panel, columns), None);
            self.back(cx, k, p, memories, (&panel, columns), &0.into(), &p.to_at, left);
        });
    }

    /// The tiles of the padded copy, from tile `first` on, to V.
    fn transform(&self, cx: &mut LowerCx, k: &mut KernelBuilder, from: Memory, memories: Memories, first: &Expr) {
        let (m, c) = (self.transforms.m, self.geometry.channels);
        let input = self.input_micro_kernel(cx);
        k.serial("ty", self.tile_rows(), |k, y| {
            k.serial("tx", self.tiles[1], |k, x| {
                let from = from.at(&y * (m * self.frame().pitch()) + &x * (m * c));
                let tile = first + &y * self.tiles[1] + &x;
                k.call(input, [from, memories.between.at(0), memories.v.at(tile * c)]);
            });
        });
    }

    /// The products of one panel, frequency by frequency, from V (at `v_at`) to M. Where `present` says how many tiles
    /// there are, those that follow are left out as far as whole register tiles allow.
    fn panel(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        (weights, v, m): (Memory, Memory, Memory),
        v_at: &Expr,
        (panel, columns): (&Expr, usize),
        present: Option<&Expr>,
    ) {
        let (f, c, lanes) = (&self.transforms, self.geometry.channels, self.tile.lanes as usize);
        let width = self.tile.columns();
        k.serial("f", f.frequencies(), |k, frequency| {
            let u = weights.at((panel * f.frequencies() + &frequency) * (c * width));
            let calls = self.count().div_ceil(self.tile.rows);
            let mut product = |k: &mut KernelBuilder, tile: Expr, rows: usize| {
                // U[f + 1] follows U[f].
                let mut spec = self.contraction(rows, columns);
                let following = (panel * f.frequencies() + &frequency + 1) * (c * width);
                let next = weights.at(following + spec.share_next(calls, &tile.div(self.tile.rows)));
                let micro_kernel = cx.micro_kernel(spec);
                let v = v.at(v_at + &frequency * self.pitch() + &tile * c);
                let at = &tile * self.tile_pitch() + &frequency * lanes;
                k.call(micro_kernel, [v, u.clone(), m.at(at), next]);
            };
            let rows = self.tile.rows;
            match present.filter(|_| self.count().is_multiple_of(rows)) {
                Some(tiles) => k.serial("m", tiles.clone().ceil_div(rows as i64), |k, m| product(k, m * rows, rows)),
                None => pieces(k, "m", self.count(), rows, product),
            }
        });
    }

    /// Writes one panel of M, from tile `first` on, back to the image rows at `to_at`; `left` rows are left.
    fn back(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        p: &Operands,
        memories: Memories,
        (panel, columns): (&Expr, usize),
        first: &Expr,
        to_at: &Expr,
        left: &Expr,
    ) {
        let (g, m) = (&self.geometry, self.transforms.m);
        let width = self.tile.columns();
        k.serial("ty", self.tile_rows(), |k, y| {
            let rows = (left + &y * -(m as i64)).min(m).max(0);
            pieces(k, "tx", g.out[1], m, |k, x, across| {
                let micro_kernel = self.output_micro_kernel(cx, p, across, columns);
                let tile = first + &y * self.tiles[1] + x.div(m);
                let column = panel * width;
                let to = to_at + (&y * (m * g.out[1]) + &x) * g.outputs + &column;
                let from = memories.m.at(tile * self.tile_pitch());
                let mut args = vec![from, memories.between.at(0), p.to.at(to)];
                args.extend(p.bias.map(|b| b.at(&column)));
                args.push(Arg::Int(rows.clone()));
                k.call(micro_kernel, args);
            });
        });
    }

    fn contraction(&self, rows: usize, columns: usize) -> Contraction {
        let (f, lanes, c) = (&self.transforms, self.tile.lanes, self.geometry.channels);
        let vector = f.frequencies() * lanes as usize;
        Contraction {
            elems: [Elem::F32; 3],
            lanes,
            rows,
            // Whole vectors: the weights beyond the last column are zeros.
            columns: columns.next_multiple_of(lanes as usize),
            counts: [1, 1, c].map(Count::Fixed),
            a: [0, 0, 1],
            a_row: c as i64,
            a_columns: false,
            b: [0, 0, self.tile.columns() as i64],
            b_padded: true,
            next: 0,
            a_ahead: 0,
            c_row: self.tile_pitch() as i64,
            c_vector: vector as i64,
            init: Init::Zero,
            epilogue: Epilogue::NONE,
        }
    }

    /// Transforms one tile for all channels: `(padded image, between, v)`.
    fn input_micro_kernel(&self, cx: &mut LowerCx) -> MicroKernelId {
        let (size, c, lanes) = (self.transforms.size(), self.geometry.channels, self.tile.lanes);
        let (row, pitch) = (self.frame().pitch(), self.pitch());
        let name = format!("winograd_input_{size}_{c}_{row}_{pitch}v{lanes}");
        cx.micro_kernel(code(name, (size, [c, row, pitch], lanes), |&(size, [c, row, pitch], lanes), b| {
            let f = size.transforms();
            let points = f.points();
            let image = b.pointer("image", Elem::F32, Access::Read);
            let between = b.pointer("between", Elem::F32, Access::ReadWrite);
            let v = b.pointer("v", Elem::F32, Access::Write);
            for_vectors(b, c, lanes, |b, at, count| {
                let patch = Patch { memory: image, base: at.clone(), row: row as i64, column: c as i64, count };
                both_sides(b, &f.input, &patch, between, points, lanes, |b, i, j, value| {
                    let place = add(i.times((points * pitch) as i64), &at).offset((j * pitch) as i64);
                    b.store_partial(v, place, value, count);
                });
            });
        }))
    }

    /// Transforms one tile back: `(m, between, y, [bias], rows)`, `across` columns of it.
    fn output_micro_kernel(&self, cx: &mut LowerCx, p: &Operands, across: usize, columns: usize) -> MicroKernelId {
        let g = &self.geometry;
        cx.micro_kernel(Output {
            size: self.transforms.size(),
            across,
            columns,
            image: [g.out[1], g.outputs],
            lanes: self.tile.lanes,
            end: p.end(),
        })
    }
}

fn add(a: Index, b: &Index) -> Index {
    b.terms.iter().fold(a.offset(b.offset), |sum, &(var, c)| sum.plus(var, c))
}
