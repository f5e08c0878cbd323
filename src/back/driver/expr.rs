//! Expressions of the driver language to Cranelift.

use super::ast::*;
use super::emit::{Body, Typed, ir_type};
use super::error::Fault;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    AbiParam, AtomicRmwOp, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Value, types,
};
use cranelift_module::{DataDescription, DataId, Linkage, Module};

impl<M: Module> Body<'_, '_, M> {
    pub(super) fn typed(&mut self, expr: &Expr, wanted: Ty) -> Result<Value, Fault> {
        let (value, ty) = self.expr(expr)?;
        if ty == wanted { Ok(value) } else { Err(format!("{ty:?} where {wanted:?} is wanted").into()) }
    }

    pub(super) fn int(&mut self, expr: &Expr) -> Result<Value, Fault> {
        self.typed(expr, Ty::Int)
    }

    pub(super) fn store(&mut self, cell: Cell, address: Value, value: Value) {
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

    pub(super) fn expr(&mut self, expr: &Expr) -> Result<Typed, Fault> {
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
                (None, None) => return Err(format!("no variable or constant `{name}`").into()),
            },
            Expr::Load(cell, address) => {
                let address = self.int(address)?;
                self.load(*cell, address)
            }
            Expr::Binary(op @ (Op::Both | Op::Either), left, right) => (self.short_circuit(*op, left, right)?, Ty::Int),
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

    fn text(&mut self, text: &str) -> Result<Value, Fault> {
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

    /// Emits `&&` and `||`: the right side is evaluated only where the left one does not decide.
    fn short_circuit(&mut self, op: Op, left: &Expr, right: &Expr) -> Result<Value, Fault> {
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

    fn binary(&mut self, op: Op, (l, ty): Typed, (r, other): Typed) -> Result<Typed, Fault> {
        if ty != other {
            return Err(format!("{op:?} of {ty:?} and {other:?}").into());
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
            _ => return Err(format!("{op:?} of {ty:?}").into()),
        };
        Ok((value, ty))
    }

    fn call(&mut self, name: &str, args: &[Expr]) -> Result<Typed, Fault> {
        if let Some(result) = self.builtin(name, args)? {
            return Ok(result);
        }
        let callee = self.globals.functions.get(name).cloned().ok_or_else(|| format!("no function `{name}`"))?;
        if callee.params.len() != args.len() {
            return Err(format!("`{name}` takes {} values, not {}", callee.params.len(), args.len()).into());
        }
        let mut values = Vec::new();
        for (arg, ty) in args.iter().zip(&callee.params) {
            values.push(self.typed(arg, *ty)?);
        }
        let reference = self.out.declare_func_in_func(callee.id, self.b.func);
        self.b.func.dfg.ext_funcs[reference].colocated |= callee.near;
        let call = self.b.ins().call(reference, &values);
        let result = self.b.inst_results(call).first().copied();
        let result = result.ok_or_else(|| format!("`{name}` gives no value"))?;
        Ok((if callee.int { self.b.ins().sextend(types::I64, result) } else { result }, Ty::Int))
    }

    /// Emits a function of the language itself; `None` if `name` is not one.
    fn builtin(&mut self, name: &str, args: &[Expr]) -> Result<Option<Typed>, Fault> {
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
                // What is called returns nothing.
                let mut signature = self.out.make_signature();
                signature.params.extend(args.iter().map(|_| AbiParam::new(types::I64)));
                let signature = self.b.import_signature(signature);
                self.b.ins().call_indirect(signature, target, &values);
                (self.b.ins().iconst(types::I64, 0), Ty::Int)
            }
            _ if name.starts_with("atomic_") => return self.atomic(name, args),
            _ => return self.arithmetic(name, args),
        }))
    }

    /// Emits an access to a word that several threads use.
    fn atomic(&mut self, name: &str, args: &[Expr]) -> Result<Option<Typed>, Fault> {
        let flags = MemFlagsData::new();
        Ok(Some(match (name, args) {
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
            _ => return Ok(None),
        }))
    }

    /// Emits conversions between numbers, and their roots.
    fn arithmetic(&mut self, name: &str, args: &[Expr]) -> Result<Option<Typed>, Fault> {
        Ok(Some(match (name, args) {
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

pub(super) fn cell_type(cell: Cell) -> Ty {
    match cell {
        Cell::U8 | Cell::I32 | Cell::U32 | Cell::I64 => Ty::Int,
        Cell::F32 => Ty::F32,
        Cell::F64 => Ty::F64,
        Cell::F32x4 => Ty::F32x4,
    }
}
