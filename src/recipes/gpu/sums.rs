//! Sums over rows of memory by work groups. The items of a group are a block of columns wide and some rows high; each adds up
//! every so-many-th row of its column, then the group folds its rows by halves in local memory. The order is fixed: it
//! depends on shapes and the batch alone. Long sums are shared by groups, whose results a second launch folds likewise.

use super::conv::share;
use super::product::Span;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Binary, Elem, Expr, Index, Memory, MicroKernelId, Param, Val};
use crate::lower::{BufferId, LowerCx};
use crate::recipes::reduce::{Mean, and_before, images};
use crate::recipes::split::Dressed;

/// Items of a group, on a device that allows as many.
const ITEMS: usize = 256;
/// Columns of a group: neighbouring items read whole lines of memory.
const COLUMNS: usize = 32;
/// Rows of an image, about, that are worth a part of the sum.
const ROWS: usize = 16;
/// The most parts of a sum.
const PARTS: usize = 64;

pub type Term<'a> = &'a mut dyn FnMut(&mut MicroKernelBuilder, &[Val]) -> Val;
/// The result, from the sum and the values of `Finish::with`.
pub type Function<'a> = &'a mut dyn FnMut(&mut MicroKernelBuilder, Val, &[Val]) -> Val;

/// An operand of the terms: a row of numbers for each row of the sum, or one row for all.
#[derive(Clone, Copy)]
pub struct Source {
    pub buffer: BufferId,
    pub elem: Elem,
    pub shared: bool,
}

impl Source {
    pub fn rows(buffer: BufferId) -> Source {
        Source { buffer, elem: Elem::F32, shared: false }
    }
}

/// What becomes of a sum.
pub struct Finish<'a> {
    pub mean: Mean,
    /// What a mean over all divides by, beside the images of the whole batch.
    pub positions: usize,
    /// Sums of several groups of images add up.
    pub grows: bool,
    /// Rows of numbers, one a column.
    pub with: Vec<BufferId>,
    pub function: Option<Function<'a>>,
}

impl Finish<'_> {
    /// The sum as it is.
    pub fn plain() -> Finish<'static> {
        Finish { mean: Mean::No, positions: 1, grows: false, with: vec![], function: None }
    }

    fn name(&self) -> String {
        let mean = match self.mean {
            Mean::No => String::new(),
            Mean::OverAll => format!("_mean{}", self.positions),
        };
        format!("{mean}{}{}", if self.grows { "_grows" } else { "" }, if self.function.is_some() { "_f" } else { "" })
    }
}

/// `result[sum][column] = finish(Σ term)` over the rows of each sum.
struct Fold<'a> {
    /// Names the term and the function with all their constants.
    tag: &'a str,
    columns: usize,
    /// How many sums each column has, and the rows of one.
    count: Expr,
    span: &'a dyn Fn(&Expr) -> Span,
    /// Rows of a sum, about.
    rows: usize,
    operands: &'a [Source],
    result: BufferId,
}

/// `result[c] = finish(Σ over images and the `positions` rows of each)`: in one launch where an image has few rows.
pub fn over_batch(
    cx: &mut LowerCx,
    tag: &str,
    [columns, positions]: [usize; 2],
    operands: &[Source],
    term: Term,
    finish: Finish,
) {
    shared(cx, tag, columns, &(Expr::BATCH * positions), positions, operands, term, finish);
}

/// `result[c] = finish(Σ over `rows` rows)`
pub fn over_rows(
    cx: &mut LowerCx,
    tag: &str,
    [columns, rows]: [usize; 2],
    operands: &[Source],
    term: Term,
    finish: Finish,
) {
    shared(cx, tag, columns, &rows.into(), rows / PARTS, operands, term, finish);
}

/// `x[C, H, W] -> y[C]`, the mean of each image, where images are large enough for a group.
pub fn image_mean(cx: &mut LowerCx, [columns, rows]: [usize; 2]) -> bool {
    if rows < ROWS {
        return false;
    }
    let (x, result) = (cx.operands[0].buffer, cx.result.buffer);
    let span = |image: &Expr| Span { begin: image * rows, length: rows.into() };
    let tag = format!("avg_pool_{rows}");
    let fold = Fold { tag: &tag, columns, count: Expr::BATCH, span: &span, rows, operands: &[Source::rows(x)], result };
    let mut mean = |b: &mut MicroKernelBuilder, sum: Val, _: &[Val]| {
        let n = b.f32(rows as f32, 1);
        b.div(sum, n)
    };
    fold.launch(cx, &mut |_, v| v[0], Finish { function: Some(&mut mean), ..Finish::plain() });
    true
}

fn shared(
    cx: &mut LowerCx,
    tag: &str,
    columns: usize,
    total: &Expr,
    rows: usize,
    operands: &[Source],
    term: Term,
    finish: Finish,
) {
    let parts = (rows / ROWS).clamp(1, PARTS);
    let result = cx.result.buffer;
    let whole = |_: &Expr| Span { begin: 0.into(), length: total.clone() };
    if parts == 1 {
        let fold = Fold { tag, columns, count: 1.into(), span: &whole, rows: ITEMS, operands, result };
        return fold.launch(cx, term, finish);
    }
    let partial = cx.temp("partial", Elem::F32, parts * columns, 0);
    let part = |part: &Expr| share(part, parts, total);
    let name = format!("{tag}_partial");
    let fold = Fold { tag: &name, columns, count: parts.into(), span: &part, rows: ITEMS, operands, result: partial };
    fold.launch(cx, term, Finish::plain());
    let all = |_: &Expr| Span::all(parts);
    let name = format!("{tag}_sum");
    let operands = &[Source::rows(partial)];
    let fold = Fold { tag: &name, columns, count: 1.into(), span: &all, rows: parts, operands, result };
    fold.launch(cx, &mut |_, v| v[0], finish);
}

/// Items of a group as a block of columns and rows; both are powers of two.
#[derive(Clone, Copy)]
struct Block {
    wide: usize,
    high: usize,
}

impl Block {
    fn new(cx: &LowerCx, columns: usize, rows: usize) -> Block {
        let limit = cx.target.gpu.as_ref().map_or(ITEMS, |gpu| gpu.group_items.clamp(1, ITEMS));
        let limit = 1 << limit.ilog2();
        let wide = columns.next_power_of_two().min(COLUMNS).min(limit);
        // Each item should have some rows to add before the group folds.
        Block { wide, high: rows.div_ceil(4).next_power_of_two().min(limit / wide) }
    }

    fn items(self) -> usize {
        self.wide * self.high
    }
}

impl Fold<'_> {
    fn launch(&self, cx: &mut LowerCx, term: Term, mut finish: Finish) {
        let block = Block::new(cx, self.columns, self.rows);
        let mut d = Dressed::bare(cx, self.tag);
        let operands: Vec<Memory> =
            self.operands.iter().map(|s| d.buffer("x", s.elem, Access::Read, s.buffer)).collect();
        let with: Vec<Memory> = finish.with.iter().map(|s| d.buffer("w", Elem::F32, Access::Read, *s)).collect();
        let access = if finish.grows { Access::ReadWrite } else { Access::Write };
        let y = d.buffer("y", Elem::F32, access, self.result);
        let sums = d.kernel.local("sums", Elem::F32, block.items());
        let (add, zero) = (add_micro_kernel(cx), super::cells::zeros(cx, 1, 1));
        let (term, last) = (self.term_micro_kernel(cx, block.high, term), self.finish_micro_kernel(cx, &mut finish));
        let blocks = self.columns.div_ceil(block.wide);
        d.kernel.groups(self.count.clone() * blocks, block.items(), |k, group, item| {
            let (sum, first) = (group.div(blocks), group.rem(blocks) * block.wide);
            let (row, column) = (item.div(block.wide), first + item.rem(block.wide));
            let there = if self.columns.is_multiple_of(block.wide) { 1.into() } else { column.lt(self.columns) };
            let span = (self.span)(&sum);
            let rows = (&span.length - &row).ceil_div(block.high as i64);
            let at = (&span.begin + &row) * self.columns + &column;
            let pointers = operands.iter().zip(self.operands);
            let mut args: Vec<Arg> = pointers.map(|(m, s)| m.at(if s.shared { &column } else { &at })).collect();
            args.extend([sums.at(&item), Arg::Int(rows)]);
            match there.clone() {
                Expr::Const(1) => k.call(term, args),
                there => k.either(there, |k| k.call(term, args), |k| k.call(zero, [sums.at(&item)])),
            }
            k.barrier();
            fold(k, add, sums, &item, block.wide, block.high);
            let mut args = vec![sums.at(&item)];
            args.extend(with.iter().map(|m| m.at(&column)));
            args.push(y.at(&sum * self.columns + &column));
            args.extend((finish.mean == Mean::OverAll).then_some(Arg::Int(Expr::TOTAL)));
            args.extend(finish.grows.then(|| Arg::Int(Expr::FIRST.min(1))));
            k.when(item.lt(block.wide) * there, |k| k.call(last, args));
        });
        if finish.grows { d.launch_sums(cx) } else { d.launch(cx) }
    }

    /// The sum of an item's terms: `(operands…, sum, rows)`, its rows `high` apart.
    fn term_micro_kernel(&self, cx: &mut LowerCx, high: usize, term: Term) -> MicroKernelId {
        let letters: String = self.operands.iter().map(|s| if s.shared { 'c' } else { 'e' }).collect();
        let step = (high * self.columns) as i64;
        cx.module().micro_kernel(&format!("{}_terms_{letters}_by{step}", self.tag), |b| {
            let params: Vec<Param> = self
                .operands
                .iter()
                .enumerate()
                .map(|(i, s)| b.pointer(&format!("x{i}"), s.elem, Access::Read))
                .collect();
            let sum = b.pointer("sum", Elem::F32, Access::Write);
            let rows = b.int("rows");
            let shared: Vec<Option<Val>> =
                (self.operands.iter().zip(&params)).map(|(s, p)| s.shared.then(|| b.load(*p, 0usize, 1))).collect();
            let zero = b.f32(0.0, 1);
            let total = b.repeat("r", rows, &[zero], |b, r, sum| {
                let each = shared.iter().zip(&params);
                let values: Vec<Val> =
                    each.map(|(s, p)| s.unwrap_or_else(|| b.load(*p, Index::default().plus(r, step), 1))).collect();
                let value = term(b, &values);
                vec![b.add(sum[0], value)]
            });
            b.store(sum, 0usize, total[0]);
        })
    }

    /// `(sum, with…, y, [total], [groups before])`
    fn finish_micro_kernel(&self, cx: &mut LowerCx, finish: &mut Finish) -> MicroKernelId {
        let name = format!("{}_end{}", self.tag, finish.name());
        cx.module().micro_kernel(&name, |b| {
            let from = b.pointer("sum", Elem::F32, Access::Read);
            let with: Vec<Param> =
                (0..finish.with.len()).map(|i| b.pointer(&format!("w{i}"), Elem::F32, Access::Read)).collect();
            let access = if finish.grows { Access::ReadWrite } else { Access::Write };
            let y = b.pointer("y", Elem::F32, access);
            let mut sum = b.load(from, 0usize, 1);
            let values: Vec<Val> = with.iter().map(|p| b.load(*p, 0usize, 1)).collect();
            if let Some(function) = &mut finish.function {
                sum = function(b, sum, &values);
            }
            if finish.mean == Mean::OverAll {
                let total = b.int("total");
                let n = images(b, total, finish.positions, 1);
                sum = b.div(sum, n);
            }
            if finish.grows {
                let groups = b.int("groups");
                sum = and_before(b, sum, y, &Index::default(), groups);
            }
            b.store(y, 0usize, sum);
        })
    }
}

/// `to += from`: `(to, from)`.
pub fn add_micro_kernel(cx: &mut LowerCx) -> MicroKernelId {
    fold_micro_kernel(cx, "add_to", Binary::Add)
}

/// `to = op(to, from)`: `(to, from)`.
pub fn fold_micro_kernel(cx: &mut LowerCx, name: &str, op: Binary) -> MicroKernelId {
    cx.module().micro_kernel(name, |b| {
        let to = b.pointer("to", Elem::F32, Access::ReadWrite);
        let from = b.pointer("from", Elem::F32, Access::Read);
        let (left, right) = (b.load(to, 0usize, 1), b.load(from, 0usize, 1));
        let both = b.binary(op, left, right);
        b.store(to, 0usize, both);
    })
}

/// Folds the rows of a block of `wide` columns by halves with the micro-kernel `(to, from)`, until the first row holds all. All items
/// come here, after a barrier.
pub fn fold(k: &mut KernelBuilder, micro_kernel: MicroKernelId, block: Memory, item: &Expr, wide: usize, high: usize) {
    let mut rows = high / 2;
    while rows > 0 {
        let other = block.at(item + rows * wide);
        k.when(item.lt(rows * wide), |k| k.call(micro_kernel, [block.at(item), other]));
        k.barrier();
        rows /= 2;
    }
}
