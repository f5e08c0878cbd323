//! DropConnect: the masks are those of the runtime's generator, for any image of a batch, also where the index of a
//! random element needs more than 32 bits.

use super::cases::Draw;
use super::reference::{Exact, Shape};
use super::run::{compare, run, run_at, targets};
use crate::support::cases;
use ninc::recipes::drop_connect;
use ninc::types::Type;
use ninc_runtime::philox::{element, unit};

const KEY: [u32; 4] = [7, 1, 42, 3];
const STREAM: u32 = 5;

/// 1 for each weight or bias of an image that is kept: `[n][input, then the bias][output]`.
fn mask(s: &Shape, first: usize, rate: f32) -> Vec<f32> {
    let per_image = (s.channels + 1) * s.outputs;
    let word = |i: usize| unit(element(KEY, STREAM, (first * per_image + i) as u64));
    (0..s.batch * per_image).map(|i| f32::from(u8::from(word(i) >= rate))).collect()
}

#[test]
fn masked_layers() {
    let mut draw = Draw::new(8);
    for case in 0..cases(24) {
        let s = draw.linear(case);
        if s.batch > 10 || s.channels * s.outputs > 5000 {
            continue;
        }
        let (f, o) = (s.channels, s.outputs);
        let rate = [0.5, 0.1, 0.9][case % 3];
        // From image `first` on, the indices of the batch cross 2^32.
        let first = if case % 2 == 0 { 0 } else { (1usize << 32) / ((f + 1) * o) };
        let mask = mask(&s, first, rate);
        let at = |n: usize, i: usize, o_: usize| (n * (f + 1) + i) * o + o_;
        let x = draw.values(s.batch * f);
        let (w, b) = (draw.values(o * f), draw.values(o));
        let dy = draw.values(s.batch * o);
        let (inputs, outputs) = (Type::batched(&[f]), Type::batched(&[o]));
        let weight = Type::shared(&[o, f]);
        let bias = Type::shared(&[o]);
        let key = (Type::ints(false, &[4]), KEY.map(f32::from_bits).to_vec());

        // Image by image with masked weights, through the reference of an ordinary layer.
        let one = Shape { batch: 1, ..s.clone() };
        let (mut y, mut dx) = (empty(), empty());
        let (mut dw, mut db) = (Exact::of(&vec![0.0; o * f]), Exact::of(&vec![0.0; o]));
        for n in 0..s.batch {
            let masked: Vec<f32> = (0..o * f).map(|i| w[i] * mask[at(n, i % f, i / f)]).collect();
            let kept: Vec<f32> = (0..o).map(|i| mask[at(n, f, i)]).collect();
            let dropped: Vec<f32> = (0..o).map(|i| b[i] * kept[i]).collect();
            let (image, grad) = (&x[n * f..][..f], &dy[n * o..][..o]);
            append(&mut y, one.forward(&Exact::of(image), &masked, Some(&dropped)));
            append(&mut dx, one.grad_input(&masked, grad));
            let all = one.grad_weight(image, grad);
            add(&mut dw, &all, |i| mask[at(n, i % f, i / f)]);
            add(&mut db, &Exact::of(grad), |i| kept[i]);
        }
        for target in targets() {
            let name = format!("drop_connect {case} {}x{f}x{o} lanes {}", s.batch, target.lanes);
            let images = [s.batch, first];
            let given =
                [(inputs.clone(), x.clone()), (weight.clone(), w.clone()), (bias.clone(), b.clone()), key.clone()];
            let got = run_at(&target, images, &given, &outputs, |cx| drop_connect::train(cx, rate, STREAM));
            compare(&name, &got, &y);
            let given = [(weight.clone(), w.clone()), (outputs.clone(), dy.clone()), key.clone()];
            let got = run_at(&target, images, &given, &inputs, |cx| drop_connect::grad_input(cx, rate, STREAM));
            compare(&format!("{name} dx"), &got, &dx);
            let given = [(inputs.clone(), x.clone()), (outputs.clone(), dy.clone()), key.clone()];
            let got = run_at(&target, images, &given, &weight, |cx| drop_connect::grad_weight(cx, rate, STREAM));
            compare(&format!("{name} dw"), &got, &dw);
            let given = [(outputs.clone(), dy.clone()), key.clone()];
            let got = run_at(&target, images, &given, &bias, |cx| drop_connect::grad_bias(cx, rate, STREAM, f));
            compare(&format!("{name} db"), &got, &db);
        }
    }
}

/// Inference: the mean over all masks.
#[test]
fn mean_layer() {
    let mut draw = Draw::new(9);
    for case in 0..cases(12) {
        let s = draw.linear(case);
        let x = draw.values(s.batch * s.channels);
        let (w, b) = (draw.values(s.weight().elements()), draw.values(s.outputs));
        let mut expected = s.forward(&Exact::of(&x), &w, Some(&b));
        expected.values.iter_mut().for_each(|v| *v *= 0.75);
        let operands = [
            (Type::batched(&[s.channels]), x),
            (Type::shared(&[s.outputs, s.channels]), w),
            (Type::shared(&[s.outputs]), b),
        ];
        for target in targets() {
            let outputs = Type::batched(&[s.outputs]);
            let got = run(&target, s.batch, &operands, &outputs, |cx| drop_connect::mean(cx, 0.25));
            compare(&format!("mean {case} {s:?} lanes {}", target.lanes), &got, &expected);
        }
    }
}

fn empty() -> Exact {
    Exact::of(&[])
}

fn append(to: &mut Exact, from: Exact) {
    to.values.extend(from.values);
    to.errors.extend(from.errors);
}

fn add(to: &mut Exact, from: &Exact, weight: impl Fn(usize) -> f32) {
    for (i, value) in from.values.iter().enumerate() {
        let value = value * f64::from(weight(i));
        to.values[i] += value;
        // Generous: a few roundings for each of the images.
        to.errors[i] += from.errors[i] + 1e-5 * value.abs();
    }
}
