//! The gradient of a convolution's weights in the Winograd domain, the adjoint of the forward way:
//! `dw = Gᵀ [Σ_tiles (Bᵀ x B) ⊙ (A dy Aᵀ)] G`. For each frequency it is one product over all tiles of the batch,
//! `du[channel][output] = Σ_tiles v[tile][channel] · z[tile][output]`; the transform back is done once.

use super::matrices::{Matrix, Transforms};
use super::transform::{Patch, both_sides};
use super::{SKEW, add, for_vectors, pays, results};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, LoopKind};
use crate::kernel::recipes::Finish;
use crate::kernel::recipes::contraction::{Contraction, Count, Init, panel_loop, pieces, tile};
use crate::kernel::recipes::conv::{Geometry, short_sums};
use crate::kernel::recipes::copy::{Frame, Rows, zero};
use crate::kernel::site::{Site, Slot};

/// Tiles, about, whose products are summed before their sum is added to that of the batch: the domain needs more digits than
/// one long sum keeps (measured: 2,000 tiles in a row have 7.5 times the direct error, in blocks of 32 twice).
const TILES: usize = 32;

fn transposed(matrix: &Matrix) -> Matrix {
    (0..matrix[0].len()).map(|j| matrix.iter().map(|row| row[j]).collect()).collect()
}

/// Results per side of a tile. Few weights would be summed directly in short parts, whose errors are so small that eight points
/// would have twelve times as much; with six it is less than six.
fn tile_results(site: &Site, g: Geometry) -> usize {
    let r = g.window.kernel[0];
    if short_sums(site, g) { results(r).min(7usize.saturating_sub(r).max(2)) } else { results(r) }
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
    fn launch(&self, site: &mut Site, from: Slot) -> Slot {
        let (points, patch_side) = (self.matrix.len(), self.matrix[0].len());
        let (c, lanes) = (self.frame.channels, site.target.lanes);
        let count = self.tiles[0] * self.tiles[1];
        let [h, w] = self.frame.image;
        let form = format!("{}_{points}x{patch_side}s{}_{c}x{h}x{w}_{}_{}", self.what, self.step, self.top, count);
        let to = site.temp(self.what, Elem::F32, 0, self.len());
        let mut kernel = KernelBuilder::new(format!("winograd_{form}_v{lanes}").replace('-', "m"));
        let source = kernel.buffer("x", Elem::F32, Access::Read);
        let target = kernel.buffer("v", Elem::F32, Access::Write);
        let rows = Rows::new(site, self.frame);
        let padded = kernel.scratch("padded", Elem::F32, patch_side * self.frame.pitch());
        let between = kernel.scratch("between", Elem::F32, points * patch_side * lanes as usize);
        let pitch = self.frame.pitch();
        let name = format!("winograd_{form}_of{pitch}v{lanes}").replace('-', "m");
        let leaf = site.module().leaf(&name, |b| {
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
                k.call(leaf, [padded.at(&x * (self.step * c)), between.at(0), to]);
            });
        });
        let kernel = kernel.finish();
        site.launch(kernel, &[from, to]);
        to
    }
}

/// Writes the launches `(x, dy) -> dw` if this algorithm is wanted and applies.
pub fn grad_weight(site: &mut Site, g: Geometry, x: Slot, dy: Slot) -> bool {
    let w = g.window;
    let r = w.kernel[0];
    let plain = w.stride == [1, 1] && w.dilation == [1, 1] && g.groups == 1;
    // With fewer channels than lanes most of a vector would be empty, and the domain is large.
    let square = r == w.kernel[1] && (2..=7).contains(&r) && g.channels >= site.target.lanes as usize;
    if !plain || !square || !pays(site.target, &g) {
        return false;
    }
    let f = Transforms::new(tile_results(site, g), r);
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
    let (slot_v, slot_z) = (v.launch(site, x), z.launch(site, dy));
    let du = products(site, &f, &[v, z], [slot_v, slot_z]);
    back(site, &g, &f, du);
    true
}

/// `du[frequency][channel][output]`, a round per frequency.
fn products(site: &mut Site, f: &Transforms, sides: &[Side; 2], slots: [Slot; 2]) -> Slot {
    let [v, z] = sides;
    let (c, o, count) = (v.frame.channels, z.frame.channels, v.tiles[0] * v.tiles[1]);
    let tile = tile(site.target, c, o);
    let images = (TILES / count).max(1);
    let du = site.temp("du", Elem::F32, f.frequencies() * c * o, 0);
    let mut kernel =
        KernelBuilder::new(format!("winograd_grad_weight_v{}_{c}x{o}_{count}of{}", tile.lanes, f.points()));
    let from_v = kernel.buffer("v", Elem::F32, Access::Read);
    let from_z = kernel.buffer("z", Elem::F32, Access::Read);
    let to = kernel.buffer("du", Elem::F32, Access::ReadWrite);
    let clear = zero(site, c * o);
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
                    let leaf = contraction(rows, columns).leaf(site.module());
                    let from = from_v.at(&first * v.len() + &frequency * v.pitch() + &channel);
                    let with = from_z.at(&first * z.len() + &frequency * z.pitch() + &column);
                    let sums = to.at((&frequency * c + &channel) * o + &column);
                    k.call(leaf, [from, with, sums, Arg::Int(present.clone())]);
                });
            });
        });
    });
    let kernel = kernel.finish();
    site.launch_sums(kernel, &[slots[0], slots[1], du]);
    du
}

/// `dw = Gᵀ du G`, a round per channel.
fn back(site: &mut Site, g: &Geometry, f: &Transforms, du: Slot) {
    let (c, o, r, lanes) = (g.channels, g.outputs, f.r, site.target.lanes);
    let matrix = transposed(&f.kernel);
    let mut kernel = KernelBuilder::new(format!("winograd_weight_back_{}x{r}_{c}x{o}v{lanes}", f.m));
    let from = kernel.buffer("du", Elem::F32, Access::Read);
    let to = kernel.buffer("dw", Elem::F32, Access::Write);
    let between = kernel.scratch("between", Elem::F32, r * f.points() * lanes as usize);
    let leaf = site.module().leaf(&format!("winograd_weight_back_{}x{r}_{c}x{o}v{lanes}", f.m), |b| {
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
        k.call(leaf, [from.at(&channel * o), between.at(0), to.at(&channel * o)]);
    });
    let kernel = kernel.finish();
    let result = site.result.slot;
    site.launch(kernel, &[du, result]);
}
