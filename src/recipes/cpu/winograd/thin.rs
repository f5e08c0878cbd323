//! Few input channels: the products of a frequency are a handful of terms, so nothing is gained by a contraction that
//! stores them. Here the first half of the transform back takes them from registers, and M never exists.
//!
//! Layouts: V `[tile][frequency][channel]`, channels padded to a power of two so that a pixel is stored at once;
//! weights
//! `[vector][column of frequencies][channel][row of frequencies][lane]`, read one after the other.

use super::weights::kind;
use super::{End, Operands, Size, Transforms, add, for_vectors};
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Elem, Expr, Index, Kernel, Memory, MicroKernelId, Param, Val, Var};
use crate::lower::target::Target;
use crate::lower::{BufferId, LowerCx, Method, MicroKernelSpec, Packing, ProgramBuilder, code};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::winograd::applies;
use crate::recipes::common::winograd::{Patch, apply, both_sides};
use crate::recipes::cpu::frame::Frame;
use std::fmt::{self, Display};

/// The form; an iteration is one row of tiles.
#[derive(Clone, Debug)]
pub struct Thin {
    transforms: Transforms,
    geometry: Geometry,
    lanes: u32,
}

impl Thin {
    /// Plans it where all channels fit half a vector and a column's sums fit the registers.
    pub fn new(target: &Target, g: Geometry, m: usize, whole_rows: bool) -> Option<Thin> {
        let t = m + g.window.kernel[0] - 1;
        let fits = g.channels <= 4 && target.lanes >= 4 && t + 3 <= target.registers as usize;
        let equal = !whole_rows || g.out[0].is_multiple_of(m);
        let form = || Thin { transforms: Transforms::new(m, g.window.kernel[0]), geometry: g, lanes: target.lanes };
        (applies(&g) && fits && equal).then(form)
    }

    /// Vector multiply-adds and transforms of an image, about.
    pub fn operations(&self) -> f64 {
        let (f, g) = (&self.transforms, &self.geometry);
        let (t, m) = (f.points() as f64, f.m as f64);
        let tiles = (g.out[0].div_ceil(f.m) * g.out[1].div_ceil(f.m)) as f64;
        // Each product loads both factors, which takes as long as two operations.
        let products = 2.0 * t * t * g.channels as f64;
        let back = (t + m) * 2.4 * t + 4.0 * m * m;
        let there = 2.0 * t * 6.0 * t;
        tiles * (there + g.outputs.div_ceil(self.lanes as usize) as f64 * (products + back))
    }

    /// Elements from pixel to pixel of V.
    fn pitch(&self) -> usize {
        self.geometry.channels.next_power_of_two()
    }

    fn tiles(&self) -> usize {
        self.geometry.out[1].div_ceil(self.transforms.m)
    }

    /// Rows of results of an iteration.
    pub fn rows(&self) -> usize {
        self.transforms.m.min(self.geometry.out[0])
    }

    /// Rows of the padded image that an iteration reads.
    pub fn rows_in(&self) -> usize {
        self.transforms.points()
    }

    /// The padded copy.
    pub fn frame(&self) -> Frame {
        let g = &self.geometry;
        let width = self.tiles() * self.transforms.m + self.transforms.r - 1;
        Frame { image: g.image, channels: g.channels, left: -(g.window.pad[1] as i64), width }
    }

    /// Returns a part of the kernel's name.
    pub fn name(&self) -> String {
        format!("_thin{}x{}", self.transforms.m, self.transforms.r)
    }

    /// Memory of an iteration: between the halves of a transform, and V.
    pub fn scratch(&self, kernel: &mut KernelBuilder) -> [Memory; 2] {
        let (f, lanes) = (self.transforms.frequencies(), self.lanes as usize);
        [("between", f * lanes), ("v", self.tiles() * f * self.pitch())]
            .map(|(name, len)| kernel.scratch(name, Elem::F32, len))
    }

    /// The transformed weights.
    pub fn weights(&self, cx: &mut LowerCx, weights: BufferId) -> BufferId {
        let (g, source) = (&self.geometry, cx.elem(weights));
        let form = Weights { size: self.transforms.size(), sizes: [g.channels, g.outputs], lanes: self.lanes, source };
        cx.packed(weights, form)
    }

    /// Returns the method, for reports.
    pub fn method(&self) -> Method {
        self.transforms.method()
    }

    /// Writes one iteration: a row of tiles of the padded copy at `from` to the image rows at `to`; `left` rows are
    /// left.
    pub fn product(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        p: &Operands,
        [between, v]: [Memory; 2],
        left: &Expr,
    ) {
        let (f, g) = (&self.transforms, &self.geometry);
        let input = self.input_micro_kernel(cx);
        let step = f.frequencies() * self.pitch();
        k.serial("tx", self.tiles(), |k, x| {
            k.call(input, [p.from.at(&x * (f.m * g.channels)), between.at(0), v.at(x * step)]);
        });
        let rows = left.min(f.m).max(0);
        let (whole, rest) = (g.out[1] / f.m, g.out[1] % f.m);
        for (first, tiles, across) in [(0, whole, f.m), (whole, usize::from(rest > 0), rest)] {
            if tiles > 0 {
                let micro_kernel = self.output_micro_kernel(cx, p, tiles, across);
                let to = p.to.at(&p.to_at + (first * f.m * g.outputs));
                let mut args = vec![v.at(first * step), p.weights.at(0), between.at(0), to];
                args.extend(p.bias.map(|b| b.at(0)));
                args.push(Arg::Int(rows.clone()));
                k.call(micro_kernel, args);
            }
        }
    }

    /// Transforms one tile: `(padded image, between, v)`.
    fn input_micro_kernel(&self, cx: &mut LowerCx) -> MicroKernelId {
        let (size, c, pitch, row) =
            (self.transforms.size(), self.geometry.channels, self.pitch(), self.frame().pitch());
        let name = format!("thin_input_{size}_{c}_{row}");
        cx.micro_kernel(code(name, (size, [c, pitch, row]), |&(size, [c, pitch, row]), b| {
            let f = size.transforms();
            let (t, lanes) = (f.points(), 4);
            let image = b.pointer("image", Elem::F32, Access::Read);
            let between = b.pointer("between", Elem::F32, Access::ReadWrite);
            let v = b.pointer("v", Elem::F32, Access::Write);
            let patch =
                Patch { memory: image, base: Index::default(), row: row as i64, column: c as i64, count: c as u32 };
            both_sides(b, &f.input, &patch, between, t, lanes, |b, i, j, value| {
                b.store_partial(v, i.times((t * pitch) as i64).offset((j * pitch) as i64), value, pitch as u32);
            });
        }))
    }

    /// All output channels of `tiles` tiles: `(v, u, between, y, [bias], rows)`, `across` columns of each tile.
    fn output_micro_kernel(&self, cx: &mut LowerCx, p: &Operands, tiles: usize, across: usize) -> MicroKernelId {
        let g = &self.geometry;
        cx.micro_kernel(Output {
            size: self.transforms.size(),
            tiles,
            across,
            channels: g.channels,
            pitch: self.pitch(),
            image: [g.out[1], g.outputs],
            lanes: self.lanes,
            end: p.end(),
        })
    }
}

/// The products and the transform back of some tiles: `(v, u, between, y, [bias], rows)`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Output {
    size: Size,
    tiles: usize,
    /// Columns of each tile that are in the image.
    across: usize,
    channels: usize,
    /// Elements from pixel to pixel of V.
    pitch: usize,
    /// Columns and channels of the result.
    image: [usize; 2],
    lanes: u32,
    end: End,
}

impl Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Output { size, tiles, across, channels, pitch: _, image: [ow, o], lanes, end } = self;
        write!(f, "thin_{size}_{tiles}_{across}_{channels}x{o}_{ow}v{lanes}{end}")
    }
}

impl MicroKernelSpec for Output {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let &Output { size, tiles, across, image: [ow, o], lanes, end, .. } = self;
        let f = size.transforms();
        let t = f.points();
        let v = b.pointer("v", Elem::F32, Access::Read);
        let u = b.pointer("u", Elem::F32, Access::Read);
        let between = b.pointer("between", Elem::F32, Access::ReadWrite);
        let y = b.pointer("y", end.elem, Access::Write);
        let bias = end.bias.then(|| b.pointer("bias", Elem::F32, Access::Read));
        let rows = b.int("rows");
        for_vectors(b, o, lanes, |b, at, count| {
            b.repeat("tile", tiles, &[], |b, tile, _| {
                b.repeat("j", t, &[], |b, j, _| {
                    let sums = self.column(b, v, u, &at, tile, j);
                    for (i, value) in apply(b, &f.output, &sums, lanes).into_iter().enumerate() {
                        let place = Index::from(i * t * lanes as usize).plus(j, lanes.into());
                        b.store(between, place, value);
                    }
                    vec![]
                });
                b.repeat("i", rows, &[], |b, i, _| {
                    let step = i64::from(lanes);
                    let place = |j: usize| Index::from(j as i64 * step).plus(i, t as i64 * step);
                    let x: Vec<Val> = (0..t).map(|j| b.load(between, place(j), lanes)).collect();
                    let values = apply(b, &f.output, &x, lanes);
                    for (j, mut value) in values.into_iter().enumerate().take(across) {
                        if let Some(bias) = bias {
                            let term = b.load_partial(bias, at.clone(), lanes, count);
                            value = b.add(value, term);
                        }
                        value = end.epilogue.apply(b, value);
                        let place = at.clone().plus(tile, (f.m * o) as i64).plus(i, (ow * o) as i64);
                        b.store_partial(y, place.offset((j * o) as i64), value, count);
                    }
                    vec![]
                });
                vec![]
            });
        });
    }
}

impl Output {
    /// The products of column `j` of the frequencies, summed over the channels.
    fn column(&self, b: &mut MicroKernelBuilder, v: Param, u: Param, at: &Index, tile: Var, j: Var) -> Vec<Val> {
        let (t, c, lanes, pitch) = (self.size.points(), self.channels, self.lanes, self.pitch);
        let mut sums: Vec<Val> = Vec::with_capacity(t);
        for channel in 0..c {
            for i in 0..t {
                let place = Index::from(i * t * pitch + channel).plus(tile, (t * t * pitch) as i64);
                let x = b.broadcast(v, place.plus(j, pitch as i64), lanes);
                let place = at.clone().times((t * c * t) as i64).plus(j, (c * t) as i64 * i64::from(lanes));
                let w = b.load(u, place.offset(((channel * t + i) * lanes as usize) as i64), lanes);
                match sums.get_mut(i) {
                    Some(sum) => *sum = b.fma(w, x, *sum),
                    None => sums.push(b.mul(x, w)),
                }
            }
        }
        sums
    }
}

/// The transformed weights, as the layout above says.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Weights {
    size: Size,
    /// Channels and outputs.
    sizes: [usize; 2],
    lanes: u32,
    /// Type of the weights as they are.
    source: Elem,
}

impl Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "thin{}", self.size)
    }
}

impl Packing for Weights {
    fn layout(&self) -> (Elem, usize) {
        let ([c, o], t) = (self.sizes, self.size.points());
        (Elem::F32, o.next_multiple_of(self.lanes as usize) * t * t * c)
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let ([c, o], size, lanes) = (self.sizes, self.size, self.lanes);
        let (kind, t) = (kind(self.source), size.points());
        let mut kernel = KernelBuilder::new(format!("thin_weights{kind}_{size}_{c}x{o}v{lanes}"));
        let from = kernel.buffer("w", self.source, Access::Read);
        let to = kernel.buffer("u", Elem::F32, Access::Write);
        let between = kernel.scratch("between", Elem::F32, t * size.r * lanes as usize);
        let name = format!("thin_weight{kind}_{size}_{c}x{o}v{lanes}");
        let micro_kernel = builder.micro_kernel(code(name, self.clone(), Weights::write));
        kernel.parallel("c", c, |k, channel| {
            let to = to.at(&channel * (t * lanes as usize));
            k.call(micro_kernel, [from.at(&channel * o), between.at(0), to]);
        });
        kernel.finish()
    }
}

impl Weights {
    /// Transforms one channel: `(w, between, u)`.
    fn write(&self, b: &mut MicroKernelBuilder) {
        let &Weights { size, sizes: [c, o], lanes, source } = self;
        let f = size.transforms();
        let (r, t) = (f.r, f.points());
        let w = b.pointer("w", source, Access::Read);
        let between = b.pointer("between", Elem::F32, Access::ReadWrite);
        let u = b.pointer("u", Elem::F32, Access::Write);
        for_vectors(b, o, lanes, |b, at, count| {
            let (row, column) = ((r * c * o) as i64, (c * o) as i64);
            let patch = Patch { memory: w, base: at.clone(), row, column, count };
            both_sides(b, &f.kernel, &patch, between, t, lanes, |b, i, j, value| {
                let vector = at.clone().times((t * c * t) as i64);
                let column = (j * c * t * lanes as usize) as i64;
                b.store(u, add(i.times(lanes.into()), &vector).offset(column), value);
            });
        });
    }
}
