//! The meaning of kernel IR. Runs micro-kernels and kernels on byte buffers, slowly and with every access checked:
//! an access outside of its buffer is an error here, where compiled code would corrupt memory.
//!
//! What the IR's comments leave open is decided here: `fma` rounds once; I32 arithmetic wraps; `ToInt` saturates, NaN
//! gives 0; shift counts count modulo 32; a stored U8 or I8 is the low byte; a stored Bf16 is rounded to nearest even.

pub use super::error::InterpError;
use super::error::Place;
use super::ir::{Arg, KVars, Kernel, KernelId, Module, Stmt, run};

mod code;
mod group;
mod micro_kernel;
mod ops;
mod tile;

pub use code::{InterpCode, scratch_offsets};
pub use micro_kernel::{MicroKernelArg, run_micro_kernel};

/// Memory that micro-kernels work on: numbered blocks of bytes.
pub trait Blocks {
    /// The little-endian number of `bytes` bytes (1, 2 or 4) at a byte offset.
    fn load(&self, block: usize, at: i64, bytes: usize) -> Result<u32, InterpError>;
    /// Stores the low `bytes` bytes of `value` (1, 2 or 4), little-endian, at a byte offset.
    fn store(&mut self, block: usize, at: i64, bytes: usize, value: u32) -> Result<(), InterpError>;
}

impl Blocks for [Vec<u8>] {
    fn load(&self, block: usize, at: i64, bytes: usize) -> Result<u32, InterpError> {
        let range = range(self[block].len(), at, bytes)?;
        let mut word = [0; 4];
        word[..bytes].copy_from_slice(&self[block][range]);
        Ok(u32::from_le_bytes(word))
    }

    fn store(&mut self, block: usize, at: i64, bytes: usize, value: u32) -> Result<(), InterpError> {
        let range = range(self[block].len(), at, bytes)?;
        self[block][range].copy_from_slice(&value.to_le_bytes()[..bytes]);
        Ok(())
    }
}

fn range(len: usize, at: i64, bytes: usize) -> Result<std::ops::Range<usize>, InterpError> {
    match usize::try_from(at) {
        Ok(at) if at.checked_add(bytes).is_some_and(|end| end <= len) => Ok(at..at + bytes),
        _ => Err(InterpError::Access { at, bytes, len }),
    }
}

/// A kernel's buffers (each an index into `blocks`, two may be the same) and its scratch memory.
struct Bound<'a> {
    blocks: &'a mut [Vec<u8>],
    args: &'a [usize],
    scratch: Vec<Vec<u8>>,
}

impl Blocks for Bound<'_> {
    fn load(&self, block: usize, at: i64, bytes: usize) -> Result<u32, InterpError> {
        match self.args.get(block) {
            Some(&b) => self.blocks.load(b, at, bytes),
            None => self.scratch.as_slice().load(block - self.args.len(), at, bytes),
        }
    }

    fn store(&mut self, block: usize, at: i64, bytes: usize, value: u32) -> Result<(), InterpError> {
        match self.args.get(block) {
            Some(&b) => self.blocks.store(b, at, bytes, value),
            None => self.scratch.as_mut_slice().store(block - self.args.len(), at, bytes, value),
        }
    }
}

/// Runs these iterations of a kernel's parallel loop, or these groups of a GPU kernel. `args[i]` is the block that is
/// the kernel's buffer i; `vars` are batch, first and total.
pub fn run_kernel(
    module: &Module,
    kernel: KernelId,
    blocks: &mut [Vec<u8>],
    args: &[usize],
    vars: [i64; 3],
    iterations: std::ops::Range<i64>,
) -> Result<(), InterpError> {
    let kernel = &module.kernels[kernel];
    let scratch = kernel.scratch.values().map(|s| vec![0; s.len * s.elem.bytes()]).collect();
    let mut memory = Bound { blocks, args, scratch };
    let loops = kernel.groups();
    for iteration in iterations {
        // Scratch holds garbage at the start of an iteration: bytes that read as a NaN show who relies on it.
        memory.scratch.iter_mut().for_each(|s| s.fill(0xff));
        let done = match &loops {
            Some(loops) => group::run(module, kernel, loops, &mut memory, vars, iteration),
            None => run_iteration(module, kernel, &mut memory, vars, iteration),
        };
        done.map_err(|e| e.within(Place::Kernel(kernel.name.clone())))?;
    }
    Ok(())
}

/// Runs one iteration of the parallel loop on any memory: blocks are the buffers, then the scratch arrays.
fn run_iteration(
    module: &Module,
    kernel: &Kernel,
    memory: &mut dyn Blocks,
    vars: [i64; 3],
    iteration: i64,
) -> Result<(), InterpError> {
    let (var, body) = kernel.parallel().ok_or(InterpError::NoParallelLoop)?;
    let mut nest = Nest { module, kernel, vars: kernel.start(vars), memory };
    nest.vars[var] = iteration;
    nest.block(body)
}

struct Nest<'a> {
    module: &'a Module,
    kernel: &'a Kernel,
    vars: KVars,
    memory: &'a mut dyn Blocks,
}

impl Nest<'_> {
    fn block(&mut self, body: &[Stmt]) -> Result<(), InterpError> {
        let Nest { module, kernel, vars, memory } = self;
        run(body, vars, &mut |stmt, vars| match stmt {
            Stmt::Call { micro_kernel, args } => {
                let args: Vec<MicroKernelArg> = args.iter().map(|arg| argument(kernel, arg, vars)).collect();
                run_micro_kernel(&module.micro_kernels[*micro_kernel], &args, *memory)
            }
            _ => Err(InterpError::Barrier),
        })
    }
}

/// An argument of a call where the variables have these values.
fn argument(kernel: &Kernel, arg: &Arg, vars: &KVars) -> MicroKernelArg {
    match arg {
        Arg::Int(e) => MicroKernelArg::Int(e.eval(vars)),
        Arg::Pointer { memory, offset } => {
            let byte = offset.eval(vars) * kernel.elem(*memory).bytes() as i64;
            MicroKernelArg::Pointer { block: kernel.memory_number(*memory), byte }
        }
    }
}

/// Bytes of float numbers, as blocks hold them.
pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Bytes of integers, as blocks hold them.
pub fn i32_bytes(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The float numbers of a block.
pub fn to_f32(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The integers of a block.
pub fn to_i32(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect()
}
