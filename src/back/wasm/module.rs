//! A whole WebAssembly module: functions, the memory with what it starts with, and the calls that are a program.

use super::micro_kernel;
use super::nest;
use super::{Features, bug};
use crate::back::EmitError;
use crate::kernel::ir::{EntityRef, KernelId, MicroKernelId, Module};
use crate::verified::Verified;
use std::collections::BTreeMap;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection,
    MemorySection, MemoryType, Module as Binary, TypeSection, ValType,
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
    /// Address of its scratch memory.
    pub scratch: u32,
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
            let body = nest::function(kernel, &callee).map_err(within)?;
            kernels.insert(number.index(), self.add(nest::params(kernel), vec![], body));
        }
        Ok(kernels)
    }

    /// Adds the function `name`, which makes all calls.
    pub fn sequence(&mut self, name: &str, calls: &[Call]) {
        let mut body = Function::new([]);
        calls.iter().for_each(|call| call.emit(&mut body));
        body.instructions().end();
        let function = self.add(vec![], vec![], body);
        self.exports.push((name.into(), function));
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
            call.emit(&mut body);
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

    fn add(&mut self, params: Vec<ValType>, results: Vec<ValType>, body: Function) -> u32 {
        let ty = (params, results);
        let number = self.types.iter().position(|t| *t == ty).unwrap_or_else(|| {
            self.types.push(ty);
            self.types.len() - 1
        });
        self.functions.push((number as u32, body));
        self.functions.len() as u32 - 1
    }

    /// The module's bytes; its memory, of `memory` bytes, is exported as `memory`.
    pub fn finish(self, memory: u64) -> Result<Vec<u8>, EmitError> {
        // Engines take 4 GiB, but pointers and differences of pointers are numbers of 32 bits in many a program.
        if memory > 1 << 31 {
            return Err(EmitError::Limit(format!("the program needs {memory} bytes of memory; 2 GiB is the most")));
        }
        let mut types = TypeSection::new();
        self.types.into_iter().for_each(|(params, results)| types.ty().function(params, results));
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        for (ty, body) in &self.functions {
            functions.function(*ty);
            code.function(body);
        }
        let pages = memory.div_ceil(PAGE).max(1);
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: pages,
            maximum: Some(pages),
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        for (name, function) in &self.exports {
            exports.export(name, ExportKind::Func, *function);
        }
        let mut data = DataSection::new();
        for (at, bytes) in self.data {
            data.active(0, &ConstExpr::i32_const(at as i32), bytes);
        }
        let mut binary = Binary::new();
        // Code before data: engines compile it while they still read the weights.
        binary.section(&types).section(&functions).section(&memories).section(&exports).section(&code).section(&data);
        Ok(binary.finish())
    }
}

impl Call {
    fn emit(&self, body: &mut Function) {
        let mut out = body.instructions();
        self.buffers.iter().chain([&self.scratch]).for_each(|&at| _ = out.i32_const(at as i32));
        self.vars.iter().chain([&self.iterations]).for_each(|&v| _ = out.i64_const(v));
        out.call(self.kernel);
    }
}
