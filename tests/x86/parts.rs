//! Numbers in three and in two parts of bf16: they add up to the number, each is exact, and all ways of running them
//! agree.

use super::generate::Random;
use super::support::{Arg, check, expected};
use ninc::back::x86::{Features, Isa};
use ninc::kernel::build::MicroKernelBuilder;
use ninc::kernel::ir::{Access, Elem, MicroKernel};
use ninc::recipes::cpu::tiles::Unit;
use ninc::recipes::cpu::tiles::parts::parts as split;
use ninc::types::Format;

/// `(x, [parts][vectors · 16])`
fn micro_kernel(unit: Unit, vectors: usize, elem: Elem) -> MicroKernel {
    let mut b = MicroKernelBuilder::new("parts");
    let (x, to) = (b.pointer("x", Elem::F32, Access::Read), b.pointer("parts", elem, Access::Write));
    for v in 0..vectors {
        let value = b.load(x, 16 * v, 16);
        let parts = split(&mut b, unit, value);
        parts.into_iter().enumerate().for_each(|(i, part)| b.store(to, 16 * (i * vectors + v), part));
    }
    b.finish()
}

/// The parts of numbers, by the interpreter, with machine code and emulator compared.
fn parts<const PARTS: usize>(unit: Unit, numbers: &[f32], elem: Elem) -> Vec<[f32; PARTS]> {
    let memory = |bytes: Vec<u8>| Arg::Memory { bytes, origin: 0 };
    let count = numbers.len();
    let input = memory(numbers.iter().flat_map(|x| x.to_le_bytes()).collect());
    let args = [input, memory(vec![0; PARTS * elem.bytes() * count])];
    let micro_kernel = micro_kernel(unit, count / 16, elem);
    check(&micro_kernel, &args, Isa::Avx512, Features { bf16: true, vnni: true, tiles: true }).unwrap();
    let (_, after) = expected(&micro_kernel, &args);
    let number = |i: usize| match elem {
        Elem::F32 => f32::from_bits(u32::from_le_bytes(after[1][4 * i..][..4].try_into().unwrap())),
        _ => f32::from_bits(u32::from(u16::from_le_bytes(after[1][2 * i..][..2].try_into().unwrap())) << 16),
    };
    (0..count).map(|i| std::array::from_fn(|part| number(part * count + i))).collect()
}

/// Awkward significands under all exponents, and random bits.
fn numbers() -> Vec<f32> {
    let significands = [0, 1, 0x7f, 0x80, 0x81, 0x7fff, 0x8000, 0x8080, 0x80ff, 0xff80, 0xffff, 0x7f_ffff, 0x7f_8000];
    let mut random = Random(7);
    let exponents = (0..255u32).step_by(3).chain([1, 22, 23, 24, 126, 127, 254]);
    let mut all: Vec<f32> = exponents.flat_map(|e| significands.map(|m| f32::from_bits(e << 23 | m))).collect();
    all.extend((0..512).map(|_| f32::from_bits((random.below(1 << 16) << 16 | random.below(1 << 16)) as u32)));
    all.retain(|x| x.is_finite());
    all.extend(all.clone().iter().map(|x| -x));
    all.truncate(all.len() / 16 * 16);
    all
}

#[test]
fn three_parts_are_exact() {
    let numbers = numbers();
    for chunk in numbers.chunks(256) {
        for (x, [high, middle, low]) in chunk.iter().zip(parts(Unit::Split, chunk, Elem::F32)) {
            let size = f64::from(x.abs());
            let within = |part: f32, exponent| f64::from(part.abs()) <= size * 2f64.powi(exponent);
            assert!(
                [high, middle, low].iter().all(|part| part.to_bits() & 0xffff == 0 || part.abs() < 1.2e-38),
                "{x:e}"
            );
            assert_eq!(f64::from(high) + f64::from(middle) + f64::from(low), f64::from(*x), "{x:e}");
            // What tiles take as 0 is 0: an infinity makes a NaN of it.
            assert_eq!(high.abs() >= f32::MIN_POSITIVE, *x != 0.0, "{x:e}");
            // As tiles see them.
            if size >= 2f64.powi(-103) {
                assert!(within(high, 0) && within(middle, -7) && within(low, -16), "{x:e}");
                assert!(
                    [high, middle, low].iter().all(|part| *part == 0.0 || part.abs() >= f32::MIN_POSITIVE),
                    "{x:e}"
                );
            }
        }
    }
    // In memory of bf16 they are the same, but for what tiles take as 0.
    let chunk: Vec<f32> = numbers.iter().copied().filter(|x| x.abs() >= 2f32.powi(-103)).take(256).collect();
    assert_eq!(parts::<3>(Unit::Split, &chunk, Elem::Bf16), parts(Unit::Split, &chunk, Elem::F32));
}

/// They keep away from the zeros among the other factor's parts.
#[test]
fn infinities_and_nan_are_low_parts() {
    let nan = [0x7f80_0001, 0xff80_ffff, 0x7fc0_0000, 0x7fff_ffff].map(f32::from_bits);
    let numbers: Vec<f32> = [f32::INFINITY, f32::NEG_INFINITY].into_iter().chain(nan).cycle().take(16).collect();
    for elem in [Elem::F32, Elem::Bf16] {
        for (x, [high, middle, low]) in numbers.iter().zip(parts(Unit::Split, &numbers, elem)) {
            assert!(high.is_finite() && high.abs() >= 1.0 && middle == 0.0);
            assert!(if x.is_nan() { low.is_nan() } else { low == *x && high.signum() == x.signum() });
        }
    }
}

/// Of one sign, the lower one never 0: an infinity makes a NaN of 0 only.
#[test]
fn two_parts_of_tf32_are_exact_and_not_0() {
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::from_bits(0xff80_2000)];
    let mut numbers: Vec<f32> = numbers().into_iter().chain(special).collect();
    numbers.iter_mut().for_each(|x| *x = Format::Tf32.round(f64::from(*x)) as f32);
    numbers.resize(numbers.len().next_multiple_of(16), 1.0);
    for chunk in numbers.chunks(256) {
        for (x, [high, low]) in chunk.iter().zip(parts(Unit::Tf32, chunk, Elem::F32)) {
            if !x.is_finite() {
                assert!(if x.is_nan() { high.is_nan() } else { high == *x && low == x.signum() }, "{x:e}");
            } else if *x == 0.0 {
                assert_eq!([high, low], [0.0; 2]);
            } else if x.abs() >= 2f32.powi(-115) {
                assert!([high, low].iter().all(|part| part.to_bits() & 0xffff == 0), "{x:e}: {high:e} and {low:e}");
                assert_eq!(f64::from(high) + f64::from(low), f64::from(*x), "{x:e}");
                let ratio = low / high;
                assert!(ratio > 0.0 && ratio <= 1.0 / 64.0 && low.abs() >= f32::MIN_POSITIVE, "{x:e}: {low:e}");
            } else {
                let tiny = |part: f32| part.signum() == x.signum() && part.abs() >= f32::MIN_POSITIVE;
                assert!(tiny(high) && tiny(low) && (high + low - x).abs() <= 2.0 * f32::MIN_POSITIVE, "{x:e}");
            }
        }
    }
    let chunk: Vec<f32> = numbers.iter().copied().filter(|x| x.abs() >= 2f32.powi(-115)).take(256).collect();
    assert_eq!(parts::<2>(Unit::Tf32, &chunk, Elem::Bf16), parts(Unit::Tf32, &chunk, Elem::F32));
}
