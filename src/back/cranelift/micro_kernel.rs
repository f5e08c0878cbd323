//! Micro-kernels: control flow and addresses. The work on lanes is in `lanes`, on memory in `memory`.
//!
//! Nothing optimises this code later, so addresses are strength-reduced here: all accesses that differ by a constant
//! only share one pointer; a pointer that moves with a loop is carried by it and advanced by a constant; one that does
//! not is computed in front of it.

use super::emit::MicroKernelOptions;
use super::neighbours::Neighbours;
use crate::back::pointers::{Key, keys, without};
use crate::kernel::ir::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, Function, InstBuilder, Type, Value, types};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::collections::HashMap;

/// A value: scalars for 1 or 2 lanes, vectors of 128 bits for more where the processor has them. A scalar mask is an
/// i8 (1 or 0), a vector mask all ones or zero in each lane.
pub(super) type Pieces = Vec<Value>;

pub(super) struct Gen<'a, 'f> {
    /// The function that is built.
    pub b: FunctionBuilder<'f>,
    /// Its source.
    pub micro_kernel: &'a MicroKernel,
    /// What the processor has.
    pub options: &'a MicroKernelOptions,
    /// Scalars or vectors of four lanes that together hold each value.
    pub values: PrimaryMap<Val, Pieces>,
    /// The scalar that all lanes of a value hold, where that is known.
    pub uniform: HashMap<Val, Value>,
    /// Broadcasts of neighbours in memory, which one load brings where multiply-adds take a lane as a factor.
    pub neighbours: Neighbours,
    params: PrimaryMap<Param, Value>,
    vars: PrimaryMap<Var, Option<Value>>,
    /// Pointers at hand, a map for each open loop (they die with it).
    pointers: Vec<HashMap<Key, Value>>,
}

/// Builds the body of `func`, whose signature is set.
pub(super) fn build(
    micro_kernel: &MicroKernel,
    options: &MicroKernelOptions,
    isa: &dyn TargetIsa,
    func: &mut Function,
    context: &mut FunctionBuilderContext,
) {
    let mut b = FunctionBuilder::new(func, context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let params: PrimaryMap<Param, Value> = b.block_params(entry).iter().copied().collect();
    let mut vars: PrimaryMap<Var, Option<Value>> = micro_kernel.vars.keys().map(|_| None).collect();
    for (id, param) in &micro_kernel.params {
        if let MicroKernelParam::Int { var, .. } = param {
            vars[*var] = Some(params[id]);
        }
    }
    let values = micro_kernel.values.keys().map(|_| Vec::new()).collect();
    let pointers = vec![HashMap::new()];
    let (uniform, neighbours) = (HashMap::new(), Neighbours::default());
    let mut generator = Gen { b, micro_kernel, options, values, uniform, neighbours, params, vars, pointers };
    generator.block(&micro_kernel.body);
    generator.b.ins().return_(&[]);
    generator.b.finalize(isa.frontend_config());
}

impl Gen<'_, '_> {
    /// Is a value of this type made of vectors?
    pub fn is_wide(&self, ty: Ty) -> bool {
        self.options.vectors && ty.lanes >= 4
    }

    /// Returns the type of a value's pieces, and how many there are.
    pub fn piece_type(&self, ty: Ty) -> (Type, usize) {
        let vector = self.is_wide(ty);
        let piece = match (ty.elem, vector) {
            (Elem::F32, false) => types::F32,
            (Elem::F32, true) => types::F32X4,
            (Elem::Mask, false) => types::I8,
            (_, false) => types::I32,
            (_, true) => types::I32X4,
        };
        (piece, if vector { ty.lanes as usize / 4 } else { ty.lanes as usize })
    }

    /// Returns the type of a value.
    pub fn ty(&self, value: Val) -> Ty {
        self.micro_kernel.values[value]
    }

    /// Returns the vectors that hold a value.
    pub fn pieces(&self, value: Val) -> Pieces {
        self.values[value].clone()
    }

    fn block(&mut self, body: &[Inst]) {
        if self.options.by_lane {
            self.neighbours = Neighbours::of(body, |param| self.elem(param));
        }
        for inst in body {
            match inst {
                Inst::Let { result, op } => self.values[*result] = self.op(*result, op),
                Inst::Store { to, value, count } => self.store(to, *value, *count),
                Inst::StoreTile { .. } => unreachable!("`emit` lets no tiles pass"),
                // Cranelift has no instruction for it.
                Inst::Prefetch { .. } => {}
                Inst::Loop { var, count, init, params, body, next, results } => {
                    let iterations = count.constant();
                    if iterations == Some(1) {
                        self.once(*var, [init, params, next, results], body);
                    } else if iterations.is_some_and(|r| r <= 0) {
                        self.copy(init, results);
                    } else {
                        self.repeat(*var, count, [init, params, next, results], body);
                    }
                }
            }
        }
    }

    fn copy(&mut self, from: &[Val], to: &[Val]) {
        for (f, t) in from.iter().zip(to) {
            self.values[*t] = self.pieces(*f);
        }
    }

    /// Emits a loop of one iteration, which needs no blocks.
    fn once(&mut self, var: Var, [init, params, next, results]: [&[Val]; 4], body: &[Inst]) {
        self.copy(init, params);
        self.vars[var] = Some(self.b.ins().iconst(types::I64, 0));
        self.pointers.push(HashMap::new());
        for key in keys(body, var) {
            if key.1.iter().any(|t| t.0 == var) {
                let fixed = self.pointer(&without(&key, var));
                self.pointers.last_mut().expect("pushed above").insert(key, fixed);
            }
        }
        self.block(body);
        self.pointers.pop();
        self.copy(next, results);
    }

    /// Emits a loop that tests at the end of each iteration, and before the first one unless the count is a constant.
    fn repeat(&mut self, var: Var, count: &Index, [init, params, next, results]: [&[Val]; 4], body: &[Inst]) {
        let end = self.index(count);
        let mut moving = Vec::new();
        for key in keys(body, var) {
            let step = key.1.iter().find(|t| t.0 == var).map(|t| t.1);
            let start = self.pointer(&without(&key, var));
            if let Some(step) = step {
                moving.push((key.clone(), start, step * self.elem(key.0).bytes() as i64));
            }
        }
        let head = self.b.create_block();
        let exit = self.b.create_block();
        let mut enter = Vec::new();
        for &v in init {
            enter.extend(self.values[v].iter().map(|&p| BlockArg::from(p)));
        }
        let leave = enter.clone();
        let zero = self.b.ins().iconst(types::I64, 0);
        enter.push(zero.into());
        enter.extend(moving.iter().map(|m| BlockArg::from(m.1)));
        if count.constant().is_some() {
            self.b.ins().jump(head, &enter);
        } else {
            let some = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, end, 0);
            self.b.ins().brif(some, head, &enter, exit, &leave);
        }

        self.receive(head, params);
        self.receive(exit, results);
        let counter = self.b.append_block_param(head, types::I64);
        self.vars[var] = Some(counter);
        let pointers: Vec<Value> = moving.iter().map(|_| self.b.append_block_param(head, types::I64)).collect();
        self.pointers.push(moving.iter().map(|m| m.0.clone()).zip(pointers.iter().copied()).collect());
        self.b.switch_to_block(head);
        self.block(body);
        self.pointers.pop();

        let mut again = Vec::new();
        for &v in next {
            again.extend(self.values[v].iter().map(|&p| BlockArg::from(p)));
        }
        let done = again.clone();
        let counter = self.b.ins().iadd_imm_s(counter, 1);
        again.push(counter.into());
        for (pointer, (_, _, step)) in pointers.iter().zip(&moving) {
            again.push(self.b.ins().iadd_imm_s(*pointer, *step).into());
        }
        let more = self.b.ins().icmp(IntCC::SignedLessThan, counter, end);
        self.b.ins().brif(more, head, &again, exit, &done);
        self.b.seal_block(head);
        self.b.seal_block(exit);
        self.b.switch_to_block(exit);
    }

    /// Makes `values` parameters of a block.
    fn receive(&mut self, block: cranelift_codegen::ir::Block, values: &[Val]) {
        for &v in values {
            let (ty, count) = self.piece_type(self.ty(v));
            self.values[v] = (0..count).map(|_| self.b.append_block_param(block, ty)).collect();
        }
    }

    /// Emits an index as a 64-bit integer.
    pub fn index(&mut self, index: &Index) -> Value {
        let mut sum = None;
        for &(var, c) in &index.terms {
            let v = self.vars[var].expect("the verifier checks scopes");
            let term = if c == 1 { v } else { self.b.ins().imul_imm_s(v, c) };
            sum = Some(sum.map_or(term, |s| self.b.ins().iadd(s, term)));
        }
        match sum {
            None => self.b.ins().iconst(types::I64, index.offset),
            Some(s) if index.offset == 0 => s,
            Some(s) => self.b.ins().iadd_imm_s(s, index.offset),
        }
    }

    /// Returns the type of the elements behind a pointer parameter.
    pub fn elem(&self, param: Param) -> Elem {
        self.micro_kernel.params[param].elem().expect("the verifier wants a pointer here")
    }

    fn pointer(&mut self, key: &Key) -> Value {
        if let Some(found) = self.pointers.iter().rev().find_map(|map| map.get(key)) {
            return *found;
        }
        let Some(&(var, c)) = key.1.last() else { return self.params[key.0] };
        let rest = self.pointer(&without(key, var));
        let v = self.vars[var].expect("the verifier checks scopes");
        let bytes = c * self.elem(key.0).bytes() as i64;
        let term = if bytes == 1 { v } else { self.b.ins().imul_imm_s(v, bytes) };
        let pointer = self.b.ins().iadd(rest, term);
        self.pointers.last_mut().expect("the micro_kernel's own map").insert(key.clone(), pointer);
        pointer
    }

    /// Emits a pointer and a constant offset in bytes for an address.
    pub fn address(&mut self, address: &Address) -> (Value, i32) {
        let pointer = self.pointer(&(address.base, address.index.terms.clone()));
        let offset = address.index.offset * self.elem(address.base).bytes() as i64;
        // Room for the lanes of one access.
        if (i64::from(i32::MIN)..i64::from(i32::MAX) - 256).contains(&offset) {
            (pointer, offset as i32)
        } else {
            (self.b.ins().iadd_imm_s(pointer, offset), 0)
        }
    }
}
