//! Winograd's convolution in three launches: tiles of the image into the domain, an item for each tile and a few
//! channels; a product for each frequency, all of them one launch of the tiled product; and back, with bias and
//! activation. Weights are transformed when they change.
//!
//! In the domain, images lie as `[image][frequency][tile][channel]`, weights as `[frequency][channel][output]`.

use super::cells::{TileEpilogue, copy_run, short, zeros};
use super::cost::{MEMORY, product_row};
use super::product::{self, Factor, Product, Span};
use super::rows::Rows;
use super::window::within;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Elem, Expr, Index, Kernel, MicroKernelId};
use crate::lower::target::{Algorithm, Gpu};
use crate::lower::{BufferId, LowerCx, Packing, ProgramBuilder, code};
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::{Geometry, Link};
use crate::recipes::common::partition::run;
use crate::recipes::common::winograd::{Patch, Size, Transforms, applies, both_sides, mirrored};
use std::fmt::{self, Display};

/// How much cheaper than the direct form it must be, for the digits that it loses.
const WORTH: f64 = 0.8;

/// One convolution in tiles of `transforms.m` x `transforms.m` results.
pub struct Form {
    transforms: Transforms,
    geometry: Geometry,
    /// Rows and columns of tiles of an image.
    tiles: [usize; 2],
}

/// What becomes of the results.
struct End {
    bias: Option<BufferId>,
    mask: Option<BufferId>,
    epilogue: TileEpilogue,
    to: BufferId,
}

/// Writes the launches `(w, dy, [mask]) -> dx` for the convolution `g` if this algorithm is asked for, or pays.
pub fn grad_input(
    cx: &mut LowerCx,
    gpu: &Gpu,
    g: &Geometry,
    [w, dy]: [BufferId; 2],
    mask: Option<BufferId>,
    epilogue: Epilogue,
) -> bool {
    if product::warp_cooperative(cx, gpu, [dy, w]).is_some() {
        return false;
    }
    let algorithm = cx.target.algorithm;
    let Some(form) = mirrored(g).and_then(|back| Form::choose(algorithm, &back)) else { return false };
    let epilogue = TileEpilogue { mask: mask.is_some(), epilogue, ..TileEpilogue::default() };
    let to = cx.result.buffer;
    form.launch(cx, gpu, [dy, w], true, &End { bias: None, mask, epilogue, to });
    true
}

impl Form {
    /// The launches of one link.
    pub fn forward(&self, cx: &mut LowerCx, gpu: &Gpu, x: BufferId, link: &Link, to: BufferId) {
        let end = End { bias: link.bias, mask: None, epilogue: link.tile_epilogue(), to };
        self.launch(cx, gpu, [x, link.weights], false, &end);
    }

    fn new(g: &Geometry, m: usize) -> Form {
        let transforms = Transforms::new(m, g.window.kernel[0]);
        Form { transforms, geometry: *g, tiles: g.out.map(|n| n.div_ceil(m)) }
    }

    /// The best size of tiles, where the algorithm applies and is wanted.
    pub fn choose(algorithm: Algorithm, g: &Geometry) -> Option<Form> {
        if algorithm == Algorithm::Direct || !applies(g) {
            return None;
        }
        // Larger tiles save more products and lose more digits.
        let sizes: &[usize] = match g.window.kernel[0] {
            2 | 3 | 5 => &[2, 4],
            4 => &[2, 3],
            _ => &[2],
        };
        let forms = sizes.iter().map(|&m| Form::new(g, m));
        let best = forms.min_by(|a, b| a.cost().total_cmp(&b.cost()))?;
        let depth = g.window.kernel[0] * g.window.kernel[1] * g.channels;
        let direct = (g.out[0] * g.out[1]) as f64 * product_row(depth, g.outputs);
        (algorithm == Algorithm::Winograd || best.cost() < WORTH * direct).then_some(best)
    }

    fn count(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// Cost of an image, in multiply-adds: the products, and the domain's numbers there and back.
    fn cost(&self) -> f64 {
        let (c, o) = (self.geometry.channels, self.geometry.outputs);
        let rows = (self.transforms.frequencies() * self.count()) as f64;
        rows * (product_row(c, o) + MEMORY * 2.0 * (c + o) as f64)
    }

    fn name(&self) -> String {
        let (f, g) = (&self.transforms, &self.geometry);
        let p = g.window.pad;
        format!("f{}x{}_{}x{}x{}p{}x{}", f.m, f.r, g.channels, g.image[0], g.image[1], p[0], p[1])
    }

    fn launch(&self, cx: &mut LowerCx, gpu: &Gpu, [x, w]: [BufferId; 2], turned: bool, end: &End) {
        let (f, g) = (self.transforms.frequencies(), &self.geometry);
        let u = self.weights(cx, w, turned);
        let v = cx.temp("tiles", Elem::F32, 0, f * self.count() * g.channels);
        let m = cx.temp("products", Elem::F32, 0, f * self.count() * g.outputs);
        self.there(cx, x, v);
        self.products(cx, gpu, [v, u, m]);
        self.back(cx, m, end);
    }

    /// The image's tiles into the domain.
    fn there(&self, cx: &mut LowerCx, x: BufferId, v: BufferId) {
        let (f, g) = (&self.transforms, &self.geometry);
        let (points, c, lanes) = (f.points(), g.channels, run(g.channels));
        let mut kernel = KernelBuilder::new(format!("winograd_tiles_{}", self.name()));
        let elem = cx.elem(x);
        let image = kernel.buffer("x", elem, Access::Read);
        let domain = kernel.buffer("v", Elem::F32, Access::Write);
        let patch = kernel.private("patch", Elem::F32, points * points * lanes);
        let between = kernel.private("between", Elem::F32, points * points * lanes);
        let (copy, zero) = (copy_run(cx, elem, lanes, 1), zeros(cx, lanes, 1));
        let step = self.count() * c;
        let name = format!("winograd_tile_{}x{}_by{step}v{lanes}", f.m, f.r);
        let micro_kernel = cx.micro_kernel(code(name, (f.size(), [step, lanes]), |&(size, [step, lanes]), b| {
            let f = size.transforms();
            let points = f.points();
            let patch = b.pointer("patch", Elem::F32, Access::Read);
            let between = b.pointer("between", Elem::F32, Access::ReadWrite);
            let v = b.pointer("v", Elem::F32, Access::Write);
            let from = Patch {
                memory: patch,
                base: Index::default(),
                row: (points * lanes) as i64,
                column: lanes as i64,
                count: lanes as u32,
            };
            both_sides(b, &f.input, &from, between, points, lanes as u32, |b, i, j, value| {
                b.store(v, i.times((points * step) as i64).offset((j * step) as i64), value);
            });
        }));
        let shares = c / lanes;
        kernel.parallel("t", Expr::BATCH * (self.count() * shares), |k, t| {
            let (tile, channel) = (t.div(shares), t.rem(shares) * lanes);
            let (n, tile) = (tile.div(self.count()), tile.rem(self.count()));
            let start = [tile.div(self.tiles[1]), tile.rem(self.tiles[1])];
            let position = |d: usize, i: &Expr| &start[d] * f.m + i + -(g.window.pad[d] as i64);
            k.serial("i", points, |k, i| {
                k.serial("j", points, |k, j| {
                    let (y, x) = (position(0, &i), position(1, &j));
                    let to = patch.at((&i * points + &j) * lanes);
                    let from = image.at(((&n * g.image[0] + &y) * g.image[1] + &x) * c + &channel);
                    let inside = within(&y, g.image[0]) * within(&x, g.image[1]);
                    k.either(inside, |k| k.call(copy, [from, to.clone()]), |k| k.call(zero, [to.clone()]));
                });
            });
            let to = domain.at((&n * (f.frequencies() * self.count()) + &tile) * c + &channel);
            k.call(micro_kernel, [patch.at(0), between.at(0), to]);
        });
        cx.launch(f.method(), kernel.finish(), &[x, v]);
    }

    /// `m[image][frequency][tile][output] = Σ over channels of v · u`
    fn products(&self, cx: &mut LowerCx, gpu: &Gpu, [v, u, m]: [BufferId; 3]) {
        let (c, o, count) = (self.geometry.channels, self.geometry.outputs, self.count());
        let f = self.transforms.frequencies();
        Product {
            name: format!("winograd_product_{f}x{count}_{c}x{o}"),
            method: self.transforms.method(),
            rows: Rows::PerImage(count),
            columns: o,
            groups: f,
            parts: 1,
            span: &|_| Span::all(c),
            a: Factor {
                buffer: v,
                along_k: true,
                run: run(c),
                at: &|row, k, frequency| (((&row.image * f + frequency) * count + &row.index) * c + k).into(),
            },
            b: Factor {
                buffer: u,
                along_k: false,
                run: run(o),
                at: &|column, k, frequency| ((frequency * c + k) * o + &column.index).into(),
            },
            c: &|row, column, frequency, _| ((&row.image * f + frequency) * count + &row.index) * o + column,
            result: m,
            bias: None,
            epilogue: TileEpilogue::default(),
            mask: None,
        }
        .launch(cx, gpu);
    }

    /// From the domain to the result.
    fn back(&self, cx: &mut LowerCx, m: BufferId, end: &End) {
        let (f, g) = (&self.transforms, &self.geometry);
        let (o, lanes) = (g.outputs, run(g.outputs));
        let name = format!("winograd_back_{}_{o}{}", self.name(), end.epilogue.name());
        let mut kernel = KernelBuilder::new(name);
        let domain = kernel.buffer("m", Elem::F32, Access::Read);
        let bias = end.bias.map(|_| kernel.buffer("b", Elem::F32, Access::Read));
        let mask = end.mask.map(|_| kernel.buffer("mask", Elem::F32, Access::Read));
        let elem = cx.elem(end.to);
        let y = kernel.buffer("y", elem, Access::Write);
        let between = kernel.private("between", Elem::F32, f.m * f.points() * lanes);
        let (shares, [height, width]) = (o / lanes, g.out);
        kernel.parallel("t", Expr::BATCH * (self.count() * shares), |k, t| {
            let (tile, channel) = (t.div(shares), t.rem(shares) * lanes);
            let (n, tile) = (tile.div(self.count()), tile.rem(self.count()));
            let (ty, tx) = (tile.div(self.tiles[1]), tile.rem(self.tiles[1]));
            let from = domain.at((&n * (f.frequencies() * self.count()) + &tile) * o + &channel);
            let at = ((&n * height + &ty * f.m) * width + &tx * f.m) * o + &channel;
            let rows = (&ty * -(f.m as i64) + height).min(f.m);
            let mut args = vec![from, between.at(0), y.at(&at)];
            args.extend(bias.map(|b| b.at(&channel)));
            args.extend(mask.map(|b| b.at(&at)));
            args.push(Arg::Int(rows));
            let (full, rest) = (width / f.m, width % f.m);
            if full > 0 {
                let micro_kernel = self.back_micro_kernel(cx, (&end.epilogue, elem), lanes, f.m);
                let whole = if rest == 0 { 1.into() } else { tx.lt(full) };
                k.when(whole, |k| k.call(micro_kernel, args.clone()));
            }
            if rest > 0 {
                let micro_kernel = self.back_micro_kernel(cx, (&end.epilogue, elem), lanes, rest);
                k.when(tx.equals(full), |k| k.call(micro_kernel, args.clone()));
            }
        });
        let mut buffers = vec![m];
        buffers.extend(end.bias);
        buffers.extend(end.mask);
        buffers.push(end.to);
        cx.launch(f.method(), kernel.finish(), &buffers);
    }

    /// The `wide` first columns of a tile: `(m, between, y, [bias], [mask], rows)`.
    fn back_micro_kernel(
        &self,
        cx: &mut LowerCx,
        (epilogue, elem): (&TileEpilogue, Elem),
        lanes: usize,
        wide: usize,
    ) -> MicroKernelId {
        let (size, o, width) = (self.transforms.size(), self.geometry.outputs, self.geometry.out[1]);
        let (step, row, end) = (self.count() * o, width * o, epilogue.name());
        let name = format!("winograd_back_{size}_{wide}_by{step}_to{row}v{lanes}{end}_{o}{}", short(elem));
        let params = (size, [wide, step, row, o, lanes], epilogue.stored_as(elem), elem);
        cx.micro_kernel(code(name, params, |&(size, [wide, step, row_of_y, o, lanes], epilogue, elem), b| {
            let f = size.transforms();
            let domain = b.pointer("m", Elem::F32, Access::Read);
            let between = b.pointer("between", Elem::F32, Access::ReadWrite);
            let y = b.pointer("y", elem, Access::Write);
            let bias = epilogue.bias.then(|| b.pointer("bias", Elem::F32, Access::Read));
            let mask = epilogue.mask.then(|| b.pointer("mask", Elem::F32, Access::Read));
            let rows = b.int("rows");
            let lanes = lanes as u32;
            let bias = bias.map(|p| b.load(p, 0usize, lanes));
            let row = (f.points() * step) as i64;
            let from = Patch { memory: domain, base: Index::default(), row, column: step as i64, count: lanes };
            both_sides(b, &f.output, &from, between, rows, lanes, |b, i, j, value| {
                if j < wide {
                    let at = i.times(row_of_y as i64).offset((j * o) as i64);
                    let mask = mask.map(|p| b.load(p, at.clone(), lanes));
                    let value = epilogue.apply(b, value, bias, mask);
                    b.store(y, at, value);
                }
            });
        }))
    }

    /// The weights in the domain; `turned`: of the filter turned by half a turn, with inputs and outputs exchanged.
    fn weights(&self, cx: &mut LowerCx, weights: BufferId, turned: bool) -> BufferId {
        let (sizes, source) = ([self.geometry.channels, self.geometry.outputs], cx.elem(weights));
        cx.packed(weights, Weights { size: self.transforms.size(), sizes, turned, source })
    }
}

/// Weights as `[frequency][channel][output]`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Weights {
    size: Size,
    /// Channels and outputs.
    sizes: [usize; 2],
    /// Whether the filter is turned by half a turn, its inputs and outputs exchanged.
    turned: bool,
    /// Type of the weights as they are.
    source: Elem,
}

impl Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "winograd{}_gpu{}", self.size, if self.turned { "_turned" } else { "" })
    }
}

impl Packing for Weights {
    fn layout(&self) -> (Elem, usize) {
        (Elem::F32, self.size.transforms().frequencies() * self.sizes[0] * self.sizes[1])
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let ([c, o], lanes) = (self.sizes, self.lanes());
        let mut kernel = KernelBuilder::new(format!("{self}_weights_{c}x{o}"));
        let from = kernel.buffer("w", self.source, Access::Read);
        let to = kernel.buffer("u", Elem::F32, Access::Write);
        let between = kernel.private("between", Elem::F32, self.size.points() * self.size.r * lanes);
        let name = format!("{self}_weight_{}v{lanes}{}", c * o, short(self.source));
        let micro_kernel = builder.micro_kernel(code(name, self.clone(), Weights::write));
        let (turned, shares) = (self.turned, o / lanes);
        kernel.parallel("t", c * shares, |k, t| {
            let (channel, output) = (t.div(shares), t.rem(shares) * lanes);
            let source = if turned { &output * c + &channel } else { &channel * o + &output };
            k.call(micro_kernel, [from.at(source), between.at(0), to.at(&channel * o + &output)]);
        });
        kernel.finish()
    }
}

impl Weights {
    /// Returns the lanes of a vector: 1 where weights are turned, whose neighbouring outputs are not neighbours in
    /// memory.
    fn lanes(&self) -> usize {
        if self.turned { 1 } else { run(self.sizes[1]) }
    }

    /// Transforms some outputs of one channel: `(w, between, u)`.
    fn write(&self, b: &mut MicroKernelBuilder) {
        let (f, size, lanes) = (self.size.transforms(), self.sizes[0] * self.sizes[1], self.lanes() as u32);
        let (points, r) = (f.points(), f.r);
        let w = b.pointer("w", self.source, Access::Read);
        let between = b.pointer("between", Elem::F32, Access::ReadWrite);
        let u = b.pointer("u", Elem::F32, Access::Write);
        let sign = if self.turned { -1 } else { 1 };
        let base = Index::from(if self.turned { (r * r - 1) * size } else { 0 });
        let (row, column) = (sign * (r * size) as i64, sign * size as i64);
        let patch = Patch { memory: w, base, row, column, count: lanes };
        both_sides(b, &f.kernel, &patch, between, points, lanes, |b, i, j, value| {
            b.store(u, i.times((points * size) as i64).offset((j * size) as i64), value);
        });
    }
}
