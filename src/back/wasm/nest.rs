//! Kernels: loops, index expressions and calls. Variables have 64 bits, as in the IR; only addresses are cut to 32.

use super::locals::Locals;
use crate::back::EmitError;
use crate::kernel::interp::scratch_offsets;
use crate::kernel::ir::*;
use wasm_encoder::{BlockType, Function, InstructionSink, ValType};

/// Types of a kernel's parameters: addresses of its buffers and of its scratch memory; batch, first and total, and how
/// many iterations its parallel loop has. Where threads share them, the first one and the end of a thread's part.
pub(super) fn params(kernel: &Kernel, shared: bool) -> Vec<ValType> {
    let addresses = kernel.buffers.len() + 1;
    [vec![ValType::I32; addresses], vec![ValType::I64; if shared { 5 } else { 4 }]].concat()
}

/// The function of a kernel; `callee` gives those of micro-kernels.
pub(super) fn function(
    kernel: &Kernel,
    shared: bool,
    callee: &dyn Fn(MicroKernelId) -> Result<u32, EmitError>,
) -> Result<Function, EmitError> {
    let gpu_only = || EmitError::Unsupported("GPU kernels do not run in WebAssembly".into());
    let (var, body) = kernel.parallel().ok_or_else(gpu_only)?;
    let buffers = kernel.buffers.len() as u32;
    let mut locals = Locals::new(params(kernel, shared));
    let given = |v: KVar| buffers + 1 + v.index() as u32;
    let mut var_local = |v: KVar| if v.is_given() { given(v) } else { locals.take(ValType::I64) };
    let vars = kernel.vars.keys().map(&mut var_local).collect();
    let natural = kernel.vars.keys().map(|v| v.is_given() || v == var).collect();
    let (scratch, _) = scratch_offsets(kernel.scratch.values().map(|s| (s.elem, s.len)));
    let mut nest = Nest { code: Vec::new(), kernel, callee, locals, vars, natural, scratch };
    if shared {
        nest.sink().local_get(buffers + 4);
    } else {
        nest.sink().i64_const(0);
    }
    nest.repeat(var, if shared { buffers + 5 } else { buffers + 4 }, body)?;
    let mut function = Function::new(nest.locals.runs());
    function.raw(nest.code);
    function.instructions().end();
    Ok(function)
}

struct Nest<'a> {
    code: Vec<u8>,
    kernel: &'a Kernel,
    callee: &'a dyn Fn(MicroKernelId) -> Result<u32, EmitError>,
    locals: Locals,
    /// A local for each variable.
    vars: PrimaryMap<KVar, u32>,
    /// Variables that are never negative.
    natural: PrimaryMap<KVar, bool>,
    /// Bytes from the start of scratch memory to each array.
    scratch: Vec<usize>,
}

impl Nest<'_> {
    fn sink(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    fn block(&mut self, body: &[Stmt]) -> Result<(), EmitError> {
        for stmt in body {
            match stmt {
                Stmt::For { var, begin, end, body, .. } => {
                    self.natural[*var] = begin.is_natural(&self.natural);
                    let last = self.locals.take(ValType::I64);
                    self.expr(end);
                    self.sink().local_set(last);
                    self.expr(begin);
                    self.repeat(*var, last, body)?;
                    self.locals.give(last);
                }
                Stmt::If { condition, then, otherwise } => {
                    self.truth(condition);
                    self.sink().if_(BlockType::Empty);
                    self.block(then)?;
                    if !otherwise.is_empty() {
                        self.sink().else_();
                        self.block(otherwise)?;
                    }
                    self.sink().end();
                }
                Stmt::Call { micro_kernel, args } => self.call(*micro_kernel, args)?,
                Stmt::Barrier => return Err(super::bug("a barrier in a kernel for processors")),
            }
        }
        Ok(())
    }

    /// Runs `body` for the variable from the number on the stack to that in the local `end`.
    fn repeat(&mut self, var: KVar, end: u32, body: &[Stmt]) -> Result<(), EmitError> {
        let counter = self.vars[var];
        self.sink().local_set(counter).block(BlockType::Empty).loop_(BlockType::Empty);
        self.sink().local_get(counter).local_get(end).i64_ge_s().br_if(1);
        self.block(body)?;
        self.sink().local_get(counter).i64_const(1).i64_add().local_set(counter).br(0).end().end();
        Ok(())
    }

    fn call(&mut self, micro_kernel: MicroKernelId, args: &[Arg]) -> Result<(), EmitError> {
        for arg in args {
            match arg {
                Arg::Int(e) => {
                    self.expr(e);
                    self.sink().i32_wrap_i64();
                }
                Arg::Pointer { memory, offset } => {
                    let (base, from) = match *memory {
                        Memory::Buffer(buffer) => (buffer.index(), 0),
                        Memory::Scratch(array) => (self.kernel.buffers.len(), self.scratch[array.index()]),
                    };
                    let bytes = offset.clone() * self.kernel.elem(*memory).bytes() + from;
                    self.sink().local_get(base as u32);
                    if bytes != Expr::Const(0) {
                        self.expr(&bytes);
                        self.sink().i32_wrap_i64().i32_add();
                    }
                }
            }
        }
        let callee = (self.callee)(micro_kernel)?;
        self.sink().call(callee);
        Ok(())
    }

    /// Puts 1 on the stack, as a number of 32 bits, where the expression is not 0; else 0.
    fn truth(&mut self, condition: &Expr) {
        match condition {
            Expr::Binary(ExprOp::Lt, l, r) => {
                self.expr(l);
                self.expr(r);
                self.sink().i64_lt_s();
            }
            Expr::Binary(ExprOp::Eq, l, r) => {
                self.expr(l);
                self.expr(r);
                self.sink().i64_eq();
            }
            _ => {
                self.expr(condition);
                self.sink().i64_const(0).i64_ne();
            }
        }
    }

    /// Puts the value of an expression on the stack.
    fn expr(&mut self, expr: &Expr) {
        let (op, left, right) = match expr {
            Expr::Const(value) => {
                self.sink().i64_const(*value);
                return;
            }
            Expr::Var(v) => {
                let local = self.vars[*v];
                self.sink().local_get(local);
                return;
            }
            Expr::Binary(ExprOp::Lt | ExprOp::Eq, ..) => {
                self.truth(expr);
                self.sink().i64_extend_i32_u();
                return;
            }
            Expr::Binary(op, l, r) => (*op, l, r),
        };
        let natural = left.is_natural(&self.natural);
        self.expr(left);
        self.expr(right);
        match op {
            ExprOp::Add => _ = self.sink().i64_add(),
            ExprOp::Sub => _ = self.sink().i64_sub(),
            ExprOp::Mul => _ = self.sink().i64_mul(),
            ExprOp::Div if natural => _ = self.sink().i64_div_u(),
            ExprOp::Rem if natural => _ = self.sink().i64_rem_u(),
            ExprOp::Min | ExprOp::Max | ExprOp::Div | ExprOp::Rem => self.twice(op),
            ExprOp::Lt | ExprOp::Eq => unreachable!("returned above"),
        }
    }

    /// Operators that read their operands, which are on the stack, more than once.
    fn twice(&mut self, op: ExprOp) {
        let [l, r] = [(); 2].map(|()| self.locals.take(ValType::I64));
        let mut out = InstructionSink::new(&mut self.code);
        out.local_set(r).local_set(l);
        match op {
            ExprOp::Min => _ = out.local_get(l).local_get(r).local_get(l).local_get(r).i64_lt_s().select(),
            ExprOp::Max => _ = out.local_get(l).local_get(r).local_get(l).local_get(r).i64_gt_s().select(),
            // Division rounds towards zero: one less where something negative is left over.
            ExprOp::Div => {
                out.local_get(l).local_get(r).i64_div_s();
                out.local_get(l).local_get(r).i64_rem_s().i64_const(63).i64_shr_s().i64_add();
            }
            _ => {
                out.local_get(l).local_get(r).i64_rem_s().local_tee(l);
                out.local_get(l).i64_const(63).i64_shr_s().local_get(r).i64_and().i64_add();
            }
        }
        [l, r].into_iter().for_each(|local| self.locals.give(local));
    }
}
