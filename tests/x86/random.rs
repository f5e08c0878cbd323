//! Random micro-kernels against the interpreter.

use super::generate::{self, Random};
use super::support::check;
use ninc::back::EmitError;
use ninc::back::x86::{Features, Isa};

/// Micro-kernels of every size; those that need too many registers must say so, and must be few.
fn run(isa: Isa, features: Features, seeds: std::ops::Range<u64>) {
    let total = seeds.end - seeds.start;
    let mut refused = 0;
    for seed in seeds {
        let mut random = Random(seed);
        let budget = 5 + random.below(40);
        let (micro_kernel, args) = generate::micro_kernel(&mut random, isa, budget);
        match std::panic::catch_unwind(|| check(&micro_kernel, &args, isa, features)) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                assert!(matches!(error, EmitError::Limit(_)), "seed {seed}: {error}");
                refused += 1;
            }
            Err(panic) => {
                eprintln!("{isa:?} {features:?}, seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(refused * 10 <= total, "{refused} of {total} micro_kernels do not fit");
}

#[test]
fn avx2_micro_kernels_agree() {
    run(Isa::Avx2, Features::default(), 0..1500);
}

#[test]
fn avx512_micro_kernels_agree() {
    run(Isa::Avx512, Features::default(), 10_000..11_500);
}

#[test]
fn vnni_micro_kernels_agree() {
    run(Isa::Avx512, Features { bf16: false, vnni: true, tiles: false }, 20_000..20_500);
}

#[test]
#[ignore = "takes minutes; run by hand after changes to the emitter"]
fn a_hundred_thousand_micro_kernels_agree() {
    run(Isa::Avx2, Features::default(), 100_000..150_000);
    run(Isa::Avx512, Features::default(), 150_000..200_000);
}
