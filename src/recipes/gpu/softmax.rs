//! Softmax and related functions over rows of classes: the items of a group share a row (or a few short ones), and fold
//! what they found in local memory, in an order that the width alone decides.

use super::sums::fold_micro_kernel;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Binary, Elem, Expr, Index, Memory, MicroKernelId, Param, Val};
use crate::lower::target::Gpu;
use crate::lower::{LowerCx, Stateless, code};
use crate::recipes::common::math;
use crate::recipes::common::partition::KernelWithOperands;

/// Items of a group, on a device that allows as many.
const ITEMS: usize = 128;
/// The least width of a row that several items share: an item alone is better at narrower ones.
const LEAST: usize = 5;
/// The most numbers that a row is folded to.
const FOLDS: usize = 3;

/// Is a row of `width` numbers worth several items?
pub fn suits(gpu: &Gpu, width: usize) -> bool {
    width >= LEAST && gpu.group_items >= 8
}

/// A kernel over rows under construction, seen from one item.
struct Rows<'a, 'b> {
    cx: &'a mut LowerCx<'b>,
    k: &'a mut KernelBuilder,
    tag: &'a str,
    operands: Vec<Memory>,
    result: Memory,
    width: usize,
    /// Items of a row.
    share: usize,
    items: usize,
    /// What rows are folded to: a number for each item and fold; the first item's is the row's.
    folds: Memory,
    done: usize,
    item: Expr,
    /// The item's row, its place in it, and whether there is such a row.
    row: Expr,
    place: Expr,
    there: Expr,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum How {
    Add,
    Max,
}

/// What a micro-kernel over an item's elements knows of the rows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Elements {
    /// Items of a row, which is also the distance between an item's elements.
    share: usize,
    /// Items of a group, which is also the distance between an item's folds.
    items: usize,
    /// Folds that are done.
    done: usize,
}

fn as_they_are(_: &mut MicroKernelBuilder, folded: &[Val]) -> Vec<Val> {
    folded.to_vec()
}

/// The kernel `tag` over rows of `width` numbers of operand 0; `body` writes it.
fn kernel(cx: &mut LowerCx, gpu: &Gpu, tag: &str, width: usize, access: Access, body: impl FnOnce(&mut Rows)) {
    let items = 1 << gpu.group_items.min(ITEMS).ilog2();
    let share = width.next_power_of_two().min(items);
    let count = cx.operands[0].ty.elements() / width;
    let mut d = KernelWithOperands::new(cx, tag, access);
    let folds = d.kernel.local("folds", Elem::F32, FOLDS * items);
    let (operands, result) = (d.operands.clone(), d.result);
    let (positions, per_group) = (super::rows::Rows::PerImage(count), items / share);
    d.kernel.groups(positions.tiles(per_group), items, |k, group, item| {
        let (row, there) = positions.tile(per_group, &group).row(&item.div(share));
        let row = row.image * count + row.index;
        let place = item.rem(share);
        let mut rows =
            Rows { cx, k, tag, operands, result, width, share, items, folds, done: 0, item, row, place, there };
        body(&mut rows);
    });
    d.launch(cx);
}

impl Rows<'_, '_> {
    /// Folds a term of each element to one number of the row; `stored`: the terms are also the result's elements.
    /// `before(builder, folds)` makes values for all elements of a row; `term(builder, operands, those values)`.
    fn fold<B, T>(&mut self, how: How, operands: &[usize], stored: bool, before: B, term: T)
    where
        B: Fn(&mut MicroKernelBuilder, &[Val]) -> Vec<Val> + Stateless,
        T: Fn(&mut MicroKernelBuilder, &[Val], &[Val]) -> Val + Stateless,
    {
        let micro_kernel = self.fold_micro_kernel(how, operands, stored, before, term);
        let own = self.folds.at(&self.item + self.done * self.items);
        let mut args = self.elements(operands, stored);
        args.extend([self.folds.at(&self.item - &self.place), own, self.count()]);
        self.k.when(self.there.clone(), |k| k.call(micro_kernel, args));
        self.k.barrier();
        let combine = match how {
            How::Add => fold_micro_kernel(self.cx, Binary::Add),
            How::Max => fold_micro_kernel(self.cx, Binary::Max),
        };
        // The row's items as a block of one column.
        let mut rest = self.share / 2;
        while rest > 0 {
            let to = &self.item + self.done * self.items;
            let condition = self.place.lt(rest) * &self.there;
            self.k.when(condition, |k| k.call(combine, [self.folds.at(&to), self.folds.at(&to + rest)]));
            self.k.barrier();
            rest /= 2;
        }
        self.done += 1;
    }

    /// The result's elements, by functions as those of [`Rows::fold`].
    fn each<B, T>(&mut self, operands: &[usize], of_result: bool, before: B, term: T)
    where
        B: Fn(&mut MicroKernelBuilder, &[Val]) -> Vec<Val> + Stateless,
        T: Fn(&mut MicroKernelBuilder, &[Val], &[Val]) -> Val + Stateless,
    {
        let micro_kernel = self.each_micro_kernel(operands, of_result, before, term);
        let mut args = self.elements(operands, true);
        args.extend([self.folds.at(&self.item - &self.place), self.count()]);
        self.k.when(self.there.clone(), |k| k.call(micro_kernel, args));
    }

    /// The last fold as the row's one result.
    fn single(&mut self) {
        let copy = super::cells::copy_run(self.cx, Elem::F32, 1, 1);
        let from = self.folds.at(&self.item + (self.done - 1) * self.items);
        let (to, condition) = (self.result.at(&self.row), self.place.equals(0) * &self.there);
        self.k.when(condition, |k| k.call(copy, [from, to]));
    }

    /// Elements of the item.
    fn count(&self) -> Arg {
        Arg::Int((Expr::from(self.width) - &self.place).ceil_div(self.share as i64))
    }

    /// Returns the first element of the item in operands, and in the result; for an operand of one number a row, that
    /// number.
    fn elements(&self, operands: &[usize], result: bool) -> Vec<Arg> {
        let at = &self.row * self.width + &self.place;
        let place = |i: usize| if self.is_single(i) { self.row.clone() } else { at.clone() };
        let mut args: Vec<Arg> = operands.iter().map(|&i| self.operands[i].at(place(i))).collect();
        args.extend(result.then(|| self.result.at(&at)));
        args
    }

    fn is_single(&self, operand: usize) -> bool {
        self.cx.operands[operand].ty.elements() == 1 && self.width > 1
    }

    fn name(&self, what: &str) -> String {
        format!("{}_{what}{}_{}by{}_of{}", self.tag, self.done, self.width, self.share, self.items)
    }

    fn shape(&self) -> Elements {
        Elements { share: self.share, items: self.items, done: self.done }
    }

    fn fold_micro_kernel<B, T>(
        &mut self,
        how: How,
        operands: &[usize],
        stored: bool,
        before: B,
        term: T,
    ) -> MicroKernelId
    where
        B: Fn(&mut MicroKernelBuilder, &[Val]) -> Vec<Val> + Stateless,
        T: Fn(&mut MicroKernelBuilder, &[Val], &[Val]) -> Val + Stateless,
    {
        let (name, params) = (self.name("fold"), (self.shape(), how, operands.len(), stored));
        self.cx.micro_kernel(code(name, params, move |&(shape, how, operands, stored), b| {
            let params = pointers(b, operands);
            let y = stored.then(|| b.pointer("y", Elem::F32, Access::ReadWrite));
            let folds = b.pointer("folds", Elem::F32, Access::Read);
            let own = b.pointer("own", Elem::F32, Access::Write);
            let count = b.int("count");
            let folded = shape.folded(b, folds);
            let fixed = before(b, &folded);
            let start = b.f32(if how == How::Add { 0.0 } else { f32::NEG_INFINITY }, 1);
            let total = b.repeat("e", count, &[start], |b, e, total| {
                let at = Index::default().plus(e, shape.share as i64);
                let values: Vec<Val> = params.iter().map(|p| b.load(*p, at.clone(), 1)).collect();
                let value = term(b, &values, &fixed);
                if let Some(y) = y {
                    b.store(y, at, value);
                }
                vec![if how == How::Add { b.add(total[0], value) } else { b.max(total[0], value) }]
            });
            b.store(own, 0usize, total[0]);
        }))
    }

    fn each_micro_kernel<B, T>(&mut self, operands: &[usize], of_result: bool, before: B, term: T) -> MicroKernelId
    where
        B: Fn(&mut MicroKernelBuilder, &[Val]) -> Vec<Val> + Stateless,
        T: Fn(&mut MicroKernelBuilder, &[Val], &[Val]) -> Val + Stateless,
    {
        let single: Vec<bool> = operands.iter().map(|&i| self.is_single(i)).collect();
        let (name, params) = (self.name("each"), (self.shape(), single, of_result));
        self.cx.micro_kernel(code(name, params, move |&(shape, ref single, of_result), b| {
            let params = pointers(b, single.len());
            let access = if of_result { Access::ReadWrite } else { Access::Write };
            let y = b.pointer("y", Elem::F32, access);
            let folds = b.pointer("folds", Elem::F32, Access::Read);
            let count = b.int("count");
            let folded = shape.folded(b, folds);
            let fixed = before(b, &folded);
            b.repeat("e", count, &[], |b, e, _| {
                let at = Index::default().plus(e, shape.share as i64);
                let place = |single: bool| if single { Index::default() } else { at.clone() };
                let mut values: Vec<Val> = params.iter().zip(single).map(|(p, s)| b.load(*p, place(*s), 1)).collect();
                values.extend(of_result.then(|| b.load(y, at.clone(), 1)));
                let value = term(b, &values, &fixed);
                b.store(y, at, value);
                vec![]
            });
        }))
    }
}

fn pointers(b: &mut MicroKernelBuilder, count: usize) -> Vec<Param> {
    (0..count).map(|i| b.pointer(&format!("x{i}"), Elem::F32, Access::Read)).collect()
}

impl Elements {
    /// What the row was folded to.
    fn folded(&self, b: &mut MicroKernelBuilder, folds: Param) -> Vec<Val> {
        (0..self.done).map(|f| b.load(folds, f * self.items, 1)).collect()
    }
}

/// `exp(x - top)`
fn exp_below(b: &mut MicroKernelBuilder, x: Val, top: Val) -> Val {
    let below = b.sub(x, top);
    math::exp(b, below)
}

/// Folds rows of operand 0 to their maximum and to the sum of `exp(x - maximum)`.
fn exp_sum(r: &mut Rows, stored: bool) {
    r.fold(How::Max, &[0], false, as_they_are, |_, v, _| v[0]);
    r.fold(How::Add, &[0], stored, as_they_are, |b, v, f| exp_below(b, v[0], f[0]));
}

/// The maximum, and the logarithm of the sum.
fn top_and_log(b: &mut MicroKernelBuilder, folded: &[Val]) -> Vec<Val> {
    vec![folded[0], math::ln(b, folded[1])]
}

/// `x -> exp(x) / Σ exp(x)` over rows of `width` numbers.
pub fn softmax(cx: &mut LowerCx, gpu: &Gpu, width: usize) {
    kernel(cx, gpu, "softmax", width, Access::ReadWrite, |r| {
        exp_sum(r, true);
        r.each(&[], true, as_they_are, |b, v, f| b.div(v[0], f[1]));
    });
}

/// `(y, dy) -> dx`
pub fn softmax_grad(cx: &mut LowerCx, gpu: &Gpu, width: usize) {
    kernel(cx, gpu, "softmax_grad", width, Access::Write, |r| {
        r.fold(How::Add, &[0, 1], false, as_they_are, |b, v, _| b.mul(v[0], v[1]));
        r.each(&[0, 1], false, as_they_are, |b, v, f| {
            let difference = b.sub(v[1], f[0]);
            b.mul(v[0], difference)
        });
    });
}

/// `x -> x - ln Σ exp(x)` over rows of `width` numbers.
pub fn log_softmax(cx: &mut LowerCx, gpu: &Gpu, width: usize) {
    kernel(cx, gpu, "log_softmax", width, Access::Write, |r| {
        exp_sum(r, false);
        r.each(&[0], false, top_and_log, |b, v, f| {
            let below = b.sub(v[0], f[0]);
            b.sub(below, f[1])
        });
    });
}

/// `(y, dy) -> dx`
pub fn log_softmax_grad(cx: &mut LowerCx, gpu: &Gpu, width: usize) {
    kernel(cx, gpu, "log_softmax_grad", width, Access::Write, |r| {
        r.fold(How::Add, &[1], false, as_they_are, |_, v, _| v[0]);
        r.each(&[0, 1], false, as_they_are, |b, v, f| {
            let e = math::exp(b, v[0]);
            let share = b.mul(e, f[0]);
            b.sub(v[1], share)
        });
    });
}

/// `(logits[C], target[C]) -> []` per image.
pub fn cross_entropy(cx: &mut LowerCx, gpu: &Gpu, width: usize) {
    kernel(cx, gpu, "cross_entropy", width, Access::Write, |r| {
        exp_sum(r, false);
        r.fold(How::Add, &[0, 1], false, top_and_log, |b, v, f| {
            let below = b.sub(v[0], f[0]);
            let minus = b.sub(f[1], below);
            b.mul(v[1], minus)
        });
        r.single();
    });
}

/// `(logits, target, dy[] per image) -> dlogits`
pub fn cross_entropy_grad(cx: &mut LowerCx, gpu: &Gpu, width: usize) {
    kernel(cx, gpu, "cross_entropy_grad", width, Access::Write, |r| {
        exp_sum(r, false);
        r.fold(How::Add, &[1], false, as_they_are, |_, v, _| v[0]);
        let share = |b: &mut MicroKernelBuilder, f: &[Val]| vec![f[0], b.div(f[2], f[1])];
        r.each(&[0, 1, 2], false, share, |b, v, f| {
            let e = exp_below(b, v[0], f[0]);
            let expected = b.mul(e, f[1]);
            let difference = b.sub(expected, v[1]);
            b.mul(v[2], difference)
        });
    });
}
