//! The program in a page's module: where everything lies in its memory, and the calls of kernels for one picture.
//!
//! Nothing is decided when it runs: the plan is that of a batch of one, so that every address and every count is a
//! constant, and no driver is needed that reads a plan. What is left, pictures and numbers at the door, is `NAME.js`'s.

use super::super::error::LibraryError;
use crate::back::wasm::{Builder, Call, Features, MEETING_BYTES};
use crate::pipeline::Kernels;
use ninc_runtime::Tensor;
use ninc_runtime::plan::{Home, Launch, Plan, Port};
use ninc_runtime::tensor::to_memory;
use std::collections::BTreeMap;

/// A program's parts of the module's memory.
struct Room<'a> {
    plan: &'a Plan,
    /// Start of what is kept between runs.
    persistent: usize,
    /// Start of the arena.
    arena: usize,
    /// Start of the first thread's scratch memory, and bytes from one thread's to the next one's.
    scratch: [usize; 2],
}

/// A module under construction, with its memory.
pub struct Program {
    builder: Builder,
    /// Bytes of memory that are given away.
    end: usize,
    /// The most threads that share a run.
    threads: usize,
    /// Bytes of parameters in the module.
    pub parameter_bytes: usize,
}

/// What a page's script must know of a program.
pub struct Places {
    /// Addresses of the inputs.
    pub inputs: Vec<usize>,
    /// Addresses of the outputs.
    pub outputs: Vec<usize>,
}

impl Program {
    /// An empty module for up to this many threads.
    pub fn new(relaxed: bool, threads: usize) -> Program {
        // They meet at the start of memory.
        let (at, end) = if threads > 1 { (Some(0), MEETING_BYTES as usize) } else { (None, 0) };
        let builder = Builder::new(Features { relaxed, threads: at });
        Program { builder, end, threads, parameter_bytes: 0 }
    }

    /// Bytes of memory that the module needs so far.
    pub fn memory_bytes(&self) -> usize {
        self.end
    }

    fn take(&mut self, bytes: usize) -> usize {
        let start = self.end;
        self.end += bytes.next_multiple_of(64);
        start
    }

    /// Adds a program with its parameters: the functions `NAME`, which runs it for one image, `NAME_prepare`, which
    /// runs once before, and `NAME_launch`, which runs one launch by its number.
    pub fn add(
        &mut self,
        name: &str,
        kernels: &Kernels,
        parameter: impl Fn(&str) -> Option<Tensor>,
    ) -> Result<Places, LibraryError> {
        let plan = kernels.plan.for_batch(1);
        let launched = |number: usize| plan.every_launch().any(|launch| launch.kernel == number);
        let functions = self.builder.kernels(&kernels.module, launched)?;
        let persistent = self.take(plan.persistent_bytes);
        let arena = self.take(plan.fixed_bytes + plan.image_bytes);
        let scratch = plan.kernels.iter().map(|kernel| kernel.scratch_bytes).max().unwrap_or(0).next_multiple_of(64);
        let scratch = [self.take(scratch * self.threads), scratch];
        let room = Room { plan, persistent, arena, scratch };
        for port in &plan.params {
            let missing = || LibraryError::internal(format!("the parameter {} has no value", port.name));
            let value = parameter(&port.name).ok_or_else(missing)?;
            self.parameter_bytes += self.builder.floats(room.address(port.buffer) as u32, &in_memory(port, &value)?);
        }
        let call = |launch: &Launch| room.call(&functions, launch);
        let prepare = plan.prepare.iter().map(call).collect::<Result<Vec<_>, _>>()?;
        let launches = plan.launches.iter().map(call).collect::<Result<Vec<_>, _>>()?;
        self.builder.sequence(&format!("{name}_prepare"), &prepare);
        self.builder.sequence(name, &launches);
        self.builder.choice(&format!("{name}_launch"), &launches);
        let addresses = |ports: &[Port]| ports.iter().map(|port| room.address(port.buffer)).collect();
        Ok(Places { inputs: addresses(&plan.inputs), outputs: addresses(&plan.outputs) })
    }

    /// The module's bytes.
    pub fn finish(self) -> Result<Vec<u8>, LibraryError> {
        Ok(self.builder.finish(self.end as u64)?)
    }
}

impl Room<'_> {
    fn address(&self, buffer: usize) -> usize {
        match self.plan.start(buffer, 1) {
            (Home::Persistent, offset) => self.persistent + offset,
            (Home::Arena, offset) => self.arena + offset,
        }
    }

    fn call(&self, functions: &BTreeMap<usize, u32>, launch: &Launch) -> Result<Call, LibraryError> {
        let missing = || LibraryError::internal(format!("kernel {} has no function", launch.kernel));
        Ok(Call {
            kernel: *functions.get(&launch.kernel).ok_or_else(missing)?,
            buffers: launch.buffers.iter().map(|&buffer| self.address(buffer) as u32).collect(),
            scratch: self.scratch[0] as u32,
            scratch_bytes: self.scratch[1] as u32,
            vars: [1, 0, 1],
            iterations: launch.iterations.count(1) as i64,
        })
    }
}

/// A parameter's numbers as they lie in memory.
fn in_memory(port: &Port, value: &Tensor) -> Result<Vec<f32>, LibraryError> {
    if value.dims != port.dims {
        return Err(LibraryError::internal(format!("{} has the shape {:?}", port.name, value.dims)));
    }
    let mut numbers = vec![0.0f32; port.elements()];
    to_memory(&port.dims, &port.order, &value.data, &mut numbers);
    Ok(numbers)
}
