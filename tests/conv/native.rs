//! Lowers one node and runs it as machine code, one thread: micro-kernels by Cranelift (4 lanes), or by the wide-vector
//! emitter.

use crate::support::memory::Guarded;
use ninc::back::{cranelift, x86};
use ninc::kernel::interp::scratch_offsets;
use ninc::kernel::ir::{EntityRef, Stmt};
use ninc::kernel::verify::verify;
use ninc::lower::target::{Cpu, Isa, Target};
use ninc::lower::{BufferId, Launch, ProgramBuilder};
use ninc_runtime::exec::Code;

/// Can this machine run code for the target?
#[cfg(target_arch = "x86_64")]
pub fn runs(target: &Target) -> bool {
    use std::is_x86_feature_detected as has;
    match target.cpu().isa {
        Isa::Portable => Target::host().fma,
        Isa::Avx2 => has!("avx2") && has!("fma"),
        Isa::Avx512 => {
            let Cpu { bf16, tiles, .. } = target.cpu();
            let base = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            base && (!bf16 || has!("avx512bf16")) && (!tiles || ninc_runtime::tiles::permitted())
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn runs(target: &Target) -> bool {
    target.cpu().isa == Isa::Portable && Target::host().fma
}

pub fn compile(builder: &ProgramBuilder, target: &Target) -> cranelift::JitCode {
    let module = verify(builder.module.clone()).expect("a module without errors");
    let wide = |micro_kernel: &_| match target.cpu().isa {
        Isa::Portable => None,
        isa => {
            let Cpu { bf16, tiles, .. } = target.cpu();
            Some(x86::emit(micro_kernel, isa, x86::Features { bf16, vnni: false, tiles }))
        }
    };
    cranelift::compile_with(&module, target, &wide, None).expect("a module that compiles")
}

/// Bytes of all buffers after one run.
pub fn run_program(
    builder: &ProgramBuilder,
    target: &Target,
    batch: usize,
    feeds: &[(BufferId, Vec<u8>)],
) -> Vec<Vec<u8>> {
    let code = compile(builder, target);
    let bytes = |b: &ninc::lower::Buffer| (b.fixed + b.per_image * batch) * b.elem.bytes();
    let mut blocks: Vec<Vec<u8>> = builder.buffers.values().map(|b| vec![0xff; bytes(b)]).collect();
    feeds.iter().for_each(|(buffer, data)| blocks[buffer.index()].clone_from(data));
    // An access outside of a buffer faults.
    let guarded = Guarded::all(&blocks);
    for launch in builder.prepare.iter().chain(&builder.launches) {
        let pointers: Vec<*mut u8> = launch.args.iter().map(|s| guarded[s.index()].pointer()).collect();
        call_at(builder, &code, launch, batch, &pointers);
    }
    guarded.iter().map(Guarded::bytes).collect()
}

/// Preparations, then launches.
pub fn launch(builder: &ProgramBuilder, code: &dyn Code, batch: usize, blocks: &mut [Vec<u8>]) {
    for launch in builder.prepare.iter().chain(&builder.launches) {
        call(builder, code, launch, batch, blocks);
    }
}

pub fn call(builder: &ProgramBuilder, code: &dyn Code, launch: &Launch, batch: usize, blocks: &mut [Vec<u8>]) {
    let pointers: Vec<*mut u8> = launch.args.iter().map(|s| blocks[s.index()].as_mut_ptr()).collect();
    call_at(builder, code, launch, batch, &pointers);
}

#[allow(unsafe_code)]
fn call_at(builder: &ProgramBuilder, code: &dyn Code, launch: &Launch, batch: usize, pointers: &[*mut u8]) {
    let kernel = &builder.module.kernels[launch.kernel];
    let vars = [batch as i64, 0, batch as i64];
    let [Stmt::For { end, .. }] = kernel.body.as_slice() else { panic!("one parallel loop") };
    let (_, scratch_bytes) = scratch_offsets(kernel.scratch.values().map(|s| (s.elem, s.len)));
    let end = end.eval(&kernel.start(vars));
    // As much as a thread has, up to a page that may not be touched, and not zeros.
    let scratch = Guarded::new(&vec![0xff; scratch_bytes], true);
    // SAFETY: the interpreter runs the same kernel on blocks of these sizes in another test and reports no stray
    // access.
    unsafe { code.call(launch.kernel.index(), pointers.as_ptr(), vars.as_ptr(), 0, end, scratch.pointer()) };
}
