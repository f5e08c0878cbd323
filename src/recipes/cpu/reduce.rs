//! Sums in a fixed order.
//!
//! Sums over the batch go in two launches: each iteration sums a fixed part of the batch into a row of its own, then
//! the rows are added in order. The parts depend on shapes alone, so the bits never depend on threads.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Arg, Binary, Elem, Expr, Index, Param, Val, Var};
use crate::lower::program::elem;
use crate::lower::{BufferId, Constant, LowerCx, Lowered, Params, Pure, Stateless, code};
use crate::recipes::common::names::elem_letters;
use crate::recipes::common::partition::{KernelWithOperands, Partition, fill_micro_kernel};
use crate::recipes::common::sums::{Mean, SMALL, Sizes, SumEnd, and_before, clip_factor, images};
use std::fmt::{self, Display};

/// Parts of an image, at most, that are added to one row of partial sums: each row is read again, and memory is what
/// large sums wait for.
const PARTS: usize = 16;

/// `result[c] = Σ over images and positions of term(operands)`, then what `end` says.
pub fn sums<T, P: Params, F>(cx: &mut LowerCx, what: &str, sizes: &Sizes, term: T, end: SumEnd<P, F>)
where
    T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
    F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
{
    // Rows of the partial sums are many on any device: the second launch adds them up one by one.
    let split = Partition::large(true, sizes.positions, sizes.channels).together(PARTS);
    let partial = cx.temp("partial", Elem::F32, 0, split.rows() * sizes.channels);
    partial_sums(cx, what, sizes, &split, partial, term);
    // Iterations of the first launch are rows of the partial sums.
    let count = if split.images > 1 { Expr::BATCH.ceil_div(split.images as i64) } else { Expr::BATCH * split.rows() };
    add_partial(cx, what, sizes, (partial, count), end);
}

/// The result from `count` rows of partial sums.
fn add_partial<P: Params, F>(
    cx: &mut LowerCx,
    what: &str,
    sizes: &Sizes,
    (partial, count): (BufferId, Expr),
    end: SumEnd<P, F>,
) where
    F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
{
    let lanes = cx.target.lanes;
    let mut d = KernelWithOperands::bare(cx, &format!("{what}_sum"));
    let parts = d.buffer("partial", Elem::F32, Access::Read, partial);
    let shared: Vec<_> = end
        .with
        .iter()
        .map(|&i| d.buffer("x", elem(&cx.operands[i].ty), Access::Read, cx.operands[i].buffer))
        .collect();
    let access = if end.accumulates { Access::ReadWrite } else { Access::Write };
    let y = d.buffer("y", Elem::F32, access, cx.result.buffer);
    let divisor = (end.mean == Mean::OverAll).then_some(sizes.positions);
    Partition::new(cx.target, false, sizes.channels, 32).run(&mut d.kernel, |k, piece| {
        let columns = Columns {
            count: piece.count,
            stride: sizes.channels,
            lanes,
            shared: shared.len(),
            divisor,
            accumulates: end.accumulates,
        };
        let params = (columns, end.function.clone());
        let name = format!("{what}_{}", params.0);
        let micro_kernel = cx.micro_kernel(code(name, params, |(columns, function), b| columns.write(b, function)));
        let mut args = vec![parts.at(&piece.position)];
        args.extend(shared.iter().map(|s| s.at(&piece.position)));
        args.extend([y.at(&piece.position), Arg::Int(count.clone())]);
        args.extend(divisor.map(|_| Arg::Int(Expr::TOTAL)));
        args.extend(end.accumulates.then(|| Arg::Int(cx.images_before().min(1))));
        k.call(micro_kernel, args);
    });
    if end.accumulates { d.launch_accumulating(cx) } else { d.launch(cx) }
}

/// The sums of some columns of the partial sums: `(partial, shared operands…, y, count, [total], [groups])`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Columns {
    count: usize,
    /// Columns of a row in all.
    stride: usize,
    lanes: u32,
    /// Operands that the function reads.
    shared: usize,
    /// Positions that a mean divides by, beside the images.
    divisor: Option<usize>,
    accumulates: bool,
}

impl Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let by = self.divisor.map_or("sum".into(), |positions| format!("mean{positions}"));
        write!(f, "{by}_{}_of_{}_v{}", self.count, self.stride, self.lanes)
    }
}

impl Columns {
    fn write<P, F>(&self, b: &mut MicroKernelBuilder, function: &Pure<P, F>)
    where
        F: Fn(&P, &mut MicroKernelBuilder, Val, &[Val], u32) -> Val + Stateless,
    {
        let (params, function) = function.parts();
        let partial = b.pointer("partial", Elem::F32, Access::Read);
        let shared: Vec<Param> =
            (0..self.shared).map(|i| b.pointer(&format!("x{i}"), Elem::F32, Access::Read)).collect();
        let access = if self.accumulates { Access::ReadWrite } else { Access::Write };
        let y = b.pointer("y", Elem::F32, access);
        let count = b.int("count");
        let total = self.divisor.map(|_| b.int("total"));
        let groups = self.accumulates.then(|| b.int("groups"));
        b.elements(self.count, self.lanes, |b, at, lanes| {
            let sum = column(b, partial, &at, count, self.stride, lanes);
            let values: Vec<Val> = shared.iter().map(|p| b.load(*p, at.clone(), lanes)).collect();
            let sum = function(params, b, sum, &values, lanes);
            let sum = match (total, self.divisor) {
                (Some(total), Some(positions)) => {
                    let n = images(b, total, positions, lanes);
                    b.div(sum, n)
                }
                _ => sum,
            };
            let sum = groups.map_or(sum, |groups| and_before(b, sum, y, &at, groups));
            b.store(y, at, sum);
        });
    }
}

/// The sum of `count` rows at the columns `at`, rows `stride` elements apart, in order.
fn column(b: &mut MicroKernelBuilder, x: Param, at: &Index, count: Var, stride: usize, lanes: u32) -> Val {
    let zero = b.f32(0.0, lanes);
    let sum = b.repeat("r", count, &[zero], |b, r, carried| {
        let value = b.load(x, at.clone().plus(r, stride as i64), lanes);
        vec![b.add(carried[0], value)]
    });
    sum[0]
}

/// `partial[iteration][c] = Σ term` over the iteration's part of the batch.
fn partial_sums<T>(cx: &mut LowerCx, what: &str, sizes: &Sizes, split: &Partition, partial: BufferId, term: T)
where
    T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
{
    let (channels, lanes) = (sizes.channels, cx.target.lanes);
    let mut d = KernelWithOperands::bare(cx, &format!("{what}_partial"));
    let elems: Vec<Elem> = cx.operands.iter().map(|o| cx.elem(o.buffer)).collect();
    let operands: Vec<_> =
        (cx.operands.iter().zip(&elems)).map(|(o, elem)| d.buffer("x", *elem, Access::Read, o.buffer)).collect();
    let sums = d.buffer("partial", Elem::F32, Access::ReadWrite, partial);
    let letters: String = sizes.shared.iter().map(|s| if *s { 'c' } else { 'e' }).collect();
    let zero = fill_micro_kernel(cx, Elem::F32, lanes, channels, 0.0);
    split.run_after(
        &mut d.kernel,
        |k, iteration, _| k.call(zero, [sums.at(iteration * channels)]),
        |k, piece| {
            let rows = Rows { shared: sizes.shared.clone(), elems: elems.clone(), count: piece.count, channels, lanes };
            let kinds = elem_letters("_", &elems);
            let name = format!("{what}_partial_{letters}_{}x{channels}_v{lanes}{kinds}", piece.count);
            let micro_kernel = cx.micro_kernel(code(name, rows, move |rows, b| rows.write(b, term)));
            let at = &piece.position * channels;
            let pieces = operands.iter().zip(&sizes.shared);
            let mut args: Vec<Arg> =
                pieces.map(|(m, shared)| m.at(if *shared { 0.into() } else { at.clone() })).collect();
            args.push(sums.at(&piece.iteration * channels));
            k.call(micro_kernel, args);
        },
    );
    d.launch(cx);
}

/// Vectors of channels that one loop over rows adds up.
const ABREAST: usize = 4;

/// Adds the terms of some rows to their sums: `(operands…, sums)`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Rows {
    /// Which operands are shared.
    shared: Vec<bool>,
    /// Of the operands in memory.
    elems: Vec<Elem>,
    count: usize,
    channels: usize,
    lanes: u32,
}

impl Rows {
    fn write<T>(&self, b: &mut MicroKernelBuilder, term: T)
    where
        T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Copy,
    {
        let elems = self.elems.iter().enumerate();
        let params: Vec<Param> = elems.map(|(i, elem)| b.pointer(&format!("x{i}"), *elem, Access::Read)).collect();
        let sums = b.pointer("sums", Elem::F32, Access::ReadWrite);
        // Whole lines of memory, and sums that do not wait for each other.
        let wide = ABREAST * self.lanes as usize;
        let blocks = if self.lanes > 1 { self.channels / wide } else { 0 };
        if blocks > 0 {
            b.repeat("w", blocks, &[], |b, w, _| {
                let at = Index::default().plus(w, wide as i64);
                let vectors: Vec<Index> =
                    (0..ABREAST).map(|v| at.clone().offset(i64::from(self.lanes) * v as i64)).collect();
                self.columns(b, (&params, sums), &vectors, self.lanes, term);
                vec![]
            });
        }
        let done = blocks * wide;
        b.elements(self.channels - done, self.lanes, |b, at, lanes| {
            self.columns(b, (&params, sums), &[at.offset(done as i64)], lanes, term);
        });
    }

    /// Adds the terms of the columns at each of `vectors`.
    fn columns<T>(
        &self,
        b: &mut MicroKernelBuilder,
        (params, sums): (&[Param], Param),
        vectors: &[Index],
        lanes: u32,
        term: T,
    ) where
        T: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val,
    {
        let fixed: Vec<Vec<Option<Val>>> = (vectors.iter())
            .map(|at| self.shared.iter().zip(params).map(|(s, p)| s.then(|| b.load(*p, at.clone(), lanes))).collect())
            .collect();
        let start: Vec<Val> = vectors.iter().map(|at| b.load(sums, at.clone(), lanes)).collect();
        let all = b.repeat("p", self.count, &start, |b, p, carried| {
            let mut next = Vec::new();
            for ((at, fixed), sum) in vectors.iter().zip(&fixed).zip(carried) {
                let place = at.clone().plus(p, self.channels as i64);
                let values: Vec<Val> = (fixed.iter().zip(params))
                    .map(|(f, x)| f.unwrap_or_else(|| b.load(*x, place.clone(), lanes)))
                    .collect();
                let value = term(b, &values, lanes);
                next.push(b.add(*sum, value));
            }
            next
        });
        for (at, sum) in vectors.iter().zip(all) {
            b.store(sums, at.clone(), sum);
        }
    }
}

/// `x (one number per image) -> shared []`: the mean over the whole batch.
pub fn batch_mean(cx: &mut LowerCx) {
    let mut d = KernelWithOperands::new(cx, "batch_mean", Access::ReadWrite);
    let micro_kernel = cx.micro_kernel(code("batch_mean", (), |(), b| {
        let x = b.pointer("x", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::ReadWrite);
        let (count, total, groups) = (b.int("count"), b.int("total"), b.int("groups"));
        let sum = column(b, x, &Index::default(), count, 1, 1);
        let n = images(b, total, 1, 1);
        let mean = b.div(sum, n);
        let mean = and_before(b, mean, y, &Index::default(), groups);
        b.store(y, 0i64, mean);
    }));
    let (x, y) = (d.operands[0], d.result);
    d.kernel.parallel("i", 1, |k, _| {
        let groups = Arg::Int(cx.images_before().min(1));
        k.call(micro_kernel, [x.at(0), y.at(0), Arg::Int(Expr::BATCH), Arg::Int(Expr::TOTAL), groups]);
    });
    d.launch_accumulating(cx);
}

/// `x[C, H, W] per image -> shared [C, H·W]`: the sum over the batch.
pub fn sum_batch(cx: &mut LowerCx) {
    // Both lie as [H·W][C].
    let (elements, lanes) = (cx.result.ty.elements(), cx.target.lanes);
    let mut d = KernelWithOperands::new(cx, "sum_batch", Access::ReadWrite);
    let (x, y) = (d.operands[0], d.result);
    Partition::new(cx.target, false, elements, 16).run(&mut d.kernel, |k, piece| {
        let name = format!("sum_batch_{}_of_{elements}_v{lanes}", piece.count);
        let micro_kernel =
            cx.micro_kernel(code(name, (piece.count, elements, lanes), |&(part, elements, lanes), b| {
                let x = b.pointer("x", Elem::F32, Access::Read);
                let y = b.pointer("y", Elem::F32, Access::ReadWrite);
                let (count, groups) = (b.int("count"), b.int("groups"));
                b.elements(part, lanes, |b, at, lanes| {
                    let sum = column(b, x, &at, count, elements, lanes);
                    let sum = and_before(b, sum, y, &at, groups);
                    b.store(y, at, sum);
                });
            }));
        let [count, groups] = [Expr::BATCH, cx.images_before().min(1)].map(Arg::Int);
        k.call(micro_kernel, [x.at(&piece.position), y.at(&piece.position), count, groups]);
    });
    d.launch_accumulating(cx);
}

/// `shared x -> shared []`: the sum of squares, of `x` times [`SMALL`] if `small`.
pub fn sum_squares(cx: &mut LowerCx, small: bool) {
    let (elements, lanes) = (cx.operands[0].ty.elements(), cx.target.lanes);
    let split = Partition::large(false, elements, 1);
    let partial = cx.temp("partial", Elem::F32, split.rows(), 0);
    let mut d = KernelWithOperands::bare(cx, "squares_partial");
    let x = d.buffer("x", Elem::F32, Access::Read, cx.operands[0].buffer);
    let sums = d.buffer("partial", Elem::F32, Access::Write, partial);
    split.run(&mut d.kernel, |k, piece| {
        let name = format!("{}squares_{}_v{lanes}", if small { "small_" } else { "" }, piece.count);
        let micro_kernel = cx.micro_kernel(code(name, (piece.count, lanes, small), |&(count, lanes, small), b| {
            let x = b.pointer("x", Elem::F32, Access::Read);
            let y = b.pointer("y", Elem::F32, Access::Write);
            let sum = squares(b, x, count, lanes, small);
            b.store(y, 0i64, sum);
        }));
        k.call(micro_kernel, [x.at(&piece.position), sums.at(&piece.iteration)]);
    });
    d.launch(cx);

    let mut d = KernelWithOperands::bare(cx, "squares_sum");
    let sums = d.buffer("partial", Elem::F32, Access::Read, partial);
    let y = d.buffer("y", Elem::F32, Access::Write, cx.result.buffer);
    let micro_kernel = cx.micro_kernel(code("sum", (), |(), b| {
        let x = b.pointer("x", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let count = b.int("count");
        let sum = column(b, x, &Index::default(), count, 1, 1);
        b.store(y, 0i64, sum);
    }));
    d.kernel.parallel("i", 1, |k, _| {
        k.call(micro_kernel, [sums.at(0), y.at(0), Arg::Int(split.rows().into())]);
    });
    d.launch(cx);
}

/// `Σ x²` over `count` elements as a scalar, or of `x` times [`SMALL`].
fn squares(b: &mut MicroKernelBuilder, x: Param, count: usize, lanes: u32, small: bool) -> Val {
    let add = |b: &mut MicroKernelBuilder, value: Val, sum: Val, lanes: u32| {
        let value = match small {
            true => {
                let small = b.f32(SMALL, lanes);
                b.mul(value, small)
            }
            false => value,
        };
        vec![b.fma(value, value, sum)]
    };
    let whole = count / lanes as usize;
    let mut sum = b.f32(0.0, 1);
    if lanes > 1 && whole > 0 {
        let zero = b.f32(0.0, lanes);
        let vector = b.repeat("v", whole, &[zero], |b, v, carried| {
            let value = b.load(x, Index::default().plus(v, lanes.into()), lanes);
            add(b, value, carried[0], lanes)
        });
        sum = b.reduce(Binary::Add, vector[0]);
    }
    let done = if lanes > 1 { whole * lanes as usize } else { 0 };
    if done == count {
        return sum;
    }
    b.repeat("t", count - done, &[sum], |b, t, carried| {
        let value = b.load(x, Index::from(done).plus(t, 1), 1);
        add(b, value, carried[0], 1)
    })[0]
}

/// `shared w -> w` with each output unit's weights scaled so that their L2 norm is at most `limit`.
/// The output unit is the innermost dimension in memory (see `Type::memory_order`).
pub fn max_norm(cx: &mut LowerCx, limit: f32) -> Lowered {
    let ty = &cx.result.ty;
    let units = ty.memory_order().last().map_or(1, |&d| ty.dims[d]);
    let (weights, limit, lanes) = (ty.elements() / units.max(1), Constant::from(limit), cx.target.lanes);
    let mut d = KernelWithOperands::new(cx, "max_norm", Access::Write);
    let (x, y) = (d.operands[0], d.result);
    Partition::new(cx.target, false, units, 64).run(&mut d.kernel, |k, piece| {
        let name = format!("max_norm_{}_of_{units}x{weights}_{limit}_v{lanes}", piece.count);
        let params = (piece.count, [units, weights], limit, lanes);
        let micro_kernel = cx.micro_kernel(code(name, params, |&(count, sizes, limit, lanes), b| {
            let x = b.pointer("x", Elem::F32, Access::Read);
            let y = b.pointer("y", Elem::F32, Access::Write);
            b.elements(count, lanes, |b, at, lanes| bound_units(b, x, y, &at, sizes, limit.get(), lanes));
        }));
        k.call(micro_kernel, [x.at(&piece.position), y.at(&piece.position)]);
    });
    d.launch(cx);
    Ok(())
}

/// Bounds the norms of the output units at the columns `at`.
fn bound_units(b: &mut MicroKernelBuilder, x: Param, y: Param, at: &Index, sizes: [usize; 2], limit: f32, lanes: u32) {
    let [units, weights] = sizes;
    let zero = b.f32(0.0, lanes);
    let sums = b.repeat("w", weights, &[zero, zero], |b, w, carried| {
        let value = b.load(x, at.clone().plus(w, units as i64), lanes);
        let factor = b.f32(SMALL, lanes);
        let small = b.mul(value, factor);
        vec![b.fma(value, value, carried[0]), b.fma(small, small, carried[1])]
    });
    let limit = b.f32(limit, lanes);
    let factor = clip_factor(b, [sums[0], sums[1]], limit, lanes);
    b.repeat("w", weights, &[], |b, w, _| {
        let place = at.clone().plus(w, units as i64);
        let value = b.load(x, place.clone(), lanes);
        let scaled = b.mul(value, factor);
        b.store(y, place, scaled);
        vec![]
    });
}
