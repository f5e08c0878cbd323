//! The gradient of a convolution's weights in the Winograd domain, the adjoint of the forward way:
//! `dw = Gᵀ [Σ_tiles (Bᵀ x B) ⊙ (A dy Aᵀ)] G`. For each frequency it is one product over all tiles of the batch,
//! `du[channel][output] = Σ_tiles v[tile][channel] · z[tile][output]`; the transform back is done once.

use super::matrices::{Matrix, Transforms};
use super::transform::{Patch, both_sides};
use super::{SKEW, add, for_vectors, pays, results};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, LoopKind};
use crate::lower::{BufferId, LowerCx};
use crate::recipes::Finish;
use crate::recipes::contraction::{Contraction, Count, Init, panel_loop, pieces, tile};
use crate::recipes::conv::{Geometry, short_sums};
use crate::recipes::copy::{Frame, Rows, zero};

/// Tiles, about, whose products are summed before their sum is added to that of the batch: the domain needs more digits than
/// one long sum keeps (measured: 2,000 tiles in a row have 7.5 times the direct error, in blocks of 32 twice).
const TILES: usize = 32;

fn transposed(matrix: &Matrix) -> Matrix {
    (0..matrix[0].len()).map(|j| matrix.iter().map(|row| row[j]).collect()).collect()
}

/// Results per side of a tile. Few weights would be summed directly in short parts, whose errors are so small that eight points
/// would have twelve times as much; with six it is less than six.
fn tile_results(cx: &LowerCx, g: Geometry) -> usize {
    let r = g.window.kernel[0];
    if short_sums(cx, g) { results(r).min(7usize.saturating_sub(r).max(2)) } else { results(r) }
}

/// One of the two operands on its way into the Winograd domain.
struct Side<'a> {
    what: &'a str,
    /// Points x side of the patch.
    matrix: Matrix,
    frame: Frame,
    /// First row of the image that the first patch reads.
    top: i64,
    /// Rows of the image from one row of tiles to the next.
    step: usize,
    /// Rows and columns of tiles.
    tiles: [usize; 2],
}

impl Side<'_> {
    /// Elements from one frequency to the next: powers of two would share sets of the cache.
    fn pitch(&self) -> usize {
        self.tiles[0] * self.tiles[1] * self.frame.channels + SKEW
    }

    /// Elements of an image in the domain.
    fn len(&self) -> usize {
        self.matrix.len() * self.matrix.len() * self.pitch()
    }

    /// The launch that transforms `from`; gives its results, `[image][frequency][tile][channel]`.
    fn launch(&self, cx: &mut LowerCx, from: BufferId) -> BufferId {
        let (points, patch_side) = (self.matrix.len(), self.matrix[0].len());
        let (c, lanes) = (self.frame.channels, cx.target.lanes);
        let count = self.tiles[0] * self.tiles[1];
        let [h, w] = self.frame.image;
        let form = format!("{}_{points}x{patch_side}s{}_{c}x{h}x{w}_{}_{}", self.what, self.step, self.top, count);
        let to = cx.temp(self.what, Elem::F32, 0, self.len());
        let mut kernel = KernelBuilder::new(format!("winograd_{form}_v{lanes}").replace('-', "m"));
        let source = kernel.buffer("x", Elem::F32, Access::Read);
        let target = kernel.buffer("v", Elem::F32, Access::Write);
        let rows = Rows::new(cx, self.frame);
        let padded = kernel.scratch("padded", Elem::F32, patch_side * self.frame.pitch());
        let between = kernel.scratch("between", Elem::F32, points * patch_side * lanes as usize);
        let pitch = self.frame.pitch();
        let name = format!("winograd_{form}_of{pitch}v{lanes}").replace('-', "m");
        let micro_kernel = cx.module().micro_kernel(&name, |b| {
            let image = b.pointer("image", Elem::F32, Access::Read);
            let between = b.pointer("between", Elem::F32, Access::ReadWrite);
            let v = b.pointer("v", Elem::F32, Access::Write);
            for_vectors(b, c, lanes, |b, at, width| {
                let patch =
                    Patch { memory: image, base: at.clone(), row: pitch as i64, column: c as i64, count: width };
                both_sides(b, &self.matrix, &patch, between, points, lanes, |b, i, j, value| {
                    let place = add(i.times((points * self.pitch()) as i64), &at).offset((j * self.pitch()) as i64);
                    b.store_partial(v, place, value, width);
                });
            });
        });
        kernel.parallel("t", Expr::BATCH * self.tiles[0], |k, t| {
            let (n, y) = (t.div(self.tiles[0]), t.rem(self.tiles[0]));
            rows.copy(k, source, &n, &y * self.step + self.top, patch_side.into(), padded);
            k.serial("tx", self.tiles[1], |k, x| {
                let tile = &y * self.tiles[1] + &x;
                let to = target.at(&n * self.len() + tile * c);
                k.call(micro_kernel, [padded.at(&x * (self.step * c)), between.at(0), to]);
            });
        });
        let kernel = kernel.finish();
        cx.launch(kernel, &[from, to]);
        to
    }
}

/// Writes the launches `(x, dy) -> dw` if this algorithm is wanted and applies.
pub fn grad_weight(cx: &mut LowerCx, g: Geometry, x: BufferId, dy: BufferId) -> bool {
    let w = g.window;
    let r = w.kernel[0];
    let plain = w.stride == [1, 1] && w.dilation == [1, 1] && g.groups == 1;
    // With fewer channels than lanes most of a vector would be empty, and the domain is large.
    let square = r == w.kernel[1] && (2..=7).contains(&r) && g.channels >= cx.target.lanes as usize;
    if !plain || !square || !pays(cx.target, &g) {
        return false;
    }
    let f = Transforms::new(tile_results(cx, g), r);
    let tiles = g.out.map(|n| n.div_ceil(f.m));
    let frame = |image, channels, left, width| Frame { image, channels, left, width };
    let v = Side {
        what: "v",
        matrix: f.input.clone(),
        frame: frame(g.image, g.channels, -(w.pad[1] as i64), tiles[1] * f.m + r - 1),
        top: -(w.pad[0] as i64),
        step: f.m,
        tiles,
    };
    let z = Side {
        what: "z",
        matrix: transposed(&f.output),
        frame: frame(g.out, g.outputs, 0, tiles[1] * f.m),
        top: 0,
        step: f.m,
        tiles,
    };
    let (slot_v, slot_z) = (v.launch(cx, x), z.launch(cx, dy));
    let du = products(cx, &f, &[v, z], [slot_v, slot_z]);
    back(cx, &g, &f, du);
    true
}

/// `du[frequency][channel][output]`, a round per frequency.
fn products(cx: &mut LowerCx, f: &Transforms, sides: &[Side; 2], buffers: [BufferId; 2]) -> BufferId {
    let [v, z] = sides;
    let (c, o, count) = (v.frame.channels, z.frame.channels, v.tiles[0] * v.tiles[1]);
    let tile = tile(cx.target, c, o);
    let images = (TILES / count).max(1);
    let du = cx.temp("du", Elem::F32, f.frequencies() * c * o, 0);
    let mut kernel =
        KernelBuilder::new(format!("winograd_grad_weight_v{}_{c}x{o}_{count}of{}", tile.lanes, f.points()));
    let from_v = kernel.buffer("v", Elem::F32, Access::Read);
    let from_z = kernel.buffer("z", Elem::F32, Access::Read);
    let to = kernel.buffer("du", Elem::F32, Access::ReadWrite);
    let clear = zero(cx, c * o);
    let contraction = |rows, columns| Contraction {
        elems: [Elem::F32; 3],
        lanes: tile.lanes,
        rows,
        columns,
        counts: [Count::Given, Count::Fixed(1), Count::Fixed(count)],
        a: [v.len() as i64, 0, c as i64],
        a_row: 1,
        a_columns: false,
        b: [z.len() as i64, 0, o as i64],
        b_padded: false,
        ahead: 0,
        c_row: o as i64,
        c_vector: tile.lanes.into(),
        init: Init::Add,
        finish: Finish::NONE,
    };
    kernel.parallel("f", f.frequencies(), |k, frequency| {
        k.when(Expr::FIRST.equals(0), |k| k.call(clear, [to.at(&frequency * (c * o))]));
        k.range("block", LoopKind::Serial, 0, Expr::BATCH.ceil_div(images as i64), |k, block| {
            let first = &block * images;
            let present = (Expr::BATCH - first.clone()).min(images);
            panel_loop(k, o, tile.columns(), (&0.into(), 1), |k, panel, columns| {
                let column = panel * tile.columns();
                pieces(k, "c", c, tile.rows, |k, channel, rows| {
                    let micro_kernel = contraction(rows, columns).micro_kernel(cx.module());
                    let from = from_v.at(&first * v.len() + &frequency * v.pitch() + &channel);
                    let with = from_z.at(&first * z.len() + &frequency * z.pitch() + &column);
                    let sums = to.at((&frequency * c + &channel) * o + &column);
                    k.call(micro_kernel, [from, with, sums, Arg::Int(present.clone())]);
                });
            });
        });
    });
    let kernel = kernel.finish();
    cx.launch_sums(kernel, &[buffers[0], buffers[1], du]);
    du
}

/// `dw = Gᵀ du G`, a round per channel.
fn back(cx: &mut LowerCx, g: &Geometry, f: &Transforms, du: BufferId) {
    let (c, o, r, lanes) = (g.channels, g.outputs, f.r, cx.target.lanes);
    let matrix = transposed(&f.kernel);
    let mut kernel = KernelBuilder::new(format!("winograd_weight_back_{}x{r}_{c}x{o}v{lanes}", f.m));
    let from = kernel.buffer("du", Elem::F32, Access::Read);
    let to = kernel.buffer("dw", Elem::F32, Access::Write);
    let between = kernel.scratch("between", Elem::F32, r * f.points() * lanes as usize);
    let micro_kernel = cx.module().micro_kernel(&format!("winograd_weight_back_{}x{r}_{c}x{o}v{lanes}", f.m), |b| {
        let du = b.pointer("du", Elem::F32, Access::Read);
        let between = b.pointer("between", Elem::F32, Access::ReadWrite);
        let dw = b.pointer("dw", Elem::F32, Access::Write);
        for_vectors(b, o, lanes, |b, at, count| {
            let row = (f.points() * c * o) as i64;
            let patch = Patch { memory: du, base: at.clone(), row, column: (c * o) as i64, count };
            both_sides(b, &matrix, &patch, between, r, lanes, |b, i, j, value| {
                let place = add(i.times((r * c * o) as i64), &at).offset((j * c * o) as i64);
                b.store_partial(dw, place, value, count);
            });
        });
    });
    kernel.parallel("c", c, |k, channel| {
        k.call(micro_kernel, [from.at(&channel * o), between.at(0), to.at(&channel * o)]);
    });
    let kernel = kernel.finish();
    let result = cx.result.buffer;
    cx.launch(kernel, &[du, result]);
}
