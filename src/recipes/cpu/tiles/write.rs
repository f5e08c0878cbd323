//! The kernel of a chain: the padded copy, then block after block.

use super::blocks::{Blocks, COLUMNS, End, Next, SUMS, TILE};
use super::copy::{Lines, Pixels};
use super::panels::{Terms, panels, runs};
use super::shape::{Shape, Source};
use super::unit::Unit;
use super::{Part, heavy, sliced};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr, LoopKind, Memory, MicroKernelId};
use crate::lower::target::Batch;
use crate::lower::{BufferId, LowerCx};
use crate::recipes::common::loops::{for_each, piece};
use crate::recipes::common::names::elem_letters;

/// Pixels of an iteration at large batches, at least: several images where these are small, so that a panel that comes
/// from the second level of cache serves them all.
const PIXELS: usize = 1024;

/// Iterations, about, that share the channels of a single image.
pub(super) const SHARES: usize = 8;

/// One product of the chain.
struct Product {
    weights: Memory,
    bias: Option<Memory>,
    factor: Option<Memory>,
    mask: Option<(Memory, Elem)>,
    end: End,
    outputs: usize,
    /// Of its panels.
    terms: Terms,
}

/// The kernel's memories and sizes.
struct Chain {
    shape: Shape,
    products: Vec<Product>,
    source: Memory,
    target: Memory,
    /// Of image and result.
    elems: [Elem; 2],
    /// The byte that stands for 0 in an image of bytes.
    zero: usize,
    map: Option<Memory>,
    lines: Option<Memory>,
    /// Results between the links, by turns: the first one's of all blocks, or of one.
    stages: Vec<Memory>,
    sums: Memory,
    /// All blocks are multiplied by a panel of the first link before the next panel.
    panels_first: bool,
}

/// Elements of a pixel between two links.
fn padded(unit: Unit, outputs: usize) -> usize {
    outputs.next_multiple_of(unit.step())
}

/// Images of an iteration at large batches.
pub(super) fn images(shape: &Shape) -> usize {
    PIXELS.div_ceil(shape.g.out[0] * shape.g.out[1]).min(4)
}

/// Writes the launch of links that stay together.
pub fn launch(cx: &mut LowerCx, unit: Unit, [x, y]: [BufferId; 2], links: &[Part]) {
    let elems = [x, y].map(|buffer| cx.elem(buffer));
    let panels_first = heavy(cx.target, unit, &links[0]);
    let Some(shape) = Shape::new(unit, links[0].geometry, elems[0]) else { return };
    let shape = sliced(cx.target, panels_first, shape);
    let alone = cx.target.batch == Batch::Latency || shape.slices > 1;
    let images = if alone { 1 } else { images(&shape) };
    let mut k = KernelBuilder::new(name(unit, links, elems));
    let source = k.buffer("x", elems[0], Access::Read);
    let mut args = vec![x];
    let mut products = Vec::new();
    for (i, link) in links.iter().enumerate() {
        let (run, outputs) = (link.geometry.channels, link.geometry.outputs);
        let terms = if i == 0 { shape.terms() } else { Terms { unit, count: 1, run, padded: padded(unit, run) } };
        args.push(panels(cx, link.weights, terms, outputs));
        let weights = k.buffer("w", Elem::I32, Access::Read);
        let mut own = |buffer: Option<BufferId>, name: &str, elem: Elem| {
            args.extend(buffer);
            buffer.map(|_| k.buffer(name, elem, Access::Read))
        };
        let (bias, factor) = (own(link.bias, "b", unit.sums()), own(link.factor, "factor", Elem::F32));
        let mask = link.mask.and_then(|buffer| {
            let elem = cx.elem(buffer);
            Some((own(Some(buffer), "mask", elem)?, elem))
        });
        products.push(Product { weights, bias, factor, mask, end: link.end, outputs, terms });
    }
    args.push(y);
    let target = k.buffer("y", elems[1], Access::Write);
    let map = (shape.source != Source::Image).then(|| k.scratch("map", unit.elem(), images * shape.map_size()));
    let lines = (shape.source == Source::Lines).then(|| k.scratch("lines", unit.elem(), images * shape.lines_size()));
    let inner = &links[..links.len() - 1];
    let widest = inner.iter().map(|link| padded(unit, link.geometry.outputs)).max().unwrap_or(0);
    let blocks = if panels_first { images * shape.walk().blocks() } else { 1 };
    let stages = (0..inner.len().min(2)).map(|i| {
        let blocks = if i == 0 { blocks } else { 1 };
        k.scratch(&format!("stage{i}"), unit.elem(), blocks * COLUMNS * unit.parts() * widest)
    });
    let stages: Vec<Memory> = stages.collect();
    let sums = k.scratch("sums", unit.sums(), SUMS);
    let zero = links[0].zero;
    let chain = Chain { shape, products, source, target, elems, zero, map, lines, stages, sums, panels_first };
    chain.write(cx, &mut k, images);
    let kernel = k.finish();
    cx.launch(unit.method(), kernel, &args);
}

fn name(unit: Unit, links: &[Part], elems: [Elem; 2]) -> String {
    let link = |link: &Part| {
        let (g, w) = (&link.geometry, &link.geometry.window);
        let [k, s, p] = [w.kernel, w.stride, w.pad].map(|v| format!("{}x{}", v[0], v[1]));
        let bias = if link.bias.is_some() { "_bias" } else { "" };
        let [c, h, x, o] = [g.channels, g.image[0], g.image[1], g.outputs];
        let mask = if link.mask.is_some() { "_mask" } else { "" };
        format!("_{c}x{h}x{x}_{k}s{s}p{p}_{o}{bias}{}{mask}", link.end.name())
    };
    format!("tiles{}{}{}", unit.name(), links.iter().map(link).collect::<String>(), elem_letters("_", &elems))
}

/// A block: its number in an outer iteration, and the outer iteration.
struct BlockAt<'a> {
    outer: &'a Expr,
    inner: &'a Expr,
    /// The one behind the others.
    tail: bool,
}

impl Chain {
    fn write(&self, cx: &mut LowerCx, k: &mut KernelBuilder, images: usize) {
        let slices = self.shape.slices;
        let few = cx.target.batch == Batch::Latency && slices == 1;
        let alone = few && self.panels_first && self.products.len() == 1;
        if alone {
            // Threads share the channels of an image; each copies it once for some panels.
            let panels = self.products[0].outputs.div_ceil(COLUMNS);
            let share = panels.div_ceil(SHARES);
            k.parallel("s", panels.div_ceil(share), |k, s| {
                k.serial("n", Expr::BATCH, |k, n| {
                    self.prepare(cx, k, [&n, &0.into(), &0.into()]);
                    let (begin, end) = (&s * share, (&s * share + share).min(panels));
                    k.range("p", LoopKind::Serial, begin, end, |k, p| {
                        piece(k, &p, self.products[0].outputs, COLUMNS, |k, columns| {
                            self.panel(cx, k, [&n, &0.into(), &0.into()], (&p, columns));
                        });
                    });
                });
            });
        } else if images == 1 {
            k.parallel("t", Expr::BATCH * slices, |k, t| {
                self.group(cx, k, [&t.div(slices), &t.rem(slices)], 1.into());
            });
        } else {
            k.parallel("t", Expr::BATCH.ceil_div(images as i64), |k, t| {
                let begin = &t * images;
                let present = (Expr::BATCH - &begin).min(images);
                self.group(cx, k, [&begin, &0.into()], present);
            });
        }
    }

    /// `present` images from `n` on, or a slice of one.
    fn group(&self, cx: &mut LowerCx, k: &mut KernelBuilder, [n, slice]: [&Expr; 2], present: Expr) {
        k.serial("i", present.clone(), |k, i| self.prepare(cx, k, [&(n + &i), slice, &i]));
        if self.panels_first {
            let outputs = self.products[0].outputs;
            k.serial("p", outputs.div_ceil(COLUMNS), |k, p| {
                piece(k, &p, outputs, COLUMNS, |k, columns| {
                    k.serial("i", present.clone(), |k, i| {
                        self.panel(cx, k, [&(n + &i), slice, &i], (&p, columns));
                    });
                });
            });
            if self.products.len() == 1 {
                return;
            }
        }
        k.serial("i", present, |k, i| {
            self.each_block(k, |k, at| self.block(cx, k, [&(n + &i), slice, &i], at));
        });
    }

    /// The copies of image `n` in the place `slot`.
    fn prepare(&self, cx: &mut LowerCx, k: &mut KernelBuilder, [n, slice, slot]: [&Expr; 3]) {
        let (shape, g, w) = (&self.shape, &self.shape.g, &self.shape.g.window);
        let Some(map) = self.map else { return };
        let ([rows, columns], pitch, c) = (shape.map(), shape.map_pitch(), g.channels);
        let left = w.pad[1].min(columns);
        // Each part of few channels has a row of its own.
        let pixel = if shape.source == Source::Lines { c } else { shape.parts * shape.pixel() };
        let count = g.image[1].min(columns - left);
        let (elem, unit, zero) = (self.elems[0], shape.unit, self.zero);
        let [apart, _] = shape.apart();
        let row = |count| Pixels { left, count, width: columns, channels: c, pitch: pixel, apart, elem, unit, zero };
        let [copy, zero] = [count, 0].map(|count| cx.micro_kernel(row(count)));
        let at = slot * shape.map_size();
        for part in 0..shape.parts {
            // Where a part begins: rows of results from the slice's first on.
            let first = (slice * shape.rows + part * shape.rows) * w.stride[0] + -(w.pad[0] as i64);
            k.serial("y", rows, |k, y| {
                let from = &first + &y;
                let inside = Expr::from(-1).lt(&from) * from.lt(g.image[0]);
                let to = map.at(&at + &y * pitch + part * shape.pixel());
                let source = self.source.at((n * g.image[0] + &from) * (g.image[1] * c));
                k.either(
                    inside,
                    |k| k.call(copy, [to.clone(), source]),
                    |k| {
                        k.call(zero, [to.clone(), self.source.at(0)]);
                    },
                );
            });
        }
        let Some(lines) = self.lines else { return };
        let [whole, tail] = shape.line_rows();
        let (line_pitch, to) = (shape.line_pitch(), slot * shape.lines_size());
        let mut copy = |runs: usize| {
            let (terms, line, step) = (shape.terms(), shape.line(), w.stride[1] * c);
            let apart = if unit.parts() > 1 { apart } else { 0 };
            cx.micro_kernel(Lines { terms, runs, line, width: g.out[1], pitch, step, apart })
        };
        if whole > 0 {
            let copy = copy(shape.shared());
            k.serial("y", whole, |k, y| {
                k.call(copy, [lines.at(&to + &y * line_pitch), map.at(&at + &y * pitch)]);
            });
        }
        if tail > 0 {
            let (first, runs) =
                (g.window.kernel[0] / shape.shared() * shape.shared(), g.window.kernel[0] % shape.shared());
            let copy = copy(runs);
            k.serial("y", shape.rows, |k, y| {
                let y = y * w.stride[0];
                k.call(copy, [lines.at(&to + (&y + whole) * line_pitch), map.at(&at + (&y + first) * pitch)]);
            });
        }
    }

    /// Where image `n`, or its copy in the place `slot`, begins.
    fn image(&self, [n, slice, slot]: [&Expr; 3]) -> (Memory, Expr) {
        let (shape, g) = (&self.shape, &self.shape.g);
        match (self.lines, self.map) {
            (Some(lines), _) => (lines, slot * shape.lines_size()),
            (None, Some(map)) => (map, slot * shape.map_size()),
            (None, None) => {
                let row = g.image[1] * g.channels;
                (self.source, (n * g.image[0] + slice * shape.rows) * row)
            }
        }
    }

    /// Calls `body` for each block of an image.
    fn each_block(&self, k: &mut KernelBuilder, mut body: impl FnMut(&mut KernelBuilder, BlockAt)) {
        let walk = self.shape.walk();
        for_each(k, "outer", walk.outer, |k, outer| {
            if walk.count > 0 {
                k.serial("block", walk.count, |k, inner| {
                    body(k, BlockAt { outer: &outer, inner: &inner, tail: false });
                });
            }
            if walk.tail > 0 {
                body(k, BlockAt { outer: &outer, inner: &walk.count.into(), tail: true });
            }
        });
    }

    /// The first product of all blocks of an image by one panel.
    fn panel(&self, cx: &mut LowerCx, k: &mut KernelBuilder, image: [&Expr; 3], (p, columns): (&Expr, usize)) {
        let walk = self.shape.walk();
        for_each(k, "outer", walk.outer, |k, outer| {
            for (count, tail) in [(walk.count, false), (usize::from(walk.tail > 0), true)] {
                if count == 0 {
                    continue;
                }
                let inner = if tail { walk.count.into() } else { Expr::from(0) };
                let at = BlockAt { outer: &outer, inner: &inner, tail };
                let micro_kernel = self.micro_kernel(cx, 0, tail, columns, count);
                self.call(k, micro_kernel, 0, image, &at, p);
            }
        });
    }

    /// The products of one block: all of the chain, or all but the first.
    fn block(&self, cx: &mut LowerCx, k: &mut KernelBuilder, image: [&Expr; 3], at: BlockAt) {
        for i in usize::from(self.panels_first)..self.products.len() {
            let outputs = self.products[i].outputs;
            for (count, columns, panel) in runs(outputs) {
                let micro_kernel = self.micro_kernel(cx, i, at.tail, columns, count);
                self.call(k, micro_kernel, i, image, &at, &panel.into());
            }
        }
    }

    /// Is the first product's result kept for all blocks?
    fn by_panels(&self, i: usize) -> bool {
        i == 0 && self.panels_first
    }

    /// Product `i` of `count` blocks, or of one block by `count` panels.
    fn micro_kernel(&self, cx: &mut LowerCx, i: usize, tail: bool, columns: usize, count: usize) -> MicroKernelId {
        let (shape, product) = (&self.shape, &self.products[i]);
        let tiles = if tail { shape.walk().tail } else { 2 };
        let last = i + 1 == self.products.len();
        let (steps, a_row, [second, a_next, _]) = match i {
            0 => (shape.steps(), shape.a_row(), shape.strides(shape.a_steps())),
            _ => {
                let steps = (0..product.terms.padded as i64).step_by(shape.unit.step()).collect();
                let pixel = shape.unit.parts() * product.terms.padded;
                (steps, pixel, [TILE * pixel, 0, 0])
            }
        };
        let (pitch, places) = match last {
            true => (product.outputs, shape.places(product.outputs, tail)),
            false => {
                let pitch = shape.unit.parts() * padded(shape.unit, product.outputs);
                (pitch, (0..2 * TILE).map(|row| Some((row * pitch) as i64)).collect())
            }
        };
        let from = if i == 0 { shape.apart()[1] } else { product.terms.padded };
        let to = if last { 0 } else { padded(shape.unit, product.outputs) };
        let [_, y_next, _] = shape.strides(shape.y_steps(pitch));
        let y_next = if last { y_next } else { COLUMNS * pitch };
        let next = match self.by_panels(i) {
            true => Next { a: a_next as i64, b: 0, y: y_next as i64, bias: 0 },
            false => Next { a: 0, b: product.terms.words() as i64, y: COLUMNS as i64, bias: COLUMNS as i64 },
        };
        cx.micro_kernel(Blocks {
            unit: shape.unit,
            steps,
            a_row,
            apart: [from, to].map(|apart| apart as i64),
            second: (tiles == 2).then_some(second as i64),
            columns,
            count,
            next,
            places: places.into_iter().take(tiles * TILE).collect(),
            // Weights of 0 meet whatever is there, and only numbers of bf16 can be none.
            fill: !last && columns < COLUMNS && shape.unit != Unit::Bytes,
            bias: product.bias.is_some(),
            end: product.end,
            mask: product.mask.map(|(_, elem)| elem),
            elem: if last { self.elems[1] } else { shape.unit.elem() },
        })
    }

    fn call(
        &self,
        k: &mut KernelBuilder,
        micro_kernel: MicroKernelId,
        i: usize,
        [n, slice, slot]: [&Expr; 3],
        at: &BlockAt,
        panel: &Expr,
    ) {
        let (shape, product) = (&self.shape, &self.products[i]);
        let behind = |[_, inner, outer]: [usize; 3]| at.outer * outer + at.inner * inner;
        let walk = shape.walk();
        let number = slot * walk.blocks() + at.outer * walk.inner() + at.inner;
        let stage = |i: usize| {
            let pitch = COLUMNS * shape.unit.parts() * padded(shape.unit, self.products[i].outputs);
            (self.stages[i % 2], if self.by_panels(i) { number.clone() * pitch } else { 0.into() })
        };
        let (a, a_at) = match i {
            0 => {
                let (memory, begin) = self.image([n, slice, slot]);
                (memory, begin + behind(shape.strides(shape.a_steps())))
            }
            _ => stage(i - 1),
        };
        let (y, y_at) = match i + 1 == self.products.len() {
            true => {
                let [row, tile] = shape.y_steps(product.outputs);
                let image = n * (shape.g.out[0] * row) + slice * (shape.rows * row);
                (self.target, image + behind(shape.strides([row, tile])))
            }
            false => stage(i),
        };
        let mut args = vec![
            a.at(a_at),
            product.weights.at(panel * product.terms.words()),
            y.at(&y_at + panel * COLUMNS),
            self.sums.at(0),
        ];
        args.extend(product.bias.map(|bias| bias.at(panel * COLUMNS)));
        args.extend(product.factor.map(|factor| factor.at(panel * COLUMNS)));
        args.extend(product.mask.map(|(mask, _)| mask.at(y_at + panel * COLUMNS)));
        k.call(micro_kernel, args);
    }
}
