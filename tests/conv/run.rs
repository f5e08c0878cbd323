//! Lowers one node and runs it in the kernel interpreter.

use super::native;
use super::reference::Exact;
use ninc::kernel::interp::{f32_bytes, run_kernel, to_f32};
use ninc::kernel::ir::{EntityRef, Stmt};
use ninc::lower::interp::run_program;
use ninc::lower::target::{Algorithm, Fusion, GroupTile, Isa, Machine, Target};
use ninc::lower::{Buffer, BufferId, LowerCx, Lowered, Operand, ProgramBuilder, Role};
use ninc::types::Type;
use std::sync::Arc;

/// Vectors of 4, 8 and 16 lanes, and a GPU, direct: the error bounds are those of plain sums.
pub fn targets() -> [Target; 4] {
    let direct = Target { algorithm: Algorithm::Direct, ..Target::portable(true) };
    let wide = |isa, lanes, registers| Target { lanes, registers, ..direct.clone().with_vectors(isa) };
    [direct.clone(), wide(Isa::Avx2, 8, 16), wide(Isa::Avx512, 16, 32), gpu()]
}

/// A GPU with small groups, which the interpreter runs item by item; chains are one kernel wherever there is room.
fn gpu() -> Target {
    let mut target = Target::gpu_with(GroupTile::ALL[1], Arc::default());
    if let Machine::Gpu(gpu) = &mut target.machine {
        (gpu.group_items, gpu.fusion) = (64, Fusion::Always);
    }
    Target { algorithm: Algorithm::Direct, ..target }
}

/// Places in memory of the elements in logical order.
pub fn places(ty: &Type, batch: usize) -> Vec<usize> {
    let order = ty.memory_order();
    let mut strides = vec![0; ty.dims.len()];
    let mut stride = 1;
    for &d in order.iter().rev() {
        strides[d] = stride;
        stride *= ty.dims[d];
    }
    let images = if ty.batched { batch } else { 1 };
    let place = |i: usize| {
        let (mut rest, mut at) = (i % ty.elements(), i / ty.elements() * ty.elements());
        for d in (0..ty.dims.len()).rev() {
            at += rest % ty.dims[d] * strides[d];
            rest /= ty.dims[d];
        }
        at
    };
    (0..images * ty.elements()).map(place).collect()
}

/// The result of `lower` for operands in logical order, in logical order. Integers are given as the floats with their
/// bits.
pub fn run(
    target: &Target,
    batch: usize,
    operands: &[(Type, Vec<f32>)],
    result: &Type,
    lower: impl FnOnce(&mut LowerCx) -> Lowered,
) -> Vec<f32> {
    run_at(target, [batch, 0], operands, result, lower)
}

/// Like [`run`], for images `first ..` of a larger batch.
pub fn run_at(
    target: &Target,
    [batch, first]: [usize; 2],
    operands: &[(Type, Vec<f32>)],
    result: &Type,
    lower: impl FnOnce(&mut LowerCx) -> Lowered,
) -> Vec<f32> {
    let types: Vec<Type> = operands.iter().map(|(ty, _)| ty.clone()).collect();
    let (builder, buffers, buffer) = builder(target, &types, result, lower);
    let mut feeds = Vec::new();
    for ((ty, data), buffer) in operands.iter().zip(buffers) {
        let mut memory = vec![0.0; data.len()];
        places(ty, batch).iter().zip(data).for_each(|(&at, &v)| memory[at] = v);
        feeds.push((buffer, f32_bytes(&memory)));
    }
    let blocks = match first {
        0 => run_program(&builder, batch, &feeds).expect("a builder that runs"),
        _ => run_group(&builder, [batch, first], &feeds),
    };
    if first == 0 && !target.is_gpu() && native::runs(target) {
        let compiled = native::run_program(&builder, target, batch, &feeds);
        assert_eq!(blocks[buffer.index()], compiled[buffer.index()], "machine code for {} lanes", target.lanes);
    }
    let memory = to_f32(&blocks[buffer.index()]);
    places(result, batch).iter().map(|&at| memory[at]).collect()
}

/// The program of one node, the slots of its operands and of its result.
pub fn builder(
    target: &Target,
    operands: &[Type],
    result: &Type,
    lower: impl FnOnce(&mut LowerCx) -> Lowered,
) -> (ProgramBuilder, Vec<BufferId>, BufferId) {
    let mut builder = ProgramBuilder::default();
    let mut values = Vec::new();
    for (i, ty) in operands.iter().enumerate() {
        let role = if ty.batched { Role::Input } else { Role::Param };
        let buffer = builder.value(&format!("operand{i}"), ty, role);
        values.push(Operand { buffer, ty: ty.clone() });
    }
    let buffers = values.iter().map(|v| v.buffer).collect();
    let buffer = builder.value("result", result, Role::Temp);
    let result = Operand { buffer, ty: result.clone() };
    let mut cx = LowerCx { target, name: "node".into(), operands: values, result, builder: &mut builder };
    lower(&mut cx).expect("a recipe for this shape");
    (builder, buffers, buffer)
}

/// As `run_program`, for images that are not the first of the batch.
fn run_group(builder: &ProgramBuilder, [batch, first]: [usize; 2], feeds: &[(BufferId, Vec<u8>)]) -> Vec<Vec<u8>> {
    let bytes = |b: &Buffer| (b.fixed + b.per_image * batch) * 4;
    let mut blocks: Vec<Vec<u8>> = builder.buffers.values().map(|b| vec![0xff; bytes(b)]).collect();
    feeds.iter().for_each(|(buffer, data)| blocks[buffer.index()].clone_from(data));
    let vars = [batch as i64, first as i64, (batch + first) as i64];
    for launch in builder.prepare.iter().chain(&builder.launches) {
        let kernel = &builder.module.kernels[launch.kernel];
        let [Stmt::For { end, .. }] = kernel.body.as_slice() else { panic!("one parallel loop") };
        let end = end.eval(&kernel.start(vars));
        let args: Vec<usize> = launch.args.iter().map(|s| s.index()).collect();
        run_kernel(&builder.module, launch.kernel, &mut blocks, &args, vars, 0..end).expect("a kernel that runs");
    }
    blocks
}

/// Panics where a value is further from the exact one than its error allows.
pub fn compare(case: &str, got: &[f32], expected: &Exact) {
    assert_eq!(got.len(), expected.values.len(), "{case}: number of elements");
    for (i, &v) in got.iter().enumerate() {
        let (want, error) = (expected.values[i], expected.errors[i]);
        let distance = (f64::from(v) - want).abs();
        assert!(distance <= error + 1e-30, "{case}: element {i} is {v}, not {want} (± {error:e})");
    }
}
