//! Multiply-adds in registers and nothing else: what the machine can do at most, as a yardstick for the other recipes.

use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Val};
use crate::lower::target::Target;
use crate::lower::{Launch, ProgramBuilder, Role, code};

/// Rounds of the parallel loop: divided evenly by common numbers of threads.
const ROUNDS: usize = 48;
/// Multiply-adds in a row of each accumulator and iteration: some 10 to 20 microseconds.
const DEPTH: usize = 4096;

/// Independent accumulators: more than the latency of a multiply-add times the units that do it (4 · 2 on x86-64),
/// and few enough for the registers.
fn accumulators(target: &Target) -> usize {
    if target.registers >= 32 { 24 } else { 12 }
}

/// One kernel; each iteration writes a vector of sums, so that nothing of it is dead.
pub fn builder(target: &Target) -> ProgramBuilder {
    let (lanes, count) = (target.lanes, accumulators(target));
    let mut builder = ProgramBuilder::default();
    let spec = code(format!("peak_{count}v{lanes}"), (lanes, count), |&(lanes, count), b| {
        let y = b.pointer("y", Elem::F32, Access::Write);
        // x · 0.5 + 1 stays between 1 and 2: no infinities and no denormals, which some machines are slow at.
        let (half, one) = (b.f32(0.5, lanes), b.f32(1.0, lanes));
        let sums = b.repeat("i", DEPTH, &vec![one; count], |b, _, sums| {
            sums.iter().map(|&sum| b.fma(sum, half, one)).collect::<Vec<Val>>()
        });
        for (i, sum) in sums.into_iter().enumerate() {
            b.store(y, i * lanes as usize, sum);
        }
    });
    let micro_kernel = builder.micro_kernel(spec);
    let row = count * lanes as usize;
    let mut kernel = KernelBuilder::new("peak");
    let y = kernel.buffer("y", Elem::F32, Access::Write);
    kernel.parallel("round", ROUNDS, |k, round| k.call(micro_kernel, vec![y.at(round * row)]));
    let kernel = builder.kernel(kernel.finish(), "peak");
    let buffer = builder.buffer("sums", Elem::F32, ROUNDS * row, 0, Role::Temp);
    builder.launches.push(Launch { kernel, args: vec![buffer], accumulates: false });
    builder
}
