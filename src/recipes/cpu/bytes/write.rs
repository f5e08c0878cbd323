//! The kernel of a convolution of bytes: rows of the image, padded where they must be, then tile after tile.

use super::Link;
use super::factors::Factors;
use super::panels::{Terms, panels};
use super::product::{End, Product};
use super::rows::Rows;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr};
use crate::lower::target::{Batch, Target};
use crate::lower::tile::{Tile, tile_of_whole};
use crate::lower::{BufferId, LowerCx, Method};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::{panel_loop, pieces};
use crate::recipes::cpu::conv::rows::{rows_for_large_batch, rows_for_small_batch};

/// Iterations of a single image, at least: enough for several threads.
const ITERATIONS: usize = 8;

/// Where the terms of a convolution's sums lie, and how its rows are dealt out.
#[derive(Clone, Copy)]
struct Shape {
    g: Geometry,
    terms: Terms,
    /// Rows of runs, and runs of each.
    runs: [usize; 2],
    /// Rows of results in an iteration.
    rows: usize,
    /// The image's rows are copied, as what products read, with bytes for 0 around them.
    copied: bool,
}

impl Shape {
    /// How the convolution of an image of `elem` is done.
    fn new(target: &Target, g: &Geometry, factors: Factors, elem: Elem) -> Shape {
        let g = g.flattened();
        let w = g.window;
        let together = w.dilation[1] == 1;
        let [kh, kw] = w.kernel;
        let (runs, run) = if together { ([kh, 1], kw * g.channels) } else { ([kh, kw], g.channels) };
        let terms = Terms { count: runs[0] * runs[1], run, factors };
        // What fills the last word of a run must lie inside of the buffer, and it may be the image's last one.
        let whole_words = terms.run.is_multiple_of(factors.in_word());
        let copied = w.pad != [0, 0] || !whole_words || elem != factors.image();
        let whole = Shape { g, terms, runs, rows: g.out[0], copied };
        let fits = |rows: usize| 2 * factors.image().bytes() * Shape { rows, ..whole }.copy() <= target.cache[1];
        let rows = match target.batch {
            Batch::Latency => rows_for_small_batch(g.out[0], fits),
            _ => rows_for_large_batch(g.out[0], fits),
        };
        Shape { rows, ..whole }
    }

    /// Columns of the rows that products read.
    fn columns(&self) -> usize {
        self.g.image[1] + if self.copied { 2 * self.g.window.pad[1] } else { 0 }
    }

    fn pitch(&self) -> usize {
        self.columns() * self.g.channels
    }

    /// Rows that an iteration reads.
    fn reach(&self) -> usize {
        let w = self.g.window;
        (self.rows - 1) * w.stride[0] + w.dilation[0] * (w.kernel[0] - 1) + 1
    }

    /// Elements of the copy; the last run may be read beyond its end.
    fn copy(&self) -> usize {
        self.reach() * self.pitch() + self.terms.factors.in_word()
    }

    /// Elements of a from row to row of runs, and from run to run.
    fn a_runs(&self) -> [usize; 2] {
        let w = self.g.window;
        [w.dilation[0] * self.pitch(), w.dilation[1] * self.g.channels]
    }
}

/// Writes the launch.
pub fn launch(cx: &mut LowerCx, [x, y]: [BufferId; 2], link: &Link) {
    let [from_elem, to_elem] = [x, y].map(|buffer| cx.elem(buffer));
    let shape = Shape::new(cx.target, &link.geometry, link.factors(cx.target), from_elem);
    let (g, terms) = (shape.g, shape.terms);
    let tile = tile_of_whole(cx.target, g.out[1], g.outputs, terms.factors.beside());
    let end = End::Results(link.to, to_elem);
    let weights = panels(cx, link.weights, terms, g.outputs, tile.columns());
    let mut k = KernelBuilder::new(name(&shape, tile, link, from_elem, end));
    let source = k.buffer("x", from_elem, Access::Read);
    let b = k.buffer("w", Elem::I32, Access::Read);
    let factor = k.buffer("factor", Elem::F32, Access::Read);
    let bias = k.buffer("bias", Elem::I32, Access::Read);
    let target = k.buffer("y", to_elem, Access::Write);
    let image = terms.factors.image();
    let copy = shape.copied.then(|| {
        let side = g.window.pad[1] * g.channels;
        let sizes = [side, g.image[1] * g.channels, shape.pitch()];
        (k.scratch("rows", image, shape.copy()), Rows::new(cx, sizes, link.zero, [from_elem, image]))
    });
    let iterations = g.out[0] / shape.rows;
    // Threads share a single image of few rows by its channels.
    let panels = g.outputs.div_ceil(tile.columns());
    let few = cx.target.batch == Batch::Latency && iterations < ITERATIONS;
    let blocks = if few { ITERATIONS.div_ceil(iterations).min(panels) } else { 1 };
    k.parallel("t", Expr::BATCH * (iterations * blocks), |k, t| {
        let (at, block) = (t.div(blocks), t.rem(blocks));
        let (n, row) = (at.div(iterations), at.rem(iterations) * shape.rows);
        let top = &row * g.window.stride[0] + -(g.window.pad[0] as i64);
        let (from, from_at) = match copy {
            Some((scratch, rows)) => {
                k.serial("y", shape.reach(), |k, y| {
                    rows.row(k, source, (&n, g.image[0]), &(&top + &y), scratch.at(&y * shape.pitch()));
                });
                (scratch, Expr::from(0))
            }
            None => (source, (&n * g.image[0] + &top) * shape.pitch()),
        };
        panel_loop(k, g.outputs, tile.columns(), (&block, blocks), |k, panel, columns| {
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
                        end,
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
    cx.launch(Method::Other(terms.factors.method().into()), kernel, &[x, weights, link.factor, link.bias, y]);
}

fn name(shape: &Shape, tile: Tile, link: &Link, from: Elem, end: End) -> String {
    let (g, w) = (&shape.g, &shape.g.window);
    let [k, s, p, d] = [w.kernel, w.stride, w.pad, w.dilation].map(|v| format!("{}x{}", v[0], v[1]));
    let image = format!("{}x{}x{}_{k}s{s}p{p}d{d}_{}", g.channels, g.image[0], g.image[1], g.outputs);
    let kind = shape.terms.factors.name();
    format!("{kind}_v{}_{from}_{image}_z{}{}_{}", tile.lanes, link.zero, end.name(), shape.rows)
}
