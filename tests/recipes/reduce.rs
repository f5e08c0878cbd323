//! Sums over the batch, batch normalisation, local response normalisation.

use super::{Data, Draw, LANES, SHAPES, Test, close, floats};
use ninc::lower::LowerCx;
use ninc::recipes::lrn::{self, Lrn};
use ninc::recipes::reduce::{self, Mean};
use ninc::recipes::{Epilogue, batch_norm};
use ninc::types::Type;

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&x| x.into()).collect()
}

/// `Σ term(i)` per channel over elements in memory order.
fn per_channel(c: usize, count: usize, term: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; c];
    (0..count).for_each(|i| sums[i % c] += term(i));
    sums
}

#[test]
fn channel_sums_and_means() {
    let mut draw = Draw::new(41);
    for [n, c, h, w] in SHAPES {
        let (image, vector) = (Type::batched(&[c, h, w]), Type::shared(&[c]));
        let count = n * c * h * w;
        let (x, dy, s) = (draw.normal(count), draw.normal(count), draw.normal(c));
        let sums = per_channel(c, count, |i| f64::from(x[i]) * f64::from(dy[i]) + f64::from(s[i % c]));
        for mean in [Mean::No, Mean::OverAll] {
            let by = if mean == Mean::No { 1.0 } else { (n * h * w) as f64 };
            let expected: Vec<f64> = sums.iter().map(|v| v / by).collect();
            let lower = |cx: &mut LowerCx| reduce::channels(cx, "test", mean, |b, v, _| b.fma(v[0], v[1], v[2]));
            let operands = vec![floats(&image, x.clone()), floats(&image, dy.clone()), floats(&vector, s.clone())];
            let test = Test { operands, result: vector.clone(), lower: &lower };
            test.check(n, &expected, 1e-5, &format!("{image} {mean:?}"));
        }
    }
}

/// A mean divides by the whole batch, also where a run has only a group of it.
#[test]
fn means_of_groups_add_up() {
    let ty = Type::batched(&[5, 3, 2]);
    let x = Draw::new(42).normal(7 * 30);
    let expected: Vec<f64> = per_channel(5, x.len(), |i| f64::from(x[i]) / (7.0 * 6.0));
    let part = |from: usize, to: usize, lanes: u32, sums: &[f32]| {
        let operands = vec![floats(&ty, x[from * 30..to * 30].to_vec())];
        let lower = |s: &mut LowerCx| reduce::channels(s, "mean", Mean::OverAll, |_, v, _| v[0]);
        Test { operands, result: Type::shared(&[5]), lower: &lower }.run_group(lanes, [to - from, from, 7], sums)
    };
    for lanes in LANES {
        let first = part(0, 4, lanes, &[]);
        close(&part(4, 7, lanes, &first), &expected, 1e-6, "two groups");
    }
}

#[test]
fn batch_sums() {
    let mut draw = Draw::new(43);
    for [n, c, h, w] in SHAPES {
        let image = Type::batched(&[c, h, w]);
        let each = c * h * w;
        let x = draw.normal(n * each);
        let sums = per_channel(each, n * each, |i| x[i].into());
        let test =
            Test { operands: vec![floats(&image, x)], result: Type::shared(&[c, h * w]), lower: &reduce::sum_batch };
        test.check(n, &sums, 1e-5, "sum_batch");

        let losses = draw.normal(n);
        let mean = losses.iter().map(|&l| f64::from(l)).sum::<f64>() / n as f64;
        let operands = vec![floats(&Type::batched(&[]), losses)];
        Test { operands, result: Type::shared(&[]), lower: &reduce::batch_mean }.check(n, &[mean], 1e-5, "batch_mean");
    }
}

#[test]
fn squares_and_norms() {
    let mut draw = Draw::new(44);
    let shapes: [&[usize]; 6] = [&[], &[1], &[7], &[10, 33], &[96, 3, 5, 5], &[4, 6, 2, 3, 3]];
    for dims in shapes {
        let ty = Type::shared(dims);
        let w = draw.normal(ty.elements());
        // As they are, and so large that their squares overflow float32.
        for (scale, small) in [(1.0, false), (1e25, true)] {
            let w: Vec<f32> = w.iter().map(|v| v * scale).collect();
            let factor = if small { 2f64.powi(-80) } else { 1.0 };
            let sum = w.iter().map(|&v| (f64::from(v) * factor).powi(2)).sum::<f64>();
            let lower = |cx: &mut LowerCx| reduce::sum_squares(cx, small);
            let operands = vec![floats(&ty, w.clone())];
            Test { operands, result: Type::shared(&[]), lower: &lower }.check(1, &[sum], 1e-5 * sum, "squares");
            check_norms(&ty, w);
        }
    }
}

/// Bounds on the norms of a weight's units.
fn check_norms(ty: &Type, w: Vec<f32>) {
    let units = ty.memory_order().last().map_or(1, |&d| ty.dims[d]);
    let norms: Vec<f64> = per_channel(units, w.len(), |i| f64::from(w[i]).powi(2)).iter().map(|s| s.sqrt()).collect();
    // A limit that some units keep and others do not.
    let limit = norms.iter().sum::<f64>() / units as f64;
    let limit = if units == 1 { limit / 2.0 } else { limit };
    let scaled: Vec<f64> =
        (w.iter().enumerate()).map(|(i, &v)| f64::from(v) * (limit / norms[i % units]).min(1.0)).collect();
    let lower = |s: &mut LowerCx| reduce::max_norm(s, limit as f32);
    let largest = scaled.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    let operands = vec![floats(ty, w)];
    Test { operands, result: ty.clone(), lower: &lower }.check(1, &scaled, 1e-6 * largest, "max_norm");
}

#[test]
fn batch_normalisation() {
    let epsilon = 1e-3;
    let mut draw = Draw::new(45);
    for [n, c, h, w] in SHAPES {
        if n == 0 {
            continue; // the statistics of nothing are NaN
        }
        let (image, vector) = (Type::batched(&[c, h, w]), Type::shared(&[c]));
        let (count, m) = (n * c * h * w, (n * h * w) as f64);
        let (x, dy, gamma) = (draw.normal(count), draw.normal(count), draw.positive(c));
        let mean: Vec<f64> = per_channel(c, count, |i| f64::from(x[i]) / m);
        let variance: Vec<f64> = per_channel(c, count, |i| (f64::from(x[i]) - mean[i % c]).powi(2) / m);
        let hat = |i: usize| (f64::from(x[i]) - mean[i % c]) / (variance[i % c] + epsilon).sqrt();
        let dgamma = per_channel(c, count, |i| f64::from(dy[i]) * hat(i));
        let dbeta = per_channel(c, count, |i| dy[i].into());
        let dx: Vec<f64> = (0..count)
            .map(|i| {
                let (k, g) = (i % c, f64::from(gamma[i % c]));
                let inner = f64::from(dy[i]) - dbeta[k] / m - hat(i) * dgamma[k] / m;
                g / (variance[k] + epsilon).sqrt() * inner
            })
            .collect();
        let narrow = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let shared = |v: &[f64]| -> (Type, Data) { floats(&vector, narrow(v)) };
        let (x, dy) = (floats(&image, x.clone()), floats(&image, dy.clone()));

        let operands = vec![x.clone(), shared(&mean)];
        let test = Test { operands, result: vector.clone(), lower: &batch_norm::variance };
        test.check(n, &variance, 1e-5, "variance");
        let operands = vec![x.clone(), shared(&mean), shared(&variance), dy.clone()];
        let lower = |s: &mut LowerCx| batch_norm::grad_gamma(s, epsilon as f32);
        // Sums of terms of both signs: relative to their number.
        let tolerance = 1e-5 * m.sqrt().max(1.0);
        Test { operands, result: vector.clone(), lower: &lower }.check(n, &dgamma, tolerance, "dgamma");
        let operands =
            vec![x, floats(&vector, gamma), shared(&mean), shared(&variance), dy, shared(&dgamma), shared(&dbeta)];
        let lower = |s: &mut LowerCx| batch_norm::grad_input(s, epsilon as f32, Epilogue::default());
        if m > 1.0 {
            Test { operands, result: image, lower: &lower }.check(n, &dx, 1e-5, "dx");
        }
    }
}

#[test]
fn local_response_normalisation() {
    let mut draw = Draw::new(46);
    let settings = [Lrn::new(5, 1e-1, 0.75, 2.0), Lrn::new(1, 0.5, 0.5, 1.0), Lrn::new(4, 0.3, 1.3, 1.5)];
    for ([n, c, h, w], lrn) in SHAPES.into_iter().flat_map(|s| settings.map(|l| (s, l))) {
        let image = Type::batched(&[c, h, w]);
        let (x, dy) = (draw.normal(n * c * h * w), draw.normal(n * c * h * w));
        let (wide_x, wide_dy) = (wide(&x), wide(&dy));
        let (beta, alpha) = (f64::from(lrn.beta.get()), f64::from(lrn.alpha.get()) / lrn.size as f64);
        let (mut y, mut dx) = (vec![], vec![]);
        for (x, dy) in wide_x.chunks(c).zip(wide_dy.chunks(c)) {
            let near = |i: usize| i.saturating_sub((lrn.size - 1) / 2)..(i + lrn.size / 2 + 1).min(c);
            let s: Vec<f64> =
                (0..c).map(|i| f64::from(lrn.k.get()) + alpha * near(i).map(|j| x[j] * x[j]).sum::<f64>()).collect();
            y.extend((0..c).map(|i| x[i] * s[i].powf(-beta)));
            dx.extend((0..c).map(|i| {
                let others = (0..c).filter(|&j| near(j).contains(&i));
                let sum: f64 = others.map(|j| dy[j] * x[j] * s[j].powf(-beta) / s[j]).sum();
                dy[i] * s[i].powf(-beta) - 2.0 * alpha * beta * x[i] * sum
            }));
        }
        let operands = vec![floats(&image, x.clone())];
        let test = Test { operands, result: image.clone(), lower: &|s| lrn::forward(s, &lrn) };
        test.check(n, &y, 1e-6, &format!("{image} {lrn:?}"));
        let operands = vec![floats(&image, x), floats(&image, dy)];
        let test = Test { operands, result: image.clone(), lower: &|s| lrn::grad(s, &lrn) };
        test.check(n, &dx, 2e-6, &format!("gradient {image} {lrn:?}"));
    }
}
