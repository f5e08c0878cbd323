//! The WebAssembly back end against the interpreter of kernel IR: what it emits is validated, and run by an interpreter
//! of WebAssembly.

use crate::support::micro_kernels::{
    every_access, every_operation, module_of, random_blocks, random_kernel, random_micro_kernel,
};
use crate::support::wasm::{Running, rounded_apart};
use ninc::back::EmitError;
use ninc::back::wasm::{Builder, Call, Features, Floats};
use ninc::kernel::interp;
use ninc::kernel::ir::*;
use ninc::kernel::text::parse;
use ninc::kernel::verify::verify;

/// Room for scratch memory, and where it starts. What lies there is garbage.
const SCRATCH: usize = 1 << 16;

/// Runs kernel 0 on copies of blocks, for a batch of three. Returns the blocks as they are then.
fn run(module: &Module, features: Features, blocks: &[Vec<u8>], iterations: i64) -> Vec<Vec<u8>> {
    let module = verify(module.clone()).unwrap_or_else(|e| panic!("{e:#?}"));
    let mut builder = Builder::new(features);
    let kernels = builder.kernels(&module, |_| true).unwrap_or_else(|e| panic!("{e}"));
    let mut end = SCRATCH;
    let mut starts = Vec::new();
    for block in blocks {
        starts.push(end as u32);
        builder.data(end as u32, block.clone());
        end += block.len().next_multiple_of(64);
    }
    builder.data(0, vec![0xff; SCRATCH]);
    let call = Call {
        kernel: kernels[&0],
        buffers: starts.clone(),
        scratch: 0,
        scratch_bytes: 0,
        vars: [3, 0, 3],
        iterations,
    };
    builder.sequence("run", &[call]);
    let mut running = Running::new(&builder.finish(end as u64, "").expect("a small memory"));
    running.call("run");
    starts.iter().zip(blocks).map(|(&at, block)| running.read(at as usize, block.len())).collect()
}

/// The blocks after the interpreter of kernel IR.
fn meaning(module: &Module, blocks: &[Vec<u8>], iterations: i64) -> Vec<Vec<u8>> {
    let mut blocks = blocks.to_vec();
    let args: Vec<usize> = (0..blocks.len()).collect();
    interp::run_kernel(module, KernelId::from_u32(0), &mut blocks, &args, [3, 0, 3], 0..iterations)
        .unwrap_or_else(|e| panic!("{e}\n{module}"));
    blocks
}

/// Equal bytes; any NaN equals any other.
fn same(elem: Elem, a: &[u8], b: &[u8]) -> bool {
    let nan = |w: &[u8]| elem == Elem::F32 && interp::to_f32(w)[0].is_nan();
    a.len() == b.len() && a.chunks(elem.bytes()).zip(b.chunks(elem.bytes())).all(|(a, b)| a == b || (nan(a) && nan(b)))
}

fn differential(micro_kernel: &MicroKernel, seed: u64, counts: &[i64]) {
    for &n in counts {
        let module = module_of(micro_kernel.clone(), n);
        let blocks = random_blocks(&module, seed);
        let expected = meaning(&rounded_apart(module.clone()), &blocks, 1);
        let got = run(&module, Features::default(), &blocks, 1);
        for (i, buffer) in module.kernels[KernelId::from_u32(0)].buffers.values().enumerate() {
            let at = expected[i].iter().zip(&got[i]).position(|(a, b)| a != b);
            assert!(
                same(buffer.elem, &expected[i], &got[i]),
                "{}, n {n}, seed {seed}: {} differs at byte {at:?}\n{}",
                micro_kernel.name,
                buffer.name,
                module.micro_kernels[MicroKernelId::from_u32(0)]
            );
        }
    }
}

#[test]
fn every_operation_and_access_has_its_meaning() {
    for lanes in [1, 2, 4, 8, 16] {
        (0..2).for_each(|seed| differential(&every_operation(lanes), seed, &[0, 4]));
        for elem in [Elem::F32, Elem::I32, Elem::Bf16, Elem::I16, Elem::U8, Elem::I8] {
            differential(&every_access(elem, lanes), 5, &[1]);
        }
    }
}

#[test]
fn random_micro_kernels_have_their_meaning() {
    for seed in 0..120 {
        differential(&random_micro_kernel(seed), seed, &[0, 3]);
    }
}

#[test]
fn random_kernels_have_their_meaning() {
    for seed in 0..120 {
        let module = random_kernel(seed);
        let blocks = [vec![7u8; 6 * 64 * 4]];
        assert_eq!(
            run(&module, Features::default(), &blocks, 6),
            meaning(&module, &blocks, 6),
            "seed {seed}\n{module}"
        );
    }
}

/// The interpreter of WebAssembly fuses relaxed multiply-adds, as that of kernel IR does.
#[test]
fn relaxed_code_multiplies_and_adds_in_one_instruction() {
    for lanes in [4, 8, 16] {
        let module = module_of(every_operation(lanes), 2);
        let blocks = random_blocks(&module, 3);
        let got = run(&module, Features { relaxed: true, threads: None }, &blocks, 1);
        let expected = meaning(&module, &blocks, 1);
        assert!(same(Elem::F32, &expected[3], &got[3]), "{lanes} lanes");
        let apart = run(&module, Features::default(), &blocks, 1);
        assert!(!same(Elem::F32, &apart[3], &got[3]), "{lanes} lanes: rounded twice all the same");
    }
}

#[test]
fn one_of_several_calls_can_be_chosen() {
    let text = "micro_kernel inc(x: f32 readwrite) {\n %0: f32x4 = load x[0]\n %1: f32x4 = const 1.0\n\
                %2: f32x4 = add %0, %1\n store x[0], %2\n}\n\
                kernel k(a: f32 readwrite) {\n parallel p = 0 to batch {\n call inc(a[4*p])\n }\n}\n";
    let module = verify(parse(text).expect("parses")).expect("verifies");
    let mut builder = Builder::new(Features::default());
    let kernel = builder.kernels(&module, |_| true).expect("small")[&0];
    let call = |at| Call { kernel, buffers: vec![at], scratch: 0, scratch_bytes: 0, vars: [1, 0, 1], iterations: 1 };
    builder.choice("choose", &[call(0), call(64), call(128)]);
    builder.sequence("all", &[call(0), call(64)]);
    let mut running = Running::new(&builder.finish(256, "").expect("a small memory"));
    running.write(64, &2.5f32.to_le_bytes());
    // Beyond the last one there is nothing to do.
    [1, 1, 2, 3, -1].into_iter().for_each(|which| running.call_with("choose", which));
    running.call("all");
    let first = |at| interp::to_f32(&running.read(at, 4))[0];
    assert_eq!([0, 64, 128].map(first), [1.0, 5.5, 1.0]);
}

/// Every finite number of both formats of 16 bits, an odd count of them, is the same float32 when the module starts.
#[test]
fn parameters_of_16_bits_lose_nothing() {
    let all = |wide: fn(u16) -> f32| -> Vec<f32> { (0..u16::MAX).map(wide).filter(|v| v.is_finite()).collect() };
    let half = |bits: u16| half::f16::from_bits(bits).to_f32();
    let upper = |bits: u16| f32::from_bits(u32::from(bits) << 16);
    let wide: Vec<f32> = (0..300).map(|i| i as f32 / 3.0).collect();
    let lists = [all(half), all(upper), wide.clone(), wide[..9].to_vec()];
    let mut builder = Builder::new(Features::default());
    let mut at = 4;
    let mut places = Vec::new();
    for numbers in &lists {
        let bytes = builder.floats(at, Floats::new(&[numbers.len()], &[0], numbers));
        places.push((at as usize, bytes));
        at += 4 * numbers.len() as u32;
    }
    let running = Running::new(&builder.finish(u64::from(at), "").expect("a small memory"));
    for (numbers, (at, bytes)) in lists.iter().zip(places) {
        let each = if numbers.contains(&(1.0 / 3.0)) || numbers.len() < 10 { 4 } else { 2 };
        assert_eq!(bytes, each * numbers.len());
        let got = running.read(at, 4 * numbers.len());
        let expected: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert!(got == expected, "{} numbers of {each} bytes", numbers.len());
    }
}

#[test]
fn what_webassembly_has_not_is_said() {
    let emit = |text: &str| {
        let module = verify(parse(text).expect("parses")).expect("verifies");
        Builder::new(Features::default()).kernels(&module, |_| true).expect_err("refused")
    };
    let tile = "micro_kernel t(x: f32 read, y: f32 write) {\n %0: f32x256 = load_tile x[0] pitch 16\n \
                store_tile y[0], %0 pitch 16\n}\n\
                kernel k(a: f32 read, b: f32 write) {\n parallel p = 0 to batch {\n call t(a[0], b[0])\n }\n}\n";
    assert_eq!(emit(tile), EmitError::Unsupported("micro-kernel t: WebAssembly has no tiles".into()));
    let memory = Builder::new(Features::default()).finish(3 << 30, "").expect_err("too large");
    assert!(matches!(&memory, EmitError::Limit(what) if what.contains("2 GiB")), "{memory}");
}
