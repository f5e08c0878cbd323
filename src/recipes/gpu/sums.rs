//! Sums over rows of memory by work groups. The items of a group are a block of columns wide and some rows high; each
//! adds up its column's rows at a fixed distance, then the group folds its rows by halves in local memory. The order is
//! fixed: it depends on shapes and the batch alone. Long sums are shared by groups, whose results a second launch folds
//! likewise.

use super::product::Span;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Binary, Elem, Expr, Index, Memory, MicroKernelId, Param, Val};
use crate::lower::program::elem;
use crate::lower::target::Gpu;
use crate::lower::{BufferId, LowerCx, Params, Pure, Stateless, code};
use crate::recipes::common::partition::KernelWithOperands;
use crate::recipes::common::sums::{Mean, SMALL, Sizes, SumEnd, and_before, images, whole_sum};
use std::fmt::{self, Display};

/// Items of a group, on a device that allows as many.
const ITEMS: usize = 256;
/// Columns of a group: neighbouring items read whole lines of memory.
const COLUMNS: usize = 32;
/// Rows of an image, about, that are worth a part of the sum.
const ROWS: usize = 16;
/// The most parts of a sum.
const PARTS: usize = 64;

/// An operand of the terms: a row of numbers for each row of the sum, or one row for all.
#[derive(Clone, Copy)]
pub struct Source {
    /// Its memory.
    pub buffer: BufferId,
    /// Its elements.
    pub elem: Elem,
    /// Whether one row serves all rows of the sum.
    pub shared: bool,
}

impl Source {
    /// Makes an operand of a float32 row for each row of the sum.
    pub fn rows(buffer: BufferId) -> Source {
        Source { buffer, elem: Elem::F32, shared: false }
    }
}

/// What becomes of a sum.
#[derive(Clone)]
pub struct Ending<P, F> {
    /// What the sum is divided by.
    pub mean: Mean,
    /// What a mean over all divides by, beside the images of the whole batch.
    pub positions: usize,
    /// Whether sums of several groups of images add up.
    pub accumulates: bool,
    /// Rows of numbers, one a column.
    pub with: Vec<BufferId>,
    /// `(parameters, builder, sum, values of `with`, lanes)` gives the result.
    pub function: Pure<P, F>,
}

/// Leaves the sum as it is.
pub fn plain() -> Ending<(), impl Fn(&(), &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless> {
    Ending { mean: Mean::No, positions: 1, accumulates: false, with: vec![], function: Pure::new((), whole_sum) }
}

/// `result[sum][column] = finish(Σ term)` over the rows of each sum.
struct Fold<'a> {
    /// Names the term and the function.
    what: &'a str,
    columns: usize,
    /// How many sums each column has.
    count: Expr,
    /// The rows of a sum.
    span: &'a dyn Fn(&Expr) -> Span,
    /// Rows of a sum, about.
    rows: usize,
    operands: &'a [Source],
    result: BufferId,
}

/// `result[c] = Σ over images and positions of term(operands)`, then what `end` says.
pub fn channels<T, P: Params, F>(cx: &mut LowerCx, gpu: &Gpu, what: &str, sizes: &Sizes, term: T, end: SumEnd<P, F>)
where
    T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
    F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
{
    let operands: Vec<Source> = (cx.operands.iter().zip(&sizes.shared))
        .map(|(o, &shared)| Source { buffer: o.buffer, elem: elem(&o.ty), shared })
        .collect();
    let with = end.with.iter().map(|&i| cx.operands[i].buffer).collect();
    let SumEnd { mean, accumulates, function, .. } = end;
    let finish = Ending { mean, positions: sizes.positions, accumulates, with, function };
    over_batch(cx, gpu, what, [sizes.channels, sizes.positions], &operands, term, finish);
}

/// The sum over the batch of rows of `elements` numbers.
pub fn whole_batch(cx: &mut LowerCx, gpu: &Gpu, what: &str, elements: usize, mean: Mean) {
    let operands = [Source::rows(cx.operands[0].buffer)];
    let finish = Ending { mean, accumulates: true, ..plain() };
    over_batch(cx, gpu, what, [elements, 1], &operands, |_, v, _| v[0], finish);
}

/// `shared x -> shared []`: the sum of squares, of `x` times [`SMALL`] if `small`.
pub fn sum_squares(cx: &mut LowerCx, gpu: &Gpu, small: bool) {
    let (elements, operands) = (cx.operands[0].ty.elements(), [Source::rows(cx.operands[0].buffer)]);
    let term = |b: &mut MicroKernelBuilder, v: &[Val], _: u32| b.mul(v[0], v[0]);
    let term_of_small = |b: &mut MicroKernelBuilder, v: &[Val], lanes: u32| {
        let small = b.f32(SMALL, lanes);
        let v = b.mul(v[0], small);
        b.mul(v, v)
    };
    match small {
        true => over_rows(cx, gpu, "small_squares", [1, elements], &operands, term_of_small, plain()),
        false => over_rows(cx, gpu, "squares", [1, elements], &operands, term, plain()),
    }
}

/// `result[c] = finish(Σ over images and the `positions` rows of each)`: in one launch where an image has few rows.
fn over_batch<T, P: Params, F>(
    cx: &mut LowerCx,
    gpu: &Gpu,
    what: &str,
    [columns, positions]: [usize; 2],
    operands: &[Source],
    term: T,
    finish: Ending<P, F>,
) where
    T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
    F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
{
    shared(cx, gpu, (what, operands), columns, (&(Expr::BATCH * positions), positions), term, finish);
}

/// `result[c] = finish(Σ over `rows` rows)`
fn over_rows<T, P: Params, F>(
    cx: &mut LowerCx,
    gpu: &Gpu,
    what: &str,
    [columns, rows]: [usize; 2],
    operands: &[Source],
    term: T,
    finish: Ending<P, F>,
) where
    T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
    F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
{
    shared(cx, gpu, (what, operands), columns, (&rows.into(), rows / PARTS), term, finish);
}

/// `x[C, H, W] -> y[C]`, the mean of each image, where images are large enough for a group.
pub fn image_mean(cx: &mut LowerCx, gpu: &Gpu, [columns, rows]: [usize; 2]) -> bool {
    if rows < ROWS {
        return false;
    }
    let (x, result) = (cx.operands[0].buffer, cx.result.buffer);
    let span = |image: &Expr| Span { begin: image * rows, length: rows.into() };
    let operands = &[Source::rows(x)];
    let fold = Fold { what: "avg_pool", columns, count: Expr::BATCH, span: &span, rows, operands, result };
    let function = Pure::new(rows, |&rows: &usize, b: &mut MicroKernelBuilder, sum: Val, _: &[Val], _: u32| {
        let n = b.f32(rows as f32, 1);
        b.div(sum, n)
    });
    let finish = Ending { mean: Mean::No, positions: 1, accumulates: false, with: vec![], function };
    fold.launch(cx, gpu, |_, v, _| v[0], finish);
    true
}

/// A sum over `total` rows, in parts where they are many: about `rows` for each image, or part.
fn shared<T, P: Params, F>(
    cx: &mut LowerCx,
    gpu: &Gpu,
    (what, operands): (&str, &[Source]),
    columns: usize,
    (total, rows): (&Expr, usize),
    term: T,
    finish: Ending<P, F>,
) where
    T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
    F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
{
    let parts = (rows / ROWS).clamp(1, PARTS);
    let result = cx.result.buffer;
    let whole = |_: &Expr| Span { begin: 0.into(), length: total.clone() };
    if parts == 1 {
        let fold = Fold { what, columns, count: 1.into(), span: &whole, rows: ITEMS, operands, result };
        return fold.launch(cx, gpu, term, finish);
    }
    let partial = cx.temp("partial", Elem::F32, parts * columns, 0);
    let part = |part: &Expr| Span::share(part, parts, total);
    let name = format!("{what}_partial");
    let fold = Fold { what: &name, columns, count: parts.into(), span: &part, rows: ITEMS, operands, result: partial };
    fold.launch(cx, gpu, term, plain());
    let all = |_: &Expr| Span::all(parts);
    let name = format!("{what}_sum");
    let operands = &[Source::rows(partial)];
    let fold = Fold { what: &name, columns, count: 1.into(), span: &all, rows: parts, operands, result };
    fold.launch(cx, gpu, |_, v, _| v[0], finish);
}

/// Items of a group as a block of columns and rows; both are powers of two.
#[derive(Clone, Copy)]
struct Block {
    wide: usize,
    high: usize,
}

impl Block {
    fn new(gpu: &Gpu, columns: usize, rows: usize) -> Block {
        let limit = 1 << gpu.group_items.clamp(1, ITEMS).ilog2();
        let wide = columns.next_power_of_two().min(COLUMNS).min(limit);
        // Each item should have some rows to add before the group folds.
        Block { wide, high: rows.div_ceil(4).next_power_of_two().min(limit / wide) }
    }

    fn items(self) -> usize {
        self.wide * self.high
    }
}

impl Fold<'_> {
    fn launch<T, P: Params, F>(&self, cx: &mut LowerCx, gpu: &Gpu, term: T, finish: Ending<P, F>)
    where
        T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
        F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
    {
        let block = Block::new(gpu, self.columns, self.rows);
        let mut d = KernelWithOperands::bare(cx, self.what);
        let operands: Vec<Memory> =
            self.operands.iter().map(|s| d.buffer("x", s.elem, Access::Read, s.buffer)).collect();
        let with: Vec<Memory> = finish.with.iter().map(|s| d.buffer("w", Elem::F32, Access::Read, *s)).collect();
        let access = if finish.accumulates { Access::ReadWrite } else { Access::Write };
        let y = d.buffer("y", Elem::F32, access, self.result);
        let sums = d.kernel.local("sums", Elem::F32, block.items());
        let (add, zero) = (fold_micro_kernel(cx, Binary::Add), super::cells::zeros(cx, 1, 1));
        let (term, last) = (self.term_micro_kernel(cx, block.high, term), self.finish_micro_kernel(cx, &finish));
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
            args.extend(finish.accumulates.then(|| Arg::Int(Expr::FIRST.min(1))));
            k.when(item.lt(block.wide) * there, |k| k.call(last, args));
        });
        if finish.accumulates { d.launch_accumulating(cx) } else { d.launch(cx) }
    }

    /// The sum of an item's terms: `(operands…, sum, rows)`, its rows `high` apart.
    fn term_micro_kernel<T>(&self, cx: &mut LowerCx, high: usize, term: T) -> MicroKernelId
    where
        T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
    {
        let letters: String = self.operands.iter().map(|s| if s.shared { 'c' } else { 'e' }).collect();
        let operands = self.operands.iter().map(|s| (s.elem, s.shared)).collect();
        let terms = Terms { operands, step: high * self.columns };
        let name = format!("{}_terms_{letters}_by{}", self.what, terms.step);
        cx.micro_kernel(code(name, terms, move |terms, b| terms.write(b, term)))
    }

    /// `(sum, with…, y, [total], [groups before])`
    fn finish_micro_kernel<P: Params, F>(&self, cx: &mut LowerCx, finish: &Ending<P, F>) -> MicroKernelId
    where
        F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
    {
        let mean = (finish.mean == Mean::OverAll).then_some(finish.positions);
        let end = End { with: finish.with.len(), mean, accumulates: finish.accumulates };
        let params = (end, finish.function.clone());
        let name = format!("{}_end{}", self.what, params.0);
        cx.micro_kernel(code(name, params, |(end, function), b| end.write(b, function)))
    }
}

/// The micro-kernel that sums an item's terms.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Terms {
    /// Elements, and whether they are shared.
    operands: Vec<(Elem, bool)>,
    /// Elements from row to row.
    step: usize,
}

impl Terms {
    fn write(&self, b: &mut MicroKernelBuilder, term: impl Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val) {
        let params: Vec<(Param, bool)> = (self.operands.iter().enumerate())
            .map(|(i, &(elem, shared))| (b.pointer(&format!("x{i}"), elem, Access::Read), shared))
            .collect();
        let sum = b.pointer("sum", Elem::F32, Access::Write);
        let rows = b.int("rows");
        let shared: Vec<Option<Val>> = params.iter().map(|&(p, shared)| shared.then(|| b.load(p, 0usize, 1))).collect();
        let zero = b.f32(0.0, 1);
        let total = b.repeat("r", rows, &[zero], |b, r, sum| {
            let each = shared.iter().zip(&params);
            let at = Index::default().plus(r, self.step as i64);
            let values: Vec<Val> = each.map(|(s, p)| s.unwrap_or_else(|| b.load(p.0, at.clone(), 1))).collect();
            let value = term(b, &values, 1);
            vec![b.add(sum[0], value)]
        });
        b.store(sum, 0usize, total[0]);
    }
}

/// The micro-kernel that makes the result of a sum.
#[derive(Clone, PartialEq, Eq, Hash)]
struct End {
    /// Numbers that the function reads.
    with: usize,
    /// Positions that a mean divides by, beside the images of the whole batch.
    mean: Option<usize>,
    accumulates: bool,
}

impl Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.mean.map_or(Ok(()), |positions| write!(f, "_mean{positions}"))?;
        f.write_str(if self.accumulates { "_accumulates" } else { "" })
    }
}

impl End {
    fn write<P, F>(&self, b: &mut MicroKernelBuilder, function: &Pure<P, F>)
    where
        F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
    {
        let (params, function) = function.parts();
        let from = b.pointer("sum", Elem::F32, Access::Read);
        let with: Vec<Param> = (0..self.with).map(|i| b.pointer(&format!("w{i}"), Elem::F32, Access::Read)).collect();
        let access = if self.accumulates { Access::ReadWrite } else { Access::Write };
        let y = b.pointer("y", Elem::F32, access);
        let sum = b.load(from, 0usize, 1);
        let values: Vec<Val> = with.iter().map(|p| b.load(*p, 0usize, 1)).collect();
        let mut sum = function(params, b, sum, &values, 1);
        if let Some(positions) = self.mean {
            let total = b.int("total");
            let n = images(b, total, positions, 1);
            sum = b.div(sum, n);
        }
        if self.accumulates {
            let groups = b.int("groups");
            sum = and_before(b, sum, y, &Index::default(), groups);
        }
        b.store(y, 0usize, sum);
    }
}

/// `to = op(to, from)`: `(to, from)`.
pub fn fold_micro_kernel(cx: &mut LowerCx, op: Binary) -> MicroKernelId {
    let name = if op == Binary::Add { "add_to" } else { "max_to" };
    cx.micro_kernel(code(name, op, |&op, b| {
        let to = b.pointer("to", Elem::F32, Access::ReadWrite);
        let from = b.pointer("from", Elem::F32, Access::Read);
        let (left, right) = (b.load(to, 0usize, 1), b.load(from, 0usize, 1));
        let both = b.binary(op, left, right);
        b.store(to, 0usize, both);
    }))
}

/// Folds the rows of a block of `wide` columns by halves with the micro-kernel `(to, from)`, until the first row
/// holds all. All items come here, after a barrier.
pub fn fold(k: &mut KernelBuilder, micro_kernel: MicroKernelId, block: Memory, item: &Expr, wide: usize, high: usize) {
    let mut rows = high / 2;
    while rows > 0 {
        let other = block.at(item + rows * wide);
        k.when(item.lt(rows * wide), |k| k.call(micro_kernel, [block.at(item), other]));
        k.barrier();
        rows /= 2;
    }
}
