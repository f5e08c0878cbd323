//! Fully connected layers on tiles: rows of A are images.

use super::blocks::{Blocks, COLUMNS, End, Next, STEP_WORDS, SUMS, TILE};
use super::copy::Pixels;
use super::panels::{Terms, panels, runs};
use super::unit::Unit;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, Memory, MicroKernelId};
use crate::lower::target::Batch;
use crate::lower::{BufferId, LowerCx, Method, code};
use crate::recipes::common::Stage;
use crate::recipes::common::names::elem_letters;
use crate::types::Format;

/// Terms of a step.
const STEP: usize = Unit::Bf16.step();

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

/// Writes the launch if the batch is large and the factors are exact in bf16: a single image fills no tile.
pub fn forward(cx: &mut LowerCx, layer: &Layer) -> bool {
    let exact = |buffer: BufferId| cx.builder.exact.get(&buffer) == Some(&Format::Bf16);
    let suits = cx.target.cpu().tiles && cx.target.batch == Batch::Throughput;
    if !(suits && exact(layer.x) && exact(layer.weights)) {
        return false;
    }
    let y = cx.result.buffer;
    let elems = [layer.x, y].map(|buffer| cx.elem(buffer));
    let &Layer { depth, columns, stage, .. } = layer;
    let padded = depth.next_multiple_of(STEP);
    let weights = panels(cx, layer.weights, Terms { unit: Unit::Bf16, count: 1, run: depth, padded }, columns);
    let with = if layer.bias.is_some() { "_bias" } else { "" };
    let kinds = elem_letters("_", &elems);
    let mut k = KernelBuilder::new(format!("tiles_linear_{depth}x{columns}{with}{}{kinds}", stage.epilogue.name()));
    let rows = Rows { depth, padded, columns, elems };
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
        [k.scratch("rows", Elem::Bf16, COLUMNS * padded), k.scratch("back", elems[1], COLUMNS * columns)];
    let sums = k.scratch("sums", Elem::F32, SUMS);
    let calls = |cx: &mut LowerCx, k: &mut KernelBuilder, a: Arg, a_row: usize, y: &dyn Fn(usize) -> Arg| {
        for (count, columns, panel) in runs(columns) {
            let micro_kernel = rows.product(cx, layer, a_row, columns, count);
            let word = panel * (padded / STEP * STEP_WORDS);
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
            if depth == padded && elems[0] == Elem::Bf16 {
                calls(cx, k, x.at(&begin * depth), depth, &to);
            } else {
                rows.copy(cx, k, [x, copy], &begin, COLUMNS.into());
                calls(cx, k, copy.at(0), padded, &to);
            }
        };
        k.when(whole.clone(), |k| whole_rows(cx, k));
        // Of the last images, only those that exist are read and written.
        k.when(whole.equals(0), |k| {
            let present = Expr::BATCH + &begin * -1;
            rows.copy(cx, k, [x, copy], &begin, present.clone());
            calls(cx, k, copy.at(0), padded, &|column| back.at(column));
            let micro_kernel = rows.back(cx);
            k.serial("i", present, |k, i| {
                k.call(micro_kernel, [y.at((&begin + &i) * columns), back.at(&i * columns)]);
            });
        });
    });
    let kernel = k.finish();
    cx.launch(Method::Other("tiles".into()), kernel, &args);
    true
}

/// The sizes of the product.
struct Rows {
    depth: usize,
    padded: usize,
    columns: usize,
    elems: [Elem; 2],
}

impl Rows {
    /// Images `begin ..`, `count` of them, to rows of whole steps.
    fn copy(&self, cx: &mut LowerCx, k: &mut KernelBuilder, [x, to]: [Memory; 2], begin: &Expr, count: Expr) {
        let (depth, padded) = (self.depth, self.padded);
        let (elem, unit) = (self.elems[0], Unit::Bf16);
        let row = Pixels { left: 0, count: depth, width: padded, channels: 1, pitch: 1, elem, unit, zero: 0 };
        let micro_kernel = cx.micro_kernel(row);
        k.serial("i", count, |k, i| k.call(micro_kernel, [to.at(&i * padded), x.at((begin + &i) * depth)]));
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
        let steps: Vec<i64> = (0..self.padded as i64).step_by(STEP).collect();
        let b = (steps.len() * STEP_WORDS) as i64;
        cx.micro_kernel(Blocks {
            unit: Unit::Bf16,
            steps,
            a_row,
            second: Some((TILE * a_row) as i64),
            columns,
            count,
            next: Next { a: 0, b, y: COLUMNS as i64, bias: COLUMNS as i64 },
            places: (0..COLUMNS).map(|row| Some((row * self.columns) as i64)).collect(),
            fill: false,
            bias: layer.bias.is_some(),
            end: End::Floats(layer.stage.epilogue),
            mask: None,
            elem: self.elems[1],
        })
    }
}
