//! The kernel of a convolution of bytes: rows of the image, padded where they must be, then tile after tile.

use super::Link;
use super::panels::{Terms, WORD, panels};
use super::product::Product;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Elem, Expr, Index, Memory, MicroKernelId, Param};
use crate::lower::target::{Batch, Target};
use crate::lower::tile::{Tile, tile_of_bytes};
use crate::lower::{BufferId, LowerCx, Method, code};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::{panel_loop, pieces};
use crate::recipes::cpu::conv::rows::{rows_for_large_batch, rows_for_small_batch};

/// Where the terms of a convolution's sums lie, and how its rows are dealt out.
#[derive(Clone, Copy)]
struct Shape {
    g: Geometry,
    terms: Terms,
    /// Rows of runs, and runs of each.
    runs: [usize; 2],
    /// Rows of results in an iteration.
    rows: usize,
    /// The image's rows are copied, with bytes for 0 around them.
    padded: bool,
}

impl Shape {
    fn new(target: &Target, g: &Geometry) -> Shape {
        let g = g.flattened();
        let w = g.window;
        let together = w.dilation[1] == 1;
        let [kh, kw] = w.kernel;
        let (runs, run) = if together { ([kh, 1], kw * g.channels) } else { ([kh, kw], g.channels) };
        let terms = Terms { count: runs[0] * runs[1], run };
        // What fills the last word of a run must lie inside of the buffer, and it may be the image's last one.
        let padded = w.pad != [0, 0] || !terms.run.is_multiple_of(WORD);
        let whole = Shape { g, terms, runs, rows: g.out[0], padded };
        let fits = |rows: usize| 2 * Shape { rows, ..whole }.copy() <= target.cache[1];
        let rows = match target.batch {
            Batch::Latency => rows_for_small_batch(g.out[0], fits),
            _ => rows_for_large_batch(g.out[0], fits),
        };
        Shape { rows, ..whole }
    }

    /// Columns of the rows that products read.
    fn columns(&self) -> usize {
        self.g.image[1] + if self.padded { 2 * self.g.window.pad[1] } else { 0 }
    }

    fn pitch(&self) -> usize {
        self.columns() * self.g.channels
    }

    /// Rows that an iteration reads.
    fn reach(&self) -> usize {
        let w = self.g.window;
        (self.rows - 1) * w.stride[0] + w.dilation[0] * (w.kernel[0] - 1) + 1
    }

    /// Bytes of the copy; the last run may be read beyond its end.
    fn copy(&self) -> usize {
        self.reach() * self.pitch() + WORD
    }

    /// Bytes of a from row to row of runs, and from run to run.
    fn a_runs(&self) -> [usize; 2] {
        let w = self.g.window;
        [w.dilation[0] * self.pitch(), w.dilation[1] * self.g.channels]
    }
}

/// Writes the launch.
pub fn launch(cx: &mut LowerCx, [x, y]: [BufferId; 2], link: &Link) {
    let shape = Shape::new(cx.target, &link.geometry);
    let (g, terms) = (shape.g, shape.terms);
    let tile = tile_of_bytes(cx.target, g.out[1], g.outputs);
    let weights = panels(cx, link.weights, terms, g.outputs, tile.columns());
    let mut k = KernelBuilder::new(name(&shape, tile, link));
    let source = k.buffer("x", Elem::U8, Access::Read);
    let b = k.buffer("w", Elem::I32, Access::Read);
    let factor = k.buffer("factor", Elem::F32, Access::Read);
    let bias = k.buffer("bias", Elem::I32, Access::Read);
    let target = k.buffer("y", link.to.elem(), Access::Write);
    let copy = shape.padded.then(|| (k.scratch("rows", Elem::U8, shape.copy()), rows_of(cx, &shape, link.zero)));
    let iterations = g.out[0] / shape.rows;
    k.parallel("t", Expr::BATCH * iterations, |k, t| {
        let (n, row) = (t.div(iterations), t.rem(iterations) * shape.rows);
        let top = &row * g.window.stride[0] + -(g.window.pad[0] as i64);
        let (from, from_at) = match copy {
            Some((scratch, rows)) => {
                rows.copy(k, &shape, [source, scratch], &n, &top);
                (scratch, Expr::from(0))
            }
            None => (source, (&n * g.image[0] + &top) * shape.pitch()),
        };
        panel_loop(k, g.outputs, tile.columns(), (&0.into(), 1), |k, panel, columns| {
            let column = &panel * tile.columns();
            k.serial("r", shape.rows, |k, r| {
                pieces(k, "m", g.out[1], tile.rows, |k, m, height| {
                    let micro_kernel = cx.micro_kernel(Product {
                        lanes: tile.lanes,
                        rows: height,
                        columns,
                        width: tile.columns(),
                        terms,
                        runs: shape.runs,
                        a_runs: shape.a_runs(),
                        a_row: g.window.stride[1] * g.channels,
                        y_row: g.outputs,
                        to: link.to,
                    });
                    let [stride, next] = [shape.pitch() * g.window.stride[0], g.window.stride[1] * g.channels];
                    let from = from.at(&from_at + &r * stride + &m * next);
                    let to = ((&n * g.out[0] + &row + &r) * g.out[1] + &m) * g.outputs + &column;
                    let weights = b.at(&panel * (terms.all() * tile.columns()));
                    k.call(micro_kernel, [from, weights, target.at(to), factor.at(&column), bias.at(&column)]);
                });
            });
        });
    });
    let kernel = k.finish();
    cx.launch(Method::Other("bytes".into()), kernel, &[x, weights, link.factor, link.bias, y]);
}

fn name(shape: &Shape, tile: Tile, link: &Link) -> String {
    let (g, w) = (&shape.g, &shape.g.window);
    let [k, s, p, d] = [w.kernel, w.stride, w.pad, w.dilation].map(|v| format!("{}x{}", v[0], v[1]));
    let image = format!("{}x{}x{}_{k}s{s}p{p}d{d}_{}", g.channels, g.image[0], g.image[1], g.outputs);
    format!("bytes_v{}_{image}_z{}{}_{}", tile.lanes, link.zero, link.to.name(), shape.rows)
}

/// The two micro-kernels that fill a row of the copy: one of the image, one beyond it.
#[derive(Clone, Copy)]
struct Rows {
    copy: MicroKernelId,
    fill: MicroKernelId,
}

fn rows_of(cx: &mut LowerCx, shape: &Shape, zero: usize) -> Rows {
    let (lanes, c, pad) = (cx.target.lanes, shape.g.channels, shape.g.window.pad[1]);
    let [side, inner, pitch] = [pad * c, shape.g.image[1] * c, shape.pitch()];
    let name = format!("bytes_row_{side}_{inner}_of{pitch}_z{zero}_v{lanes}");
    let copy = cx.micro_kernel(code(name, ([side, inner, pitch], zero, lanes), |&(sizes, zero, lanes), b| {
        let [side, inner, pitch] = sizes;
        let to = b.pointer("to", Elem::U8, Access::Write);
        let from = b.pointer("from", Elem::U8, Access::Read);
        fill(b, to, 0..side, zero, lanes);
        b.elements(inner, lanes, |b, at, lanes| {
            let value = b.load(from, at.clone(), lanes);
            b.store(to, at.offset(side as i64), value);
        });
        fill(b, to, side + inner..pitch, zero, lanes);
    }));
    let name = format!("bytes_zeros_{pitch}_z{zero}_v{lanes}");
    let fill = cx.micro_kernel(code(name, (pitch, zero, lanes), |&(pitch, zero, lanes), b| {
        let to = b.pointer("to", Elem::U8, Access::Write);
        fill(b, to, 0..pitch, zero, lanes);
    }));
    Rows { copy, fill }
}

fn fill(b: &mut MicroKernelBuilder, to: Param, places: std::ops::Range<usize>, zero: usize, lanes: u32) {
    b.elements(places.len(), lanes, |b, at: Index, lanes| {
        let value = b.i32(zero as i32, lanes);
        b.store(to, at.offset(places.start as i64), value);
    });
}

impl Rows {
    /// Copies the rows of an iteration from row `top` of image `n` on.
    fn copy(self, k: &mut KernelBuilder, shape: &Shape, [image, to]: [Memory; 2], n: &Expr, top: &Expr) {
        let [height, width] = shape.g.image;
        k.serial("y", shape.reach(), |k, y| {
            let from = top + &y;
            let inside = Expr::from(-1).lt(&from) * from.lt(height);
            let to = to.at(&y * shape.pitch());
            let source = image.at((n * height + &from) * (width * shape.g.channels));
            k.either(inside, |k| k.call(self.copy, [to.clone(), source]), |k| k.call(self.fill, [to.clone()]));
        });
    }
}
