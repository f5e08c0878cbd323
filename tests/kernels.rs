//! Kernel IR: the interpreter, the verifier, the text and the Cranelift back end against each other.

use crate::support::leaves::{module_of, random_blocks, random_leaf};
use ninc::back::cranelift;
use ninc::kernel::interp;
use ninc::kernel::ir::*;
use ninc::kernel::target::Target;
use ninc::kernel::verify::verify;
use ninc_runtime::exec::Code;

/// Runs kernel 0 of compiled code on blocks.
#[allow(unsafe_code)]
fn call(code: &dyn Code, blocks: &mut [Vec<u8>], rounds: i64) {
    let pointers: Vec<*mut u8> = blocks.iter_mut().map(|b| b.as_mut_ptr()).collect();
    let mut scratch = vec![0u8; 1 << 16];
    let vars = [3i64, 0, 3];
    // SAFETY: the interpreter ran the same kernel on blocks of these sizes and reported no stray access.
    unsafe { code.call(0, pointers.as_ptr(), vars.as_ptr(), 0, rounds, scratch.as_mut_ptr()) };
}

/// Equal bytes; any NaN equals any other.
fn same(elem: Elem, a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.chunks(elem.bytes()).zip(b.chunks(elem.bytes())).all(|(a, b)| {
            let nan = |w: &[u8]| elem == Elem::F32 && interp::to_f32(w)[0].is_nan();
            a == b || (nan(a) && nan(b))
        })
}

fn differential(target: &Target, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let leaf = random_leaf(seed);
        for n in [0, 1, 4] {
            let module = verify(module_of(leaf.clone(), n)).unwrap_or_else(|e| panic!("seed {seed}: {e:#?}"));
            let mut expected = random_blocks(&module, seed);
            let mut got = expected.clone();
            let args: Vec<usize> = (0..expected.len()).collect();
            interp::run_kernel(&module, 0, &mut expected, &args, [3, 0, 3], 0..1)
                .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let code = cranelift::compile(&module, target).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            call(&code, &mut got, 1);
            for (i, buffer) in module.kernels[0].buffers.iter().enumerate() {
                if !same(buffer.elem, &expected[i], &got[i]) {
                    let at = expected[i].iter().zip(&got[i]).position(|(a, b)| a != b);
                    panic!("seed {seed}, n {n}: {} differs at byte {at:?}\n{:#?}", buffer.name, module.leaves[0]);
                }
            }
        }
    }
}

#[test]
fn random_leaves_give_the_same_bits_compiled_and_interpreted() {
    let target = Target::host();
    if !target.fma {
        eprintln!("skipped: this machine has no fused multiply-add, which the interpreter has");
        return;
    }
    differential(&target, 0..300);
}
