//! Runs WebAssembly in an interpreter that validates it first.

use ninc::kernel::ir::{Binary, Inst, MicroKernel, Module, Op, PrimaryMap, Ty, Val};
use wasmi::{Engine, Instance, Linker, Memory, Store};

/// An instance with its memory.
pub struct Running {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
}

impl Running {
    /// Validates a module and makes an instance of it.
    pub fn new(bytes: &[u8]) -> Running {
        let mut validator = wasmparser::Validator::new();
        validator.validate_all(bytes).unwrap_or_else(|e| panic!("not valid: {e}"));
        let engine = Engine::default();
        let module = wasmi::Module::new(&engine, bytes).unwrap_or_else(|e| panic!("refused: {e}"));
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).expect("it imports nothing");
        let memory = instance.get_memory(&store, "memory").expect("a memory");
        Running { store, instance, memory }
    }

    /// Calls a function without arguments and results.
    pub fn call(&mut self, name: &str) {
        let function = self.instance.get_typed_func::<(), ()>(&self.store, name).expect("a function of this name");
        function.call(&mut self.store, ()).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// Calls a function with a number.
    pub fn call_with(&mut self, name: &str, number: i32) {
        let function = self.instance.get_typed_func::<i32, ()>(&self.store, name).expect("a function of this name");
        function.call(&mut self.store, number).unwrap_or_else(|e| panic!("{name}({number}): {e}"));
    }

    /// Writes bytes into memory.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        self.memory.data_mut(&mut self.store)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Reads bytes from memory.
    pub fn read(&self, at: usize, count: usize) -> Vec<u8> {
        self.memory.data(&self.store)[at..at + count].to_vec()
    }
}

/// The module with each multiply-add as a product and a sum, which the interpreter of kernel IR fuses otherwise.
pub fn rounded_apart(mut module: Module) -> Module {
    for micro_kernel in module.micro_kernels.values_mut() {
        let MicroKernel { values, body, .. } = micro_kernel;
        *body = apart(std::mem::take(body), values);
    }
    module
}

fn apart(body: Vec<Inst>, values: &mut PrimaryMap<Val, Ty>) -> Vec<Inst> {
    let mut out = Vec::new();
    for inst in body {
        match inst {
            Inst::Let { result, op: Op::Fma { a, b, c } } => {
                let product = values.push(values[result]);
                out.push(Inst::Let { result: product, op: Op::Binary { op: Binary::Mul, left: a, right: b } });
                out.push(Inst::Let { result, op: Op::Binary { op: Binary::Add, left: product, right: c } });
            }
            Inst::Loop { var, count, init, params, body, next, results } => {
                let body = apart(body, values);
                out.push(Inst::Loop { var, count, init, params, body, next, results });
            }
            other => out.push(other),
        }
    }
    out
}
