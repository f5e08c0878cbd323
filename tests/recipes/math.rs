//! Elementary functions: the largest error in units in the last place, and special values.

use super::{Draw, LANES, Memory};
use ninc::kernel::build::MicroKernelBuilder;
use ninc::kernel::interp::{MicroKernelArg, f32_bytes, run_micro_kernel, to_f32};
use ninc::kernel::ir::{Access, Elem, MicroKernelId, Module, Val};
use ninc::kernel::verify;
use ninc::ops::reference::normal_cdf;
use ninc::recipes::{gates, math};

fn apply(x: &[f32], lanes: u32, function: impl Fn(&mut MicroKernelBuilder, Val) -> Val) -> Vec<f32> {
    let mut module = Module::default();
    module.micro_kernel("f", |b| {
        let x_at = b.pointer("x", Elem::F32, Access::Read);
        let y_at = b.pointer("y", Elem::F32, Access::Write);
        b.elements(x.len(), lanes, |b, i, lanes| {
            let value = b.load(x_at, i.clone(), lanes);
            let value = function(b, value);
            b.store(y_at, i, value);
        });
    });
    let module = verify::verify(module).expect("well-formed code");
    let mut memory = Memory(vec![f32_bytes(x), vec![0; x.len() * 4]]);
    let args = [0, 1].map(|block| MicroKernelArg::Pointer { block, byte: 0 });
    run_micro_kernel(&module.micro_kernels[MicroKernelId::from_u32(0)], &args, &mut memory)
        .expect("a sound micro_kernel");
    to_f32(&memory.0[1])
}

/// Distance in units in the last place of the exact result.
fn ulps(got: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got == rounded {
        return 0.0;
    }
    // Denormal results may be flushed to 0.
    if got.abs() <= f32::MIN_POSITIVE && rounded.abs() <= f32::MIN_POSITIVE {
        return 0.0;
    }
    if got.is_infinite() || rounded.is_infinite() {
        return f64::INFINITY;
    }
    let unit = f64::from(rounded.abs().next_up()) - f64::from(rounded.abs());
    (f64::from(got) - exact).abs() / unit
}

fn worst(
    x: &[f32],
    bound: f64,
    function: impl Fn(&mut MicroKernelBuilder, Val) -> Val + Copy,
    exact: impl Fn(f64) -> f64,
) {
    let first = apply(x, LANES[0], function);
    for lanes in &LANES[1..] {
        let other = apply(x, *lanes, function);
        assert!(first.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()));
    }
    for (&x, &y) in x.iter().zip(&first) {
        let error = ulps(y, exact(x.into()));
        assert!(error <= bound, "f({x:e}) = {y:e}, exactly {:e}: {error} ulp", exact(x.into()));
    }
}

/// Any float but NaN, all exponents equally likely.
fn any(count: usize) -> Vec<f32> {
    let mut draw = Draw::new(1);
    (0..count).map(|_| f32::from_bits(draw.below(u32::MAX))).filter(|x| !x.is_nan()).collect()
}

/// `[from, to]` in equal steps.
fn grid(from: f32, to: f32, count: usize) -> Vec<f32> {
    (0..=count).map(|i| from + (to - from) * (i as f32 / count as f32)).collect()
}

/// `x` and `Φ(x)`.
const NORMAL: [(f64, f64); 11] = [
    (-12.0, 1.776482112077679e-33),
    (-5.0, 2.866_515_718_791_939e-7),
    (-2.5, 0.006_209_665_325_776_135),
    (-2.4375, 0.007_394_607_110_880_697),
    (-1.0, 0.15865525393145705),
    (-0.125, 0.45026177516988711),
    (0.0, 0.5),
    (0.75, 0.7733726476231318),
    (2.4375, 0.9926053928891193),
    (2.5, 0.993_790_334_674_223_8),
    (4.0, 0.999_968_328_758_166_9),
];

const SPECIAL: [f32; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-40,
    88.722_83,
    88.722_84,
    -87.336_54,
    1e4,
];

fn inputs(from: f32, to: f32) -> Vec<f32> {
    let mut all = SPECIAL.to_vec();
    all.extend(any(4000));
    all.extend(grid(from, to, 12_001));
    all
}

#[test]
fn exp_is_accurate() {
    worst(&inputs(-104.0, 90.0), 2.0, math::exp, f64::exp);
}

#[test]
fn ln_is_accurate() {
    worst(&inputs(0.25, 4.0), 2.0, math::ln, f64::ln);
    worst(&grid(0.999, 1.001, 5000), 2.0, math::ln, f64::ln);
}

#[test]
fn tanh_is_accurate() {
    worst(&inputs(-10.0, 10.0), 3.0, math::tanh, f64::tanh);
}

#[test]
fn sigmoid_is_accurate() {
    worst(&inputs(-87.0, 20.0), 4.0, math::sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
}

/// Values to full precision elsewhere (mpmath), on both sides of where the reference changes its method.
#[test]
fn the_reference_of_gelu_is_exact() {
    for (x, exact) in NORMAL {
        let error = (normal_cdf(x) / exact - 1.0).abs();
        assert!(error < 1e-12, "at {x}: {error:e}");
    }
}

#[test]
fn gelu_is_accurate() {
    worst(&inputs(-13.5, 13.5), 8.0, gates::gelu, |x| limit(x, x * normal_cdf(x)));
    let scale = (2.0 / std::f64::consts::PI).sqrt();
    let exact = |x: f64| limit(x, x / (1.0 + (-2.0 * scale * (x + 0.044715 * x.powi(3))).exp()));
    worst(&[&SPECIAL[..], &grid(-2.0, 10.0, 8000)].concat(), 16.0, gates::gelu_tanh, exact);
    worst(&grid(-8.0, -2.0, 8000), 200.0, gates::gelu_tanh, exact);
}

#[test]
fn silu_is_accurate() {
    worst(&[&SPECIAL[..], &grid(-88.0, 20.0, 8000)].concat(), 4.0, gates::silu, |x| limit(x, x / (1.0 + (-x).exp())));
}

/// 0 at minus infinity, where the formula has no value.
fn limit(x: f64, value: f64) -> f64 {
    if x == f64::NEG_INFINITY { 0.0 } else { value }
}

#[test]
fn slopes_of_gates_are_accurate() {
    let x = [&SPECIAL[..], &grid(-15.0, 15.0, 8000)].concat();
    let silu = |x: f64| {
        let s = 1.0 / (1.0 + (-x).exp());
        s + x * s * (1.0 - s)
    };
    let gelu = |x: f64| normal_cdf(x) + x * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    for (slope, exact, bound) in [
        (gates::silu_slope as fn(&mut _, _) -> _, &silu as &dyn Fn(f64) -> f64, 1e-6),
        (gates::gelu_slope as fn(&mut _, _) -> _, &gelu, 3e-7),
    ] {
        for (&x, y) in x.iter().zip(apply(&x, 8, slope)) {
            let exact = if x.is_infinite() { f64::from(u8::from(x > 0.0)) } else { exact(x.into()) };
            let error = (f64::from(y) - exact).abs();
            assert!(error < bound || y.is_nan() && exact.is_nan(), "at {x}: {y}, exactly {exact}");
        }
    }
    let tanh = apply(&[f32::NEG_INFINITY, 0.0, f32::INFINITY], 1, gates::gelu_tanh_slope);
    assert_eq!(tanh, [0.0, 0.5, 1.0]);
}

#[test]
fn powers_are_accurate() {
    let x: Vec<f32> = grid(0.01, 60.0, 4000);
    for quarters in [-12, -4, -3, -2, -1, 0, 1, 2, 3, 5, 8] {
        let y = quarters as f32 / 4.0;
        worst(&x, 4.0, |b, v| math::pow(b, v, y), |x| x.powf(y.into()));
    }
    // e^(y·ln x): the error of the logarithm grows with the exponent.
    worst(&x, 16.0, |b, v| math::pow(b, v, 1.3), |x| x.powf(1.3f32.into()));
}

/// What softmax leans on: no larger result for a smaller argument, and exactly 1 for the largest.
#[test]
fn exp_is_monotone() {
    let x = grid(-104.0, 0.0, 50_000);
    let y = apply(&x, 8, math::exp);
    assert!(y.windows(2).all(|w| w[0] <= w[1]));
    assert_eq!(y[50_000], 1.0);
    assert_eq!(apply(&[-1e4, 1e4, -2e4], 1, math::exp), [0.0, f32::INFINITY, 0.0]);
}
