//! The program in a page's module: where everything lies in its memory, and the calls of kernels for one picture.
//!
//! Nothing is decided when it runs: the plan is that of a batch of one, so that every address and every count is a
//! constant, and no driver is needed that reads a plan. What is left, pictures and numbers at the door, is `NAME.js`'s.

use super::super::error::LibraryError;
use super::layout::Layout;
use crate::back::wasm::{Builder, Call, Features, Floats, MEETING_BYTES};
use crate::pipeline::Kernels;
use ninc_runtime::plan::{Launch, Port};
use std::collections::BTreeMap;

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

    /// Adds a program with its parameters, given by their names as shape and numbers: the functions `NAME`, which runs
    /// it for one image, `NAME_prepare`, which runs once before, and `NAME_launch`, which runs one launch by its
    /// number.
    pub fn add<'n>(
        &mut self,
        name: &str,
        kernels: &Kernels,
        parameter: impl Fn(&str) -> Option<(&'n [usize], &'n [f32])> + Sync,
    ) -> Result<Places, LibraryError> {
        let plan = kernels.plan.for_batch(1);
        let layout = Layout::new(plan, &kernels.module, self.end, self.threads);
        self.end += layout.bytes;
        let launched =
            |number: usize| layout.prepare.iter().copied().chain(&plan.launches).any(|launch| launch.kernel == number);
        let placed = || plan.params.iter().filter_map(|port| Some((port, layout.address(port.buffer)?)));
        // Numbers are converted while code is emitted.
        let (functions, numbers) = std::thread::scope(|scope| {
            let numbers = scope.spawn(|| placed().map(|(port, _)| floats(port, &parameter)).collect::<Vec<_>>());
            let functions = self.builder.kernels(&kernels.module, launched);
            let failed = |_| LibraryError::internal("the conversion of parameters panics");
            Ok::<_, LibraryError>((functions?, numbers.join().map_err(failed)?))
        })?;
        for ((_, at), numbers) in placed().zip(numbers) {
            self.parameter_bytes += self.builder.floats(at as u32, numbers?);
        }
        let prepare = calls(&layout, &functions, layout.prepare.iter().copied(), 0)?;
        let launches = calls(&layout, &functions, &plan.launches, 1)?;
        self.builder.sequence(&format!("{name}_prepare"), &prepare);
        self.builder.sequence(name, &launches);
        self.builder.choice(&format!("{name}_launch"), &launches);
        let addresses =
            |ports: &[Port]| ports.iter().map(|port| address(&layout, port.buffer)).collect::<Result<_, _>>();
        Ok(Places { inputs: addresses(&plan.inputs)?, outputs: addresses(&plan.outputs)? })
    }

    /// The module's bytes, by which build it is marked.
    pub fn finish(self, build: &str) -> Result<Vec<u8>, LibraryError> {
        Ok(self.builder.finish(self.end as u64, build)?)
    }
}

fn address(layout: &Layout, buffer: usize) -> Result<usize, LibraryError> {
    layout.address(buffer).ok_or_else(|| LibraryError::internal(format!("buffer {buffer} has no place")))
}

/// The calls of launches, whose scratch memory is the layout's of this number.
fn calls<'l>(
    layout: &Layout,
    functions: &BTreeMap<usize, u32>,
    launches: impl IntoIterator<Item = &'l Launch>,
    scratch: usize,
) -> Result<Vec<Call>, LibraryError> {
    let [scratch, scratch_bytes] = layout.scratch[scratch];
    let call = |launch: &Launch| {
        let missing = || LibraryError::internal(format!("kernel {} has no function", launch.kernel));
        let buffers = launch.buffers.iter().map(|&buffer| Ok(address(layout, buffer)? as u32));
        Ok(Call {
            kernel: *functions.get(&launch.kernel).ok_or_else(missing)?,
            buffers: buffers.collect::<Result<_, LibraryError>>()?,
            scratch: scratch as u32,
            scratch_bytes: scratch_bytes as u32,
            vars: [1, 0, 1],
            iterations: launch.iterations.count(1) as i64,
        })
    };
    launches.into_iter().map(call).collect()
}

/// A parameter's numbers as they lie in memory.
fn floats<'n>(
    port: &Port,
    parameter: &impl Fn(&str) -> Option<(&'n [usize], &'n [f32])>,
) -> Result<Floats, LibraryError> {
    let missing = || LibraryError::internal(format!("the parameter {} has no value", port.name));
    let (dims, numbers) = parameter(&port.name).ok_or_else(missing)?;
    if dims != port.dims {
        return Err(LibraryError::internal(format!("{} has the shape {dims:?}", port.name)));
    }
    Ok(Floats::new(&port.dims, &port.order, numbers))
}
