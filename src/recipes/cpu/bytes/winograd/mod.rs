//! Winograd's convolution of bytes, exact: F(m, r) along rows, and down the columns either sums over the rows of the
//! window or F(2, 2) and F(2, 3) of groups of them, by products of 16-bit numbers. There are no roundings, so its bits
//! are those of the direct sum.
//!
//! Tiles of a row become V, `[point][row][tile][channel]`, of 16-bit numbers; each point's products with the weights
//! are summed over channels (and rows of the window) to M, `[tile][vector][point][lane]`, modulo 2³²; results are made
//! of a tile's sums. A tile's rows of V lie as far from each other as tiles of the next row do, so that register tiles
//! need not end with a row.

mod form;
mod matrices;
mod transform;
mod weights;

use super::Link;
use super::panels::Terms;
use super::product::{End, Product};
use super::rows::Rows;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr, Memory, MicroKernelId};
use crate::lower::cost::Choice;
use crate::lower::target::Batch;
use crate::lower::{BufferId, LowerCx, Method};
use crate::recipes::common::int8::To;
use crate::recipes::common::loops::{panel_loop, pieces};
use crate::recipes::cpu::bytes::Factors;
use form::Form;
use matrices::Down;
use transform::{Columns, Input, Output};
use weights::Weights;

/// Writes the launches if they are faster than the direct sum.
pub fn launch(cx: &mut LowerCx, [x, y]: [BufferId; 2], link: &Link) -> bool {
    let g = link.geometry;
    if cx.elem(x) != Elem::U8 {
        return false;
    }
    let Some((form, weighed)) = Form::choose(cx.target, &g, link.narrow) else { return false };
    let what = format!("{}: {}x{}x{} to {}, bytes", cx.name, g.channels, g.image[0], g.image[1], g.outputs);
    cx.builder.choices.push(Choice { what, candidates: weighed.into(), taken: 1 });
    let sizes = [g.channels, g.outputs, form.tile.columns()];
    let u = cx.packed(link.weights, Weights { tiles: form.tiles, sizes, lanes: form.tile.lanes });
    // Threads share an image by its channels where all of V is small beside the last cache.
    let whole = Elem::I16.bytes() * form.v(g.out[0]);
    if cx.target.batch == Batch::Latency && whole <= cx.target.cache[2] / 4 {
        by_channels(cx, &form, [x, u, y], link);
    } else {
        by_rows(cx, &form, [x, u, y], link);
    }
    true
}

/// An iteration takes some rows of an image.
fn by_rows(cx: &mut LowerCx, form: &Form, [x, u, y]: [BufferId; 3], link: &Link) {
    let g = &form.g;
    let rows = form.iteration(cx.target).expect("a form that has none is not chosen");
    let mut k = KernelBuilder::new(format!("whole_{}_{rows}{}", form.name(), ends(cx, y, link)));
    let from = k.buffer("x", Elem::U8, Access::Read);
    let parts = Parts::new(cx, &mut k, form, rows, (y, link));
    let (v, there) = (k.scratch("v", Elem::I16, form.v(rows)), There::new(cx, &mut k, form, [rows; 2], link.zero));
    let iterations = g.out[0] / rows;
    k.parallel("t", Expr::BATCH * iterations, |k, t| {
        let (n, first) = (t.div(iterations), t.rem(iterations) * rows);
        there.rows(k, form, (from, rows), (&n, &first), (v, &0.into()));
        let to = (&n * g.out[0] + &first) * (g.out[1] * g.outputs);
        panel_loop(k, g.outputs, form.tile.columns(), (&0.into(), 1), |k, panel, columns| {
            parts.products(cx, k, form, (rows, form.point(rows)), (v, &0.into()), (&panel, columns));
            parts.back(cx, k, form, rows, &to, (&panel, columns));
        });
    });
    let kernel = k.finish();
    cx.launch(Method::Other(form.method()), kernel, &[x, u, link.factor, link.bias, y]);
}

/// Some iterations make V of an image's rows, then others take some channels of all of it.
fn by_channels(cx: &mut LowerCx, form: &Form, [x, u, y]: [BufferId; 3], link: &Link) {
    let g = &form.g;
    // As few rows as there are tiles of.
    let (block, each) = (form.tiles.results(), form.v(g.out[0]));
    let tiles = cx.temp("tiles", Elem::I16, 0, each);
    let mut k = KernelBuilder::new(format!("whole_there_{}_z{}", form.name(), link.zero));
    let (from, v) = (k.buffer("x", Elem::U8, Access::Read), k.buffer("v", Elem::I16, Access::Write));
    let blocks = if form.tiles.both { form.tile_rows(g.out[0]) } else { form.rows_in(g.out[0]) };
    let there = There::new(cx, &mut k, form, [block, g.out[0]], link.zero);
    k.parallel("t", Expr::BATCH * blocks, |k, t| {
        let (n, at) = (t.div(blocks), t.rem(blocks));
        let to = &n * each + &at * form.row();
        if form.tiles.both {
            there.rows(k, form, (from, block), (&n, &(&at * block)), (v, &to));
        } else {
            there.row(k, form, from, (&n, &at), (v, &to));
        }
    });
    let kernel = k.finish();
    cx.launch(Method::Other(form.method()), kernel, &[x, tiles]);

    let fits = |rows| 4 * Elem::I32.bytes() * form.m(rows) <= cx.target.cache[1] && rows.is_multiple_of(block);
    let rows = (1..=g.out[0]).rev().find(|rows| g.out[0].is_multiple_of(*rows) && fits(*rows)).unwrap_or(g.out[0]);
    let mut k = KernelBuilder::new(format!("whole_products_{}_{rows}{}", form.name(), ends(cx, y, link)));
    let v = k.buffer("v", Elem::I16, Access::Read);
    let parts = Parts::new(cx, &mut k, form, rows, (y, link));
    let panels = g.outputs.div_ceil(form.tile.columns());
    k.parallel("t", Expr::BATCH * panels, |k, t| {
        let (n, panel) = (t.div(panels), t.rem(panels));
        panel_loop(k, g.outputs, form.tile.columns(), (&panel, panels), |k, panel, columns| {
            k.serial("r", g.out[0] / rows, |k, r| {
                let first = &r * rows;
                let from = &n * each + &r * (form.tile_rows(rows) * form.row());
                parts.products(cx, k, form, (rows, form.point(g.out[0])), (v, &from), (&panel, columns));
                let to = (&n * g.out[0] + &first) * (g.out[1] * g.outputs);
                parts.back(cx, k, form, rows, &to, (&panel, columns));
            });
        });
    });
    let kernel = k.finish();
    cx.launch(Method::Other(form.method()), kernel, &[tiles, u, link.factor, link.bias, y]);
}

/// A part of names: what results become.
fn ends(cx: &LowerCx, y: BufferId, link: &Link) -> String {
    format!("_z{}{}_{}", link.zero, link.to.name(), cx.elem(y))
}

/// The way to the domain.
struct There {
    copy: Rows,
    /// A row of the padded image.
    padded: Memory,
    input: MicroKernelId,
    /// What rows are transformed to where columns follow, and how these are.
    columns: Option<(Memory, MicroKernelId)>,
    /// Elements from point to point of V.
    point: usize,
}

impl There {
    /// For iterations of `rows` rows of results, and V of `all` rows of them.
    fn new(cx: &mut LowerCx, k: &mut KernelBuilder, form: &Form, [rows, all]: [usize; 2], zero: usize) -> There {
        let (g, lanes, row) = (&form.g, cx.target.lanes, form.row());
        let sizes = [g.window.pad[1] * g.channels, g.image[1] * g.channels, form.pitch()];
        let point = if form.tiles.both { form.point_of_rows(rows) } else { form.point(all) };
        let columns =
            Columns { window: form.tiles.rows, row, point: form.tiles.size.points() * form.point(all), lanes };
        There {
            copy: Rows::new(cx, sizes, zero, [Elem::U8; 2]),
            padded: k.scratch("row", Elem::U8, form.pitch()),
            input: cx.micro_kernel(Input { size: form.tiles.size, channels: g.channels, point, lanes }),
            columns: form.tiles.both.then(|| {
                let between = k.scratch("between", Elem::I16, form.between(rows));
                (between, cx.micro_kernel(columns))
            }),
            point: form.point(all),
        }
    }

    /// Transforms row `y` of the padded image `n`, to `to`.
    fn row(
        &self,
        k: &mut KernelBuilder,
        form: &Form,
        from: Memory,
        (n, y): (&Expr, &Expr),
        (to, to_at): (Memory, &Expr),
    ) {
        let g = &form.g;
        let y = y + -(g.window.pad[0] as i64);
        self.copy.row(k, from, (n, g.image[0]), &y, self.padded.at(0));
        k.serial("x", form.across, |k, x| {
            let from = self.padded.at(&x * (form.tiles.size.m * g.channels));
            k.call(self.input, [from, to.at(to_at + &x * form.channels())]);
        });
    }

    /// Makes V, at `to`, of what `rows` rows of results from row `first` of image `n` on read.
    fn rows(
        &self,
        k: &mut KernelBuilder,
        form: &Form,
        (from, rows): (Memory, usize),
        (n, first): (&Expr, &Expr),
        (v, to): (Memory, &Expr),
    ) {
        let Some((between, columns)) = self.columns else {
            return k.serial("y", form.rows_in(rows), |k, y| {
                self.row(k, form, from, (n, &(first + &y)), (v, &(to + &y * form.row())));
            });
        };
        k.serial("y", form.rows_in(rows), |k, y| {
            self.row(k, form, from, (n, &(first + &y)), (between, &(&y * form.row())));
        });
        // From point to point along rows, of V too.
        let steps = [form.point_of_rows(rows), self.point];
        k.serial("f", form.tiles.size.points(), |k, f| {
            k.serial("ty", form.tile_rows(rows), |k, y| {
                let from = between.at(&f * steps[0] + &y * (form.tiles.results() * form.row()));
                k.call(columns, [from, v.at(to + &f * steps[1] + &y * form.row())]);
            });
        });
    }
}

/// What products and the way back read and write.
struct Parts {
    weights: Memory,
    factor: Memory,
    bias: Memory,
    to: Memory,
    m: Memory,
    /// Sums on their way back.
    between: Memory,
    output: (Elem, To),
}

impl Parts {
    /// For M of `rows` rows of results.
    fn new(cx: &LowerCx, k: &mut KernelBuilder, form: &Form, rows: usize, (y, link): (BufferId, &Link)) -> Parts {
        let elem = cx.elem(y);
        Parts {
            weights: k.buffer("u", Elem::I32, Access::Read),
            factor: k.buffer("factor", Elem::F32, Access::Read),
            bias: k.buffer("bias", Elem::I32, Access::Read),
            to: k.buffer("y", elem, Access::Write),
            m: k.scratch("m", Elem::I32, form.m(rows)),
            between: k.scratch("sums", Elem::I32, Down::RESULTS * form.tiles.size.points() * form.tile.lanes as usize),
            output: (elem, link.to),
        }
    }

    /// The products of one panel, point by point, from V to M: for `rows` rows of results, where V has this many
    /// elements from point to point.
    fn products(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        form: &Form,
        (rows, point): (usize, usize),
        (v, from): (Memory, &Expr),
        (panel, columns): (&Expr, usize),
    ) {
        let (w, lanes, summed) = (form.g.window, form.tile.lanes as usize, form.tiles.summed());
        let terms = Terms { count: summed, run: form.channels(), factors: Factors::Words };
        let (points, width) = (form.tiles.points(), form.tile.columns());
        k.serial("f", points, |k, f| {
            let u = self.weights.at((panel * points + &f) * (terms.all() * width));
            pieces(k, "m", form.tile_rows(rows) * form.across, form.tile.rows, |k, tile, height| {
                let micro_kernel = cx.micro_kernel(Product {
                    lanes: form.tile.lanes,
                    rows: height,
                    columns: columns.next_multiple_of(lanes),
                    width,
                    terms,
                    runs: [summed, 1],
                    a_runs: [w.dilation[0] * form.row(), 0],
                    a_row: form.channels(),
                    y_row: form.tile_pitch(),
                    end: End::Sums { vector: points * lanes },
                });
                let v = v.at(from + &f * point + &tile * form.channels());
                k.call(micro_kernel, [v, u.clone(), self.m.at(&tile * form.tile_pitch() + &f * lanes)]);
            });
        });
    }

    /// Writes one panel of M back, to rows of results at `to`.
    fn back(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        form: &Form,
        rows: usize,
        to: &Expr,
        (panel, columns): (&Expr, usize),
    ) {
        let (g, m, row) = (&form.g, form.tiles.size.m, form.g.out[1] * form.g.outputs);
        let column = panel * form.tile.columns();
        let results = form.tiles.results();
        pieces(k, "ty", rows, results, |k, y, down| {
            pieces(k, "tx", g.out[1], m, |k, x, across| {
                let micro_kernel = cx.micro_kernel(Output {
                    tiles: form.tiles,
                    present: [down, across],
                    columns: [columns, row, g.outputs],
                    lanes: form.tile.lanes,
                    to: self.output.1,
                    elem: self.output.0,
                });
                let from = self.m.at((y.div(results) * form.across + x.div(m)) * form.tile_pitch());
                let to = self.to.at(to + &y * row + &x * g.outputs + &column);
                let args = [from, self.between.at(0), to, self.factor.at(&column), self.bias.at(&column)];
                k.call(micro_kernel, args);
            });
        });
    }
}
