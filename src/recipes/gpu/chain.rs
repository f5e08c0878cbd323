//! Chains of a convolution and 1x1 convolutions in one launch: a group owns some pixels, with all their channels,
//! through the whole chain. Between the links the pixels' values stay in local memory; within a link each item keeps
//! its sums in registers, so that values are replaced only when nobody needs them any more. Weights stream through
//! local memory.
//!
//! Sums run in the order of the single products, so that fusing changes no bit.

use super::cells::{Cells, Fill, Item, Place, SKEW, arguments};
use super::cost::{CACHED, MEMORY, product_row};
use super::rows::{RowTile, Rows};
use super::window::{name, patch, straight};
use super::{link, product, winograd};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr, Memory};
use crate::lower::target::{Fusion, Gpu};
use crate::lower::{BufferId, LowerCx, Provenance, Tunable};
use crate::recipes::common::conv::Link;
use crate::recipes::common::loops::pieces;
use crate::recipes::common::partition::run;
use crate::types::Format;

/// Items of a group, on a device that allows as many.
const ITEMS: usize = 256;
/// Neighbouring rows of an item.
const ITEM_ROWS: usize = 4;
/// The most sums that an item keeps: with operands and addresses they should fit the registers of common devices.
const MOST_CELLS: usize = 64;

/// The launches of a chain from image `x` to image `y`: at each link the longest run that pays.
pub fn launch(cx: &mut LowerCx, gpu: &Gpu, x: BufferId, links: &[Link], y: BufferId) {
    let (mut from, mut done, mut apart) = (x, 0, 0);
    while done < links.len() {
        let rest = &links[done..];
        // Items that multiply together are faster than both, and their sums have digits of their own anyway.
        let [one, all] = [&rest[..1], rest]
            .map(|links| links.iter().all(|l| product::warp_cooperative(cx, gpu, [from, l.weights]).is_some()));
        // Chosen without a look at the device in other cases: the sums of Winograd's form have other digits.
        let form = winograd::Form::choose(cx.target.algorithm, &rest[0].geometry).filter(|_| !one);
        let cut = if form.is_some() || all || done < apart {
            None
        } else {
            let products = rest.iter().map(link::product_name).collect::<Vec<_>>();
            let runs = 2..=rest.len();
            cx.builder.chains.extend(runs.map(|count| (chain_name(&rest[..count]), products[..count].to_vec())));
            longest(gpu, rest).unwrap_or_else(|count| {
                apart = done + count;
                None
            })
        };
        let count = cut.as_ref().map_or(1, |cut| cut.cells.len());
        let last = &rest[count - 1].geometry;
        let to = match count == rest.len() {
            true => y,
            false => {
                let round = rest[count - 1].epilogue.round;
                let elem = if round == Some(Format::Bf16) { Elem::Bf16 } else { Elem::F32 };
                let to = cx.temp(&format!("link{done}"), elem, 0, last.outputs * last.out[0] * last.out[1]);
                cx.builder.exact.extend(round.map(|format| (to, format)));
                to
            }
        };
        match (form, cut) {
            (Some(form), _) => form.forward(cx, gpu, from, &rest[0], to),
            (None, Some(cut)) => cut.launch(cx, from, &rest[..count], to),
            (None, None) => link::product(cx, gpu, from, &rest[0], to),
        }
        (from, done) = (to, done + count);
    }
}

/// The longest run of links that pays as one kernel. An error says how many links were measured to be better apart.
fn longest(gpu: &Gpu, links: &[Link]) -> Result<Option<Cut>, usize> {
    for count in (2..=links.len()).rev() {
        let measured = gpu.measured.chains.get(&chain_name(&links[..count]));
        let fusion = *measured.unwrap_or(&gpu.fusion);
        match Cut::choose(gpu, fusion, &links[..count]) {
            Some(cut) => return Ok(Some(cut)),
            None if measured == Some(&Fusion::Never) => return Err(count),
            None => {}
        }
    }
    Ok(None)
}

/// What a chain is called, however it is cut.
fn chain_name(links: &[Link]) -> String {
    let mut text = name("chain", &links[0].geometry) + &links[0].tile_epilogue().name();
    for link in &links[1..] {
        text += &format!("_{}{}", link.geometry.outputs, link.tile_epilogue().name());
    }
    text
}

/// How a group computes its pixels.
struct Cut {
    /// Pixels of a group.
    rows: usize,
    /// Terms of the sums that a group loads at a time.
    depth: usize,
    items: usize,
    /// Cells of each link.
    cells: Vec<Cells>,
}

impl Cut {
    /// The best cut that fits the device; `None` where single launches are better, or none fits.
    fn choose(gpu: &Gpu, fusion: Fusion, links: &[Link]) -> Option<Cut> {
        if fusion == Fusion::Never || links[0].geometry.groups > 1 {
            return None;
        }
        let wanted = |rows: &usize| !matches!(fusion, Fusion::Rows(only) if only != *rows);
        let items = 1 << ITEMS.min(gpu.group_items.max(1)).ilog2();
        let cuts = Fusion::ROWS.into_iter().filter(wanted).filter(|rows| items * ITEM_ROWS >= *rows).flat_map(|rows| {
            let across = items * ITEM_ROWS / rows;
            let cells = |l: &Link| Cells::for_columns(l.geometry.outputs, ITEM_ROWS, across);
            [16, 8, 4].map(|depth| Cut { rows, depth, items, cells: links.iter().map(cells).collect() })
        });
        let fits = |cut: &Cut| {
            4 * (cut.values(links) + cut.weights()) <= gpu.local_bytes
                && cut.cells.iter().all(|c| c.len() <= MOST_CELLS)
        };
        // The deepest of those that fit, for the rows that cost least.
        let mut best: Option<(f64, Cut)> = None;
        for cut in cuts.filter(fits) {
            let cost = cut.cost(links);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, cut));
            }
        }
        best.filter(|(cost, _)| fusion != Fusion::Auto || *cost < apart(links)).map(|(_, cut)| cut)
    }

    /// Elements between the channels of a pixel in local memory.
    fn pitch(&self) -> usize {
        self.rows + SKEW
    }

    /// Elements of local memory for the pixels' values, which the first link's patches come through too.
    fn values(&self, links: &[Link]) -> usize {
        let between = links[..links.len() - 1].iter().map(|l| l.geometry.outputs).max().unwrap_or(0);
        between.max(self.depth) * self.pitch()
    }

    /// Elements of local memory for weights.
    fn weights(&self) -> usize {
        let widest = self.cells.iter().map(Cells::width).max().unwrap_or(0);
        self.depth * (widest + SKEW)
    }

    /// Time of a pixel in multiply-adds.
    fn cost(&self, links: &[Link]) -> f64 {
        let patches = links[0].depth() as f64;
        let results = links[links.len() - 1].geometry.outputs as f64;
        let link = |(l, c): (&Link, &Cells)| {
            let (depth, columns) = (l.depth() as f64, l.geometry.outputs as f64);
            depth * c.width() as f64 * c.effort() + CACHED * depth * columns / self.rows as f64
        };
        links.iter().zip(&self.cells).map(link).sum::<f64>() + CACHED * patches + MEMORY * results
    }

    fn name(&self, links: &[Link]) -> String {
        format!("{}_rows{}x{}", chain_name(links), self.rows, self.depth)
    }

    fn launch(&self, cx: &mut LowerCx, x: BufferId, links: &[Link], y: BufferId) {
        let mut k = KernelBuilder::new(self.name(links));
        let elem = cx.elem(x);
        let image = k.buffer("x", elem, Access::Read);
        let mut buffers = vec![x];
        let mut operands = Vec::new();
        for link in links {
            buffers.extend([link.weights].into_iter().chain(link.bias));
            let weights = k.buffer("w", cx.elem(link.weights), Access::Read);
            operands.push((weights, link.bias.map(|_| k.buffer("b", Elem::F32, Access::Read))));
        }
        buffers.push(y);
        let result = k.buffer("y", cx.elem(y), Access::Write);
        let values = k.local("values", Elem::F32, self.values(links));
        let panel = k.local("weights", Elem::F32, self.weights());
        let most = self.cells.iter().map(Cells::len).max().unwrap_or(0);
        let acc = k.private("acc", Elem::F32, most);
        let pixels = Rows::PerImage(links[0].geometry.out[0] * links[0].geometry.out[1]);
        k.groups(pixels.tiles(self.rows), self.items, |k, number, item| {
            let rows = pixels.tile(self.rows, &number);
            for (i, (link, cells)) in links.iter().zip(&self.cells).enumerate() {
                let stage = Stage { cut: self, link, cells, rows: &rows, item: &item, values, panel, acc };
                let (weights, bias) = operands[i];
                stage.sums(cx, k, (i == 0).then_some((image, elem)), weights);
                if i + 1 == links.len() {
                    stage.store(cx, k, bias, (result, cx.elem(y)));
                } else {
                    stage.keep(cx, k, bias);
                    k.barrier();
                }
            }
        });
        let tunable = Tunable::Chain { name: chain_name(links), rows: self.rows };
        cx.launch(Provenance { method: "chain".into(), tunable: Some(tunable) }, k.finish(), &buffers);
    }
}

/// Time of a pixel, in multiply-adds, where each link is a launch with the usual tile.
fn apart(links: &[Link]) -> f64 {
    let link = |(i, l): (usize, &Link)| {
        let read = if i == 0 { 0 } else { l.depth() };
        product_row(l.depth(), l.geometry.outputs) + MEMORY * (l.geometry.outputs + read) as f64
    };
    links.iter().enumerate().map(link).sum()
}

/// One link inside a kernel.
struct Stage<'a> {
    cut: &'a Cut,
    link: &'a Link,
    cells: &'a Cells,
    rows: &'a RowTile,
    item: &'a Expr,
    values: Memory,
    panel: Memory,
    acc: Memory,
}

impl Stage<'_> {
    /// Writes the item's sums: over patches of `image` for the first link, else over the values of the link before.
    fn sums(&self, cx: &mut LowerCx, k: &mut KernelBuilder, image: Option<(Memory, Elem)>, weights: Memory) {
        let (g, cells, cut) = (straight(&self.link.geometry), self.cells, self.cut);
        let (pitch, pitch_w) = (cut.pitch(), cells.width() + SKEW);
        let by = (self.item, cut.items);
        let zero = cells.zero(cx);
        k.call(zero, [self.acc.at(0)]);
        pieces(k, "step", self.link.depth(), cut.depth, |k, first, depth| {
            if let Some((image, elem)) = image {
                let fill = Fill { across: cut.rows, depth, along_depth: true, run: run(g.inner()), pitch, elem };
                fill.write(cx, k, by, image, self.values, |r, d| {
                    let (row, there) = self.rows.row(r);
                    let Place { at, inside } = patch(&g, &row, &(&first + d), &0.into());
                    Place { at, inside: there * inside }
                });
            }
            let fill = Fill {
                across: cells.width(),
                depth,
                along_depth: false,
                run: run(g.outputs).min(run(cells.width())),
                pitch: pitch_w,
                elem: cx.elem(self.link.weights),
            };
            fill.write(cx, k, by, weights, self.panel, |n, d| Place {
                at: (&first + d) * g.outputs + n,
                inside: if cells.width() == g.outputs { 1.into() } else { n.lt(g.outputs) },
            });
            k.barrier();
            let multiply = cells.multiply(cx, depth, [pitch, pitch_w]);
            let from = if image.is_some() { cells.row(self.item) } else { &first * pitch + cells.row(self.item) };
            k.call(multiply, [self.values.at(from), self.panel.at(cells.column(self.item, 0)), self.acc.at(0)]);
            k.barrier();
        });
    }

    /// Keeps the sums as the values of the next link.
    fn keep(&self, cx: &mut LowerCx, k: &mut KernelBuilder, bias: Option<Memory>) {
        let micro_kernel = self.cells.keep(cx, &self.link.tile_epilogue());
        let outputs = self.link.geometry.outputs;
        for j in 0..self.cells.columns() {
            let (v, lane) = (j / self.cells.lanes, j % self.cells.lanes);
            let column = self.cells.column(self.item, v) + lane;
            let to = self.values.at(&column * self.cut.pitch() + self.cells.row(self.item));
            let args = arguments([self.acc.at(j), to], [bias.map(|b| b.at(&column))]);
            let there = if self.cells.width() == outputs { 1.into() } else { column.lt(outputs) };
            k.when(there, |k| k.call(micro_kernel, args));
        }
    }

    /// Writes the sums to the result.
    fn store(&self, cx: &mut LowerCx, k: &mut KernelBuilder, bias: Option<Memory>, (result, elem): (Memory, Elem)) {
        let (g, epilogue) = (&self.link.geometry, self.link.tile_epilogue());
        let pixels = g.out[0] * g.out[1];
        let item = Item { number: self.item, acc: self.acc, rows: self.rows };
        self.cells.store(cx, k, (&epilogue, elem), (&0.into(), g.outputs), &item, |row, column, from| {
            let at = (&row.image * pixels + &row.index) * g.outputs + column;
            arguments([from, result.at(at)], [bias.map(|b| b.at(column))])
        });
    }
}
