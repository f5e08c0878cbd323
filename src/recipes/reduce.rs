//! Sums in a fixed order.
//!
//! Sums over the batch go in two launches: each round sums a fixed part of the batch into a row of its own, then the rows are
//! added in order. The parts depend on shapes alone, so the bits never depend on threads.

use super::gpu::sums::{self, Finish, Source};
use super::split::{Dressed, Split, elem, fill_micro_kernel};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Arg, Binary, Compare, Elem, Expr, Index, Op, Param, Unary, Val, Var};
use crate::lower::{BufferId, LowerCx, Lowered, Unsupported};
use crate::types::Type;

/// What a sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mean {
    No,
    /// Images of the whole batch · positions.
    OverAll,
}

/// `result[c] = Σ over images and positions of term(operands)`. Operands are batched `[C, H, W]` or `[C]`, all of one type,
/// or shared `[C]`, broadcast. `tag` names the term and its constants.
pub fn channels(
    cx: &mut LowerCx,
    tag: &str,
    mean: Mean,
    term: impl FnMut(&mut MicroKernelBuilder, &[Val], u32) -> Val,
) -> Lowered {
    sums(cx, tag, mean, &[], term, None::<fn(&mut MicroKernelBuilder, Val, &[Val], u32) -> Val>)
}

/// The same; at the end `finish(builder, sum, values of the shared operands `with`, lanes)` gives the result.
pub fn finished(
    cx: &mut LowerCx,
    tag: &str,
    mean: Mean,
    with: &[usize],
    term: impl FnMut(&mut MicroKernelBuilder, &[Val], u32) -> Val,
    finish: impl FnMut(&mut MicroKernelBuilder, Val, &[Val], u32) -> Val,
) -> Lowered {
    sums(cx, tag, mean, with, term, Some(finish))
}

/// Without `finish` the sums of several groups of images add up; a function of the sum must see all of it.
fn sums(
    cx: &mut LowerCx,
    tag: &str,
    mean: Mean,
    with: &[usize],
    mut term: impl FnMut(&mut MicroKernelBuilder, &[Val], u32) -> Val,
    mut finish: Option<impl FnMut(&mut MicroKernelBuilder, Val, &[Val], u32) -> Val>,
) -> Lowered {
    let grows = finish.is_none();
    let sizes = Sizes::of(cx, tag)?;
    if cx.target.gpu.is_some() {
        let operands: Vec<Source> = (cx.operands.iter().zip(&sizes.shared))
            .map(|(o, &shared)| Source { buffer: o.buffer, elem: elem(&o.ty), shared })
            .collect();
        let with = with.iter().map(|&i| cx.operands[i].buffer).collect();
        let mut function = finish.map(|mut f| move |b: &mut MicroKernelBuilder, sum: Val, v: &[Val]| f(b, sum, v, 1));
        let function = function.as_mut().map(|f| f as sums::Function);
        let finish = Finish { mean, positions: sizes.positions, grows, with, function };
        let mut term = |b: &mut MicroKernelBuilder, v: &[Val]| term(b, v, 1);
        sums::over_batch(cx, tag, [sizes.channels, sizes.positions], &operands, &mut term, finish);
        return Ok(());
    }
    // Rows of the partial sums are many on any device: the second launch adds them up one by one.
    let split = Split::large(true, sizes.positions, sizes.channels);
    let partial = cx.temp("partial", Elem::F32, 0, split.parts * sizes.channels);
    partial_sums(cx, tag, &sizes, &split, partial, &mut term);

    // Rounds of the first launch are rows of the partial sums.
    let count = if split.images > 1 { Expr::BATCH.ceil_div(split.images as i64) } else { Expr::BATCH * split.parts };
    let lanes = cx.target.lanes;
    let mut d = Dressed::bare(cx, &format!("{tag}_sum"));
    let parts = d.buffer("partial", Elem::F32, Access::Read, partial);
    let shared: Vec<_> =
        with.iter().map(|&i| d.buffer("x", elem(&cx.operands[i].ty), Access::Read, cx.operands[i].buffer)).collect();
    let access = if grows { Access::ReadWrite } else { Access::Write };
    let y = d.buffer("y", Elem::F32, access, cx.result.buffer);
    let divisor = (mean == Mean::OverAll).then_some(sizes.positions);
    Split::new(cx.target, false, sizes.channels, 32).run(&mut d.kernel, |k, piece| {
        let by = divisor.map_or("sum".into(), |positions| format!("mean{positions}"));
        let name = format!("{tag}_{by}_{}_of_{}_v{lanes}", piece.count, sizes.channels);
        let micro_kernel = cx.module().micro_kernel(&name, |b| {
            let partial = b.pointer("partial", Elem::F32, Access::Read);
            let shared: Vec<Param> =
                (0..with.len()).map(|i| b.pointer(&format!("x{i}"), Elem::F32, Access::Read)).collect();
            let y = b.pointer("y", Elem::F32, access);
            let count = b.int("count");
            let total = divisor.map(|_| b.int("total"));
            let groups = grows.then(|| b.int("groups"));
            b.elements(piece.count, lanes, |b, at, lanes| {
                let sum = column(b, partial, &at, count, sizes.channels, lanes);
                let values: Vec<Val> = shared.iter().map(|p| b.load(*p, at.clone(), lanes)).collect();
                let sum = finish.as_mut().map_or(sum, |finish| finish(b, sum, &values, lanes));
                let sum = match (total, divisor) {
                    (Some(total), Some(positions)) => {
                        let n = images(b, total, positions, lanes);
                        b.div(sum, n)
                    }
                    _ => sum,
                };
                let sum = groups.map_or(sum, |groups| and_before(b, sum, y, &at, groups));
                b.store(y, at, sum);
            });
        });
        let mut args = vec![parts.at(&piece.position)];
        args.extend(shared.iter().map(|s| s.at(&piece.position)));
        args.extend([y.at(&piece.position), Arg::Int(count.clone())]);
        args.extend(divisor.map(|_| Arg::Int(Expr::TOTAL)));
        args.extend(grows.then(|| Arg::Int(Expr::FIRST.min(1))));
        k.call(micro_kernel, args);
    });
    if grows {
        d.launch_sums(cx)
    } else {
        d.launch(cx)
    }
    Ok(())
}

/// `sum`, and what is in `y` from groups before this one, if there were any (`groups` is 1, else 0).
pub(super) fn and_before(b: &mut MicroKernelBuilder, sum: Val, y: Param, at: &Index, groups: Var) -> Val {
    let lanes = b.ty(sum).lanes;
    b.repeat("g", groups, &[sum], |b, _, sum| {
        let before = b.load(y, at.clone(), lanes);
        vec![b.add(before, sum[0])]
    })[0]
}

/// `total · positions` as a float in every lane.
pub(super) fn images(b: &mut MicroKernelBuilder, total: Var, positions: usize, lanes: u32) -> Val {
    let total = b.op(Op::IndexI32 { index: total.into(), lanes });
    let total = b.unary(Unary::ToFloat, total);
    let positions = b.f32(positions as f32, lanes);
    b.mul(total, positions)
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

struct Sizes {
    channels: usize,
    positions: usize,
    /// Which operands are shared.
    shared: Vec<bool>,
}

impl Sizes {
    fn of(cx: &LowerCx, tag: &str) -> Result<Sizes, Unsupported> {
        let wrong = |ty: &Type| Unsupported(format!("{tag}: an operand {ty}"));
        let channels = cx.result.ty.elements();
        let mut image: Option<&Type> = None;
        let mut shared = Vec::new();
        for operand in &cx.operands {
            let ty = &operand.ty;
            shared.push(!ty.batched);
            let fits = match image {
                _ if !ty.batched => ty.elements() == channels,
                Some(first) => first == ty,
                None => ty.dims.first().copied().unwrap_or(1) == channels,
            };
            if !fits {
                return Err(wrong(ty));
            }
            if ty.batched {
                image = Some(ty);
            }
        }
        let image = image.ok_or_else(|| Unsupported(format!("{tag}: no operand is batched")))?;
        Ok(Sizes { channels, positions: image.elements() / channels.max(1), shared })
    }
}

/// `partial[round][c] = Σ term` over the round's part of the batch.
fn partial_sums(
    cx: &mut LowerCx,
    tag: &str,
    sizes: &Sizes,
    split: &Split,
    partial: BufferId,
    term: &mut impl FnMut(&mut MicroKernelBuilder, &[Val], u32) -> Val,
) {
    let (channels, lanes) = (sizes.channels, cx.target.lanes);
    let mut d = Dressed::bare(cx, &format!("{tag}_partial"));
    let operands: Vec<_> = cx.operands.iter().map(|o| (elem(&o.ty), o.buffer)).collect();
    let operands: Vec<_> =
        operands.into_iter().map(|(elem, buffer)| d.buffer("x", elem, Access::Read, buffer)).collect();
    let sums = d.buffer("partial", Elem::F32, Access::ReadWrite, partial);
    let letters: String = sizes.shared.iter().map(|s| if *s { 'c' } else { 'e' }).collect();
    let zero = fill_micro_kernel(cx.module(), lanes, channels, 0.0);
    split.run_after(
        &mut d.kernel,
        |k, round, _| k.call(zero, [sums.at(round * channels)]),
        |k, piece| {
            let count = piece.count;
            let micro_kernel =
                cx.module().micro_kernel(&format!("{tag}_partial_{letters}_{count}x{channels}_v{lanes}"), |b| {
                    let params: Vec<Param> =
                        (0..operands.len()).map(|i| b.pointer(&format!("x{i}"), Elem::F32, Access::Read)).collect();
                    let sums = b.pointer("sums", Elem::F32, Access::ReadWrite);
                    b.elements(channels, lanes, |b, at, lanes| {
                        let fixed: Vec<Option<Val>> = (sizes.shared.iter().zip(&params))
                            .map(|(s, p)| s.then(|| b.load(*p, at.clone(), lanes)))
                            .collect();
                        let start = b.load(sums, at.clone(), lanes);
                        let sum = b.repeat("p", count, &[start], |b, p, carried| {
                            let place = at.clone().plus(p, channels as i64);
                            let values: Vec<Val> = (fixed.iter().zip(&params))
                                .map(|(f, x)| f.unwrap_or_else(|| b.load(*x, place.clone(), lanes)))
                                .collect();
                            let value = term(b, &values, lanes);
                            vec![b.add(carried[0], value)]
                        });
                        b.store(sums, at, sum[0]);
                    });
                });
            let at = &piece.position * channels;
            let pieces = operands.iter().zip(&sizes.shared);
            let mut args: Vec<Arg> =
                pieces.map(|(m, shared)| m.at(if *shared { 0.into() } else { at.clone() })).collect();
            args.push(sums.at(&piece.round * channels));
            k.call(micro_kernel, args);
        },
    );
    d.launch(cx);
}

/// `x (one number per image) -> shared []`: the mean over the whole batch.
pub fn batch_mean(cx: &mut LowerCx) -> Lowered {
    if cx.operands[0].ty.elements() != 1 {
        return Err(Unsupported(format!("{}: batch mean of {}", cx.name, cx.operands[0].ty)));
    }
    if cx.target.gpu.is_some() {
        whole_batch(cx, "batch_mean", 1, Mean::OverAll);
        return Ok(());
    }
    let mut d = Dressed::new(cx, "batch_mean", Access::ReadWrite);
    let micro_kernel = cx.module().micro_kernel("batch_mean", |b| {
        let x = b.pointer("x", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::ReadWrite);
        let (count, total, groups) = (b.int("count"), b.int("total"), b.int("groups"));
        let sum = column(b, x, &Index::default(), count, 1, 1);
        let n = images(b, total, 1, 1);
        let mean = b.div(sum, n);
        let mean = and_before(b, mean, y, &Index::default(), groups);
        b.store(y, 0i64, mean);
    });
    let (x, y) = (d.operands[0], d.result);
    d.kernel.parallel("round", 1, |k, _| {
        let groups = Arg::Int(Expr::FIRST.min(1));
        k.call(micro_kernel, [x.at(0), y.at(0), Arg::Int(Expr::BATCH), Arg::Int(Expr::TOTAL), groups]);
    });
    d.launch_sums(cx);
    Ok(())
}

/// `x[C, H, W] per image -> shared [C, H·W]`: the sum over the batch.
pub fn sum_batch(cx: &mut LowerCx) -> Lowered {
    // Both lie as [H·W][C].
    let (elements, lanes) = (cx.result.ty.elements(), cx.target.lanes);
    if cx.target.gpu.is_some() {
        whole_batch(cx, "sum_batch", elements, Mean::No);
        return Ok(());
    }
    let mut d = Dressed::new(cx, "sum_batch", Access::ReadWrite);
    let (x, y) = (d.operands[0], d.result);
    Split::new(cx.target, false, elements, 16).run(&mut d.kernel, |k, piece| {
        let micro_kernel =
            cx.module().micro_kernel(&format!("sum_batch_{}_of_{elements}_v{lanes}", piece.count), |b| {
                let x = b.pointer("x", Elem::F32, Access::Read);
                let y = b.pointer("y", Elem::F32, Access::ReadWrite);
                let (count, groups) = (b.int("count"), b.int("groups"));
                b.elements(piece.count, lanes, |b, at, lanes| {
                    let sum = column(b, x, &at, count, elements, lanes);
                    let sum = and_before(b, sum, y, &at, groups);
                    b.store(y, at, sum);
                });
            });
        let [count, groups] = [Expr::BATCH, Expr::FIRST.min(1)].map(Arg::Int);
        k.call(micro_kernel, [x.at(&piece.position), y.at(&piece.position), count, groups]);
    });
    d.launch_sums(cx);
    Ok(())
}

/// On a GPU: the sum over the batch of rows of `elements` numbers.
fn whole_batch(cx: &mut LowerCx, tag: &str, elements: usize, mean: Mean) {
    let operands = [Source::rows(cx.operands[0].buffer)];
    let finish = Finish { mean, grows: true, ..Finish::plain() };
    sums::over_batch(cx, tag, [elements, 1], &operands, &mut |_, v| v[0], finish);
}

/// `shared x -> shared []`: the sum of squares.
pub fn sum_squares(cx: &mut LowerCx) -> Lowered {
    let (elements, lanes) = (cx.operands[0].ty.elements(), cx.target.lanes);
    if cx.target.gpu.is_some() {
        let operands = [Source::rows(cx.operands[0].buffer)];
        sums::over_rows(cx, "squares", [1, elements], &operands, &mut |b, v| b.mul(v[0], v[0]), Finish::plain());
        return Ok(());
    }
    let split = Split::large(false, elements, 1);
    let partial = cx.temp("partial", Elem::F32, split.parts, 0);
    let mut d = Dressed::bare(cx, "squares_partial");
    let x = d.buffer("x", Elem::F32, Access::Read, cx.operands[0].buffer);
    let sums = d.buffer("partial", Elem::F32, Access::Write, partial);
    split.run(&mut d.kernel, |k, piece| {
        let micro_kernel = cx.module().micro_kernel(&format!("squares_{}_v{lanes}", piece.count), |b| {
            let x = b.pointer("x", Elem::F32, Access::Read);
            let y = b.pointer("y", Elem::F32, Access::Write);
            let sum = squares(b, x, piece.count, lanes);
            b.store(y, 0i64, sum);
        });
        k.call(micro_kernel, [x.at(&piece.position), sums.at(&piece.round)]);
    });
    d.launch(cx);

    let mut d = Dressed::bare(cx, "squares_sum");
    let sums = d.buffer("partial", Elem::F32, Access::Read, partial);
    let y = d.buffer("y", Elem::F32, Access::Write, cx.result.buffer);
    let micro_kernel = cx.module().micro_kernel("sum", |b| {
        let x = b.pointer("x", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let count = b.int("count");
        let sum = column(b, x, &Index::default(), count, 1, 1);
        b.store(y, 0i64, sum);
    });
    d.kernel.parallel("round", 1, |k, _| {
        k.call(micro_kernel, [sums.at(0), y.at(0), Arg::Int(split.parts.into())]);
    });
    d.launch(cx);
    Ok(())
}

/// `Σ x²` over `count` elements as a scalar.
fn squares(b: &mut MicroKernelBuilder, x: Param, count: usize, lanes: u32) -> Val {
    let whole = count / lanes as usize;
    let mut sum = b.f32(0.0, 1);
    if lanes > 1 && whole > 0 {
        let zero = b.f32(0.0, lanes);
        let vector = b.repeat("v", whole, &[zero], |b, v, carried| {
            let value = b.load(x, Index::default().plus(v, lanes.into()), lanes);
            vec![b.fma(value, value, carried[0])]
        });
        sum = b.reduce(Binary::Add, vector[0]);
    }
    let done = if lanes > 1 { whole * lanes as usize } else { 0 };
    if done == count {
        return sum;
    }
    b.repeat("t", count - done, &[sum], |b, t, carried| {
        let value = b.load(x, Index::from(done).plus(t, 1), 1);
        vec![b.fma(value, value, carried[0])]
    })[0]
}

/// `shared w -> w` with each output unit's weights scaled so that their L2 norm is at most `limit`.
/// The output unit is the innermost dimension in memory (see `Type::memory_order`).
pub fn max_norm(cx: &mut LowerCx, limit: f32) -> Lowered {
    let ty = &cx.result.ty;
    let units = ty.memory_order().last().map_or(1, |&d| ty.dims[d]);
    let (weights, lanes) = (ty.elements() / units.max(1), cx.target.lanes);
    let mut d = Dressed::new(cx, "max_norm", Access::Write);
    let (x, y) = (d.operands[0], d.result);
    Split::new(cx.target, false, units, 64).run(&mut d.kernel, |k, piece| {
        let name = format!("max_norm_{}_of_{units}x{weights}_{:08x}_v{lanes}", piece.count, limit.to_bits());
        let micro_kernel = cx.module().micro_kernel(&name, |b| {
            let x = b.pointer("x", Elem::F32, Access::Read);
            let y = b.pointer("y", Elem::F32, Access::Write);
            b.elements(piece.count, lanes, |b, at, lanes| bound_units(b, x, y, &at, [units, weights], limit, lanes));
        });
        k.call(micro_kernel, [x.at(&piece.position), y.at(&piece.position)]);
    });
    d.launch(cx);
    Ok(())
}

/// Bounds the norms of the output units at the columns `at`.
fn bound_units(b: &mut MicroKernelBuilder, x: Param, y: Param, at: &Index, sizes: [usize; 2], limit: f32, lanes: u32) {
    let [units, weights] = sizes;
    let zero = b.f32(0.0, lanes);
    let sum = b.repeat("w", weights, &[zero], |b, w, carried| {
        let value = b.load(x, at.clone().plus(w, units as i64), lanes);
        vec![b.fma(value, value, carried[0])]
    });
    let norm = b.unary(Unary::Sqrt, sum[0]);
    let (limit, one) = (b.f32(limit, lanes), b.f32(1.0, lanes));
    let above = b.compare(Compare::Gt, norm, limit);
    let smaller = b.div(limit, norm);
    let factor = b.select(above, smaller, one);
    b.repeat("w", weights, &[], |b, w, _| {
        let place = at.clone().plus(w, units as i64);
        let value = b.load(x, place.clone(), lanes);
        let scaled = b.mul(value, factor);
        b.store(y, place, scaled);
        vec![]
    });
}
