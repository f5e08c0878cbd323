//! A whole WebAssembly module: functions, the memory with what it starts with, and the calls that are a program.

use super::micro_kernel;
use super::narrow::{Floats, Narrow};
use super::nest;
use super::threads;
use super::{Features, bug};
use crate::back::EmitError;
use crate::kernel::ir::{EntityRef, KernelId, MicroKernelId, Module};
use crate::verified::Verified;
use std::collections::BTreeMap;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, CustomSection, DataCountSection, Encode, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, ImportSection, MemorySection, MemoryType, Module as Binary, Section, SectionId,
    StartSection, TypeSection, ValType,
};

/// Bytes of a page of memory.
const PAGE: u64 = 1 << 16;

/// A call of a kernel, all of its iterations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The kernel, as [`Builder::kernels`] numbers it.
    pub kernel: u32,
    /// Addresses of its buffers.
    pub buffers: Vec<u32>,
    /// Address of its scratch memory, that of the first thread where there are several.
    pub scratch: u32,
    /// Bytes from a thread's scratch memory to the next one's.
    pub scratch_bytes: u32,
    /// Batch, first and total.
    pub vars: [i64; 3],
    /// Iterations of its parallel loop.
    pub iterations: i64,
}

/// A module under construction.
#[derive(Default)]
pub struct Builder {
    features: Features,
    types: Vec<(Vec<ValType>, Vec<ValType>)>,
    functions: Vec<(u32, Function)>,
    exports: Vec<(String, u32)>,
    data: Vec<(u32, Vec<u8>)>,
    /// Floats that a module stores in 16 bits each: their address, format and count.
    narrow: Vec<(u32, Narrow, u32)>,
    /// Where threads share the work: the function that waits for all of them, and each sequence's parts.
    barrier: Option<u32>,
    shares: Vec<u32>,
}

impl Builder {
    /// An empty module for engines with these features.
    pub fn new(features: Features) -> Builder {
        Builder { features, ..Builder::default() }
    }

    /// Adds the kernels of a module whose numbers are `wanted`, and the micro-kernels that they call. Returns the
    /// kernels' functions by number.
    pub fn kernels(
        &mut self,
        module: &Verified<Module>,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<BTreeMap<usize, u32>, EmitError> {
        let wanted = |id: &KernelId| wanted(id.index());
        let all = module.kernels.iter().filter(|(id, _)| wanted(id));
        let mut micro_kernels: BTreeMap<MicroKernelId, u32> =
            all.flat_map(|(_, kernel)| kernel.calls()).map(|id| (id, 0)).collect();
        for (id, function) in &mut micro_kernels {
            let micro_kernel = &module.micro_kernels[*id];
            let within = |e: EmitError| e.within(format_args!("micro-kernel {}", micro_kernel.name));
            let body = micro_kernel::function(micro_kernel, self.features).map_err(within)?;
            *function = self.add(micro_kernel::params(micro_kernel), vec![], body);
        }
        let mut kernels = BTreeMap::new();
        for (number, kernel) in module.kernels.iter().filter(|(id, _)| wanted(id)) {
            let within = |e: EmitError| e.within(format_args!("kernel {}", kernel.name));
            let callee = |id: MicroKernelId| {
                micro_kernels.get(&id).copied().ok_or_else(|| bug(format!("{} is not called", id.index())))
            };
            let shared = self.features.threads.is_some();
            let body = nest::function(kernel, shared, &callee).map_err(within)?;
            kernels.insert(number.index(), self.add(nest::params(kernel, shared), vec![], body));
        }
        Ok(kernels)
    }

    /// Adds the function `name`, which makes all calls; where threads share the work it takes their number.
    pub fn sequence(&mut self, name: &str, calls: &[Call]) {
        if let Some(at) = self.features.threads {
            return self.shared_sequence(name, calls, at);
        }
        let mut body = Function::new([]);
        calls.iter().for_each(|call| call.emit(false, &mut body));
        body.instructions().end();
        let function = self.add(vec![], vec![], body);
        self.exports.push((name.into(), function));
    }

    fn shared_sequence(&mut self, name: &str, calls: &[Call], at: u32) {
        let two = vec![ValType::I32; 2];
        let barrier = match self.barrier {
            Some(barrier) => barrier,
            None => self.add(two.clone(), vec![], threads::barrier(at)),
        };
        self.barrier = Some(barrier);
        let share = self.add(two, vec![], threads::share(calls, barrier));
        let order = self.add(vec![ValType::I32], vec![], threads::order(at, self.shares.len(), share));
        self.shares.push(share);
        self.exports.push((name.into(), order));
    }

    /// Adds the function `name`, which makes the call whose number it is given.
    pub fn choice(&mut self, name: &str, calls: &[Call]) {
        let mut body = Function::new([]);
        let count = calls.len() as u32;
        // A block for each call and one around all: leaving block i lands in front of call i.
        (0..=count).for_each(|_| _ = body.instructions().block(BlockType::Empty));
        body.instructions().local_get(0).br_table(0..count, count);
        for (i, call) in calls.iter().enumerate() {
            body.instructions().end();
            call.emit(self.features.threads.is_some(), &mut body);
            body.instructions().br(count - 1 - i as u32);
        }
        body.instructions().end().end();
        let function = self.add(vec![ValType::I32], vec![], body);
        self.exports.push((name.into(), function));
    }

    /// Puts bytes into the memory that the module starts with.
    pub fn data(&mut self, at: u32, bytes: Vec<u8>) {
        self.data.push((at, bytes));
    }

    /// Puts floats into the memory that the module starts with. Returns the bytes that they take in the module.
    pub fn floats(&mut self, at: u32, numbers: Floats) -> usize {
        let (at, bytes) = match numbers {
            Floats::Narrow(format, words) => {
                let count = words.len() as u32;
                self.narrow.push((at, format, count));
                // In the upper half of their room.
                (at + 2 * count, words.into_flattened())
            }
            Floats::Wide(words) => (at, words.into_flattened()),
        };
        let length = bytes.len();
        self.data(at, bytes);
        length
    }

    /// Emits calls that turn all numbers stored in 16 bits into floats.
    fn widen(&mut self, body: &mut Function) {
        let mut functions = BTreeMap::new();
        for (at, format, count) in std::mem::take(&mut self.narrow) {
            let function =
                *functions.entry(format).or_insert_with(|| self.add(vec![ValType::I32; 2], vec![], format.widen()));
            body.instructions().i32_const(at as i32).i32_const(count as i32).call(function);
        }
    }

    fn add(&mut self, params: Vec<ValType>, results: Vec<ValType>, body: Function) -> u32 {
        let ty = (params, results);
        let number = self.types.iter().position(|t| *t == ty).unwrap_or_else(|| {
            self.types.push(ty);
            self.types.len() - 1
        });
        self.functions.push((number as u32, body));
        self.functions.len() as u32 - 1
    }

    /// Adds what threads need: `work`, which they run, and `fill`, which one of them calls once: memory that several
    /// modules import has to get what it starts with by hand.
    fn threads(&mut self, at: u32) {
        let work = self.add(vec![ValType::I32], vec![], threads::work(at, &self.shares));
        let mut body = Function::new([]);
        for (segment, (at, bytes)) in self.data.iter().enumerate() {
            let mut out = body.instructions();
            out.i32_const(*at as i32).i32_const(0).i32_const(bytes.len() as i32).memory_init(0, segment as u32);
        }
        self.widen(&mut body);
        body.instructions().end();
        let fill = self.add(vec![], vec![], body);
        self.exports.extend([("work".into(), work), ("fill".into(), fill)]);
    }

    /// The module's bytes; its memory, of `memory` bytes, is exported as `memory`, or imported as that of `env`. `note`
    /// stands in a section of the name `ninc`, for who loads it.
    pub fn finish(mut self, memory: u64, note: &str) -> Result<Vec<u8>, EmitError> {
        // Engines take 4 GiB, but pointers and differences of pointers are numbers of 32 bits in many a program.
        if memory > 1 << 31 {
            return Err(EmitError::Limit(format!("the program needs {memory} bytes of memory; 2 GiB is the most")));
        }
        let shared = self.features.threads.inspect(|&at| self.threads(at)).is_some();
        let start = (!shared && !self.narrow.is_empty()).then(|| {
            let mut body = Function::new([]);
            self.widen(&mut body);
            body.instructions().end();
            self.add(vec![], vec![], body)
        });
        let mut types = TypeSection::new();
        self.types.into_iter().for_each(|(params, results)| types.ty().function(params, results));
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        for (ty, body) in &self.functions {
            functions.function(*ty);
            code.function(body);
        }
        let memory = memory_type(memory, shared);
        let mut exports = ExportSection::new();
        if !shared {
            exports.export("memory", ExportKind::Memory, 0);
        }
        for (name, function) in &self.exports {
            exports.export(name, ExportKind::Func, *function);
        }
        let data = Segments { segments: self.data, passive: shared };
        let count = data.segments.len() as u32;
        let mut binary = Binary::new();
        binary.section(&CustomSection { name: "ninc".into(), data: note.as_bytes().into() });
        binary.section(&types);
        if shared {
            binary.section(ImportSection::new().import("env", "memory", EntityType::Memory(memory)));
        }
        binary.section(&functions);
        if !shared {
            binary.section(MemorySection::new().memory(memory));
        }
        binary.section(&exports);
        if let Some(function_index) = start {
            binary.section(&StartSection { function_index });
        }
        if shared {
            binary.section(&DataCountSection { count });
        }
        // Code before data: engines compile it while they still read the weights.
        binary.section(&code).section(&data);
        Ok(binary.finish())
    }
}

/// The data section, written without a copy of it: weights are most of a module.
struct Segments {
    segments: Vec<(u32, Vec<u8>)>,
    /// Are they put into memory by code?
    passive: bool,
}

impl Encode for Segments {
    fn encode(&self, sink: &mut Vec<u8>) {
        let head = |at: u32, bytes: &[u8]| {
            let mut head = vec![u8::from(self.passive)];
            if !self.passive {
                ConstExpr::i32_const(at as i32).encode(&mut head);
            }
            (bytes.len() as u32).encode(&mut head);
            head
        };
        let heads: Vec<Vec<u8>> = self.segments.iter().map(|(at, bytes)| head(*at, bytes)).collect();
        let mut count = vec![];
        (self.segments.len() as u32).encode(&mut count);
        let all = heads.iter().zip(&self.segments).map(|(head, (_, bytes))| head.len() + bytes.len());
        let length = count.len() + all.sum::<usize>();
        (length as u32).encode(sink);
        sink.reserve_exact(length);
        sink.extend(count);
        for (head, (_, bytes)) in heads.iter().zip(&self.segments) {
            sink.extend_from_slice(head);
            sink.extend_from_slice(bytes);
        }
    }
}

impl Section for Segments {
    fn id(&self) -> u8 {
        SectionId::Data.into()
    }
}

/// Memory of this many bytes, which does not grow.
fn memory_type(bytes: u64, shared: bool) -> MemoryType {
    let pages = bytes.div_ceil(PAGE).max(1);
    MemoryType { minimum: pages, maximum: Some(pages), memory64: false, shared, page_size_log2: None }
}

impl Call {
    /// Emits the call for all iterations; `shared` says that the kernel takes the first one too.
    fn emit(&self, shared: bool, body: &mut Function) {
        let mut out = body.instructions();
        self.buffers.iter().chain([&self.scratch]).for_each(|&at| _ = out.i32_const(at as i32));
        self.vars.iter().for_each(|&v| _ = out.i64_const(v));
        if shared {
            out.i64_const(0);
        }
        out.i64_const(self.iterations).call(self.kernel);
    }
}
