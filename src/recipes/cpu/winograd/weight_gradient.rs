//! The gradient of a convolution's weights in the Winograd domain, the adjoint of the forward way:
//! `dw = Gᵀ [Σ_tiles (Bᵀ x B) ⊙ (A dy Aᵀ)] G`. For each frequency it is one product over all tiles of the batch,
//! `du[channel][output] = Σ_tiles v[tile][channel] · z[tile][output]`; the transform back is done once.

use super::{SKEW, add, for_vectors, pays, results};
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Elem, Expr, LoopKind};
use crate::lower::tile::tile;
use crate::lower::{BufferId, LowerCx, code};
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::{panel_loop, pieces};
use crate::recipes::common::winograd::{Matrix, Size, Transforms};
use crate::recipes::common::winograd::{Patch, both_sides};
use crate::recipes::cpu::contraction::{Contraction, Count, Init};
use crate::recipes::cpu::frame::{Frame, Rows, zero};

/// Tiles, about, whose products are summed before their sum is added to that of the batch: the domain needs more
/// digits than one long sum keeps (measured: 2,000 tiles in a row have 7.5 times the direct error, in blocks of 32
/// twice).
const TILES: usize = 32;

fn transposed(matrix: &Matrix) -> Matrix {
    (0..matrix[0].len()).map(|j| matrix.iter().map(|row| row[j]).collect()).collect()
}

/// Results per side of a tile. Few weights would be summed directly in short parts, whose errors are so small that
/// eight points would have twelve times as much; with six it is less than six.
fn tile_results(g: Geometry, short_sums: bool) -> usize {
    let r = g.window.kernel[0];
    if short_sums { results(r).min(7usize.saturating_sub(r).max(2)) } else { results(r) }
}

/// The operands of the sum.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Operand {
    /// The image x.
    Image,
    /// The gradient dy.
    Gradient,
}

impl Operand {
    fn name(self) -> &'static str {
        match self {
            Operand::Image => "v",
            Operand::Gradient => "z",
        }
    }

    /// What it is multiplied by on both sides: points x side of the patch.
    fn matrix(self, size: Size) -> Matrix {
        let f = size.transforms();
        match self {
            Operand::Image => f.input,
            Operand::Gradient => transposed(&f.output),
        }
    }
}

/// One of the two operands on its way into the Winograd domain.
struct Side {
    operand: Operand,
    size: Size,
    frame: Frame,
    /// First row of the image that the first patch reads.
    top: i64,
    /// Rows of the image from one row of tiles to the next.
    step: usize,
    /// Rows and columns of tiles.
    tiles: [usize; 2],
}

impl Side {
    /// Elements from one frequency to the next: powers of two would share sets of the cache.
    fn pitch(&self) -> usize {
        self.tiles[0] * self.tiles[1] * self.frame.channels + SKEW
    }

    /// Elements of an image in the domain.
    fn len(&self) -> usize {
        self.size.points() * self.size.points() * self.pitch()
    }

    /// The launch that transforms `from`; gives its results, `[image][frequency][tile][channel]`.
    fn launch(&self, cx: &mut LowerCx, from: BufferId) -> BufferId {
        let (points, patch_side) = (self.size.points(), self.operand.matrix(self.size)[0].len());
        let (c, lanes, what) = (self.frame.channels, cx.target.lanes, self.operand.name());
        let count = self.tiles[0] * self.tiles[1];
        let [h, w] = self.frame.image;
        let form = format!("{what}_{points}x{patch_side}s{}_{c}x{h}x{w}_{}_{count}", self.step, self.top);
        let to = cx.temp(what, Elem::F32, 0, self.len());
        let mut kernel = KernelBuilder::new(format!("winograd_{form}_v{lanes}").replace('-', "m"));
        let source = kernel.buffer("x", Elem::F32, Access::Read);
        let target = kernel.buffer("v", Elem::F32, Access::Write);
        let rows = Rows::new(cx, self.frame);
        let padded = kernel.scratch("padded", Elem::F32, patch_side * self.frame.pitch());
        let between = kernel.scratch("between", Elem::F32, points * patch_side * lanes as usize);
        let pitch = self.frame.pitch();
        let name = format!("winograd_{form}_of{pitch}v{lanes}").replace('-', "m");
        let tile =
            TileIn { operand: self.operand, size: self.size, channels: c, row: pitch, pitch: self.pitch(), lanes };
        let micro_kernel = cx.micro_kernel(code(name, tile, TileIn::write));
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
        cx.launch(self.size.transforms().method(), kernel, &[from, to]);
        to
    }
}

/// Transforms one tile: `(image, between, v)`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct TileIn {
    operand: Operand,
    size: Size,
    channels: usize,
    /// Elements from row to row of the image.
    row: usize,
    /// Elements from frequency to frequency.
    pitch: usize,
    lanes: u32,
}

impl TileIn {
    fn write(&self, b: &mut MicroKernelBuilder) {
        let &TileIn { operand, size, channels: c, row, pitch, lanes } = self;
        let (matrix, points) = (operand.matrix(size), size.points());
        let image = b.pointer("image", Elem::F32, Access::Read);
        let between = b.pointer("between", Elem::F32, Access::ReadWrite);
        let v = b.pointer("v", Elem::F32, Access::Write);
        for_vectors(b, c, lanes, |b, at, width| {
            let patch = Patch { memory: image, base: at.clone(), row: row as i64, column: c as i64, count: width };
            both_sides(b, &matrix, &patch, between, points, lanes, |b, i, j, value| {
                let place = add(i.times((points * pitch) as i64), &at).offset((j * pitch) as i64);
                b.store_partial(v, place, value, width);
            });
        });
    }
}

/// Writes the launches `(x, dy) -> dw` if this algorithm is wanted and applies.
/// `short_sums`: the direct form would sum in short parts.
pub fn grad_weight(cx: &mut LowerCx, g: Geometry, [x, dy]: [BufferId; 2], short_sums: bool) -> bool {
    let w = g.window;
    let r = w.kernel[0];
    let plain = w.stride == [1, 1] && w.dilation == [1, 1] && g.groups == 1;
    // With fewer channels than lanes most of a vector would be empty, and the domain is large.
    let square = r == w.kernel[1] && (2..=7).contains(&r) && g.channels >= cx.target.lanes as usize;
    if !plain || !square || !pays(cx.target, &g) {
        return false;
    }
    let f = Transforms::new(tile_results(g, short_sums), r);
    let tiles = g.out.map(|n| n.div_ceil(f.m));
    let frame = |image, channels, left, width| Frame { image, channels, left, width };
    let v = Side {
        operand: Operand::Image,
        size: f.size(),
        frame: frame(g.image, g.channels, -(w.pad[1] as i64), tiles[1] * f.m + r - 1),
        top: -(w.pad[0] as i64),
        step: f.m,
        tiles,
    };
    let z = Side {
        operand: Operand::Gradient,
        size: f.size(),
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

/// `du[frequency][channel][output]`, an iteration per frequency.
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
        next: 0,
        a_ahead: 0,
        c_row: o as i64,
        c_vector: tile.lanes.into(),
        init: Init::Add,
        epilogue: Epilogue::NONE,
    };
    kernel.parallel("f", f.frequencies(), |k, frequency| {
        k.when(cx.images_before().equals(0), |k| k.call(clear, [to.at(&frequency * (c * o))]));
        k.range("block", LoopKind::Serial, 0, Expr::BATCH.ceil_div(images as i64), |k, block| {
            let first = &block * images;
            let present = (Expr::BATCH - first.clone()).min(images);
            panel_loop(k, o, tile.columns(), (&0.into(), 1), |k, panel, columns| {
                let column = panel * tile.columns();
                pieces(k, "c", c, tile.rows, |k, channel, rows| {
                    let micro_kernel = cx.micro_kernel(contraction(rows, columns));
                    let from = from_v.at(&first * v.len() + &frequency * v.pitch() + &channel);
                    let with = from_z.at(&first * z.len() + &frequency * z.pitch() + &column);
                    let sums = to.at((&frequency * c + &channel) * o + &column);
                    k.call(micro_kernel, [from, with, sums, Arg::Int(present.clone())]);
                });
            });
        });
    });
    let kernel = kernel.finish();
    cx.launch_accumulating(f.method(), kernel, &[buffers[0], buffers[1], du]);
    du
}

/// `dw = Gᵀ du G`, an iteration per channel.
fn back(cx: &mut LowerCx, g: &Geometry, f: &Transforms, du: BufferId) {
    let (c, o, r, lanes) = (g.channels, g.outputs, f.r, cx.target.lanes);
    let mut kernel = KernelBuilder::new(format!("winograd_weight_back_{}x{r}_{c}x{o}v{lanes}", f.m));
    let from = kernel.buffer("du", Elem::F32, Access::Read);
    let to = kernel.buffer("dw", Elem::F32, Access::Write);
    let between = kernel.scratch("between", Elem::F32, r * f.points() * lanes as usize);
    let name = format!("winograd_weight_back_{}_{c}x{o}v{lanes}", f.size());
    let micro_kernel = cx.micro_kernel(code(name, (f.size(), [c, o], lanes), |&(size, [c, o], lanes), b| {
        let f = size.transforms();
        let (r, matrix) = (f.r, transposed(&f.kernel));
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
    }));
    kernel.parallel("c", c, |k, channel| {
        k.call(micro_kernel, [from.at(&channel * o), between.at(0), to.at(&channel * o)]);
    });
    let kernel = kernel.finish();
    let result = cx.result.buffer;
    cx.launch(f.method(), kernel, &[du, result]);
}
