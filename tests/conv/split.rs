//! Sums of products in parts of bf16 on tiles, three of float32 and two of tf32, against float64 and against float32's
//! chain of multiply-adds: errors within their bound and, over many, smaller than float32's; infinities, NaN, numbers
//! near the range's end.

use super::cases::Draw;
use super::reference::Shape;
use super::tiles::{Chain, format, run, target};
use ninc::lower::target::{Algorithm, Batch, Target};
use ninc::recipes::cpu::tiles::Unit;
use ninc::recipes::{Epilogue, Stage, Window};

const CACHE: [usize; 3] = [48 << 10, 2 << 20, 32 << 20];
/// Of float32: half a unit in the last place.
const HALF: f64 = 1.0 / (1 << 24) as f64;

/// A 1x1 convolution of 16 pixels, of numbers as the unit takes them.
fn layer(unit: Unit, x: Vec<f32>, w: Vec<f32>) -> Chain {
    let rounded = |v: &f32| format(unit).map_or(*v, |format| format.round(f64::from(*v)) as f32);
    let [x, w] = [x, w].map(|values| values.iter().map(rounded).collect::<Vec<_>>());
    let channels = x.len() / 16;
    let window = Window { kernel: [1; 2], stride: [1; 2], pad: [0; 2], dilation: [1; 2] };
    let shape = Shape { batch: 1, channels, image: [1, 16], outputs: w.len() / channels, window, groups: 1 };
    let operands = vec![(shape.input(), x), (shape.weight(), w)];
    let stages = vec![Stage { bias: false, epilogue: Epilogue::NONE }];
    Chain { result: shape.output(), shape, stages, operands, expected: vec![] }
}

/// The terms of result `i`: a pixel's channels and a row of weights.
fn terms(chain: &Chain, i: usize) -> Vec<(f32, f32)> {
    let (x, w) = (&chain.operands[0].1, &chain.operands[1].1);
    let (pixel, output, channels) = (i % 16, i / 16, chain.shape.channels);
    (0..channels).map(|c| (x[c * 16 + pixel], w[output * channels + c])).collect()
}

fn on_tiles(what: &str, unit: Unit, chain: &Chain) -> Vec<f32> {
    let target = Target { algorithm: Algorithm::Auto, ..target(Batch::Throughput, CACHE) };
    run(what, &target, unit, chain)
}

/// The sum of the squares of the errors, on tiles and in a chain of multiply-adds.
fn errors(what: &str, unit: Unit, chain: &Chain) -> [f64; 2] {
    let got = on_tiles(what, unit, chain);
    let mut sums = [0.0; 2];
    for (i, got) in got.into_iter().enumerate() {
        let terms = terms(chain, i);
        let exact: f64 = terms.iter().map(|&(a, b)| f64::from(a) * f64::from(b)).sum();
        let size: f64 = terms.iter().map(|&(a, b)| (f64::from(a) * f64::from(b)).abs()).sum();
        let steps = terms.len().div_ceil(32);
        let units = if unit == Unit::Split { 21 + 6 * steps } else { 17 + 4 * steps };
        let bound = units as f64 * HALF * size * (1.0 + 1e-4) + 1e-37;
        let error = (f64::from(got) - exact).abs();
        assert!(error <= bound, "{what}: {got:e} for {exact:e}, {:.1} of the size's units", error / HALF / size);
        let chained = terms.iter().fold(0f32, |sum, &(a, b)| a.mul_add(b, sum));
        sums[0] += error * error;
        sums[1] += (f64::from(chained) - exact).powi(2);
    }
    sums
}

#[test]
fn errors_are_smaller_than_those_of_float32() {
    let mut draw = Draw::new(17);
    let channels = 96;
    let mut values = |kind: usize, count: usize| -> Vec<f32> {
        let change = |(i, v): (usize, f32)| match kind {
            0 => v,
            // After ReLU: sums of one sign.
            1 => v.max(0.0),
            // Sums that all but vanish.
            2 if i / 16 % 2 == 1 => -1.0 - f32::EPSILON * v.abs().min(8.0).floor(),
            2 => 1.0,
            // Far apart.
            3 => v * 2f32.powi((i * 37 % 41) as i32 - 20),
            // The largest rest and the largest low part: what is left out of the products is as large as it can be.
            _ => f32::from_bits(0x3f80_0000 | [0x7f7f, 0xff7f, 0x7fff, 0x807f][i % 4]) * v.signum(),
        };
        draw.values(count).into_iter().enumerate().map(change).collect()
    };
    for (kind, unit) in (0..5).flat_map(|kind| [(kind, Unit::Split), (kind, Unit::Tf32)]) {
        let weights = if kind == 2 { 0 } else { kind };
        let chain = layer(unit, values(kind, 16 * channels), values(weights, 32 * channels));
        let [tiles, chained] = errors(&format!("kind {kind} {unit:?}"), unit, &chain);
        // Of 11 bits, numbers of kind 2 cancel without an error in float32, and those of kind 4 are a few.
        let most = match (unit, kind) {
            (Unit::Split, _) => 0.7,
            (_, 2 | 4) => f64::INFINITY,
            _ => 1.0,
        };
        assert!(tiles < most * chained.max(1e-300), "kind {kind} {unit:?}: {tiles:e} and {chained:e}");
    }
}

/// What float32 gives: an infinity times a number, however small, is one of the product's sign, times 0 NaN; the last
/// numbers of the range do not overflow by being split.
#[test]
fn infinities_nan_and_large_numbers_are_as_in_float32() {
    let (channels, outputs) = (32, 16);
    // The least numbers: denormal ones, and normal ones whose parts are denormal.
    let least = [f32::from_bits(1), -f32::MIN_POSITIVE / 2.0, f32::MIN_POSITIVE, -2f32.powi(-115), 1e-31];
    let most = [f32::MAX, 2f32.powi(127) * 1.75, -f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let most = [&most[..], &least].concat();
    let mut x = vec![0.5; 16 * channels];
    let mut w = vec![0.0; outputs * channels];
    // Pixel p holds one special number, among others, in channel p; output o meets it with one of several weights.
    most.iter().enumerate().for_each(|(p, v)| x[p * 16 + p] = *v);
    let factors = [1.0, -1.0, 0.0, -0.0, 0.5, 3.0, 1.0 + f32::EPSILON, f32::INFINITY, -f32::INFINITY, f32::NAN, 1e-30];
    for (o, factor) in factors.into_iter().chain(least).enumerate() {
        w[o * channels..][..most.len()].fill(factor);
    }
    for unit in [Unit::Split, Unit::Tf32] {
        let chain = layer(unit, x.clone(), w.clone());
        let got = on_tiles("special", unit, &chain);
        for (i, got) in got.into_iter().enumerate() {
            let terms = terms(&chain, i);
            let expected = terms.iter().fold(0f32, |sum, &(a, b)| a.mul_add(b, sum));
            let same = got == expected || got.is_nan() && expected.is_nan();
            // Tiles take parts of the least numbers as 0, or as 2^-126.
            let lost = |&(a, b): &(f32, f32)| 4.0 * f32::MIN_POSITIVE * a.abs().max(b.abs());
            let lost = terms.iter().filter(|(a, b)| a.abs().min(b.abs()) < 1e-31).map(lost).sum::<f32>();
            let near = expected.is_finite() && (got - expected).abs() <= expected.abs() * 1e-6 + lost;
            assert!(same || near, "{unit:?}, pixel {}, output {}: {got:e}, float32 {expected:e}", i % 16, i / 16);
        }
    }
}
