//! Micro-kernels: control flow, addresses, and which locals hold which values. The work on lanes is in `lanes` and
//! `scalars`, on memory in `memory`.
//!
//! A value takes over the local of an operand that dies with it, and a loop's parameters and results share theirs, so
//! that the sums of a register tile stay where they are.

use super::locals::Locals;
use super::{Features, lanes};
use crate::back::EmitError;
use crate::back::pointers::{Key, keys, without};
use crate::kernel::ir::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use wasm_encoder::{BlockType, Function, InstructionSink, ValType};

pub(super) struct Gen<'a> {
    /// The code so far.
    pub code: Vec<u8>,
    /// Its source.
    pub micro_kernel: &'a MicroKernel,
    /// What the engine has.
    pub features: Features,
    /// All locals of the function.
    pub locals: Locals,
    /// The locals that hold each value: one for each lane of 1 or 2, one for each four of more.
    pub values: PrimaryMap<Val, Vec<u32>>,
    /// Values whose lanes are all the same.
    pub uniform: HashSet<Val>,
    /// Integers that all lanes of a value hold.
    pub constants: HashMap<Val, i32>,
    /// Locals that hold constant vectors from the start, by their words: engines would make them anew where they are
    /// used, in every iteration.
    vectors: BTreeMap<[u32; 4], u32>,
    vars: PrimaryMap<Var, u32>,
    /// Pointers at hand, a map for each open loop (they die with it).
    pointers: Vec<HashMap<Key, u32>>,
}

/// Types of a micro-kernel's parameters: addresses, and integers cut to 32 bits, which all are that matter to a memory
/// of 4 GiB.
pub(super) fn params(micro_kernel: &MicroKernel) -> Vec<ValType> {
    vec![ValType::I32; micro_kernel.params.len()]
}

/// The function of a micro-kernel.
pub(super) fn function(micro_kernel: &MicroKernel, features: Features) -> Result<Function, EmitError> {
    if micro_kernel.has_tiles() {
        return Err(EmitError::Unsupported("WebAssembly has no tiles".into()));
    }
    let mut locals = Locals::new(params(micro_kernel));
    let given = micro_kernel.params.iter().filter_map(|(id, param)| match param {
        MicroKernelParam::Int { var, .. } => Some((*var, id.index() as u32)),
        MicroKernelParam::Pointer { .. } => None,
    });
    let given: HashMap<Var, u32> = given.collect();
    let local = |var| given.get(&var).copied().unwrap_or_else(|| locals.take(ValType::I32));
    let vars = micro_kernel.vars.keys().map(local).collect();
    let values = micro_kernel.values.keys().map(|_| Vec::new()).collect();
    let (code, uniform, pointers) = (Vec::new(), HashSet::new(), vec![HashMap::new()]);
    let (constants, vectors) = (HashMap::new(), BTreeMap::new());
    let mut generator =
        Gen { code, micro_kernel, features, locals, values, uniform, constants, vectors, vars, pointers };
    generator.constant_vectors();
    generator.block(&micro_kernel.body, &[], &[]);
    let mut function = Function::new(generator.locals.runs());
    function.raw(generator.code);
    function.instructions().end();
    Ok(function)
}

/// Says how a value is held: the type of its locals, and how many there are.
pub(super) fn piece_type(ty: Ty) -> (ValType, usize) {
    match (ty.elem, ty.lanes) {
        (_, 4..) => (ValType::V128, ty.lanes as usize / 4),
        (Elem::F32, lanes) => (ValType::F32, lanes as usize),
        (_, lanes) => (ValType::I32, lanes as usize),
    }
}

impl Gen<'_> {
    /// Where instructions go.
    pub fn sink(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    /// Returns the type of a value.
    pub fn ty(&self, value: Val) -> Ty {
        self.micro_kernel.values[value]
    }

    /// Gives all constant vectors of the micro-kernel their locals.
    fn constant_vectors(&mut self) {
        for inst in self.micro_kernel.instructions() {
            let Inst::Let { result, op } = inst else { continue };
            let Some(pieces) = self.constant_words(*result, op) else { continue };
            for words in pieces {
                let local = match self.vectors.get(&words) {
                    Some(&local) => local,
                    None => {
                        let local = self.locals.take(ValType::V128);
                        self.sink().v128_const(lanes::words(words)).local_set(local);
                        self.vectors.insert(words, local);
                        local
                    }
                };
                self.values[*result].push(local);
            }
            if let Op::ConstI32 { value, .. } = op {
                self.constants.insert(*result, *value);
            }
        }
    }

    /// The words of each vector of a constant; `None` for other operations, and for scalars.
    fn constant_words(&self, result: Val, op: &Op) -> Option<Vec<[u32; 4]>> {
        let (ValType::V128, pieces) = piece_type(self.ty(result)) else { return None };
        let piece = |piece: u32| {
            let words = [0, 1, 2, 3].map(|lane| lanes::constant(op, 4 * piece + lane));
            words.iter().all(Option::is_some).then(|| words.map(Option::unwrap_or_default))
        };
        (0..pieces as u32).map(piece).collect()
    }

    /// Does a constant's local hold the value?
    fn is_constant(&self, value: Val) -> bool {
        self.values[value].first().is_some_and(|local| self.vectors.values().any(|constant| constant == local))
    }

    /// Takes locals for a value.
    fn take(&mut self, value: Val) -> Vec<u32> {
        let (ty, count) = piece_type(self.ty(value));
        (0..count).map(|_| self.locals.take(ty)).collect()
    }

    /// Emits a body whose values `params` are there already; `next` is read at its end.
    fn block(&mut self, body: &[Inst], params: &[Val], next: &[Val]) {
        let deaths = deaths(body, params, next);
        for (inst, deaths) in body.iter().zip(deaths) {
            let taken = match inst {
                Inst::Let { result, op } if self.constant_words(*result, op).is_some() => vec![],
                Inst::Let { result, op } => {
                    let taken = self.place(*result, op, &deaths);
                    self.op(*result, op);
                    taken
                }
                Inst::Store { to, value, count } => {
                    self.store(to, *value, *count);
                    vec![]
                }
                Inst::StoreTile { .. } => unreachable!("`function` lets no tiles pass"),
                // WebAssembly cannot prefetch.
                Inst::Prefetch { .. } => vec![],
                Inst::Loop { var, count, init, params, body, next, results } => {
                    self.repeat(*var, count, [init, params, next, results], body, &deaths)
                }
            };
            for value in deaths.into_iter().filter(|v| !taken.contains(v)) {
                if self.is_constant(value) {
                    continue;
                }
                let locals = std::mem::take(&mut self.values[value]);
                locals.into_iter().for_each(|local| self.locals.give(local));
            }
        }
    }

    /// Finds locals for the result of an operation: those of an operand that dies, if lane after lane depends on the
    /// same lane only, a sum before others. Returns the operand.
    fn place(&mut self, result: Val, op: &Op, deaths: &[Val]) -> Vec<Val> {
        let lanewise = !matches!(op, Op::Zip { .. } | Op::Reduce { .. } | Op::Splat { .. });
        let kind = piece_type(self.ty(result));
        let mut operands: Vec<Val> = op.operands().collect();
        if matches!(op, Op::Fma { .. }) {
            operands.reverse();
        }
        let dies = |v: &Val| deaths.contains(v) && !self.is_constant(*v);
        let fits = |v: &Val| lanewise && dies(v) && piece_type(self.ty(*v)) == kind;
        let heir = operands.into_iter().find(fits);
        self.values[result] = match heir {
            Some(operand) => self.values[operand].clone(),
            None => self.take(result),
        };
        heir.into_iter().collect()
    }

    /// Copies the locals of values to others, all at once.
    fn copy(&mut self, pairs: &[(Vec<u32>, Vec<u32>)]) {
        let pairs = pairs.iter().flat_map(|(from, to)| from.iter().copied().zip(to.iter().copied()));
        let moves: Vec<(u32, u32)> = pairs.filter(|(from, to)| from != to).collect();
        let mut out = InstructionSink::new(&mut self.code);
        moves.iter().for_each(|&(from, _)| _ = out.local_get(from));
        moves.iter().rev().for_each(|&(_, to)| _ = out.local_set(to));
    }

    /// Emits a loop that tests at the end of each iteration, and before the first one unless the count is a constant.
    /// Returns those of the dying values whose locals live on.
    fn repeat(
        &mut self,
        var: Var,
        count: &Index,
        [init, params, next, results]: [&[Val]; 4],
        body: &[Inst],
        deaths: &[Val],
    ) -> Vec<Val> {
        let mut used = HashSet::new();
        body.iter().for_each(|inst| uses(inst, &mut used));
        used.extend(next);
        let (mut taken, mut copies) = (Vec::new(), Vec::new());
        for (&from, &to) in init.iter().zip(params) {
            let free = !used.contains(&from) && !taken.contains(&from) && !self.is_constant(from);
            if deaths.contains(&from) && free {
                taken.push(from);
                self.values[to] = self.values[from].clone();
            } else {
                self.values[to] = self.take(to);
                copies.push((self.values[from].clone(), self.values[to].clone()));
            }
        }
        self.copy(&copies);
        let carried: Vec<Vec<u32>> = params.iter().map(|&p| self.values[p].clone()).collect();
        if count.constant().is_none_or(|count| count > 0) {
            self.iterate(var, count, body, [params, next]);
        }
        results.iter().zip(carried).for_each(|(&result, locals)| self.values[result] = locals);
        taken
    }

    /// Emits the iterations of a loop whose parameters have their first values.
    fn iterate(&mut self, var: Var, count: &Index, body: &[Inst], [params, next]: [&[Val]; 2]) {
        let mark = self.locals.mark();
        let counter = self.vars[var];
        let constant = count.constant();
        let end = constant.is_none().then(|| self.locals.take(ValType::I32));
        self.pointers.push(HashMap::new());
        let moving = self.moving(body, var);
        self.sink().i32_const(0).local_set(counter);
        if let Some(end) = end {
            self.index(count);
            self.sink().local_tee(end).i32_const(0).i32_gt_s().if_(BlockType::Empty);
        }
        let repeats = constant != Some(1);
        if repeats {
            self.sink().loop_(BlockType::Empty);
        }
        let carried: Vec<Vec<u32>> = params.iter().map(|&p| self.values[p].clone()).collect();
        self.block(body, params, next);
        let last: Vec<_> = next.iter().zip(carried).map(|(&v, to)| (self.values[v].clone(), to)).collect();
        self.copy(&last);
        if repeats {
            let mut out = InstructionSink::new(&mut self.code);
            for (pointer, step) in moving {
                out.local_get(pointer).i32_const(step as i32).i32_add().local_set(pointer);
            }
            out.local_get(counter).i32_const(1).i32_add().local_tee(counter);
            match (end, constant) {
                (Some(end), _) => _ = out.local_get(end),
                (None, count) => _ = out.i32_const(count.unwrap_or(0) as i32),
            }
            out.i32_lt_s().br_if(0).end();
        }
        if end.is_some() {
            self.sink().end();
        }
        self.pointers.pop();
        self.locals.return_to(mark);
    }

    /// Computes the pointers that a loop's body needs at its start; returns those that advance, with their steps in
    /// bytes.
    fn moving(&mut self, body: &[Inst], var: Var) -> Vec<(u32, i64)> {
        let mut moving = Vec::new();
        for key in keys(body, var) {
            let start = self.pointer(&without(&key, var));
            let Some(step) = key.1.iter().find(|t| t.0 == var).map(|t| t.1) else { continue };
            let pointer = self.locals.take(ValType::I32);
            self.sink().local_get(start).local_set(pointer);
            moving.push((pointer, step * self.elem(key.0).bytes() as i64));
            self.pointers.last_mut().expect("pushed for the loop").insert(key, pointer);
        }
        moving
    }

    /// Puts an index on the stack, cut to 32 bits.
    pub fn index(&mut self, index: &Index) {
        self.sink().i32_const(index.offset as i32);
        for &(var, c) in &index.terms {
            let local = self.vars[var];
            self.sink().local_get(local).i32_const(c as i32).i32_mul().i32_add();
        }
    }

    /// Returns the type of the elements behind a pointer parameter.
    pub fn elem(&self, param: Param) -> Elem {
        self.micro_kernel.params[param].elem().expect("the verifier wants a pointer here")
    }

    /// Returns a local that holds a pointer.
    fn pointer(&mut self, key: &Key) -> u32 {
        if let Some(found) = self.pointers.iter().rev().find_map(|map| map.get(key)) {
            return *found;
        }
        let Some(&(var, c)) = key.1.last() else { return key.0.index() as u32 };
        let rest = self.pointer(&without(key, var));
        let bytes = c * self.elem(key.0).bytes() as i64;
        let (pointer, var) = (self.locals.take(ValType::I32), self.vars[var]);
        let mut out = InstructionSink::new(&mut self.code);
        out.local_get(rest).local_get(var).i32_const(bytes as i32).i32_mul().i32_add().local_set(pointer);
        self.pointers.last_mut().expect("the micro-kernel's own map").insert(key.clone(), pointer);
        pointer
    }

    /// Returns a local and a constant offset in bytes for an address; offsets of instructions are not negative.
    pub fn address(&mut self, address: &Address) -> Place {
        let pointer = self.pointer(&(address.base, address.index.terms.clone()));
        Place { pointer, offset: address.index.offset * self.elem(address.base).bytes() as i64 }
    }
}

/// A place in memory: bytes behind a pointer.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The pointer's local.
    pub pointer: u32,
    /// Bytes between the pointer and it.
    pub offset: i64,
}

/// Adds all values that an instruction reads, those inside of it included.
fn uses(inst: &Inst, used: &mut HashSet<Val>) {
    for inst in instructions(std::slice::from_ref(inst)) {
        match inst {
            Inst::Let { op, .. } => used.extend(op.operands()),
            Inst::Store { value, .. } | Inst::StoreTile { value, .. } => _ = used.insert(*value),
            Inst::Prefetch { .. } => {}
            Inst::Loop { init, next, .. } => used.extend(init.iter().chain(next)),
        }
    }
}

/// For each instruction of a body, the values of this body that nothing reads behind it.
fn deaths(body: &[Inst], params: &[Val], next: &[Val]) -> Vec<Vec<Val>> {
    let mut alive: HashSet<Val> = next.iter().copied().collect();
    let mut own: HashSet<Val> = params.iter().copied().collect();
    for inst in body {
        match inst {
            Inst::Let { result, .. } => _ = own.insert(*result),
            Inst::Loop { results, .. } => own.extend(results),
            _ => {}
        }
    }
    let mut deaths: Vec<Vec<Val>> = Vec::with_capacity(body.len());
    for inst in body.iter().rev() {
        let mut used = HashSet::new();
        uses(inst, &mut used);
        match inst {
            Inst::Let { result, .. } => _ = used.insert(*result),
            Inst::Loop { results, .. } => used.extend(results),
            _ => {}
        }
        let mut dying: Vec<Val> = used.into_iter().filter(|v| own.contains(v) && alive.insert(*v)).collect();
        // A set has no order, and the same input gives the same bytes.
        dying.sort_unstable();
        deaths.push(dying);
    }
    deaths.reverse();
    deaths
}
