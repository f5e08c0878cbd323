//! Kernel IR: the interpreter, the verifier, the text and the Cranelift back end against each other.

use crate::support::memory::Guarded;
use crate::support::micro_kernels::{
    every_access, every_operation, module_of, random_blocks, random_kernel, random_micro_kernel,
};
use ninc::back::EmitError;
use ninc::back::cranelift;
use ninc::kernel::interp;
use ninc::kernel::ir::*;
use ninc::kernel::text::parse;
use ninc::kernel::verify::{check, verify};
use ninc::lower::target::Target;
use ninc_runtime::exec::Code;

/// Runs kernel 0 of compiled code on blocks.
#[allow(unsafe_code)]
fn call(code: &dyn Code, module: &Module, blocks: &mut [Vec<u8>], rounds: i64) {
    let pointers: Vec<*mut u8> = blocks.iter_mut().map(|b| b.as_mut_ptr()).collect();
    let scratch = module.kernels[KernelId::from_u32(0)].scratch.values();
    let (_, bytes) = interp::scratch_offsets(scratch.map(|s| (s.elem, s.len)));
    let scratch = Guarded::new(&vec![0xff; bytes], true);
    let vars = [3i64, 0, 3];
    // SAFETY: the interpreter ran the same kernel on blocks of these sizes and reported no stray access.
    unsafe { code.call(0, pointers.as_ptr(), vars.as_ptr(), 0, rounds, scratch.pointer()) };
}

/// Equal bytes; any NaN equals any other.
fn same(elem: Elem, a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.chunks(elem.bytes()).zip(b.chunks(elem.bytes())).all(|(a, b)| {
            let nan = |w: &[u8]| elem == Elem::F32 && interp::to_f32(w)[0].is_nan();
            a == b || (nan(a) && nan(b))
        })
}

fn differential(target: &Target, micro_kernel: MicroKernel, seed: u64) {
    for n in [0, 1, 4] {
        let name = &micro_kernel.name;
        let module = verify(module_of(micro_kernel.clone(), n)).unwrap_or_else(|e| panic!("{name}: {e:#?}"));
        let mut expected = random_blocks(&module, seed);
        let mut got = expected.clone();
        let args: Vec<usize> = (0..expected.len()).collect();
        interp::run_kernel(&module, KernelId::from_u32(0), &mut expected, &args, [3, 0, 3], 0..1)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let code = cranelift::compile(&module, target).unwrap_or_else(|e| panic!("{name}: {e}"));
        call(&code, &module, &mut got, 1);
        for (i, buffer) in module.kernels[KernelId::from_u32(0)].buffers.values().enumerate() {
            if !same(buffer.elem, &expected[i], &got[i]) {
                let at = expected[i].iter().zip(&got[i]).position(|(a, b)| a != b);
                panic!(
                    "{name}, n {n}, seed {seed}: {} differs at byte {at:?}\n{}",
                    buffer.name,
                    module.micro_kernels[MicroKernelId::from_u32(0)]
                );
            }
        }
    }
}

/// This machine, if it has the fused multiply-add that the interpreter has.
fn fused_host() -> Option<Target> {
    let target = Target::host();
    if !target.fma {
        eprintln!("skipped: this machine has no fused multiply-add, which the interpreter has");
    }
    target.fma.then_some(target)
}

#[test]
fn every_operation_and_access_gives_the_same_bits_compiled_and_interpreted() {
    let Some(target) = fused_host() else { return };
    for lanes in [1, 2, 4, 8, 16] {
        for seed in 0..4 {
            differential(&target, every_operation(lanes), seed);
        }
        for elem in [Elem::F32, Elem::I32, Elem::Bf16, Elem::I16, Elem::U8, Elem::I8] {
            differential(&target, every_access(elem, lanes), 5);
        }
    }
}

#[test]
fn random_micro_kernels_give_the_same_bits_compiled_and_interpreted() {
    let Some(target) = fused_host() else { return };
    for seed in 0..300 {
        differential(&target, random_micro_kernel(seed), seed);
    }
}

#[test]
fn without_fused_multiply_add_products_are_rounded() {
    let mut b = ninc::kernel::build::MicroKernelBuilder::new("fma");
    let x = b.pointer("x", Elem::F32, Access::Read);
    let y = b.pointer("y", Elem::F32, Access::Write);
    for lanes in [1, 2, 8] {
        let a = b.load(x, 0usize, lanes);
        let square = b.fma(a, a, a);
        b.store(y, i64::from(lanes), square);
    }
    let module = verify(module_of(b.finish(), 0)).expect("valid");
    let numbers = [0.1f32, 1.7, -3.3, 1e-3, 5.1, -0.7, 2.9, 1e3];
    let mut data = vec![0.0f32; 200];
    data[64..72].copy_from_slice(&numbers);
    let code = cranelift::compile(&module, &Target::portable(false)).expect("compiles");
    let mut blocks = vec![interp::f32_bytes(&data), vec![0; 800]];
    call(&code, &module, &mut blocks, 1);
    let got = interp::to_f32(&blocks[1]);
    for i in 0..8 {
        assert_eq!(got[64 + 8 + i], numbers[i] * numbers[i] + numbers[i]);
    }
    assert_eq!(got[64 + 2], numbers[0] * numbers[0] + numbers[0]);
}

#[test]
fn random_micro_kernels_survive_their_text() {
    for seed in 0..300 {
        let module = module_of(random_micro_kernel(seed), 2);
        let text = module.to_string();
        let parsed = parse(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        assert_eq!(parsed, module, "seed {seed}\n{text}");
    }
}

#[test]
fn random_kernels_survive_their_text_and_run_the_same_compiled_and_interpreted() {
    for seed in 0..200 {
        let module = verify(random_kernel(seed)).unwrap_or_else(|e| panic!("seed {seed}: {e:#?}"));
        let text = module.to_string();
        assert_eq!(parse(&text).as_ref(), Ok(&*module), "seed {seed}\n{text}");
        let mut expected = vec![vec![7u8; 6 * 64 * 4]];
        let mut got = expected.clone();
        interp::run_kernel(&module, KernelId::from_u32(0), &mut expected, &[0], [3, 0, 3], 0..6)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        let code = cranelift::compile(&module, &Target::portable(false)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        call(&code, &module, &mut got, 6);
        assert_eq!(got, expected, "seed {seed}\n{text}");
    }
}

#[test]
fn names_that_are_odd_or_occur_twice_survive() {
    let mut b = ninc::kernel::build::MicroKernelBuilder::new("3x3 \"conv\"\n");
    let x = b.pointer("x.in", Elem::F32, Access::Read);
    let y = b.pointer("x.in", Elem::F32, Access::Write);
    let nan = b.f32(f32::NAN, 4);
    b.store(y, -5i64, nan);
    for _ in 0..2 {
        b.repeat("i", 3usize, &[], |b, i, _| {
            let v = b.load(x, Index::from(-4i64).plus(i, -1), 1);
            b.store(y, Index::from(i), v);
            vec![]
        });
    }
    let module = module_of(b.finish(), 0);
    let text = module.to_string();
    assert_eq!(parse(&text), Ok(module), "{text}");
    assert!(text.contains("\"x.in\".1[-5]"), "{text}");
}

#[test]
fn broken_text_is_an_error_with_a_line() {
    let good = module_of(random_micro_kernel(3), 2).to_string();
    for cut in (1..good.len() - 2).step_by(7).filter(|&c| good.is_char_boundary(c)) {
        // Some cuts fall between a micro-kernel and a kernel and leave a valid text.
        if let Err(e) = parse(&good[..cut]) {
            assert!(e.line >= 1 && e.to_string().starts_with("line "), "{e}");
        }
    }
    for bad in [
        "micro_kernel",
        "kernel k(x: f31 read) {}",
        "micro_kernel l() { %0: f32 = frob %1 }",
        "micro_kernel l() { %7: f32 = iota }",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    let deep = format!("kernel k() {{ for i = 0 to {}1 {{}} }}", "(".repeat(10_000));
    assert!(parse(&deep).expect_err("deep").what.contains("deeply"));
}

#[test]
fn the_verifier_names_what_is_wrong() {
    let ok = "micro_kernel l(x: f32 read, y: f32 write, n: int) {\n  %0: f32x4 = load x[0]\n  %1: f32x4 = add %0, %0\n\
              for i = 0 to n carry %2: f32x4 = %1 {\n  %3: f32x4 = mul %2, %0\n next %3\n } giving %4: f32x4\n\
              store y[0], %4 first 3\n}\n\
              kernel k(a: f32 read, b: f32 write) {\n scratch cache s: f32[16]\n parallel p = 0 to batch {\n\
              call l(a[4*p], s[0], p/2)\n call l(s[0], b[4*p], 3)\n }\n}\n";
    assert_eq!(check(&parse(ok).expect("parses")), vec![]);
    let broken = [
        ("load x[0]", "load y[0]", "not for reading"),
        ("store y[0]", "store x[0]", "not for writing"),
        ("add %0, %0", "add %0, %1", "before its definition"),
        ("add %0, %0", "shl %0, %0", "not defined for"),
        ("add %0, %0", "fma %0, %0, %3", "before its definition"),
        ("store y[0], %4", "store y[0], %3", "outside of the loop"),
        ("%4 first 3", "%4 first 4", "partial count"),
        ("carry %2: f32x4 = %1", "carry %2: f32x8 = %1", "type"),
        ("%0: f32x4 = load", "%0: f32x3 = load", "lanes"),
        ("%0: f32x4 = load", "%0: i32x4 = load", "loaded as"),
        ("x: f32 read,", "x: mask read,", "never in memory"),
        ("n: int)", "n: int, a: int, b: int, c: int, d: int)", "at most 6"),
        ("parallel p = 0", "parallel p = 1", "start from 0"),
        ("parallel p = 0 to batch", "for p = 0 to batch", "exactly one parallel loop"),
        ("p/2", "p/0", "divisor"),
        ("p/2", "p/batch", "divisor"),
        ("a[4*p], s[0]", "b[4*p], s[0]", "may not access"),
        ("s: f32[16]", "s: i32[16]", "wants f32"),
        ("call l(s[0], b[4*p], 3)", "call l(s[0], b[4*p])", "2 arguments"),
        ("call l(s[0], b[4*p], 3)", "call l(3, b[4*p], 3)", "a number for a pointer"),
        ("scratch cache", "scratch local", "local memory"),
        ("call l(s[0], b[4*p], 3)", "parallel q = 0 to 3 { }", "inside the parallel loop"),
        ("call l(s[0], b[4*p], 3)", "barrier", "GPU kernel"),
    ];
    for (from, to, message) in broken {
        let text = ok.replacen(from, to, 1);
        assert_ne!(text, ok, "{from} is in the text");
        let errors = check(&parse(&text).unwrap_or_else(|e| panic!("{to}: {e}")));
        assert!(errors.iter().any(|e| e.what.contains(message)), "{to}: {errors:#?}");
    }
    // Products of tiles: their text survives, and what is not a tile is named.
    let mut module = parse(ok).expect("parses");
    let twice = module.micro_kernels[MicroKernelId::from_u32(0)].body[0].clone();
    module.micro_kernels[MicroKernelId::from_u32(0)].body.push(twice);
    assert!(check(&module).iter().any(|e| e.what.contains("twice")));
    let mut module = parse(ok).expect("parses");
    module.micro_kernels.push(module.micro_kernels[MicroKernelId::from_u32(0)].clone());
    assert!(check(&module).iter().any(|e| e.what.contains("another micro-kernel")));
    let mut module = parse(ok).expect("parses");
    if let Inst::Let { op: Op::Load { from, .. }, .. } = &mut module.micro_kernels[MicroKernelId::from_u32(0)].body[0] {
        from.index.terms = vec![(Var::from_u32(1), 4)];
    }
    assert!(check(&module).iter().any(|e| e.what.contains("not in scope")));
}

/// Products of tiles: their text survives, and what is not a tile is named.
#[test]
fn tiles_have_a_text_and_rules() {
    let ok = "micro_kernel t(a: bf16 read, b: i32 read, c: f32 readwrite, n: int) {\n\
              %0: f32x256 = load_tile c[0] pitch 32\n %1: f32x256 = const 0.0\n\
              for i = 0 to n carry %2: f32x256 = %0 {\n %3: i32x256 = load_tile a[32*i] pitch 96\n\
              %4: i32x256 = stream_tile b[256*i] pitch 16\n %5: f32x256 = outer_bf16 %2, %3, %4\n next %5\n\
              } giving %6: f32x256\n store_tile c[0], %6 pitch 32\n store_tile c[16], %1 pitch 32\n}\n";
    let module = parse(ok).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(check(&module), vec![]);
    assert_eq!(parse(&module.to_string()), Ok(module));
    let broken = [
        ("%1: f32x256 = const 0.0", "%1: f32x256 = const 1.0", "starts from 0"),
        ("outer_bf16 %2, %3, %4", "outer_u8i8 %2, %3, %4", "into f32x256"),
        ("outer_bf16 %2, %3, %4", "outer_bf16 %2, %3, %1", "outer_bf16 of"),
        ("outer_bf16 %2, %3, %4", "add %2, %2", "of the tile"),
        ("%3: i32x256 = load_tile a", "%3: f32x256 = load_tile a", "loaded as"),
        ("%3: i32x256 = load_tile a[32*i] pitch 96", "%3: i32x256 = load_packed a[32*i]", "lanes"),
        ("store_tile c[16], %1 pitch 32", "store c[16], %1", "stored as a vector"),
        ("store_tile c[16]", "store_tile a[16]", "not for writing"),
        ("c: f32 readwrite", "c: i32 readwrite", "stored as a tile to i32 memory"),
    ];
    for (from, to, message) in broken {
        let text = ok.replacen(from, to, 1);
        assert_ne!(text, ok, "{from} is in the text");
        let errors = check(&parse(&text).unwrap_or_else(|e| panic!("{to}: {e}")));
        assert!(errors.iter().any(|e| e.what.contains(message)), "{to}: {errors:#?}");
    }
}

#[test]
fn the_interpreter_reports_stray_accesses() {
    let text = "micro_kernel l(x: f32 read, y: f32 write) {\n %0: f32x4 = load x[0]\n store y[0], %0\n}\n\
                kernel k(a: f32 read, b: f32 write) { parallel p = 0 to batch { call l(a[4*p], b[4*p]) } }";
    let module = verify(parse(text).expect("parses")).expect("valid");
    let mut blocks = vec![vec![0; 32], vec![0; 32]];
    assert_eq!(interp::run_kernel(&module, KernelId::from_u32(0), &mut blocks, &[0, 1], [2, 0, 2], 0..2), Ok(()));
    let error = interp::run_kernel(&module, KernelId::from_u32(0), &mut blocks, &[0, 1], [3, 0, 3], 0..3)
        .expect_err("out of range");
    assert!(error.to_string().contains("kernel k: micro-kernel l: access to bytes 32..36 of 32"), "{error}");
}

#[test]
fn a_micro_kernel_may_bring_its_own_machine_code() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: the bytes are x86-64");
        return;
    }
    let text = "micro_kernel l(y: i32 write) {\n %0: i32 = const 5\n store y[0], %0\n}\n\
                kernel k(b: i32 write) { parallel p = 0 to batch { call l(b[p]) } }";
    let module = verify(parse(text).expect("parses")).expect("valid");
    // mov dword ptr [rdi], 9; ret
    let bytes = |_: &MicroKernel| Some(Ok(vec![0xc7, 0x07, 9, 0, 0, 0, 0xc3]));
    let code = cranelift::compile_with(&module, &Target::portable(false), &bytes, None).expect("compiles");
    let mut blocks = vec![vec![0; 12]];
    call(&code, &module, &mut blocks, 3);
    assert_eq!(interp::to_i32(&blocks[0]), [9, 9, 9]);
    assert!(code.asm().contains("micro_kernel0_l: ; 7 bytes"), "{}", code.asm());
    assert!(cranelift::clif(&module, &Target::portable(false)).expect("text").contains("; kernel k"));
    let error = cranelift::compile_with(
        &module,
        &Target::portable(false),
        &|_| Some(Err(EmitError::Limit("no registers".into()))),
        None,
    );
    assert_eq!(error.err(), Some(EmitError::Limit("micro-kernel l: no registers".into())));
}
