//! Preparation of images, an image at a time. Sums have an order that no target changes, and products are rounded
//! before they are added, so that whatever runs a preparation makes the same bits.

use super::partition::{KernelWithOperands, Partition};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Binary, Compare, Elem, Index, MicroKernelId, Param, Unary, Val};
use crate::lower::{LowerCx, LowerError, Lowered, code};

/// Parts in which sums of many numbers are kept: number i goes to part i mod 16.
const PARTS: usize = 16;
/// Bound of the rounding errors of an image of one colour: the root mean square of its numbers' deviations from their
/// mean, as a part of its largest number. An image whose deviations are no larger counts as flat and becomes zeros.
pub const ROUNDING: f32 = 1.0 / (1 << 21) as f32;
/// The smallest number by which local contrast divides.
pub const LEAST_DEVIATION: f32 = 1e-4;
/// Numbers above this, or below its reciprocal, are brought nearer to 1 by a power of two before they are squared:
/// twice this, up or down.
const FAR: f32 = (1u64 << 40) as f32;
/// Neighbours on each side that local contrast looks at.
pub const REACH: usize = 3;

/// One side of the Gaussian with σ = 2; its sum is 1.
pub fn gaussian() -> [f64; 2 * REACH + 1] {
    let raw: [f64; 2 * REACH + 1] = std::array::from_fn(|i| (-(i as f64 - REACH as f64).powi(2) / 8.0).exp());
    let total: f64 = raw.iter().sum();
    raw.map(|v| v / total)
}

/// `(x, scale[]) -> y`: the largest number of an image and its mean, twice, so that what the first sum rounds away is
/// added; then the norm of the deviations from it, then the quotients.
///
/// A sum: full runs of 16 in 16 parts, the parts added by halves (0 with 8, 1 with 9 …, then 0 with 4 …), then the
/// numbers behind the last full run in their order.
pub fn global_contrast(cx: &mut LowerCx) -> Lowered {
    let (size, lanes) = (cx.result.ty.elements(), cx.target.lanes.min(PARTS as u32));
    let name = format!("global_contrast_{size}_v{lanes}");
    let micro_kernel = cx.micro_kernel(code(name, (size, lanes), |&(size, lanes), b| {
        let x = b.pointer("x", Elem::F32, Access::Read);
        let scale = b.pointer("scale", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let each = |b: &mut MicroKernelBuilder, value: Val| [value, b.splat(value, lanes)];
        let of = |lanes: u32, pair: [Val; 2]| if lanes == 1 { pair[0] } else { pair[1] };
        let largest = fold(b, Binary::Max, x, size, lanes, |b, value, _| b.unary(Unary::Abs, value));
        let factor = nearer_to_one(b, largest, 1);
        let largest = b.mul(largest, factor);
        let factor = each(b, factor);
        let count = b.f32(size as f32, 1);
        let sum = fold(b, Binary::Add, x, size, lanes, |b, value, lanes| b.mul(value, of(lanes, factor)));
        let mean = b.div(sum, count);
        let deviation = |b: &mut MicroKernelBuilder, value: Val, lanes: u32, mean: [Val; 2]| {
            let value = b.mul(value, of(lanes, factor));
            b.sub(value, of(lanes, mean))
        };
        let first = each(b, mean);
        let rest = fold(b, Binary::Add, x, size, lanes, |b, value, lanes| deviation(b, value, lanes, first));
        let rest = b.div(rest, count);
        let mean = b.add(mean, rest);
        let mean = each(b, mean);
        let squares = fold(b, Binary::Add, x, size, lanes, |b, value, lanes| {
            let d = deviation(b, value, lanes, mean);
            b.mul(d, d)
        });
        let (norm, scale) = (b.unary(Unary::Sqrt, squares), b.load(scale, 0usize, 1));
        let least = b.f32(ROUNDING * (size as f32).sqrt(), 1);
        let least = b.mul(largest, least);
        let flat = b.compare(Compare::Le, norm, least);
        // Whatever is divided by it becomes 0.
        let infinite = b.f32(f32::INFINITY, 1);
        let norm = b.div(norm, scale);
        let norm = b.select(flat, infinite, norm);
        let norm = each(b, norm);
        b.elements(size, lanes, |b, at, lanes| {
            let value = b.load(x, at.clone(), lanes);
            let d = deviation(b, value, lanes, mean);
            let value = b.div(d, of(lanes, norm));
            b.store(y, at, value);
        });
    }));
    each_image(cx, "global_contrast", 0, micro_kernel);
    Ok(())
}

/// The power of two that brings numbers up to `largest` near enough to 1 for their squares; 1 for most images, whose
/// bits it therefore leaves alone.
fn nearer_to_one(b: &mut MicroKernelBuilder, largest: Val, lanes: u32) -> Val {
    let [far, near, down, up, one] =
        [FAR, 1.0 / FAR, 1.0 / (FAR * FAR), FAR * FAR, 1.0].map(|value| b.f32(value, lanes));
    let small = b.compare(Compare::Lt, largest, near);
    let factor = b.select(small, up, one);
    let large = b.compare(Compare::Lt, far, largest);
    b.select(large, down, factor)
}

/// The sum, or the largest, of `term` (not below 0 then) over the numbers of an image, in the order of
/// [`global_contrast`].
fn fold(
    b: &mut MicroKernelBuilder,
    op: Binary,
    x: Param,
    size: usize,
    lanes: u32,
    term: impl Fn(&mut MicroKernelBuilder, Val, u32) -> Val,
) -> Val {
    let step = lanes as usize;
    let zero = b.f32(0.0, lanes);
    let mut parts = vec![zero; PARTS / step];
    if size >= PARTS {
        parts = b.repeat("run", size / PARTS, &parts, |b, run, parts| {
            let add = |(i, part): (usize, &Val)| {
                let value = b.load(x, Index::from(i * step).plus(run, PARTS as i64), lanes);
                let value = term(b, value, lanes);
                b.binary(op, *part, value)
            };
            parts.iter().enumerate().map(add).collect()
        });
    }
    while parts.len() > 1 {
        let (low, high) = parts.split_at(parts.len() / 2);
        parts = low.iter().zip(high).map(|(l, h)| b.binary(op, *l, *h)).collect();
    }
    let mut sum = b.reduce(op, parts[0]);
    for i in size / PARTS * PARTS..size {
        let value = b.load(x, i, 1);
        let value = term(b, value, 1);
        sum = b.binary(op, sum, value);
    }
    sum
}

/// Writes a kernel that calls `(x, the other operands, y, scratch)` for each image. Without elements of scratch memory
/// that is not a parameter.
fn each_image(cx: &mut LowerCx, tag: &str, scratch: usize, micro_kernel: MicroKernelId) {
    let size = cx.result.ty.elements();
    let split = Partition::new(cx.target, true, 1, size);
    let mut d = KernelWithOperands::new(cx, tag, Access::Write);
    let scratch = (scratch > 0).then(|| d.kernel.scratch("scratch", Elem::F32, scratch));
    let (operands, y) = (d.operands.clone(), d.result);
    split.run(&mut d.kernel, |k, piece| {
        let at = &piece.position * size;
        let mut args = vec![operands[0].at(&at)];
        args.extend(operands[1..].iter().map(|o| o.at(0)));
        args.push(y.at(&at));
        args.extend(scratch.map(|s| s.at(0)));
        k.call(micro_kernel, args);
    });
    d.launch(cx);
}

/// Where the parts of local contrast's scratch memory begin. An image's rows are runs of `row` numbers, all channels
/// of a pixel together, so that neighbours are `channels` apart along a row and `row` apart along a column.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Places {
    channels: usize,
    height: usize,
    width: usize,
    row: usize,
}

impl Places {
    /// Zeros on each side of a padded row.
    fn side(&self) -> usize {
        REACH * self.channels
    }

    /// A row with zeros on both sides: of the image (0) and of its squares (1).
    fn padded(&self, which: usize) -> usize {
        which * (self.row + 2 * self.side())
    }

    /// Rows that are blurred along themselves, `REACH` rows of zeros above and below.
    fn tall(&self, which: usize) -> usize {
        self.padded(2) + which * (self.height + 2 * REACH) * self.row
    }

    /// The mean deviation of each channel, as often as a row has pixels.
    fn average(&self) -> usize {
        self.tall(2)
    }

    /// What the numbers of each channel are multiplied by, as often as a row has pixels.
    fn factor(&self) -> usize {
        self.average() + self.row
    }
}

fn zeros(b: &mut MicroKernelBuilder, scratch: Param, from: usize, count: usize, lanes: u32) {
    b.elements(count, lanes, |b, at, lanes| {
        let zero = b.f32(0.0, lanes);
        b.store(scratch, at.offset(from as i64), zero);
    });
}

/// `x -> y` as `ops::prepare::LocalContrast` says: a blur adds its seven products in their order, along rows first;
/// the mean deviation adds the pixels of a row in their order, then the rows.
pub fn local_contrast(cx: &mut LowerCx) -> Lowered {
    let ty = &cx.result.ty;
    let Some((channels, height, width)) = ty.chw() else {
        return Err(LowerError::Bug(format!("{}: local contrast of {ty}", cx.name)));
    };
    let (places, lanes) = (Places { channels, height, width, row: channels * width }, cx.target.lanes);
    let name = format!("local_contrast_{channels}x{height}x{width}_v{lanes}");
    let scratch = places.factor() + places.row;
    let micro_kernel = cx.micro_kernel(code(name, (places, lanes), |&(ref places, lanes), b| {
        let x = b.pointer("x", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let scratch = b.pointer("scratch", Elem::F32, Access::ReadWrite);
        factors(b, places, [x, scratch], lanes);
        blur_rows(b, places, [x, scratch], lanes);
        blur_columns(b, places, scratch, lanes);
        averages(b, places, scratch, lanes);
        quotients(b, places, [x, y, scratch], lanes);
    }));
    each_image(cx, "local_contrast", scratch, micro_kernel);
    Ok(())
}

/// Seven neighbours, `step` numbers apart, times the Gaussian.
fn taps(b: &mut MicroKernelBuilder, from: Param, at: &Index, step: usize, lanes: u32) -> Val {
    let mut sum = None;
    for (k, weight) in gaussian().into_iter().enumerate() {
        let value = b.load(from, at.clone().offset((k * step) as i64), lanes);
        let weight = b.f32(weight as f32, lanes);
        let product = b.mul(value, weight);
        sum = Some(sum.map_or(product, |sum| b.add(sum, product)));
    }
    sum.expect("a Gaussian has weights")
}

fn blur_rows(b: &mut MicroKernelBuilder, p: &Places, [x, scratch]: [Param; 2], lanes: u32) {
    for which in [0, 1] {
        zeros(b, scratch, p.padded(which), p.side(), lanes);
        zeros(b, scratch, p.padded(which) + p.side() + p.row, p.side(), lanes);
        zeros(b, scratch, p.tall(which), REACH * p.row, lanes);
        zeros(b, scratch, p.tall(which) + (p.height + REACH) * p.row, REACH * p.row, lanes);
    }
    b.repeat("y", p.height, &[], |b, y, _| {
        b.elements(p.row, lanes, |b, at, lanes| {
            let value = b.load(x, at.clone().plus(y, p.row as i64), lanes);
            let factor = b.load(scratch, at.clone().offset(p.factor() as i64), lanes);
            let value = b.mul(value, factor);
            let square = b.mul(value, value);
            let to = |which: usize| at.clone().offset((p.padded(which) + p.side()) as i64);
            b.store(scratch, to(0), value);
            b.store(scratch, to(1), square);
        });
        for which in [0, 1] {
            b.elements(p.row, lanes, |b, at, lanes| {
                let sum = taps(b, scratch, &at.clone().offset(p.padded(which) as i64), p.channels, lanes);
                let to = at.offset((p.tall(which) + REACH * p.row) as i64).plus(y, p.row as i64);
                b.store(scratch, to, sum);
            });
        }
        vec![]
    });
}

/// Means and deviations come to lie `REACH` rows higher: where no later row looks.
fn blur_columns(b: &mut MicroKernelBuilder, p: &Places, scratch: Param, lanes: u32) {
    b.repeat("y", p.height, &[], |b, y, _| {
        b.elements(p.row, lanes, |b, at, lanes| {
            let [mean, deviation] = [0, 1].map(|which| at.clone().offset(p.tall(which) as i64).plus(y, p.row as i64));
            let sum = taps(b, scratch, &mean, p.row, lanes);
            b.store(scratch, mean, sum);
            let squares = taps(b, scratch, &deviation, p.row, lanes);
            let root = b.unary(Unary::Sqrt, squares);
            b.store(scratch, deviation, root);
        });
        vec![]
    });
}

/// Numbers that are too large to be squared become smaller; small ones need not grow, because what they are divided by
/// is at least [`LEAST_DEVIATION`].
fn factors(b: &mut MicroKernelBuilder, p: &Places, [x, scratch]: [Param; 2], lanes: u32) {
    b.elements(p.channels, lanes, |b, channel, lanes| {
        let one = b.f32(1.0, lanes);
        let largest = b.repeat("y", p.height, &[one], |b, y, largest| {
            b.repeat("x", p.width, largest, |b, at, largest| {
                let at = channel.clone().plus(y, p.row as i64).plus(at, p.channels as i64);
                let value = b.load(x, at, lanes);
                let value = b.unary(Unary::Abs, value);
                vec![b.max(largest[0], value)]
            })
        });
        let factor = nearer_to_one(b, largest[0], lanes);
        b.repeat("x", p.width, &[], |b, x, _| {
            b.store(scratch, channel.clone().offset(p.factor() as i64).plus(x, p.channels as i64), factor);
            vec![]
        });
    });
}

fn averages(b: &mut MicroKernelBuilder, p: &Places, scratch: Param, lanes: u32) {
    b.elements(p.channels, lanes, |b, channel, lanes| {
        let zero = b.f32(0.0, lanes);
        let sum = b.repeat("y", p.height, &[zero], |b, y, sum| {
            let row = b.repeat("x", p.width, &[zero], |b, x, row| {
                let at = channel.clone().offset(p.tall(1) as i64).plus(y, p.row as i64).plus(x, p.channels as i64);
                let value = b.load(scratch, at, lanes);
                vec![b.add(row[0], value)]
            });
            vec![b.add(sum[0], row[0])]
        });
        let count = b.f32((p.height * p.width) as f32, lanes);
        let average = b.div(sum[0], count);
        b.repeat("x", p.width, &[], |b, x, _| {
            b.store(scratch, channel.clone().offset(p.average() as i64).plus(x, p.channels as i64), average);
            vec![]
        });
    });
}

fn quotients(b: &mut MicroKernelBuilder, p: &Places, [x, y, scratch]: [Param; 3], lanes: u32) {
    b.repeat("y", p.height, &[], |b, row, _| {
        b.elements(p.row, lanes, |b, at, lanes| {
            let here = at.clone().plus(row, p.row as i64);
            let value = b.load(x, here.clone(), lanes);
            let mean = b.load(scratch, here.clone().offset(p.tall(0) as i64), lanes);
            let deviation = b.load(scratch, here.clone().offset(p.tall(1) as i64), lanes);
            let average = b.load(scratch, at.clone().offset(p.average() as i64), lanes);
            let factor = b.load(scratch, at.offset(p.factor() as i64), lanes);
            let value = b.mul(value, factor);
            let least = b.f32(LEAST_DEVIATION, lanes);
            let least = b.mul(least, factor);
            let deviation = b.max(deviation, average);
            let deviation = b.max(deviation, least);
            let difference = b.sub(value, mean);
            let value = b.div(difference, deviation);
            b.store(y, here, value);
        });
        vec![]
    });
}
