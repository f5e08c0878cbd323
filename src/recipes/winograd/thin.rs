//! Few input channels: the products of a frequency are a handful of terms, so nothing is gained by a contraction that
//! stores them. Here the first half of the transform back takes them from registers, and M never exists.
//!
//! Layouts: V `[tile][frequency][channel]`, channels padded to a power of two so that a pixel is stored at once; weights
//! `[vector][column of frequencies][channel][row of frequencies][lane]`, read one after the other.

use super::transform::{Patch, apply, both_sides};
use super::{Operands, Transforms, Winograd, add, for_vectors};
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Elem, Expr, Index, Memory, MicroKernelId, Param, Val, Var};
use crate::lower::target::Target;
use crate::lower::{BufferId, LowerCx};
use crate::recipes::conv::Geometry;
use crate::recipes::copy::Frame;

/// The form; a round is one row of tiles.
#[derive(Clone, Debug)]
pub struct Thin {
    transforms: Transforms,
    geometry: Geometry,
    lanes: u32,
}

impl Thin {
    /// Where all channels fit half a vector and a column's sums fit the registers.
    pub fn new(target: &Target, g: Geometry, m: usize, whole_rows: bool) -> Option<Thin> {
        let t = m + g.window.kernel[0] - 1;
        let fits = g.channels <= 4 && target.lanes >= 4 && t + 3 <= target.registers as usize;
        let equal = !whole_rows || g.out[0].is_multiple_of(m);
        let form = || Thin { transforms: Transforms::new(m, g.window.kernel[0]), geometry: g, lanes: target.lanes };
        (Winograd::applies(&g) && fits && equal).then(form)
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

    pub fn rows(&self) -> usize {
        self.transforms.m.min(self.geometry.out[0])
    }

    pub fn rows_in(&self) -> usize {
        self.transforms.points()
    }

    pub fn frame(&self) -> Frame {
        let g = &self.geometry;
        let width = self.tiles() * self.transforms.m + self.transforms.r - 1;
        Frame { image: g.image, channels: g.channels, left: -(g.window.pad[1] as i64), width }
    }

    pub fn name(&self) -> String {
        format!("_thin{}x{}", self.transforms.m, self.transforms.r)
    }

    /// Memory of a round: between the halves of a transform, and V.
    pub fn scratch(&self, kernel: &mut KernelBuilder) -> [Memory; 2] {
        let (f, lanes) = (self.transforms.frequencies(), self.lanes as usize);
        [("between", f * lanes), ("v", self.tiles() * f * self.pitch())]
            .map(|(name, len)| kernel.scratch(name, Elem::F32, len))
    }

    pub fn weights(&self, cx: &mut LowerCx, weights: BufferId) -> BufferId {
        let (g, f, lanes) = (self.geometry, self.transforms.clone(), self.lanes);
        let (c, o, r, t) = (g.channels, g.outputs, f.r, f.points());
        let len = o.next_multiple_of(lanes as usize) * t * t * c;
        let kept = cx.elem(weights);
        let kind = if kept == Elem::F32 { "" } else { "_bf16" };
        cx.prepared(weights, &format!("thin{}x{r}", f.m), Elem::F32, len, |cx| {
            let mut kernel = KernelBuilder::new(format!("thin_weights{kind}_{}x{r}_{c}x{o}v{lanes}", f.m));
            let from = kernel.buffer("w", kept, Access::Read);
            let to = kernel.buffer("u", Elem::F32, Access::Write);
            let between = kernel.scratch("between", Elem::F32, t * r * lanes as usize);
            let micro_kernel =
                cx.module().micro_kernel(&format!("thin_weight{kind}_{}x{r}_{c}x{o}v{lanes}", f.m), |b| {
                    let w = b.pointer("w", kept, Access::Read);
                    let between = b.pointer("between", Elem::F32, Access::ReadWrite);
                    let u = b.pointer("u", Elem::F32, Access::Write);
                    for_vectors(b, o, lanes, |b, at, count| {
                        let patch = Patch {
                            memory: w,
                            base: at.clone(),
                            row: (r * c * o) as i64,
                            column: (c * o) as i64,
                            count,
                        };
                        both_sides(b, &f.kernel, &patch, between, t, lanes, |b, i, j, value| {
                            let vector = at.clone().times((t * c * t) as i64);
                            let column = (j * c * t * lanes as usize) as i64;
                            b.store(u, add(i.times(lanes.into()), &vector).offset(column), value);
                        });
                    });
                });
            kernel.parallel("c", c, |k, channel| {
                let to = to.at(&channel * (t * lanes as usize));
                k.call(micro_kernel, [from.at(&channel * o), between.at(0), to]);
            });
            kernel.finish()
        })
    }

    /// One round: a row of tiles of the padded copy at `from` to the image rows at `to`, of which `left` are left.
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
        let (f, c, pitch, lanes) = (&self.transforms, self.geometry.channels, self.pitch(), 4);
        let (row, t) = (self.frame().pitch(), f.points());
        cx.module().micro_kernel(&format!("thin_input_{}x{}_{c}_{row}", f.m, f.r), |b| {
            let image = b.pointer("image", Elem::F32, Access::Read);
            let between = b.pointer("between", Elem::F32, Access::ReadWrite);
            let v = b.pointer("v", Elem::F32, Access::Write);
            let patch =
                Patch { memory: image, base: Index::default(), row: row as i64, column: c as i64, count: c as u32 };
            both_sides(b, &f.input, &patch, between, t, lanes, |b, i, j, value| {
                b.store_partial(v, i.times((t * pitch) as i64).offset((j * pitch) as i64), value, pitch as u32);
            });
        })
    }

    /// All output channels of `tiles` tiles: `(v, u, between, y, [bias], rows)`, `across` columns of each tile.
    fn output_micro_kernel(&self, cx: &mut LowerCx, p: &Operands, tiles: usize, across: usize) -> MicroKernelId {
        let (f, g, lanes) = (&self.transforms, &self.geometry, self.lanes);
        let (t, c, o, ow) = (f.points(), g.channels, g.outputs, g.out[1]);
        let bias = if p.bias.is_some() { "_bias" } else { "" };
        let finish = p.finish.stored_as(p.elem);
        let end = format!("{}{}", finish.name(), p.kind());
        let size = format!("{}x{}_{tiles}_{across}_{c}x{o}_{ow}", f.m, f.r);
        cx.module().micro_kernel(&format!("thin_{size}v{lanes}{bias}{end}"), |b| {
            let v = b.pointer("v", Elem::F32, Access::Read);
            let u = b.pointer("u", Elem::F32, Access::Read);
            let between = b.pointer("between", Elem::F32, Access::ReadWrite);
            let y = b.pointer("y", p.elem, Access::Write);
            let bias = p.bias.map(|_| b.pointer("bias", Elem::F32, Access::Read));
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
                            value = finish.apply(b, value);
                            let place = at.clone().plus(tile, (f.m * o) as i64).plus(i, (ow * o) as i64);
                            b.store_partial(y, place.offset((j * o) as i64), value, count);
                        }
                        vec![]
                    });
                    vec![]
                });
            });
        })
    }

    /// The products of column `j` of the frequencies, summed over the channels.
    fn column(&self, b: &mut MicroKernelBuilder, v: Param, u: Param, at: &Index, tile: Var, j: Var) -> Vec<Val> {
        let (t, c, lanes, pitch) = (self.transforms.points(), self.geometry.channels, self.lanes, self.pitch());
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
