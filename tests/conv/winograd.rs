//! Winograd's convolutions, forward and both gradients, against plain loops: within a few times the direct error, in
//! rms at most six times.

use super::cases::Draw;
use super::reference::{Exact, Shape};
use super::run::{builder, run, targets};
use crate::support::cases;
use ninc::kernel::ir::Stmt;
use ninc::lower::target::{Algorithm, Batch, Target};
use ninc::lower::{LowerCx, Lowered};
use ninc::plan::fit_iterations;
use ninc::recipes::{Epilogue, Function, Reduction, Stage, Window, conv};
use ninc::types::Type;
use std::collections::BTreeSet;

/// A convolution that the algorithm applies to.
fn shape(draw: &mut Draw, case: usize) -> Shape {
    let r = [3, 5, 2, 3, 4, 7][case % 6];
    Shape {
        batch: draw.below(6),
        channels: if case % 4 == 3 { 1 + draw.below(4) } else { 1 + draw.below(20) },
        image: [r + draw.below(12), r + draw.below(12)],
        outputs: 1 + draw.below(40),
        window: Window { kernel: [r, r], stride: [1, 1], pad: [draw.below(r), draw.below(r)], dilation: [1, 1] },
        groups: 1,
    }
}

/// Errors relative to the largest result: `[max, rms]`.
fn errors(got: &[f32], expected: &Exact) -> [f64; 2] {
    let scale = expected.values.iter().fold(1e-30, |m: f64, v| m.max(v.abs()));
    let each: Vec<f64> = got.iter().zip(&expected.values).map(|(g, e)| (f64::from(*g) - e).abs() / scale).collect();
    assert_eq!(got.len(), expected.values.len());
    assert!(each.iter().all(|e| e.is_finite()), "numbers");
    let rms = (each.iter().map(|e| e * e).sum::<f64>() / each.len().max(1) as f64).sqrt();
    [each.iter().fold(0.0, |m, &e| m.max(e)), rms]
}

#[test]
fn tiles_of_all_kinds() {
    let mut draw = Draw::new(20);
    let mut taken = BTreeSet::new();
    for case in 0..cases(60) {
        let s = shape(&mut draw, case);
        let stage = Stage { bias: case % 2 == 0, epilogue: (case % 4 < 2).then_some(Function::Relu).into() };
        let (x, w) = (draw.values(s.batch * s.input().elements()), draw.values(s.weight().elements()));
        let b = draw.values(s.outputs);
        let mut expected = s.forward(&Exact::of(&x), &w, stage.bias.then_some(b.as_slice()));
        if stage.epilogue.activation.is_some() {
            expected = expected.relu();
        }
        let mut operands = vec![(s.input(), x), (s.weight(), w)];
        if stage.bias {
            operands.push((Type::shared(&[s.outputs]), b));
        }
        for mut target in targets() {
            target.algorithm = Algorithm::Winograd;
            if case % 3 == 0 {
                // Little cache: iterations of few rows.
                target.cache[1] = 1 << 16;
            }
            target.batch =
                [Batch::Latency, Batch::Throughput, Batch::Latency, Batch::Throughput, Batch::Training][case % 5];
            let lower = |cx: &mut LowerCx| conv::forward(cx, &s.window, 1, &[stage], None);
            let types: Vec<Type> = operands.iter().map(|o| o.0.clone()).collect();
            let (builder, _, _) = builder(&target, &types, &s.output(), lower);
            for choice in &builder.choices {
                taken.extend(kinds(&choice.candidates[choice.taken].name));
            }
            let got =
                run(&target, s.batch, &operands, &s.output(), |cx| conv::forward(cx, &s.window, 1, &[stage], None));
            let [max, rms] = errors(&got, &expected);
            assert!(max < 3e-5 && rms < 1e-5, "{case} {s:?} lanes {}: max {max:e}, rms {rms:e}", target.lanes);
        }
    }
    for form in ["few channels", "shared", "iterations"] {
        assert!(taken.contains(form), "no case took the form `{form}`: {taken:?}");
    }
    for r in [2, 3, 4, 5, 7] {
        assert!(taken.iter().any(|t| t.starts_with("F(") && t.ends_with(&format!("{r})"))), "{r}: {taken:?}");
    }
}

/// How a convolution was computed, for the count of what the cases reach.
fn kinds(name: &str) -> [String; 2] {
    let form = ["few channels", "shared"].into_iter().find(|k| name.ends_with(k)).unwrap_or("iterations");
    [form.to_string(), name.split_inclusive(')').next().unwrap_or(name).to_string()]
}

/// The measure that the algorithm was chosen by: rectified normal input, many channels.
#[test]
fn error_against_direct() {
    let mut draw = Draw::new(21);
    for (r, factor) in [(3, 3.0), (5, 6.0)] {
        let window = Window { kernel: [r, r], stride: [1, 1], pad: [r / 2, r / 2], dilation: [1, 1] };
        let s = Shape { batch: 1, channels: 48, image: [8, 8], outputs: 16, window, groups: 1 };
        let x: Vec<f32> = draw.values(s.input().elements()).into_iter().map(|v| v.max(0.0)).collect();
        let w = draw.values(s.weight().elements());
        let expected = s.forward(&Exact::of(&x), &w, None);
        let stage = Stage { bias: false, epilogue: Epilogue::NONE };
        let operands = [(s.input(), x), (s.weight(), w)];
        let [direct, winograd] = [Algorithm::Direct, Algorithm::Winograd].map(|algorithm| {
            let mut target = targets()[2].clone();
            target.algorithm = algorithm;
            let got = run(&target, 1, &operands, &s.output(), |cx| conv::forward(cx, &s.window, 1, &[stage], None));
            errors(&got, &expected)[1]
        });
        assert!(winograd > direct / 2.0, "the algorithm was used");
        assert!(winograd < factor * direct, "{r}x{r}: rms {winograd:e}, direct {direct:e}");
    }
}

#[test]
fn chains() {
    let mut draw = Draw::new(22);
    for case in 0..cases(30) {
        let s = shape(&mut draw, case);
        let next = s.next(1 + draw.below(20));
        let (x, w) = (draw.values(s.batch * s.input().elements()), draw.values(s.weight().elements()));
        let v = draw.values(next.weight().elements());
        let mut expected = next.forward(&s.forward(&Exact::of(&x), &w, None).relu(), &v, None);
        let mut result = next.output();
        let mut pool = None;
        if case % 2 == 0 {
            let window = Window { kernel: [2, 2], stride: [2, 2], pad: [0, 0], dilation: [1, 1] };
            let (pooled, dims) = next.pool(&expected, Reduction::Max, &window);
            (expected, result) = (pooled, Type::batched(&dims));
            pool = Some((Reduction::Max, window));
        }
        let stages =
            [Stage { bias: false, epilogue: Function::Relu.into() }, Stage { bias: false, epilogue: Epilogue::NONE }];
        let operands = [(s.input(), x), (s.weight(), w), (next.weight(), v)];
        for mut target in targets() {
            target.algorithm = Algorithm::Winograd;
            target.batch = if case % 4 == 1 { Batch::Latency } else { Batch::Throughput };
            let got = run(&target, s.batch, &operands, &result, |cx| conv::forward(cx, &s.window, 1, &stages, pool));
            let [max, rms] = errors(&got, &expected);
            assert!(max < 3e-5 && rms < 1e-5, "{case} {s:?} lanes {}: max {max:e}, rms {rms:e}", target.lanes);
        }
    }
}

/// Several small images in an iteration, and the last one with fewer: each number of images that a group can end with.
#[test]
fn groups_of_small_images() {
    let mut draw = Draw::new(23);
    let mut grouped = 0;
    for (case, batch) in [1, 2, 3, 4, 5, 9].into_iter().enumerate() {
        let window = Window { kernel: [3, 3], stride: [1, 1], pad: [1, 1], dilation: [1, 1] };
        let image = [5 + case % 3, 5 + case % 4];
        let s = Shape { batch, channels: 24, image, outputs: 20, window, groups: 1 };
        let next = s.next(9);
        let last = next.next(5);
        let (x, w) = (draw.values(s.batch * s.input().elements()), draw.values(s.weight().elements()));
        let (v, u) = (draw.values(next.weight().elements()), draw.values(last.weight().elements()));
        let first = s.forward(&Exact::of(&x), &w, None).relu();
        let chain = last.forward(&next.forward(&first, &v, None).relu(), &u, None);
        let relu = Stage { bias: false, epilogue: Function::Relu.into() };
        let stages = [relu, relu, Stage { bias: false, epilogue: Epilogue::NONE }];
        let shapes = [(s.input(), x), (s.weight(), w), (next.weight(), v), (last.weight(), u)];
        for (links, expected, result) in [(1, first, s.output()), (3, chain, last.output())] {
            let operands = &shapes[..links + 1];
            for mut target in targets() {
                target.algorithm = Algorithm::Winograd;
                let stages = &stages[..links];
                let lower = |cx: &mut LowerCx| conv::forward(cx, &s.window, 1, stages, None);
                let types: Vec<Type> = operands.iter().map(|o| o.0.clone()).collect();
                let (builder, _, _) = builder(&target, &types, &result, lower);
                let kernel = &builder.module.kernels[builder.launches[0].kernel];
                let [Stmt::For { end, .. }] = kernel.body.as_slice() else { panic!("one parallel loop") };
                grouped += usize::from(fit_iterations(end).expect("iterations").images > 1);
                let got = run(&target, batch, operands, &result, lower);
                let [max, rms] = errors(&got, &expected);
                assert!(max < 3e-5 && rms < 1e-5, "{batch} {links} lanes {}: max {max:e}, rms {rms:e}", target.lanes);
            }
        }
    }
    assert!(grouped >= 18, "{grouped} of 36 cases had groups");
}

/// Both gradients over all kinds of tiles, padding and batches; little cache makes iterations of
/// rows, small images iterations of several.
#[test]
fn gradients() {
    let mut draw = Draw::new(23);
    for case in 0..cases(30) {
        let mut s = shape(&mut draw, case);
        s.batch = draw.below(6);
        let (x, w) = (draw.values(s.batch * s.input().elements()), draw.values(s.weight().elements()));
        let dy = draw.values(s.batch * s.output().elements());
        let expected = [s.grad_input(&w, &dy), s.grad_weight(&x, &dy)];
        let (image, weight, grad) = ((s.input(), x), (s.weight(), w), (s.output(), dy));
        for mut target in targets() {
            target.algorithm = Algorithm::Winograd;
            if case % 3 == 0 {
                target.cache[1] = 1 << 15;
            }
            let what = format!("{case} {s:?} lanes {}", target.lanes);
            let got = run(&target, s.batch, &[weight.clone(), grad.clone()], &s.input(), |cx| {
                conv::grad_input(cx, &s.window, 1, Epilogue::NONE)
            });
            let [max, rms] = errors(&got, &expected[0]);
            assert!(max < 3e-5 && rms < 1e-5, "input, {what}: max {max:e}, rms {rms:e}");
            let got = run(&target, s.batch, &[image.clone(), grad.clone()], &s.weight(), |cx| {
                conv::grad_weight(cx, &s.window, 1)
            });
            let [max, rms] = errors(&got, &expected[1]);
            assert!(max < 3e-5 && rms < 1e-5, "weights, {what}: max {max:e}, rms {rms:e}");
        }
    }
}

/// The gradients' errors in rms are at most six times those of the direct way, for as many terms as layers have.
#[test]
fn gradient_errors_against_direct() {
    let mut draw = Draw::new(24);
    for r in [3, 4, 5] {
        let window = Window { kernel: [r, r], stride: [1, 1], pad: [r / 2, r / 2], dilation: [1, 1] };
        let s = Shape { batch: 1, channels: 8, image: [8, 8], outputs: 96, window, groups: 1 };
        let operands =
            [(s.weight(), draw.values(s.weight().elements())), (s.output(), draw.values(s.output().elements()))];
        let expected = s.grad_input(&operands[0].1, &operands[1].1);
        against_direct(&format!("input {r}x{r}"), 1 << 20, s.batch, &operands, &s.input(), &expected, |cx| {
            conv::grad_input(cx, &s.window, 1, Epilogue::NONE)
        });
        let s = Shape { batch: 20, channels: 16, image: [16, 12], outputs: 16, ..s };
        let x: Vec<f32> = draw.values(s.batch * s.input().elements()).into_iter().map(|v| v.max(0.0)).collect();
        let operands = [(s.input(), x), (s.output(), draw.values(s.batch * s.output().elements()))];
        let expected = s.grad_weight(&operands[0].1, &operands[1].1);
        // So little cache that the weights count as many: one sum over all pixels, as for the layers that this is for.
        // Else the direct way adds short sums, with smaller errors.
        for cache in [1 << 14, 1 << 20] {
            let what = format!("weights {r}x{r}, {cache} bytes of cache");
            against_direct(&what, cache, s.batch, &operands, &s.weight(), &expected, |cx| {
                conv::grad_weight(cx, &s.window, 1)
            });
        }
    }
}

fn against_direct(
    what: &str,
    cache: usize,
    batch: usize,
    operands: &[(Type, Vec<f32>)],
    result: &Type,
    expected: &Exact,
    lower: impl Fn(&mut LowerCx) -> Lowered,
) {
    let [direct, winograd] = [Algorithm::Direct, Algorithm::Winograd].map(|algorithm| {
        let target = Target { algorithm, cache: [32 << 10, cache, 1 << 24], ..targets()[1].clone() };
        errors(&run(&target, batch, operands, result, &lower), expected)[1]
    });
    assert!(winograd != direct, "{what}: the algorithm was used");
    assert!(winograd < 6.0 * direct, "{what}: rms {winograd:e}, direct {direct:e}");
}
