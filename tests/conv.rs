//! The contraction family (convolution, linear and unshared layers, and their gradients) on random and awkward shapes:
//! every recipe, for vectors of 4, 8 and 16 lanes, against plain loops in f64. Error bound: 4·K·2⁻²⁴·Σ|a·b|.

mod cases;
mod drop_connect;
mod native;
mod reference;
mod run;
mod speed;
mod split;
mod tiles;
mod winograd;

use crate::support::cases;
use cases::Draw;
use ninc::kernel::ir::Space;
use ninc::lower::LowerCx;
use ninc::lower::target::Fusion;
use ninc::recipes::{self, Epilogue, Function, Reduction, Stage, Window};
use ninc::types::Type;
use reference::{Exact, Shape};
use run::{compare, run, targets};

const PLAIN: Stage = Stage { bias: false, epilogue: Epilogue::NONE };

#[test]
fn convolution_forward() {
    let mut draw = Draw::new(1);
    for case in 0..cases(110) {
        let s = draw.shape(case);
        let stage = Stage { bias: draw.below(2) == 0, epilogue: (draw.below(2) == 0).then_some(Function::Relu).into() };
        let x = draw.values(s.batch * s.input().elements());
        let w = draw.values(s.weight().elements());
        let b = draw.values(s.outputs);
        let mut expected = s.forward(&Exact::of(&x), &w, stage.bias.then_some(b.as_slice()));
        if stage.epilogue.activation.is_some() {
            expected = expected.relu();
        }
        let mut operands = vec![(s.input(), x.clone()), (s.weight(), w.clone())];
        if stage.bias {
            operands.push((Type::shared(&[s.outputs]), b.clone()));
        }
        for target in targets() {
            let got = run(&target, s.batch, &operands, &s.output(), |cx| {
                recipes::conv::forward(cx, &s.window, s.groups, &[stage], None)
            });
            compare(&format!("forward {case} {s:?} {stage:?} lanes {}", target.lanes), &got, &expected);
        }
    }
}

#[test]
fn convolution_input_gradient() {
    let mut draw = Draw::new(2);
    for case in 0..cases(110) {
        let s = draw.shape(case);
        let w = draw.values(s.weight().elements());
        let dy = draw.values(s.batch * s.output().elements());
        let expected = s.grad_input(&w, &dy);
        let operands = [(s.weight(), w), (s.output(), dy)];
        for target in targets() {
            let got = run(&target, s.batch, &operands, &s.input(), |cx| {
                recipes::conv::grad_input(cx, &s.window, s.groups, Epilogue::NONE)
            });
            compare(&format!("grad_input {case} {s:?} lanes {}", target.lanes), &got, &expected);
        }
    }
}

#[test]
fn convolution_weight_gradient() {
    let mut draw = Draw::new(3);
    for case in 0..cases(110) {
        let s = draw.shape(case);
        let x = draw.values(s.batch * s.input().elements());
        let dy = draw.values(s.batch * s.output().elements());
        let expected = s.grad_weight(&x, &dy);
        let operands = [(s.input(), x), (s.output(), dy)];
        for target in targets() {
            let got =
                run(&target, s.batch, &operands, &s.weight(), |cx| recipes::conv::grad_weight(cx, &s.window, s.groups));
            compare(&format!("grad_weight {case} {s:?} lanes {}", target.lanes), &got, &expected);
        }
    }
}

/// A convolution and up to three 1x1 stages, with and without a pooling.
#[test]
fn chains() {
    let mut draw = Draw::new(4);
    for case in 0..cases(60) {
        let mut s = draw.shape(case);
        if draw.below(4) == 0 {
            s = s.pointwise();
        }
        let x = draw.values(s.batch * s.input().elements());
        let mut operands = vec![(s.input(), x.clone())];
        let mut value = Exact::of(&x);
        let (mut stages, mut link) = (Vec::new(), s.clone());
        for i in 0..1 + draw.below(4) {
            if i > 0 {
                link = link.next(1 + draw.below(20));
            }
            let stage =
                Stage { bias: draw.below(2) == 0, epilogue: (draw.below(2) == 0).then_some(Function::Relu).into() };
            let (w, b) = (draw.values(link.weight().elements()), draw.values(link.outputs));
            value = link.forward(&value, &w, stage.bias.then_some(b.as_slice()));
            if stage.epilogue.activation.is_some() {
                value = value.relu();
            }
            operands.push((link.weight(), w));
            if stage.bias {
                operands.push((Type::shared(&[link.outputs]), b));
            }
            stages.push(stage);
        }
        let mut result = link.output();
        let mut pool = None;
        if draw.below(2) == 0 {
            let kind = if draw.below(2) == 0 { Reduction::Max } else { Reduction::Average };
            let kernel = [1 + draw.below(3), 1 + draw.below(3)];
            let stride = [1 + draw.below(3), 1 + draw.below(3)];
            let pad = [draw.below(kernel[0]), draw.below(kernel[1])];
            let window = Window { kernel, stride, pad, dilation: [1, 1] };
            let (pooled, dims) = link.pool(&value, kind, &window);
            value = pooled;
            result = Type::batched(&dims);
            pool = Some((kind, window));
        }
        for target in targets() {
            let got = run(&target, s.batch, &operands, &result, |cx| {
                recipes::conv::forward(cx, &s.window, s.groups, &stages, pool)
            });
            compare(&format!("chain {case} {s:?} {stages:?} {pool:?} lanes {}", target.lanes), &got, &value);
        }
    }
}

/// On a GPU a chain in one kernel gives the bits of single products, and keeps within the device's memory; where there
/// is too little of it, parts of the chain are launches of their own.
#[test]
fn fused_chains_on_a_gpu() {
    let mut draw = Draw::new(8);
    let sizes = [([1, 1], [1, 1, 1]), ([1, 1], [13, 7, 3]), ([7, 11], [5, 17, 2]), ([9, 8], [33, 20, 64])];
    for (case, (image, outputs)) in sizes.into_iter().cycle().take(12).enumerate() {
        let r = if case < 4 { 1 } else { 3 };
        let window = Window { kernel: [r, r], stride: [1 + case / 8; 2], pad: [r / 2; 2], dilation: [1, 1] };
        let first = Shape { batch: 1 + case % 3, channels: 1 + case, image, outputs: outputs[0], window, groups: 1 };
        let chain = [first.clone(), first.next(outputs[1]), first.next(outputs[1]).next(outputs[2])];
        let stages = [true, false, true].map(|bias| Stage { bias, epilogue: Function::Relu.into() });
        let mut operands = vec![(first.input(), draw.values(first.batch * first.input().elements()))];
        for (link, stage) in chain.iter().zip(&stages) {
            operands.push((link.weight(), draw.values(link.weight().elements())));
            operands.extend(stage.bias.then(|| (Type::shared(&[link.outputs]), draw.values(link.outputs))));
        }
        let result = |fusion, local_bytes| {
            let target = targets()[3].clone();
            let target = target.with_gpu(|gpu| (gpu.fusion, gpu.local_bytes) = (fusion, local_bytes));
            let lower = |cx: &mut LowerCx| recipes::conv::forward(cx, &window, 1, &stages, None);
            let types: Vec<Type> = operands.iter().map(|o| o.0.clone()).collect();
            let (builder, _, _) = run::builder(&target, &types, &chain[2].output(), lower);
            for kernel in builder.module.kernels.values().filter(|k| k.name.starts_with("chain")) {
                let local =
                    kernel.scratch.values().filter(|s| s.space == Space::Local).map(|s| 4 * s.len).sum::<usize>();
                assert!(local <= local_bytes, "{} takes {local} bytes of {local_bytes}", kernel.name);
            }
            (run(&target, first.batch, &operands, &chain[2].output(), lower), builder.launches.len())
        };
        let (apart, launches) = result(Fusion::Never, 32 << 10);
        assert_eq!(launches, 3);
        let (fused, launches) = result(Fusion::Always, 32 << 10);
        assert_eq!((fused == apart, launches), (true, 1), "case {case}");
        let (small, launches) = result(Fusion::Always, 2 << 10);
        assert_eq!((small == apart, launches > 1), (true, outputs[0] > 30), "case {case} with little memory");
    }
}

/// Weights too large for the cache: another order of loops, and a launch per stage.
#[test]
fn weights_beyond_the_cache() {
    let mut draw = Draw::new(5);
    for case in 0..cases(20) {
        let s = draw.shape(case);
        let second = s.next(1 + draw.below(40));
        let x = draw.values(s.batch * s.input().elements());
        let (w, v) = (draw.values(s.weight().elements()), draw.values(second.weight().elements()));
        let expected = second.forward(&s.forward(&Exact::of(&x), &w, None), &v, None);
        let operands = [(s.input(), x), (s.weight(), w), (second.weight(), v)];
        for mut target in targets() {
            target.cache = [1 << 8, 1 << 10, 1 << 10];
            let got = run(&target, s.batch, &operands, &second.output(), |cx| {
                recipes::conv::forward(cx, &s.window, s.groups, &[PLAIN; 2], None)
            });
            compare(&format!("heavy {case} {s:?} lanes {}", target.lanes), &got, &expected);
        }
    }
}

#[test]
fn linear_layers() {
    let mut draw = Draw::new(6);
    for case in 0..cases(60) {
        let s = draw.linear(case);
        let (inputs, outputs) = (Type::batched(&[s.channels]), Type::batched(&[s.outputs]));
        let weight = Type::shared(&[s.outputs, s.channels]);
        let x = draw.values(s.batch * s.channels);
        let (w, b) = (draw.values(weight.elements()), draw.values(s.outputs));
        let dy = draw.values(s.batch * s.outputs);
        let stage = Stage { bias: draw.below(2) == 0, epilogue: (draw.below(2) == 0).then_some(Function::Relu).into() };
        let mut expected = s.forward(&Exact::of(&x), &w, stage.bias.then_some(b.as_slice()));
        if stage.epilogue.activation.is_some() {
            expected = expected.relu();
        }
        let mut operands = vec![(inputs.clone(), x.clone()), (weight.clone(), w.clone())];
        if stage.bias {
            operands.push((Type::shared(&[s.outputs]), b));
        }
        for target in targets() {
            let at = format!("linear {case} {}x{}x{} lanes {}", s.batch, s.channels, s.outputs, target.lanes);
            let got = run(&target, s.batch, &operands, &outputs, |cx| recipes::linear::forward(cx, stage));
            compare(&at, &got, &expected);
            let given = [(weight.clone(), w.clone()), (outputs.clone(), dy.clone())];
            let got = run(&target, s.batch, &given, &inputs, recipes::linear::grad_input);
            compare(&format!("{at} dx"), &got, &s.grad_input(&w, &dy));
            let given = [(inputs.clone(), x.clone()), (outputs.clone(), dy.clone())];
            let got = run(&target, s.batch, &given, &weight, recipes::linear::grad_weight);
            compare(&format!("{at} dw"), &got, &s.grad_weight(&x, &dy));
        }
    }
}

#[test]
fn unshared_layers() {
    let mut draw = Draw::new(7);
    for case in 0..cases(60) {
        let s = Shape { groups: 1, ..draw.shape(case) }.undilated();
        let positions = s.out()[0] * s.out()[1];
        let [kh, kw] = s.window.kernel;
        let weight = Type::shared(&[positions, s.outputs, s.channels, kh, kw]);
        let x = draw.values(s.batch * s.input().elements());
        let w = draw.values(weight.elements());
        let b = draw.values(s.outputs * positions);
        let dy = draw.values(s.batch * s.output().elements());
        let bias = draw.below(2) == 0;
        let expected = s.local(&x, &w, &dy, bias.then_some(b.as_slice()));
        let mut operands = vec![(s.input(), x.clone()), (weight.clone(), w.clone())];
        if bias {
            operands.push((Type::shared(&[s.outputs, positions]), b));
        }
        for target in targets() {
            let at = format!("local {case} {s:?} lanes {}", target.lanes);
            let got = run(&target, s.batch, &operands, &s.output(), |cx| recipes::local::forward(cx, &s.window, bias));
            compare(&at, &got, &expected[0]);
            let given = [(weight.clone(), w.clone()), (s.output(), dy.clone())];
            let got = run(&target, s.batch, &given, &s.input(), |cx| recipes::local::grad_input(cx, &s.window));
            compare(&format!("{at} dx"), &got, &expected[1]);
            let given = [(s.input(), x.clone()), (s.output(), dy.clone())];
            let got = run(&target, s.batch, &given, &weight, |cx| recipes::local::grad_weight(cx, &s.window));
            compare(&format!("{at} dw"), &got, &expected[2]);
        }
    }
}
