//! Batch normalisation: statistics and gradients.

use super::common::sums::images;
use super::reduce::{self, Mean};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, Index, Unary, Val};
use crate::lower::{BufferId, Constant, LowerCx, LowerError, Lowered, Operand, code};
use crate::recipes::Epilogue;
use crate::recipes::common::names::elem_letters;
use crate::recipes::common::partition::{KernelWithOperands, Partition, rows};

/// `(x, mean) -> variance[C]`, over batch and positions, biased (divided by their count).
pub fn variance(cx: &mut LowerCx) -> Lowered {
    reduce::channels(cx, "variance", Mean::OverAll, |b, x, _| {
        let difference = b.sub(x[0], x[1]);
        b.mul(difference, difference)
    })
}

/// `variance[C] -> variance·n/(n - 1)`, with n = images · positions; the variance itself where n is 1.
pub fn sample_variance(cx: &mut LowerCx, positions: usize) -> Lowered {
    let (channels, lanes) = (cx.result.ty.elements(), cx.target.lanes);
    let name = format!("sample_variance_{channels}_{positions}_v{lanes}");
    let micro_kernel =
        cx.micro_kernel(code(name, ([channels, positions], lanes), |&([channels, positions], lanes), b| {
            let variance = b.pointer("variance", Elem::F32, Access::Read);
            let out = b.pointer("sample", Elem::F32, Access::Write);
            let total = b.int("total");
            b.elements(channels, lanes, |b, i, lanes| {
                let (variance, one) = (b.load(variance, i.clone(), lanes), b.f32(1.0, lanes));
                let n = images(b, total, positions, lanes);
                let free = b.sub(n, one);
                let free = b.max(free, one);
                let factor = b.div(n, free);
                let value = b.mul(variance, factor);
                b.store(out, i, value);
            });
        }));
    let mut d = KernelWithOperands::bare(cx, "sample_variance");
    let variance = d.buffer("variance", Elem::F32, Access::Read, cx.operands[0].buffer);
    let out = d.buffer("sample", Elem::F32, Access::Write, cx.result.buffer);
    d.kernel.parallel("round", 1, |k, _| {
        k.call(micro_kernel, [variance.at(0), out.at(0), Arg::Int(Expr::TOTAL)]);
    });
    d.launch(cx);
    Ok(())
}

/// `(gamma, variance) -> gamma/sqrt(variance + epsilon)` per channel, the operands with these numbers: what the image
/// is multiplied by, so that the large kernel neither divides nor takes roots.
pub fn scale(cx: &mut LowerCx, epsilon: f32, operands: [usize; 2]) -> Operand {
    let ty = cx.operands[operands[0]].ty.clone();
    let (epsilon, lanes) = (Constant::from(epsilon), cx.target.lanes);
    let buffer = cx.temp("scale", Elem::F32, ty.elements(), 0);
    let mut d = KernelWithOperands::bare(cx, "batch_norm_scale");
    let from = operands.map(|i| d.buffer("x", Elem::F32, Access::Read, cx.operands[i].buffer));
    let to = d.buffer("scale", Elem::F32, Access::Write, buffer);
    Partition::new(cx.target, false, ty.elements(), 1).run(&mut d.kernel, |k, piece| {
        let name = format!("batch_norm_scale_{}_{epsilon}_v{lanes}", piece.count);
        let params = (piece.count, epsilon, lanes);
        let micro_kernel = cx.micro_kernel(code(name, params, |&(count, epsilon, lanes), b| {
            let [gamma, variance] = ["gamma", "variance"].map(|name| b.pointer(name, Elem::F32, Access::Read));
            let out = b.pointer("scale", Elem::F32, Access::Write);
            b.elements(count, lanes, |b, i, lanes| {
                let [gamma, variance] = [gamma, variance].map(|p| b.load(p, i.clone(), lanes));
                let deviation = deviation(b, variance, epsilon.get());
                let factor = b.div(gamma, deviation);
                b.store(out, i, factor);
            });
        }));
        k.call(micro_kernel, [from[0].at(&piece.position), from[1].at(&piece.position), to.at(&piece.position)]);
    });
    d.launch(cx);
    Operand { buffer, ty }
}

/// `1/sqrt(variance + epsilon)`
fn inverse_deviation(b: &mut MicroKernelBuilder, variance: Val, epsilon: f32) -> Val {
    let one = b.f32(1.0, b.ty(variance).lanes);
    let root = deviation(b, variance, epsilon);
    b.div(one, root)
}

/// `sqrt(variance + epsilon)`
fn deviation(b: &mut MicroKernelBuilder, variance: Val, epsilon: f32) -> Val {
    let epsilon = b.f32(epsilon, b.ty(variance).lanes);
    let sum = b.add(variance, epsilon);
    b.unary(Unary::Sqrt, sum)
}

/// `(x, mean, variance, dy) -> Σ dy · (x - mean)/sqrt(variance + epsilon)` per channel: the gradient of gamma.
pub fn grad_gamma(cx: &mut LowerCx, epsilon: f32) -> Lowered {
    // The deviation is the same for all terms: it divides the sum.
    reduce::finished(
        cx,
        "grad_gamma",
        Mean::No,
        &[2],
        |b, x, _| {
            let difference = b.sub(x[0], x[1]);
            b.mul(x[3], difference)
        },
        Constant::from(epsilon),
        |epsilon, b, sum, shared, _| {
            let inverse = inverse_deviation(b, shared[0], epsilon.get());
            b.mul(sum, inverse)
        },
    )
}

/// `(x, gamma, mean, variance, dy, dgamma, dbeta) -> dx` through the batch statistics, with n = images · positions:
/// `gamma/σ · (dy - dbeta/n - x̂ · dgamma/n)`, then `end`.
pub fn grad_input(cx: &mut LowerCx, epsilon: f32, end: Epilogue) -> Lowered {
    let ty = cx.result.ty.clone();
    let Some((channels, height, width)) = ty.chw() else {
        return Err(LowerError::Bug(format!("{}: batch normalisation of {ty}", cx.name)));
    };
    let factors = cx.temp("factors", Elem::F32, 3 * channels, 0);
    channel_factors(cx, epsilon, channels, height * width, factors);

    let mut d = KernelWithOperands::bare(cx, "batch_norm_grad");
    let elems = [cx.operands[0].buffer, cx.operands[4].buffer, cx.result.buffer].map(|buffer| cx.elem(buffer));
    let [of_x, of_dy, of_dx] = elems;
    let x = d.buffer("x", of_x, Access::Read, cx.operands[0].buffer);
    let dy = d.buffer("dy", of_dy, Access::Read, cx.operands[4].buffer);
    let mean = d.buffer("mean", Elem::F32, Access::Read, cx.operands[2].buffer);
    let factor = d.buffer("factors", Elem::F32, Access::Read, factors);
    let dx = d.buffer("dx", of_dx, Access::Write, cx.result.buffer);
    let end = end.stored_as(of_dx);
    let (split, columns, lanes) = Partition::of(cx.target, &ty, channels).items(cx.target, channels);
    split.run(&mut d.kernel, |k, piece| {
        let kinds = elem_letters("_", &elems) + &end.name();
        let name = format!("batch_norm_grad_{}x{columns}_of{channels}_v{lanes}{kinds}", piece.count);
        let params = ([piece.count, columns, channels], lanes, elems, end);
        let micro_kernel =
            cx.micro_kernel(code(name, params, |&([count, columns, channels], lanes, elems, end), b| {
                let [of_x, of_dy, of_dx] = elems;
                let x = b.pointer("x", of_x, Access::Read);
                let dy = b.pointer("dy", of_dy, Access::Read);
                let mean = b.pointer("mean", Elem::F32, Access::Read);
                let factor = b.pointer("factors", Elem::F32, Access::Read);
                let dx = b.pointer("dx", of_dx, Access::Write);
                rows(b, count, |b, row| {
                    b.elements(columns, lanes, |b, i, lanes| {
                        let at = row.at(i.clone(), channels);
                        let [scale, shift, slope] =
                            [0, 1, 2].map(|f| b.load(factor, i.clone().offset((f * channels) as i64), lanes));
                        let (x, mean, dy) =
                            (b.load(x, at.clone(), lanes), b.load(mean, i, lanes), b.load(dy, at.clone(), lanes));
                        let difference = b.sub(x, mean);
                        let product = b.mul(difference, slope);
                        let inner = b.sub(dy, shift);
                        let inner = b.sub(inner, product);
                        let value = b.mul(scale, inner);
                        let value = end.apply(b, value);
                        b.store(dx, at, value);
                    });
                });
            }));
        let at = &piece.position * channels + &piece.column;
        k.call(micro_kernel, [x.at(&at), dy.at(&at), mean.at(&piece.column), factor.at(&piece.column), dx.at(&at)]);
    });
    d.launch(cx);
    Ok(())
}

/// Per channel: `gamma/σ`, `dbeta/n` and `dgamma/(n·σ)`, so that the large kernel neither divides nor takes roots.
fn channel_factors(cx: &mut LowerCx, epsilon: f32, channels: usize, positions: usize, factors: BufferId) {
    let lanes = cx.target.lanes;
    let epsilon = Constant::from(epsilon);
    let name = format!("batch_norm_factors_{channels}_{positions}_{epsilon}_v{lanes}");
    let params = ([channels, positions], epsilon, lanes);
    let micro_kernel = cx.micro_kernel(code(name, params, |&([channels, positions], epsilon, lanes), b| {
        let shared = ["gamma", "variance", "dgamma", "dbeta"].map(|n| b.pointer(n, Elem::F32, Access::Read));
        let out = b.pointer("factors", Elem::F32, Access::Write);
        let total = b.int("total");
        b.elements(channels, lanes, |b, i, lanes| {
            let [gamma, variance, dgamma, dbeta] = shared.map(|p| b.load(p, i.clone(), lanes));
            let inverse = inverse_deviation(b, variance, epsilon.get());
            let n = images(b, total, positions, lanes);
            let scale = b.mul(gamma, inverse);
            let shift = b.div(dbeta, n);
            let slope = b.div(dgamma, n);
            let slope = b.mul(slope, inverse);
            let place = |f: usize| -> Index { i.clone().offset((f * channels) as i64) };
            b.store(out, place(0), scale);
            b.store(out, place(1), shift);
            b.store(out, place(2), slope);
        });
    }));
    let mut d = KernelWithOperands::bare(cx, "batch_norm_factors");
    let inputs = [1, 3, 5, 6].map(|i| d.buffer("x", Elem::F32, Access::Read, cx.operands[i].buffer));
    let out = d.buffer("factors", Elem::F32, Access::Write, factors);
    d.kernel.parallel("i", 1, |k, _| {
        let mut args: Vec<Arg> = inputs.iter().map(|m| m.at(0)).collect();
        args.extend([out.at(0), Arg::Int(Expr::TOTAL)]);
        k.call(micro_kernel, args);
    });
    d.launch(cx);
}
