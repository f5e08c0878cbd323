//! Kernels: loops, index expressions and calls. Cranelift's optimiser hoists and folds what is written plainly here.

use crate::back::EmitError;
use crate::kernel::interp::scratch_offsets;
use crate::kernel::ir::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{FuncRef, Function, InstBuilder, MemFlagsData, Value, types};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::collections::HashMap;

/// Builds the body of `func` with the parameters `(buffers, vars, begin, end, scratch)`, whose signature is set.
/// `reference` declares a micro-kernel in it; the functions `around` it run before and behind all iterations.
pub(super) fn build(
    module: &Module,
    kernel: &Kernel,
    config: TargetFrontendConfig,
    (reference, around): (&mut dyn FnMut(MicroKernelId, &mut Function) -> FuncRef, Option<[FuncRef; 2]>),
    func: &mut Function,
    context: &mut FunctionBuilderContext,
) -> Result<(), EmitError> {
    let (var, body) = kernel.parallel().ok_or_else(gpu_only)?;
    let mut b = FunctionBuilder::new(func, context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let &[buffers, vars, begin, end, scratch] = b.block_params(entry) else { unreachable!("the signature has five") };
    let trusted = MemFlagsData::trusted().with_readonly();
    let pointer = |id: KBuffer| b.ins().load(types::I64, trusted, buffers, 8 * id.index() as i32);
    let pointers = kernel.buffers.keys().map(pointer).collect();
    let (offsets, _) = scratch_offsets(kernel.scratch.values().map(|s| (s.elem, s.len)));
    let scratch = offsets.iter().map(|&o| b.ins().iadd_imm_s(scratch, o as i64)).collect();
    let given = |id: KVar| id.is_given().then(|| b.ins().load(types::I64, trusted, vars, 8 * id.index() as i32));
    let known = kernel.vars.keys().map(given).collect();
    let natural = kernel.vars.keys().map(|v| v.is_given() || v == var).collect();
    let mut nest =
        Nest { b, module, kernel, reference, micro_kernels: HashMap::new(), pointers, scratch, vars: known, natural };
    around.iter().for_each(|[before, _]| _ = nest.b.ins().call(*before, &[]));
    nest.repeat(var, begin, end, body);
    around.iter().for_each(|[_, behind]| _ = nest.b.ins().call(*behind, &[]));
    nest.b.ins().return_(&[]);
    nest.b.finalize(config);
    Ok(())
}

fn gpu_only() -> EmitError {
    EmitError::Unsupported("GPU kernels do not run on a CPU".into())
}

struct Nest<'a, 'f> {
    b: FunctionBuilder<'f>,
    module: &'a Module,
    kernel: &'a Kernel,
    reference: &'a mut dyn FnMut(MicroKernelId, &mut Function) -> FuncRef,
    micro_kernels: HashMap<MicroKernelId, FuncRef>,
    pointers: PrimaryMap<KBuffer, Value>,
    scratch: PrimaryMap<KScratch, Value>,
    vars: PrimaryMap<KVar, Option<Value>>,
    /// Variables that are never negative.
    natural: PrimaryMap<KVar, bool>,
}

impl Nest<'_, '_> {
    fn block(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::For { var, begin, end, body, .. } => {
                    self.natural[*var] = begin.is_natural(&self.natural);
                    let (begin, end) = (self.expr(begin), self.expr(end));
                    self.repeat(*var, begin, end, body);
                }
                Stmt::If { condition, then, otherwise } => self.branch(condition, then, otherwise),
                Stmt::Call { micro_kernel, args } => self.call(*micro_kernel, args),
                Stmt::Barrier => unreachable!("the verifier lets no barrier pass in a CPU kernel"),
            }
        }
    }

    fn repeat(&mut self, var: KVar, begin: Value, end: Value, body: &[Stmt]) {
        let [head, inside, exit] = [(); 3].map(|()| self.b.create_block());
        let counter = self.b.append_block_param(head, types::I64);
        self.b.ins().jump(head, &[begin.into()]);
        self.b.switch_to_block(head);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, counter, end);
        self.b.ins().brif(more, inside, &[], exit, &[]);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        self.vars[var] = Some(counter);
        self.block(body);
        let next = self.b.ins().iadd_imm_s(counter, 1);
        self.b.ins().jump(head, &[next.into()]);
        self.b.seal_block(head);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
    }

    fn branch(&mut self, condition: &Expr, then: &[Stmt], otherwise: &[Stmt]) {
        let condition = self.expr(condition);
        let [yes, no, join] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(condition, yes, &[], no, &[]);
        for (block, body) in [(yes, then), (no, otherwise)] {
            self.b.switch_to_block(block);
            self.b.seal_block(block);
            self.block(body);
            self.b.ins().jump(join, &[]);
        }
        self.b.switch_to_block(join);
        self.b.seal_block(join);
    }

    fn call(&mut self, micro_kernel: MicroKernelId, args: &[Arg]) {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(match arg {
                Arg::Int(e) => self.expr(e),
                Arg::Pointer { memory, offset } => {
                    let base = match *memory {
                        Memory::Buffer(buffer) => self.pointers[buffer],
                        Memory::Scratch(scratch) => self.scratch[scratch],
                    };
                    let offset = self.expr(offset);
                    let bytes = self.b.ins().imul_imm_s(offset, self.kernel.elem(*memory).bytes() as i64);
                    self.b.ins().iadd(base, bytes)
                }
            });
        }
        let callee = match self.micro_kernels.get(&micro_kernel) {
            Some(&callee) => callee,
            None => {
                let callee = (self.reference)(micro_kernel, self.b.func);
                self.micro_kernels.insert(micro_kernel, callee);
                callee
            }
        };
        debug_assert_eq!(self.module.micro_kernels[micro_kernel].params.len(), values.len());
        self.b.ins().call(callee, &values);
    }

    fn expr(&mut self, expr: &Expr) -> Value {
        let (op, left, right) = match expr {
            Expr::Const(value) => return self.b.ins().iconst(types::I64, *value),
            Expr::Var(v) => return self.vars[*v].expect("the verifier checks scopes"),
            Expr::Binary(op, l, r) => (*op, l, r),
        };
        let natural = left.is_natural(&self.natural);
        let (l, r) = (self.expr(left), self.expr(right));
        match op {
            ExprOp::Add => self.b.ins().iadd(l, r),
            ExprOp::Sub => self.b.ins().isub(l, r),
            ExprOp::Mul => self.b.ins().imul(l, r),
            ExprOp::Min => self.b.ins().smin(l, r),
            ExprOp::Max => self.b.ins().smax(l, r),
            ExprOp::Lt => self.truth(IntCC::SignedLessThan, l, r),
            ExprOp::Eq => self.truth(IntCC::Equal, l, r),
            ExprOp::Div if natural => self.b.ins().udiv(l, r),
            ExprOp::Rem if natural => self.b.ins().urem(l, r),
            ExprOp::Div => {
                // Cranelift rounds towards zero: one less where something negative is left over.
                let (quotient, rest) = (self.b.ins().sdiv(l, r), self.b.ins().srem(l, r));
                let below = self.b.ins().sshr_imm_u(rest, 63);
                self.b.ins().iadd(quotient, below)
            }
            ExprOp::Rem => {
                let rest = self.b.ins().srem(l, r);
                let below = self.b.ins().sshr_imm_u(rest, 63);
                let correction = self.b.ins().band(below, r);
                self.b.ins().iadd(rest, correction)
            }
        }
    }

    fn truth(&mut self, condition: IntCC, l: Value, r: Value) -> Value {
        let bit = self.b.ins().icmp(condition, l, r);
        self.b.ins().uextend(types::I64, bit)
    }
}
