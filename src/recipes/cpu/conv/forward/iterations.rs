//! The iterations of a chain's kernel: some rows of an image, or several images, from the first product to the last.

use super::super::pooling::Pooling;
use super::Cut;
use super::elems::run;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Arg, Elem, Expr, Memory, MicroKernelId};
use crate::lower::LowerCx;
use crate::lower::tile::Tile;
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::{for_each, panel_loop, pieces};
use crate::recipes::cpu::contraction::{Contraction, Count, Init};
use crate::recipes::cpu::frame::Rows;
use crate::recipes::cpu::winograd::{Memories, Operands, Thin, Winograd};

/// A link inside a kernel: where its operands are.
pub(super) struct Product {
    /// Its shape.
    pub geometry: Geometry,
    /// What happens to sums.
    pub epilogue: Epilogue,
    /// Its register tile.
    pub tile: Tile,
    /// Its weights, packed as its form reads them.
    pub weights: Memory,
    /// One number for each output channel.
    pub bias: Option<Memory>,
    /// Types of operand, weights and result.
    pub elems: [Elem; 3],
}

/// The rows that a product reads, and where its results go.
struct Place {
    from: Memory,
    /// Element of the first pixel.
    from_at: Expr,
    /// Elements of a row of the image or of its padded copy.
    pitch: usize,
    to: Memory,
    to_at: Expr,
}

/// How the first product is computed, with its scratch memory.
pub(super) enum First<'a> {
    Direct,
    Winograd(&'a Winograd, Memories),
    Thin(&'a Thin, [Memory; 2]),
}

/// All that the iterations of a kernel need.
pub(super) struct Iterations<'a> {
    /// Rows of an iteration.
    pub cut: Cut,
    /// All links.
    pub products: Vec<Product>,
    /// The form of the first link.
    pub first: First<'a>,
    /// The image.
    pub source: Memory,
    /// The result.
    pub target: Memory,
    /// The padded copy of the image's rows, where there is one.
    pub padded: Option<(Rows, Memory)>,
    /// Scratch images between the products.
    pub buffers: Vec<Memory>,
    /// The pooling at the end, with its micro-kernel.
    pub pooling: Option<(Pooling, MicroKernelId)>,
}

impl Iterations<'_> {
    /// Writes the parallel loop.
    pub fn write(&self, cx: &mut LowerCx, kernel: &mut KernelBuilder) {
        if let First::Winograd(form, memories) = &self.first
            && form.images() > 1
        {
            return self.groups(cx, kernel, form, *memories);
        }
        let images = Expr::BATCH * self.per_image();
        if self.cut.blocks == 1 {
            kernel.parallel("t", images, |k, t| self.iteration(cx, k, t, 0.into()));
        } else {
            // A thread keeps its channels' weights while it goes over the images.
            kernel.parallel("block", self.cut.blocks, |k, block| {
                k.serial("t", images, |k, t| self.iteration(cx, k, t, block));
            });
        }
    }

    /// Iterations of an image.
    fn per_image(&self) -> usize {
        self.products[0].geometry.out[0].div_ceil(self.cut.rows)
    }

    /// Writes an iteration: some rows of an image.
    fn iteration(&self, cx: &mut LowerCx, k: &mut KernelBuilder, t: Expr, block: Expr) {
        let (plan, first) = (&self.cut, &self.products[0].geometry);
        let (n, row) = (t.div(self.per_image()), t.rem(self.per_image()) * plan.rows);
        let [height, width] = first.image;
        let top = &row * first.window.stride[0] + -(first.window.pad[0] as i64);
        let mut place = match &self.padded {
            Some((rows, scratch)) => {
                rows.copy(k, self.source, &n, top, plan.rows_in.into(), *scratch);
                (*scratch, Expr::from(0), rows.pitch())
            }
            None => (self.source, (&n * height + &top) * (width * first.channels), width * first.channels),
        };
        for (i, product) in self.products.iter().enumerate() {
            let g = &product.geometry;
            let (to, to_at) = match i + 1 == self.products.len() && self.pooling.is_none() {
                true => (self.target, (&n * g.out[0] + &row) * (g.out[1] * g.outputs)),
                false => (self.buffers[i % 2], Expr::from(0)),
            };
            let at = Place { from: place.0, from_at: place.1, pitch: place.2, to, to_at };
            let left = &row * -1 + g.out[0];
            match (i, &self.first) {
                (0, First::Winograd(form, memories)) => form.product(cx, k, &product.operands(at), *memories, &left),
                (0, First::Thin(form, memories)) => form.product(cx, k, &product.operands(at), *memories, &left),
                (0, First::Direct) => window_product(cx, k, product, &at, plan.rows, (&block, plan.blocks)),
                _ => pixel_product(cx, k, product, &at, plan.rows * g.out[1]),
            }
            place = (to, Expr::from(0), 0);
        }
        if let Some((pooling, micro_kernel)) = self.pooling {
            pooling.image(k, micro_kernel, place.0, self.target, &n);
        }
    }

    /// Writes iterations of several whole images.
    fn groups(&self, cx: &mut LowerCx, kernel: &mut KernelBuilder, form: &Winograd, memories: Memories) {
        let (Some((rows, padded)), [first, rest @ ..]) = (&self.padded, self.products.as_slice()) else {
            unreachable!("the form pads, and a chain has a first link");
        };
        let top = Expr::from(-(first.geometry.window.pad[0] as i64));
        let pixels = self.cut.rows * first.geometry.out[1];
        kernel.parallel("t", Expr::BATCH.ceil_div(form.images() as i64), |k, t| {
            let begin = &t * form.images();
            let present = (Expr::BATCH - &begin).min(form.images());
            k.serial("n", present.clone(), |k, i| {
                rows.copy(k, self.source, &(&begin + &i), top.clone(), self.cut.rows_in.into(), *padded);
                form.transform_image(cx, k, *padded, memories, &i);
            });
            // The images' results follow each other, in memory or in the first scratch image.
            let to = if rest.is_empty() { self.target } else { self.buffers[0] };
            let to_at = if rest.is_empty() { &begin * (pixels * first.geometry.outputs) } else { 0.into() };
            let at = Place { from: *padded, from_at: 0.into(), pitch: 0, to, to_at };
            form.group_product(cx, k, &first.operands(at), memories, &present);
            if !rest.is_empty() {
                k.serial("n", present, |k, i| {
                    self.pixels(cx, k, (&i * (pixels * first.geometry.outputs), &begin + &i), pixels);
                });
            }
        });
    }

    /// Writes the products after the first of one image, whose results are in the first scratch image at `from_at`.
    fn pixels(&self, cx: &mut LowerCx, k: &mut KernelBuilder, (from_at, n): (Expr, Expr), pixels: usize) {
        let rest = &self.products[1..];
        let mut place = (self.buffers[0], from_at);
        for (j, product) in rest.iter().enumerate() {
            let to = match j + 1 == rest.len() {
                true => (self.target, &n * (pixels * product.geometry.outputs)),
                false => (self.buffers[1 + j % 2], Expr::from(0)),
            };
            let at = Place { from: place.0, from_at: place.1, pitch: 0, to: to.0, to_at: to.1.clone() };
            pixel_product(cx, k, product, &at, pixels);
            place = to;
        }
    }
}

impl Product {
    /// Returns the operands of a Winograd form.
    fn operands(&self, at: Place) -> Operands {
        let Place { from, to, to_at, .. } = at;
        Operands {
            from,
            weights: self.weights,
            bias: self.bias,
            epilogue: self.epilogue,
            to,
            elem: self.elems[2],
            to_at,
        }
    }
}

/// The first product of a chain: panels of output channels outermost, their weights stay in cache over the rows.
fn window_product(
    cx: &mut LowerCx,
    k: &mut KernelBuilder,
    p: &Product,
    at: &Place,
    rows: usize,
    block: (&Expr, usize),
) {
    let (g, w, width) = (&p.geometry, &p.geometry.window, p.tile.columns());
    let groups = if g.depthwise() { 1 } else { g.groups };
    let columns = g.outputs / groups;
    let panels = columns.div_ceil(width);
    let depth = match p.elems[1] {
        Elem::I32 => w.kernel[0] * w.kernel[1] * g.inner() / run(g) * run(g).div_ceil(2),
        _ => w.kernel[0] * w.kernel[1] * g.inner(),
    };
    for_each(k, "g", groups, |k, group| {
        panel_loop(k, columns, width, block, |k, panel, size| {
            let column = &group * columns + &panel * width;
            let weights = match g.depthwise() {
                true => p.weights.at(&column),
                false => p.weights.at((&group * panels + &panel) * (depth * width)),
            };
            let channel = if g.depthwise() { column.clone() } else { &group * g.inner() };
            let across = g.out[1].div_ceil(p.tile.rows);
            k.serial("r", rows, |k, r| {
                pieces(k, "m", g.out[1], p.tile.rows, |k, m, height| {
                    let mut contraction = window_contraction(p, at.pitch, height, size);
                    let mut next = None;
                    if far(cx, &contraction, g) {
                        let number = &r * across + m.div(p.tile.rows);
                        let following = (&group * panels + &panel + 1) * (depth * width);
                        next = Some(p.weights.at(following + contraction.share_next(rows * across, &number)));
                    }
                    let micro_kernel = cx.micro_kernel(contraction);
                    let from = &at.from_at + &r * (w.stride[0] * at.pitch) + &m * (w.stride[1] * g.channels) + &channel;
                    let to = &at.to_at + (&r * g.out[1] + &m) * g.outputs + &column;
                    call(
                        k,
                        micro_kernel,
                        at.from.at(from),
                        weights.clone(),
                        at.to.at(to),
                        [p.bias.map(|b| b.at(&column)), next],
                    );
                });
            });
        });
    });
}

/// Do panels of the weights come from beyond the second level of cache, in one run of terms each?
fn far(cx: &LowerCx, contraction: &Contraction, g: &Geometry) -> bool {
    let [i, j, k] = contraction.counts;
    let Count::Fixed(terms) = k else { return false };
    let float = contraction.elems[1] == Elem::F32 && !contraction.a_columns;
    float && [i, j] == [Count::Fixed(1); 2] && 4 * terms * g.outputs > cx.target.cache[1] / 2
}

/// Contraction over the window: kh sums of kw·C consecutive terms where the taps of a row are neighbours.
fn window_contraction(p: &Product, pitch: usize, rows: usize, columns: usize) -> Contraction {
    let (g, w) = (&p.geometry, &p.geometry.window);
    let ([kh, kw], inner) = (w.kernel, g.inner());
    let step = if g.depthwise() { g.outputs } else { p.tile.columns() };
    let run = run(g);
    let counts = [kh, kw * inner / run, run];
    // Rows of the weights' panel for a run.
    let length = if p.elems[1] == Elem::I32 { run.div_ceil(2) } else { run };
    Contraction {
        elems: p.elems,
        lanes: p.tile.lanes,
        rows,
        columns,
        counts: counts.map(Count::Fixed),
        a: [w.dilation[0] * pitch, w.dilation[1] * g.channels, 1].map(|s| s as i64),
        a_row: (w.stride[1] * g.channels) as i64,
        a_columns: g.depthwise(),
        b: [counts[1] * length * step, length * step, step].map(|s| s as i64),
        b_padded: !g.depthwise(),
        next: 0,
        a_ahead: 0,
        c_row: g.outputs as i64,
        c_vector: p.tile.lanes.into(),
        init: if p.bias.is_some() { Init::Bias } else { Init::Zero },
        epilogue: p.epilogue,
    }
}

/// A 1x1 product between scratch images: all pixels of the iteration are alike.
fn pixel_product(cx: &mut LowerCx, k: &mut KernelBuilder, p: &Product, at: &Place, pixels: usize) {
    let (g, width) = (&p.geometry, p.tile.columns());
    let length = if p.elems[1] == Elem::I32 { g.channels.div_ceil(2) } else { g.channels };
    panel_loop(k, g.outputs, width, (&0.into(), 1), |k, panel, size| {
        let column = &panel * width;
        pieces(k, "m", pixels, p.tile.rows, |k, m, height| {
            let contraction = Contraction {
                elems: p.elems,
                lanes: p.tile.lanes,
                rows: height,
                columns: size,
                counts: [1, 1, g.channels].map(Count::Fixed),
                a: [0, 0, 1],
                a_row: g.channels as i64,
                a_columns: false,
                b: [0, 0, width as i64],
                b_padded: true,
                next: 0,
                a_ahead: 0,
                c_row: g.outputs as i64,
                c_vector: p.tile.lanes.into(),
                init: if p.bias.is_some() { Init::Bias } else { Init::Zero },
                epilogue: p.epilogue,
            };
            let micro_kernel = cx.micro_kernel(contraction);
            let from = at.from.at(&at.from_at + &m * g.channels);
            let weights = p.weights.at(&panel * (length * width));
            let to = at.to.at(&at.to_at + &m * g.outputs + &column);
            call(k, micro_kernel, from, weights, to, [p.bias.map(|b| b.at(&column)), None]);
        });
    });
}

fn call(k: &mut KernelBuilder, micro_kernel: MicroKernelId, a: Arg, b: Arg, c: Arg, rest: [Option<Arg>; 2]) {
    let mut args = vec![a, b, c];
    args.extend(rest.into_iter().flatten());
    k.call(micro_kernel, args);
}
