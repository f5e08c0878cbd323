//! Work that only moves elements: concatenation, slices, padding, change of shape, constants.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr, Index, MicroKernelId};
use crate::lower::program::elem;
use crate::lower::{BufferId, LowerCx, LowerError, Lowered, code};
use crate::recipes::common::partition::{CopyRows, KernelWithOperands, Partition, fill_micro_kernel, run};
use crate::types::Type;

/// Channels, and positions (per image, or in all).
fn rows_of(ty: &Type) -> (usize, usize) {
    let channels = ty.dims.first().copied().unwrap_or(1);
    (channels, ty.elements() / channels.max(1))
}

/// All operands along the channels (of images or feature vectors).
pub fn concat(cx: &mut LowerCx) -> Lowered {
    let ty = cx.result.ty.clone();
    let (channels, _) = rows_of(&ty);
    let parts: Vec<usize> = cx.operands.iter().map(|o| rows_of(&o.ty).0).collect();
    if !ty.batched || parts.iter().sum::<usize>() != channels {
        return Err(LowerError::Bug(format!("{}: concatenation of {parts:?} channels to {ty}", cx.name)));
    }
    let (gpu, elem) = (cx.target.is_gpu(), elem(&ty));
    let mut d = KernelWithOperands::new(cx, "concat", Access::Write);
    let (operands, y) = (d.operands.clone(), d.result);
    let split = Partition::of(cx.target, &ty, channels);
    // On a GPU an iteration has a vector of one operand's channels.
    let step = parts.iter().map(|&part| run(part)).min().unwrap_or(1);
    let (split, _, lanes) = if gpu { split.by(channels, step) } else { (split, channels, cx.target.lanes) };
    split.run(&mut d.kernel, |k, piece| {
        let mut begin = 0;
        for (&x, &part) in operands.iter().zip(&parts) {
            let width = if gpu { step } else { part };
            let micro_kernel =
                CopyRows { elem, lanes, rows: piece.count, len: width, strides: [part, channels] }.micro_kernel(cx);
            let to = y.at(&piece.position * channels + if gpu { piece.column.clone() } else { begin.into() });
            let from = &piece.position * part;
            if gpu {
                let column = &piece.column - begin;
                let mine = Expr::from(-1).lt(column.clone()) * column.lt(part);
                k.when(mine, |k| k.call(micro_kernel, [x.at(from + column), to]));
            } else {
                k.call(micro_kernel, [x.at(from), to]);
            }
            begin += part;
        }
    });
    d.launch(cx);
    Ok(())
}

/// Copies the channels from `begin` on that the result has.
pub fn slice(cx: &mut LowerCx, begin: usize) -> Lowered {
    let (from, to) = (rows_of(&cx.operands[0].ty).0, rows_of(&cx.result.ty).0);
    if !cx.result.ty.batched || begin + to > from {
        return Err(LowerError::Bug(format!("{}: channels {begin}.. of {}", cx.name, cx.operands[0].ty)));
    }
    let elem = elem(&cx.result.ty);
    let mut d = KernelWithOperands::new(cx, "slice", Access::Write);
    let (x, y) = (d.operands[0], d.result);
    let (split, columns, lanes) = Partition::of(cx.target, &cx.result.ty, to).items(cx.target, to);
    split.run(&mut d.kernel, |k, piece| {
        let micro_kernel =
            CopyRows { elem, lanes, rows: piece.count, len: columns, strides: [from, to] }.micro_kernel(cx);
        let source = x.at(&piece.position * from + &piece.column + begin);
        k.call(micro_kernel, [source, y.at(&piece.position * to + &piece.column)]);
    });
    d.launch(cx);
    Ok(())
}

/// An image inside a larger one.
struct Inset {
    channels: usize,
    /// Height and width of the image.
    small: [usize; 2],
    large: [usize; 2],
}

impl Inset {
    fn new(cx: &LowerCx, small: &Type, large: &Type, at: [usize; 2]) -> Result<Inset, LowerError> {
        let wrong = || LowerError::Bug(format!("{}: {small} at {at:?} in {large}", cx.name));
        let ((c, h, w), (channels, height, width)) = (small.chw().ok_or_else(wrong)?, large.chw().ok_or_else(wrong)?);
        if c != channels || at[0] + h > height || at[1] + w > width {
            return Err(wrong());
        }
        Ok(Inset { channels, small: [h, w], large: [height, width] })
    }
}

/// Puts the image at `(top, left)` of the larger result, `value` around it.
pub fn pad(cx: &mut LowerCx, top: usize, left: usize, value: f32) -> Lowered {
    let inset = Inset::new(cx, &cx.operands[0].ty, &cx.result.ty, [top, left])?;
    let (channels, [height, width], lanes) = (inset.channels, inset.small, cx.target.lanes);
    let [rows, columns] = inset.large;
    let fill = fill_micro_kernel(cx, Elem::F32, lanes, columns * channels, value);
    let copy = CopyRows::one(Elem::F32, lanes, width * channels).micro_kernel(cx);
    let mut d = KernelWithOperands::new(cx, "pad", Access::Write);
    let (x, y) = (d.operands[0], d.result);
    d.kernel.parallel("i", Expr::BATCH * rows, |k, iteration| {
        let (image, row) = (iteration.div(rows), iteration.rem(rows));
        k.call(fill, [y.at(&iteration * (columns * channels))]);
        let is_inside = row.lt(top + height) - row.lt(top);
        k.when(is_inside, |k| {
            let from = (image * height + (row - top)) * (width * channels);
            k.call(copy, [x.at(from), y.at((iteration * columns + left) * channels)]);
        });
    });
    d.launch(cx);
    Ok(())
}

/// The part of the image that begins at `(top, left)`, as large as the result.
pub fn crop(cx: &mut LowerCx, top: usize, left: usize) -> Lowered {
    let inset = Inset::new(cx, &cx.result.ty, &cx.operands[0].ty, [top, left])?;
    let (channels, [height, width], lanes) = (inset.channels, inset.small, cx.target.lanes);
    let [rows, columns] = inset.large;
    let copy = CopyRows::one(Elem::F32, lanes, width * channels).micro_kernel(cx);
    let mut d = KernelWithOperands::new(cx, "crop", Access::Write);
    let (x, y) = (d.operands[0], d.result);
    d.kernel.parallel("i", Expr::BATCH * height, |k, iteration| {
        let (image, row) = (iteration.div(height), iteration.rem(height));
        let from = ((image * rows + (row + top)) * columns + left) * channels;
        k.call(copy, [x.at(from), y.at(iteration * (width * channels))]);
    });
    d.launch(cx);
    Ok(())
}

/// Copies the elements in logical (channel, row, column) order under other dimensions.
pub fn reshape(cx: &mut LowerCx) -> Lowered {
    let (from, to) = (cx.operands[0].ty.clone(), cx.result.ty.clone());
    if from.batched != to.batched || from.elements() != to.elements() {
        return Err(LowerError::Bug(format!("{}: {from} as {to}", cx.name)));
    }
    let (source, target) = (Order::of(&from), Order::of(&to));
    let (x, y) = (cx.operands[0].buffer, cx.result.buffer);
    if source == target || (source.is_logical() && target.is_logical()) {
        copy_all(cx, x, y);
    } else if target.is_logical() {
        permute(cx, "flatten", &source, true, x, y);
    } else if source.is_logical() {
        permute(cx, "unflatten", &target, false, x, y);
    } else {
        let (fixed, per_image) = if from.batched { (0, from.elements()) } else { (from.elements(), 0) };
        let flat = cx.temp("flat", elem(&from), fixed, per_image);
        permute(cx, "flatten", &source, true, x, flat);
        permute(cx, "unflatten", &target, false, flat, y);
    }
    Ok(())
}

/// How the logical dimensions lie in memory; those of size 1 do not matter and are left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Order {
    /// Sizes in memory order, outermost first.
    sizes: Vec<usize>,
    /// Elements between neighbours of each in logical order.
    strides: Vec<usize>,
}

impl Order {
    fn of(ty: &Type) -> Order {
        let stride = |d: usize| ty.dims[d + 1..].iter().product::<usize>();
        let memory: Vec<usize> = ty.memory_order().into_iter().filter(|&d| ty.dims[d] != 1).collect();
        Order { sizes: memory.iter().map(|&d| ty.dims[d]).collect(), strides: memory.into_iter().map(stride).collect() }
    }

    fn is_logical(&self) -> bool {
        self.strides.is_sorted_by(|a, b| a > b)
    }

    fn elements(&self) -> usize {
        self.sizes.iter().product()
    }

    /// The place in logical order of an element in memory order.
    fn logical(&self, element: &Expr) -> Expr {
        let mut place = Expr::from(0);
        let mut inner = self.elements();
        for (&size, &stride) in self.sizes.iter().zip(&self.strides) {
            inner /= size.max(1);
            place = place + element.div(inner.max(1)).rem(size.max(1)) * stride;
        }
        place
    }
}

/// `y = x`
fn copy_all(cx: &mut LowerCx, x: BufferId, y: BufferId) {
    let ty = cx.result.ty.clone();
    let elem = elem(&ty);
    let mut d = KernelWithOperands::bare(cx, "copy");
    let x = d.buffer("x", elem, Access::Read, x);
    let y = d.buffer("y", elem, Access::Write, y);
    let (split, _, lanes) = Partition::of(cx.target, &ty, 1).items(cx.target, 1);
    split.run(&mut d.kernel, |k, piece| {
        let micro_kernel = CopyRows::one(elem, lanes, piece.count).micro_kernel(cx);
        k.call(micro_kernel, [x.at(&piece.position), y.at(&piece.position)]);
    });
    d.launch(cx);
}

/// From memory order to logical order or back, one element at a time. An iteration moves one image (or a shared
/// value); on a GPU one element.
fn permute(cx: &mut LowerCx, what: &str, order: &Order, to_logical: bool, x: BufferId, y: BufferId) {
    let ty = cx.result.ty.clone();
    let elem = elem(&ty);
    let alone = cx.target.is_gpu();
    let micro_kernel = match alone {
        true => CopyRows::one(elem, 1, 1).micro_kernel(cx),
        false => permute_micro_kernel(cx, what, elem, order, to_logical),
    };
    let mut d = KernelWithOperands::bare(cx, what);
    let x = d.buffer("x", elem, Access::Read, x);
    let y = d.buffer("y", elem, Access::Write, y);
    let elements = order.elements();
    let iterations = if ty.batched { Expr::BATCH } else { 1.into() };
    let iterations = if alone { iterations * elements } else { iterations };
    d.kernel.parallel("i", iterations, |k, iteration| {
        if !alone {
            return k.call(micro_kernel, [x.at(&iteration * elements), y.at(&iteration * elements)]);
        }
        let (image, element) = (iteration.div(elements), iteration.rem(elements));
        let logical = image * elements + order.logical(&element);
        let (from, to) = if to_logical { (iteration, logical) } else { (logical, iteration) };
        k.call(micro_kernel, [x.at(from), y.at(to)]);
    });
    d.launch(cx);
}

fn permute_micro_kernel(cx: &mut LowerCx, what: &str, elem: Elem, order: &Order, to_logical: bool) -> MicroKernelId {
    let list = |v: &[usize]| v.iter().map(|n| n.to_string()).collect::<Vec<_>>().join("x");
    let kind = if elem == Elem::F32 { "f" } else { "i" };
    let name = format!("{what}_{kind}_{}_by_{}", list(&order.sizes), list(&order.strides));
    cx.micro_kernel(code(name, (elem, order.clone(), to_logical), |&(elem, ref order, to_logical), b| {
        let x = b.pointer("x", elem, Access::Read);
        let y = b.pointer("y", elem, Access::Write);
        nest(b, order, 0, Index::default(), Index::default(), &mut |b, memory, logical| {
            let (from, to) = if to_logical { (memory, logical) } else { (logical, memory) };
            let value = b.load(x, from, 1);
            b.store(y, to, value);
        });
    }))
}

/// Loops over the dimensions from `depth` on: `body(builder, element in memory order, element in logical order)`.
fn nest(
    b: &mut MicroKernelBuilder,
    order: &Order,
    depth: usize,
    memory: Index,
    logical: Index,
    body: &mut dyn FnMut(&mut MicroKernelBuilder, Index, Index),
) {
    let Some(&size) = order.sizes.get(depth) else { return body(b, memory, logical) };
    let inner: usize = order.sizes[depth + 1..].iter().product();
    b.repeat(&format!("d{depth}"), size, &[], |b, d, _| {
        let memory = memory.plus(d, inner as i64);
        let logical = logical.plus(d, order.strides[depth] as i64);
        nest(b, order, depth + 1, memory, logical, body);
        vec![]
    });
}

/// Fills the result with `value`; there are no operands.
pub fn fill(cx: &mut LowerCx, value: f32) -> Lowered {
    let ty = cx.result.ty.clone();
    let mut d = KernelWithOperands::new(cx, "fill", Access::Write);
    let y = d.result;
    let (split, _, lanes) = Partition::of(cx.target, &ty, 1).items(cx.target, 1);
    split.run(&mut d.kernel, |k, piece| {
        let micro_kernel = fill_micro_kernel(cx, Elem::F32, lanes, piece.count, value);
        k.call(micro_kernel, [y.at(&piece.position)]);
    });
    d.launch(cx);
    Ok(())
}
