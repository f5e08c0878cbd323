//! Multiply-adds in registers and nothing else: what the machine can do at most, as a yardstick for the other recipes.

use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, MicroKernelId, Outer, Ty, Val};
use crate::lower::target::Target;
use crate::lower::{Launch, ProgramBuilder, Role, code};
use crate::recipes::cpu::bytes::Factors;

/// Iterations of the parallel loop: divided evenly by common numbers of threads.
const ITERATIONS: usize = 48;
/// Multiply-adds in a row of each accumulator and iteration: some 10 to 20 microseconds.
const DEPTH: usize = 4096;

/// Independent accumulators: more than the latency of a multiply-add times the units that do it (4 · 2 on x86-64),
/// and few enough for the registers.
fn accumulators(target: &Target) -> usize {
    if target.registers >= 32 { 24 } else { 12 }
}

/// Products of tiles in a row of each of four accumulators.
const PRODUCTS: usize = 256;

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// float32.
    Floats,
    /// bf16, where the processor has a unit of its own for it; else float32.
    Bf16,
    /// Bytes.
    Bytes,
}

/// One kernel; each iteration writes its sums, so that nothing of it is dead.
pub fn builder(target: &Target, terms: Terms) -> ProgramBuilder {
    let mut builder = ProgramBuilder::default();
    let (micro_kernel, row) = match (terms, target.cpu().tiles) {
        (Terms::Bf16, true) => tiles(&mut builder, Outer::Bf16),
        (Terms::Bytes, true) => tiles(&mut builder, Outer::U8I8),
        (Terms::Bytes, false) => whole(&mut builder, target),
        (Terms::Floats, _) | (Terms::Bf16, false) => vectors(&mut builder, target),
    };
    let sums = if terms == Terms::Bytes { Elem::I32 } else { Elem::F32 };
    let mut kernel = KernelBuilder::new("peak");
    let y = kernel.buffer("y", sums, Access::Write);
    let terms = kernel.scratch("terms", Elem::I32, Ty::TILE as usize);
    kernel.parallel("i", ITERATIONS, |k, iteration| k.call(micro_kernel, vec![y.at(iteration * row), terms.at(0)]));
    let kernel = builder.kernel(kernel.finish(), "peak");
    let buffer = builder.buffer("sums", sums, ITERATIONS * row, 0, Role::Temp);
    builder.launches.push(Launch { kernel, args: vec![buffer], accumulates: false });
    builder
}

/// `(y, terms)` by vectors, and the sums that it stores.
fn vectors(builder: &mut ProgramBuilder, target: &Target) -> (MicroKernelId, usize) {
    let (lanes, count) = (target.lanes, accumulators(target));
    let spec = code(format!("peak_{count}v{lanes}"), (lanes, count), |&(lanes, count), b| {
        let (y, _) = (b.pointer("y", Elem::F32, Access::Write), b.pointer("terms", Elem::I32, Access::Read));
        // x · 0.5 + 1 stays between 1 and 2: no infinities and no denormals, which some machines are slow at.
        let (half, one) = (b.f32(0.5, lanes), b.f32(1.0, lanes));
        let sums = b.repeat("i", DEPTH, &vec![one; count], |b, _, sums| {
            sums.iter().map(|&sum| b.fma(sum, half, one)).collect::<Vec<Val>>()
        });
        for (i, sum) in sums.into_iter().enumerate() {
            b.store(y, i * lanes as usize, sum);
        }
    });
    (builder.micro_kernel(spec), count * lanes as usize)
}

/// Writes products of whole numbers by vectors, as the recipes have them: `(y, terms)`, and the sums that it stores.
fn whole(builder: &mut ProgramBuilder, target: &Target) -> (MicroKernelId, usize) {
    // Two units of five cycles where one instruction multiplies and adds; elsewhere sums that leave room in 16 bits are
    // the fastest, in fewer registers.
    let factors = Factors::of(target, 4);
    let count = match factors {
        Factors::Bytes => 10,
        Factors::Narrow(_) => 8,
        Factors::Words => accumulators(target),
    };
    let lanes = target.lanes;
    let name = format!("peak_{}_{count}v{lanes}", factors.name());
    let spec = code(name, (lanes, count, factors), |&(lanes, count, factors), b| {
        let (y, terms) = (b.pointer("y", Elem::I32, Access::Write), b.pointer("terms", Elem::I32, Access::Read));
        let words = factors.together();
        let [a, other, zero] = [0usize, 1, 2].map(|i| b.broadcast(terms, i, lanes));
        let sums = b.repeat("i", DEPTH, &vec![zero; count], |b, _, sums| {
            sums.iter().map(|&acc| factors.dot(b, acc, &[a; 2][..words], &[other; 2][..words])).collect::<Vec<Val>>()
        });
        for (i, sum) in sums.into_iter().enumerate() {
            b.store(y, i * lanes as usize, sum);
        }
    });
    (builder.micro_kernel(spec), count * lanes as usize)
}

/// Writes multiply-adds by tiles: two of rows, two of columns, as the recipes have them. `(y, terms)`, and the sums
/// that it stores.
fn tiles(builder: &mut ProgramBuilder, kind: Outer) -> (MicroKernelId, usize) {
    let (row, tile) = (Ty::ROW as usize, Ty::TILE as usize);
    let name = format!("peak_tiles_{}", kind.word());
    let spec = code(name, (row, tile, kind), |&(row, tile, kind), b| {
        let (y, terms) = (b.pointer("y", kind.sums(), Access::Write), b.pointer("terms", Elem::I32, Access::ReadWrite));
        // Pairs of 1 and -1 as bf16, four bytes that are not 0: products of zeros would take less power, and be faster
        // than any of use.
        let pairs = b.i32(0x3f80_bf80, Ty::ROW);
        (0..row).for_each(|i| b.store(terms, i * row, pairs));
        let operands = [(); 4].map(|()| b.load_tile(terms, 0usize, row, false));
        let zero = b.zero_tile(kind.sums());
        let sums = b.repeat("i", PRODUCTS, &[zero; 4], |b, _, sums| {
            let product = |(i, &sum): (usize, &Val)| b.outer(kind, sum, operands[i / 2], operands[2 + i % 2]);
            sums.iter().enumerate().map(product).collect::<Vec<Val>>()
        });
        sums.into_iter().enumerate().for_each(|(i, sum)| b.store_tile(y, i * tile, sum, row));
    });
    (builder.micro_kernel(spec), 4 * tile)
}
