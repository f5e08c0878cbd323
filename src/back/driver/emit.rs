//! Driver language to Cranelift.

use super::ast::*;
use super::parse::parse;
use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    AbiParam, AtomicRmwOp, Block, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind, Type, Value,
    types,
};
use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module};
use std::collections::HashMap;

/// What the text may name besides its own things.
#[derive(Default)]
pub struct Names<'a> {
    /// In front of exported functions' names, with `_`.
    pub prefix: &'a str,
    /// Data behind `@name`.
    pub data: Vec<(&'a str, DataId)>,
    /// Functions made elsewhere: all parameters are integers, and so is the result.
    pub functions: Vec<(&'a str, FuncId)>,
    /// Constants besides those of the text.
    pub constants: Vec<(&'a str, i64)>,
}

/// Functions that were put into a module.
#[derive(Debug, Default)]
pub struct Emitted {
    /// By their names in the text.
    functions: Vec<(String, FuncId)>,
    /// Bytes of machine code.
    pub bytes: usize,
    /// Stack frames.
    pub unwind: Vec<(FuncId, UnwindInfo)>,
}

impl Emitted {
    /// A function of the text.
    pub fn function(&self, name: &str) -> Option<FuncId> {
        self.functions.iter().find(|(n, _)| n == name).map(|(_, id)| *id)
    }
}

/// Compiles the text's functions into `out`. Errors are mistakes in the text.
pub fn emit<M: Module>(out: &mut M, text: &str, names: &Names) -> Result<Emitted, String> {
    let program = parse(text)?;
    let mut globals = Globals { constants: HashMap::new(), functions: HashMap::new(), data: HashMap::new(), texts: 0 };
    for (name, value) in &program.constants {
        globals.constants.insert(name.clone(), *value);
    }
    globals.constants.extend(names.constants.iter().map(|(n, v)| (n.to_string(), *v)));
    globals.data.extend(names.data.iter().map(|(n, d)| (n.to_string(), *d)));
    for (name, id) in &names.functions {
        let params = out.declarations().get_function_decl(*id).signature.params.len();
        globals.functions.insert(name.to_string(), Callee { id: *id, params: vec![Ty::Int; params], int: false });
    }
    let mut emitted = Emitted::default();
    for e in &program.externs {
        let params = vec![Ty::Int; e.params];
        let signature = signature(out, &params, if e.int { types::I32 } else { types::I64 });
        let id = out.declare_function(&e.name, Linkage::Import, &signature).map_err(|e| e.to_string())?;
        globals.functions.insert(e.name.clone(), Callee { id, params, int: e.int });
    }
    for f in &program.functions {
        let params: Vec<Ty> = f.params.iter().map(|p| p.1).collect();
        let signature = signature(out, &params, types::I64);
        let (symbol, linkage) = match f.export {
            true => (format!("{}_{}", names.prefix, f.name), Linkage::Export),
            false => (format!("{}.{}", names.prefix, f.name), Linkage::Local),
        };
        let id = out.declare_function(&symbol, linkage, &signature).map_err(|e| e.to_string())?;
        globals.functions.insert(f.name.clone(), Callee { id, params, int: false });
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
        body.function(f).map_err(|e| format!("{}: {e}", f.name))?;
        body.b.seal_all_blocks();
        body.b.finalize(config);
        out.define_function(callee.id, &mut context).map_err(|e| format!("{}: {e:?}", f.name))?;
        if let Some(code) = context.compiled_code() {
            emitted.bytes += code.code_buffer().len();
            let unwind = code.create_unwind_info(out.isa()).map_err(|e| format!("{}: {e}", f.name))?;
            emitted.unwind.extend(unwind.map(|unwind| (callee.id, unwind)));
        }
    }
    Ok(emitted)
}

fn ir_type(ty: Ty) -> Type {
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
struct Callee {
    id: FuncId,
    params: Vec<Ty>,
    /// Gives 32 bits with a sign.
    int: bool,
}

struct Globals {
    constants: HashMap<String, i64>,
    functions: HashMap<String, Callee>,
    data: HashMap<String, DataId>,
    texts: usize,
}

struct Body<'a, 'f, M> {
    b: FunctionBuilder<'f>,
    out: &'a mut M,
    globals: &'a mut Globals,
    scopes: Vec<HashMap<String, (Variable, Ty)>>,
    /// Where `break` goes.
    exits: Vec<Block>,
}

type Typed = (Value, Ty);

impl<M: Module> Body<'_, '_, M> {
    fn function(&mut self, f: &Function) -> Result<(), String> {
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

    fn variable(&self, name: &str) -> Option<(Variable, Ty)> {
        self.scopes.iter().rev().find_map(|s| s.get(name)).copied()
    }

    fn block(&mut self, lines: &[Line]) -> Result<(), String> {
        self.scopes.push(HashMap::new());
        for line in lines {
            self.stmt(&line.stmt)
                .map_err(|e| if e.starts_with("line ") { e } else { format!("line {}: {e}", line.line) })?;
        }
        self.scopes.pop();
        Ok(())
    }

    /// What follows a jump is never reached, but must stand in a block.
    fn unreachable(&mut self) {
        let block = self.b.create_block();
        self.b.switch_to_block(block);
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), String> {
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

    fn typed(&mut self, expr: &Expr, wanted: Ty) -> Result<Value, String> {
        let (value, ty) = self.expr(expr)?;
        if ty == wanted { Ok(value) } else { Err(format!("{ty:?} where {wanted:?} is wanted")) }
    }

    fn int(&mut self, expr: &Expr) -> Result<Value, String> {
        self.typed(expr, Ty::Int)
    }

    fn store(&mut self, cell: Cell, address: Value, value: Value) {
        let flags = MemFlagsData::new();
        match cell {
            Cell::U8 => self.b.ins().istore8(flags, value, address, 0),
            Cell::I32 | Cell::U32 => self.b.ins().istore32(flags, value, address, 0),
            Cell::I64 | Cell::F32 | Cell::F64 | Cell::F32x4 => self.b.ins().store(flags, value, address, 0),
        };
    }

    fn load(&mut self, cell: Cell, address: Value) -> Typed {
        let flags = MemFlagsData::new();
        let value = match cell {
            Cell::U8 => self.b.ins().uload8(types::I64, flags, address, 0),
            Cell::I32 => self.b.ins().sload32(flags, address, 0),
            Cell::U32 => self.b.ins().uload32(flags, address, 0),
            Cell::I64 | Cell::F32 | Cell::F64 | Cell::F32x4 => {
                self.b.ins().load(ir_type(cell_type(cell)), flags, address, 0)
            }
        };
        (value, cell_type(cell))
    }

    fn expr(&mut self, expr: &Expr) -> Result<Typed, String> {
        Ok(match expr {
            Expr::Int(value) => (self.b.ins().iconst(types::I64, *value), Ty::Int),
            Expr::Float(value) => (self.b.ins().f64const(*value), Ty::F64),
            Expr::Text(text) => (self.text(text)?, Ty::Int),
            Expr::Data(name) => {
                let id = *self.globals.data.get(name).ok_or_else(|| format!("no data `{name}`"))?;
                (self.address(id), Ty::Int)
            }
            Expr::Function(name) => {
                let callee = self.globals.functions.get(name).ok_or_else(|| format!("no function `{name}`"))?;
                let reference = self.out.declare_func_in_func(callee.id, self.b.func);
                (self.b.ins().func_addr(types::I64, reference), Ty::Int)
            }
            Expr::Name(name) => match (self.variable(name), self.globals.constants.get(name)) {
                (Some((variable, ty)), _) => (self.b.use_var(variable), ty),
                (None, Some(&value)) => (self.b.ins().iconst(types::I64, value), Ty::Int),
                (None, None) => return Err(format!("no variable or constant `{name}`")),
            },
            Expr::Load(cell, address) => {
                let address = self.int(address)?;
                self.load(*cell, address)
            }
            Expr::Binary(op @ (Op::Both | Op::Either), left, right) => (self.short(*op, left, right)?, Ty::Int),
            Expr::Binary(op, left, right) => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                self.binary(*op, left, right)?
            }
            Expr::Call(name, args) => self.call(name, args)?,
        })
    }

    fn address(&mut self, data: DataId) -> Value {
        let global = self.out.declare_data_in_func(data, self.b.func);
        self.b.ins().symbol_value(types::I64, global)
    }

    fn text(&mut self, text: &str) -> Result<Value, String> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        let key = format!("\"{text}");
        let known = self.globals.data.get(&key).copied();
        let id = match known {
            Some(id) => id,
            None => {
                let name = format!("text.{}", self.globals.texts);
                self.globals.texts += 1;
                let id = self.out.declare_data(&name, Linkage::Local, false, false).map_err(|e| e.to_string())?;
                let mut data = DataDescription::new();
                data.define(bytes.into());
                self.out.define_data(id, &data).map_err(|e| e.to_string())?;
                self.globals.data.insert(key, id);
                id
            }
        };
        Ok(self.address(id))
    }

    fn short(&mut self, op: Op, left: &Expr, right: &Expr) -> Result<Value, String> {
        let result = self.b.declare_var(types::I64);
        let left = self.int(left)?;
        let truth = self.b.ins().icmp_imm_s(IntCC::NotEqual, left, 0);
        let truth = self.b.ins().uextend(types::I64, truth);
        self.b.def_var(result, truth);
        let [more, join] = [(); 2].map(|()| self.b.create_block());
        match op {
            Op::Both => self.b.ins().brif(truth, more, &[], join, &[]),
            _ => self.b.ins().brif(truth, join, &[], more, &[]),
        };
        self.b.switch_to_block(more);
        let right = self.int(right)?;
        let truth = self.b.ins().icmp_imm_s(IntCC::NotEqual, right, 0);
        let truth = self.b.ins().uextend(types::I64, truth);
        self.b.def_var(result, truth);
        self.b.ins().jump(join, &[]);
        self.b.switch_to_block(join);
        Ok(self.b.use_var(result))
    }

    fn binary(&mut self, op: Op, (l, ty): Typed, (r, other): Typed) -> Result<Typed, String> {
        if ty != other {
            return Err(format!("{op:?} of {ty:?} and {other:?}"));
        }
        let ints = [IntCC::Equal, IntCC::NotEqual, IntCC::SignedLessThan, IntCC::SignedLessThanOrEqual];
        let floats = [FloatCC::Equal, FloatCC::NotEqual, FloatCC::LessThan, FloatCC::LessThanOrEqual];
        let compared = match op {
            Op::Eq => Some((0, l, r)),
            Op::Ne => Some((1, l, r)),
            Op::Lt => Some((2, l, r)),
            Op::Le => Some((3, l, r)),
            Op::Gt => Some((2, r, l)),
            Op::Ge => Some((3, r, l)),
            _ => None,
        };
        if let Some((kind, l, r)) = compared {
            let bit = match ty {
                Ty::Int => self.b.ins().icmp(ints[kind], l, r),
                Ty::F32 | Ty::F64 => self.b.ins().fcmp(floats[kind], l, r),
                Ty::F32x4 => return Err("vectors are not compared".into()),
            };
            return Ok((self.b.ins().uextend(types::I64, bit), Ty::Int));
        }
        let value = match (op, ty) {
            (Op::Add, Ty::Int) => self.b.ins().iadd(l, r),
            (Op::Sub, Ty::Int) => self.b.ins().isub(l, r),
            (Op::Mul, Ty::Int) => self.b.ins().imul(l, r),
            (Op::Div, Ty::Int) => self.b.ins().sdiv(l, r),
            (Op::Rem, Ty::Int) => self.b.ins().srem(l, r),
            (Op::And, Ty::Int) => self.b.ins().band(l, r),
            (Op::Or, Ty::Int) => self.b.ins().bor(l, r),
            (Op::Xor, Ty::Int) => self.b.ins().bxor(l, r),
            (Op::Shl, Ty::Int) => self.b.ins().ishl(l, r),
            (Op::Shr, Ty::Int) => self.b.ins().ushr(l, r),
            (Op::Add, _) => self.b.ins().fadd(l, r),
            (Op::Sub, _) => self.b.ins().fsub(l, r),
            (Op::Mul, _) => self.b.ins().fmul(l, r),
            (Op::Div, _) => self.b.ins().fdiv(l, r),
            _ => return Err(format!("{op:?} of {ty:?}")),
        };
        Ok((value, ty))
    }

    fn call(&mut self, name: &str, args: &[Expr]) -> Result<Typed, String> {
        if let Some(result) = self.builtin(name, args)? {
            return Ok(result);
        }
        let callee = self.globals.functions.get(name).cloned().ok_or_else(|| format!("no function `{name}`"))?;
        if callee.params.len() != args.len() {
            return Err(format!("`{name}` takes {} values, not {}", callee.params.len(), args.len()));
        }
        let mut values = Vec::new();
        for (arg, ty) in args.iter().zip(&callee.params) {
            values.push(self.typed(arg, *ty)?);
        }
        let reference = self.out.declare_func_in_func(callee.id, self.b.func);
        let call = self.b.ins().call(reference, &values);
        let result = self.b.inst_results(call).first().copied();
        let result = result.ok_or_else(|| format!("`{name}` gives no value"))?;
        Ok((if callee.int { self.b.ins().sextend(types::I64, result) } else { result }, Ty::Int))
    }

    fn builtin(&mut self, name: &str, args: &[Expr]) -> Result<Option<Typed>, String> {
        let flags = MemFlagsData::new();
        Ok(Some(match (name, args) {
            ("stack", [size]) => {
                let bytes = match size {
                    Expr::Int(bytes) => Some(*bytes),
                    Expr::Name(name) => self.globals.constants.get(name).copied(),
                    _ => None,
                };
                let bytes = bytes.filter(|b| (0..1 << 16).contains(b)).ok_or("`stack` takes a small constant")?;
                let buffer = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes as u32, 4);
                let buffer = self.b.create_sized_stack_slot(buffer);
                (self.b.ins().stack_addr(types::I64, buffer, 0), Ty::Int)
            }
            ("call", [target, args @ ..]) => {
                let target = self.int(target)?;
                let values = args.iter().map(|a| self.int(a)).collect::<Result<Vec<_>, _>>()?;
                // What is called gives nothing.
                let mut signature = self.out.make_signature();
                signature.params.extend(args.iter().map(|_| AbiParam::new(types::I64)));
                let signature = self.b.import_signature(signature);
                self.b.ins().call_indirect(signature, target, &values);
                (self.b.ins().iconst(types::I64, 0), Ty::Int)
            }
            ("atomic_load", [address]) => {
                let address = self.int(address)?;
                (self.b.ins().atomic_load(types::I64, flags, address), Ty::Int)
            }
            ("atomic_store", [address, value]) => {
                let (address, value) = (self.int(address)?, self.int(value)?);
                self.b.ins().atomic_store(flags, value, address);
                (value, Ty::Int)
            }
            ("atomic_add", [address, value]) => {
                let (address, value) = (self.int(address)?, self.int(value)?);
                (self.b.ins().atomic_rmw(types::I64, flags, AtomicRmwOp::Add, address, value), Ty::Int)
            }
            ("atomic_cas", [address, expected, new]) => {
                let (address, expected, new) = (self.int(address)?, self.int(expected)?, self.int(new)?);
                (self.b.ins().atomic_cas(flags, address, expected, new), Ty::Int)
            }
            ("sqrt", [value]) => {
                let (value, ty) = self.expr(value)?;
                if ty == Ty::Int {
                    return Err("sqrt of an integer".into());
                }
                (self.b.ins().sqrt(value), ty)
            }
            ("splat", [value]) => {
                let value = self.typed(value, Ty::F32)?;
                (self.b.ins().splat(types::F32X4, value), Ty::F32x4)
            }
            ("f32", [value]) => match self.expr(value)? {
                (value, Ty::Int) => (self.b.ins().fcvt_from_sint(types::F32, value), Ty::F32),
                (value, Ty::F64) => (self.b.ins().fdemote(types::F32, value), Ty::F32),
                (value, Ty::F32) => (value, Ty::F32),
                (_, Ty::F32x4) => return Err("f32 of a vector".into()),
            },
            ("f64", [value]) => match self.expr(value)? {
                (value, Ty::Int) => (self.b.ins().fcvt_from_sint(types::F64, value), Ty::F64),
                (value, Ty::F32) => (self.b.ins().fpromote(types::F64, value), Ty::F64),
                (value, Ty::F64) => (value, Ty::F64),
                (_, Ty::F32x4) => return Err("f64 of a vector".into()),
            },
            _ => return Ok(None),
        }))
    }
}

fn cell_type(cell: Cell) -> Ty {
    match cell {
        Cell::U8 | Cell::I32 | Cell::U32 | Cell::I64 => Ty::Int,
        Cell::F32 => Ty::F32,
        Cell::F64 => Ty::F64,
        Cell::F32x4 => Ty::F32x4,
    }
}
