//! Fully connected layers on tiles: rows of A are images.

use super::blocks::{Blocks, COLUMNS, End, Next, SUMS, TILE};
use super::copy::Pixels;
use super::panels::{Terms, panels, runs};
use super::unit::Unit;
use super::{multiplies_bf16, unit_for};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, Memory, MicroKernelId};
use crate::lower::target::Batch;
use crate::lower::{BufferId, LowerCx, code};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::names::elem_letters;
use crate::recipes::common::{Stage, Window};
use crate::recipes::cpu::winograd::turned;

/// A layer with its operands.
pub struct Layer {
    /// `[images][depth]`
    pub x: BufferId,
    /// `[depth][columns]`
    pub weights: BufferId,
    /// One number for each column.
    pub bias: Option<BufferId>,
    /// Features of x.
    pub depth: usize,
    /// Features of the result.
    pub columns: usize,
    /// What happens to sums.
    pub stage: Stage,
}

impl Layer {
    fn terms(&self, unit: Unit) -> Terms {
        Terms { unit, count: 1, run: self.depth, padded: self.depth.next_multiple_of(unit.step()) }
    }
}

/// Writes the launch if the batch is large (a single image fills no tile) and tiles suit the factors.
pub fn forward(cx: &mut LowerCx, layer: &Layer) -> bool {
    let factors = [layer.x, layer.weights];
    let unit = match cx.target.batch {
        Batch::Throughput => unit_for(cx, &factors, &[(layer.depth, layer.terms(Unit::Split).steps())], true),
        Batch::Training => trains(cx, &factors).then_some(Unit::Bf16),
        Batch::Latency => None,
    };
    unit.into_iter().for_each(|unit| launch(cx, unit, layer));
    unit.is_some()
}

/// Writes the launch `(w, dy) -> dx` of a layer of `[inputs, outputs]` features if tiles suit the factors.
pub fn grad_input(cx: &mut LowerCx, [inputs, outputs]: [usize; 2]) -> bool {
    let [w, dy] = [0, 1].map(|i| cx.operands[i].buffer);
    let fits = trains(cx, &[w, dy]);
    if fits {
        let weights = turned(cx, w, &as_pixel([inputs, outputs]));
        let stage = Stage::default();
        launch(cx, Unit::Bf16, &Layer { x: dy, weights, bias: None, depth: outputs, columns: inputs, stage });
    }
    fits
}

/// Writes the launches `(x, dy) -> dw` of a layer of `[inputs, outputs]` features if tiles suit the factors.
pub fn grad_weight(cx: &mut LowerCx, features: [usize; 2]) -> bool {
    let factors = [0, 1].map(|i| cx.operands[i].buffer);
    cx.target.trains_on_tiles() && super::grad_weight(cx, as_pixel(features), factors)
}

/// Does training multiply these factors on tiles?
fn trains(cx: &LowerCx, factors: &[BufferId]) -> bool {
    cx.target.trains_on_tiles() && multiplies_bf16(cx, factors)
}

/// The layer as a convolution of images of one pixel.
fn as_pixel([channels, outputs]: [usize; 2]) -> Geometry {
    Geometry { channels, image: [1, 1], outputs, out: [1, 1], window: Window::ONE, groups: 1 }
}

fn launch(cx: &mut LowerCx, unit: Unit, layer: &Layer) {
    let terms = layer.terms(unit);
    let y = cx.result.buffer;
    let elems = [layer.x, y].map(|buffer| cx.elem(buffer));
    let &Layer { depth, columns, stage, .. } = layer;
    let (padded, parts) = (terms.padded, unit.parts());
    let weights = panels(cx, layer.weights, terms, columns);
    let with = if layer.bias.is_some() { "_bias" } else { "" };
    let kinds = elem_letters("_", &elems);
    let name = unit.name();
    let mut k =
        KernelBuilder::new(format!("tiles{name}_linear_{depth}x{columns}{with}{}{kinds}", stage.epilogue.name()));
    let rows = Rows { terms, columns, elems };
    let x = k.buffer("x", elems[0], Access::Read);
    let mut args = vec![layer.x, weights];
    let weights = k.buffer("w", Elem::I32, Access::Read);
    let bias = layer.bias.map(|buffer| {
        args.push(buffer);
        k.buffer("b", Elem::F32, Access::Read)
    });
    args.push(y);
    let y = k.buffer("y", elems[1], Access::Write);
    let [copy, back] =
        [k.scratch("rows", Elem::Bf16, COLUMNS * parts * padded), k.scratch("back", elems[1], COLUMNS * columns)];
    let sums = k.scratch("sums", Elem::F32, SUMS);
    let calls = |cx: &mut LowerCx, k: &mut KernelBuilder, a: Arg, a_row: usize, y: &dyn Fn(usize) -> Arg| {
        for (count, columns, panel) in runs(columns) {
            let micro_kernel = rows.product(cx, layer, a_row, columns, count);
            let word = panel * terms.words();
            let mut args = vec![a.clone(), weights.at(word), y(panel * COLUMNS), sums.at(0)];
            args.extend(bias.map(|bias| bias.at(panel * COLUMNS)));
            k.call(micro_kernel, args);
        }
    };
    k.parallel("t", Expr::BATCH.ceil_div(COLUMNS as i64), |k, t| {
        let begin = &t * COLUMNS;
        let whole = (&begin + COLUMNS).lt(Expr::BATCH + 1);
        let whole_rows = |cx: &mut LowerCx, k: &mut KernelBuilder| {
            let to = |column: usize| y.at(&begin * columns + column);
            if depth == padded && Some(elems[0]) == unit.image() {
                calls(cx, k, x.at(&begin * depth), depth, &to);
            } else {
                rows.copy(cx, k, [x, copy], &begin, COLUMNS.into());
                calls(cx, k, copy.at(0), parts * padded, &to);
            }
        };
        k.when(whole.clone(), |k| whole_rows(cx, k));
        // Of the last images, only those that exist are read and written.
        k.when(whole.equals(0), |k| {
            let present = Expr::BATCH + &begin * -1;
            rows.copy(cx, k, [x, copy], &begin, present.clone());
            calls(cx, k, copy.at(0), parts * padded, &|column| back.at(column));
            let micro_kernel = rows.back(cx);
            k.serial("i", present, |k, i| {
                k.call(micro_kernel, [y.at((&begin + &i) * columns), back.at(&i * columns)]);
            });
        });
    });
    let kernel = k.finish();
    cx.launch(unit.method(), kernel, &args);
}

/// The sizes of the product.
struct Rows {
    terms: Terms,
    columns: usize,
    elems: [Elem; 2],
}

impl Rows {
    /// Images `begin ..`, `count` of them, to rows of whole steps.
    fn copy(&self, cx: &mut LowerCx, k: &mut KernelBuilder, [x, to]: [Memory; 2], begin: &Expr, count: Expr) {
        let Terms { unit, run: depth, padded, .. } = self.terms;
        let (elem, apart) = (self.elems[0], padded);
        let row = Pixels { left: 0, count: depth, width: padded, channels: 1, pitch: 1, apart, elem, unit, zero: 0 };
        let (micro_kernel, pitch) = (cx.micro_kernel(row), unit.parts() * padded);
        k.serial("i", count, |k, i| k.call(micro_kernel, [to.at(&i * pitch), x.at((begin + &i) * depth)]));
    }

    /// A row of results to its place.
    fn back(&self, cx: &mut LowerCx) -> MicroKernelId {
        let (columns, elem) = (self.columns, self.elems[1]);
        let name = format!("tiles_back_{columns}{}", elem_letters("_", &[elem]));
        cx.micro_kernel(code(name, (columns, elem), |&(columns, elem), b| {
            let (to, from) = (b.pointer("to", elem, Access::Write), b.pointer("from", elem, Access::Read));
            b.elements(columns, TILE as u32, |b, at, lanes| {
                let value = b.load(from, at.clone(), lanes);
                b.store(to, at, value);
            });
        }))
    }

    /// 32 images by `count` panels of which `columns` columns are results.
    fn product(&self, cx: &mut LowerCx, layer: &Layer, a_row: usize, columns: usize, count: usize) -> MicroKernelId {
        let Terms { unit, padded, .. } = self.terms;
        cx.micro_kernel(Blocks {
            unit,
            steps: (0..padded as i64).step_by(unit.step()).collect(),
            a_row,
            apart: [padded as i64, 0],
            second: Some((TILE * a_row) as i64),
            columns,
            count,
            next: Next { a: 0, b: self.terms.words() as i64, y: COLUMNS as i64, bias: COLUMNS as i64 },
            places: (0..COLUMNS).map(|row| Some((row * self.columns) as i64)).collect(),
            fill: false,
            bias: layer.bias.is_some(),
            end: End::Floats(layer.stage.epilogue),
            mask: None,
            elem: self.elems[1],
        })
    }
}
