//! Driver language to Cranelift.

use super::ast::*;
use super::error::{DriverError, Fault};
use super::expr::cell_type;
use super::parse::parse;
use cranelift_codegen::Context;
use cranelift_codegen::ir::{AbiParam, Block, InstBuilder, Signature, Type, Value, types};
use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_module::{DataId, FuncId, Linkage, Module};
use std::collections::HashMap;
use std::fmt::Display;

/// What the text may name besides its own definitions.
#[derive(Default)]
pub struct Names<'a> {
    /// Prefix, before a `_`, of exported functions' names.
    pub prefix: &'a str,
    /// Data behind `@name`.
    pub data: Vec<(&'a str, DataId)>,
    /// Functions made elsewhere: all parameters are integers, and so is the result.
    pub functions: Vec<(&'a str, FuncId)>,
    /// Constants besides those of the text.
    pub constants: Vec<(&'a str, i64)>,
    /// Functions of the C library that have other symbols than the names in the text.
    pub symbols: &'a [(&'a str, &'a str)],
    /// The linker brings functions of the C library within reach of a call, without a table of addresses.
    pub near: bool,
}

/// Functions that were put into a module.
#[derive(Debug, Default)]
pub struct Emitted {
    /// By their names in the text.
    functions: Vec<(String, FuncId)>,
    /// Bytes of machine code.
    pub bytes: usize,
    /// Finds a function of the text.
    pub unwind: Vec<(FuncId, UnwindInfo)>,
}

impl Emitted {
    /// A function of the text.
    pub fn function(&self, name: &str) -> Option<FuncId> {
        self.functions.iter().find(|(n, _)| n == name).map(|(_, id)| *id)
    }
}

/// Compiles the text's functions into `out`. Errors are mistakes in the text.
pub fn emit<M: Module>(out: &mut M, text: &str, names: &Names) -> Result<Emitted, DriverError> {
    let program = parse(text)?;
    let mut globals = Globals::default();
    for (name, value) in &program.constants {
        globals.constants.insert(name.clone(), *value);
    }
    globals.constants.extend(names.constants.iter().map(|(n, v)| (n.to_string(), *v)));
    globals.data.extend(names.data.iter().map(|(n, d)| (n.to_string(), *d)));
    for (name, id) in &names.functions {
        let params = out.declarations().get_function_decl(*id).signature.params.len();
        globals
            .functions
            .insert(name.to_string(), Callee { id: *id, params: vec![Ty::Int; params], int: false, near: false });
    }
    let mut emitted = Emitted::default();
    for e in &program.externs {
        let params = vec![Ty::Int; e.params];
        let signature = signature(out, &params, if e.int { types::I32 } else { types::I64 });
        let symbol = names.symbols.iter().find(|(name, _)| *name == e.name).map_or(&*e.name, |(_, symbol)| symbol);
        let id = out.declare_function(symbol, Linkage::Import, &signature).map_err(|error| code(&e.name, error))?;
        globals.functions.insert(e.name.clone(), Callee { id, params, int: e.int, near: names.near });
    }
    for f in &program.functions {
        let params: Vec<Ty> = f.params.iter().map(|p| p.1).collect();
        let signature = signature(out, &params, types::I64);
        let (symbol, linkage) = match f.export {
            true => (format!("{}_{}", names.prefix, f.name), Linkage::Export),
            false => (format!("{}.{}", names.prefix, f.name), Linkage::Local),
        };
        let id = out.declare_function(&symbol, linkage, &signature).map_err(|error| code(&f.name, error))?;
        globals.functions.insert(f.name.clone(), Callee { id, params, int: false, near: false });
        emitted.functions.push((f.name.clone(), id));
    }
    let mut frontend = FunctionBuilderContext::new();
    for f in &program.functions {
        let callee = globals.functions[&f.name].clone();
        let mut context = Context::new();
        context.func.signature = out.declarations().get_function_decl(callee.id).signature.clone();
        let config = out.isa().frontend_config();
        let mut body = Body {
            b: FunctionBuilder::new(&mut context.func, &mut frontend),
            out: &mut *out,
            globals: &mut globals,
            scopes: vec![HashMap::new()],
            exits: vec![],
        };
        body.function(f).map_err(|fault| fault.within(&f.name))?;
        body.b.seal_all_blocks();
        body.b.finalize(config);
        out.define_function(callee.id, &mut context).map_err(|e| code(&f.name, format!("{e:?}")))?;
        if let Some(compiled) = context.compiled_code() {
            emitted.bytes += compiled.code_buffer().len();
            let unwind = compiled.create_unwind_info(out.isa()).map_err(|error| code(&f.name, error))?;
            emitted.unwind.extend(unwind.map(|unwind| (callee.id, unwind)));
        }
    }
    Ok(emitted)
}

fn code(function: &str, what: impl Display) -> DriverError {
    DriverError::Code { function: function.to_string(), what: what.to_string() }
}

pub(super) fn ir_type(ty: Ty) -> Type {
    match ty {
        Ty::Int => types::I64,
        Ty::F32 => types::F32,
        Ty::F64 => types::F64,
        Ty::F32x4 => types::F32X4,
    }
}

fn signature<M: Module>(out: &M, params: &[Ty], result: Type) -> Signature {
    let mut signature = out.make_signature();
    signature.params.extend(params.iter().map(|&t| AbiParam::new(ir_type(t))));
    signature.returns.push(AbiParam::new(result));
    signature
}

#[derive(Clone)]
pub(super) struct Callee {
    /// Its number in the module.
    pub id: FuncId,
    /// Types of its parameters.
    pub params: Vec<Ty>,
    /// Whether it returns 32 bits with a sign.
    pub int: bool,
    /// Whether a call reaches it although it is defined elsewhere.
    pub near: bool,
}

#[derive(Default)]
pub(super) struct Globals {
    /// Constants by name.
    pub constants: HashMap<String, i64>,
    /// Functions that can be called, by name.
    pub functions: HashMap<String, Callee>,
    /// Data by name; texts by `"` and themselves.
    pub data: HashMap<String, DataId>,
    /// How many texts there are so far.
    pub texts: usize,
}

pub(super) struct Body<'a, 'f, M> {
    /// The function that is built.
    pub b: FunctionBuilder<'f>,
    /// The module that the function goes to.
    pub out: &'a mut M,
    /// What all functions can name.
    pub globals: &'a mut Globals,
    scopes: Vec<HashMap<String, (Variable, Ty)>>,
    /// Where `break` goes.
    exits: Vec<Block>,
}

pub(super) type Typed = (Value, Ty);

impl<M: Module> Body<'_, '_, M> {
    fn function(&mut self, f: &Function) -> Result<(), Fault> {
        let entry = self.b.create_block();
        self.b.append_block_params_for_function_params(entry);
        self.b.switch_to_block(entry);
        let values = self.b.block_params(entry).to_vec();
        for ((name, ty), value) in f.params.iter().zip(values) {
            self.define(name, (value, *ty));
        }
        self.block(&f.body)?;
        let zero = self.b.ins().iconst(types::I64, 0);
        self.b.ins().return_(&[zero]);
        Ok(())
    }

    fn define(&mut self, name: &str, (value, ty): Typed) {
        let variable = self.b.declare_var(ir_type(ty));
        self.b.def_var(variable, value);
        self.scopes.last_mut().expect("a function has a scope").insert(name.to_string(), (variable, ty));
    }

    pub(super) fn variable(&self, name: &str) -> Option<(Variable, Ty)> {
        self.scopes.iter().rev().find_map(|s| s.get(name)).copied()
    }

    fn block(&mut self, lines: &[Line]) -> Result<(), Fault> {
        self.scopes.push(HashMap::new());
        for line in lines {
            self.stmt(&line.stmt).map_err(|fault| fault.at(line.line))?;
        }
        self.scopes.pop();
        Ok(())
    }

    /// What follows a jump is never reached, but must stand in a block.
    fn unreachable(&mut self) {
        let block = self.b.create_block();
        self.b.switch_to_block(block);
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), Fault> {
        match stmt {
            Stmt::Let(name, value) => {
                let value = self.expr(value)?;
                self.define(name, value);
            }
            Stmt::Set(name, value) => {
                let (variable, ty) = self.variable(name).ok_or_else(|| format!("no variable `{name}`"))?;
                let value = self.typed(value, ty)?;
                self.b.def_var(variable, value);
            }
            Stmt::Store(cell, address, value) => {
                let address = self.int(address)?;
                let value = self.typed(value, cell_type(*cell))?;
                self.store(*cell, address, value);
            }
            Stmt::If(condition, then, otherwise) => {
                let condition = self.int(condition)?;
                let [yes, no, join] = [(); 3].map(|()| self.b.create_block());
                self.b.ins().brif(condition, yes, &[], no, &[]);
                for (block, lines) in [(yes, then), (no, otherwise)] {
                    self.b.switch_to_block(block);
                    self.block(lines)?;
                    self.b.ins().jump(join, &[]);
                }
                self.b.switch_to_block(join);
            }
            Stmt::While(condition, lines) => {
                let [head, inside, exit] = [(); 3].map(|()| self.b.create_block());
                self.b.ins().jump(head, &[]);
                self.b.switch_to_block(head);
                let condition = self.int(condition)?;
                self.b.ins().brif(condition, inside, &[], exit, &[]);
                self.b.switch_to_block(inside);
                self.exits.push(exit);
                self.block(lines)?;
                self.exits.pop();
                self.b.ins().jump(head, &[]);
                self.b.switch_to_block(exit);
            }
            Stmt::Return(value) => {
                let value = self.int(value)?;
                self.b.ins().return_(&[value]);
                self.unreachable();
            }
            Stmt::Break => {
                let exit = *self.exits.last().ok_or("`break` outside of a loop")?;
                self.b.ins().jump(exit, &[]);
                self.unreachable();
            }
            Stmt::Do(value) => {
                self.expr(value)?;
            }
        }
        Ok(())
    }
}
