//! Checks one micro-kernel. The list of invariants is in the parent module.

use crate::kernel::ir::*;

pub(super) fn check(micro_kernel: &MicroKernel) -> Vec<String> {
    let mut check = Check {
        micro_kernel,
        errors: Vec::new(),
        values: micro_kernel.values.keys().map(|_| State::Undefined).collect(),
        vars: micro_kernel.vars.keys().map(|_| State::Undefined).collect(),
        next_var: 0,
    };
    check.params();
    check.warp_cooperative();
    check.block(&micro_kernel.body);
    let undefined = check.values.iter().filter(|(_, state)| **state == State::Undefined);
    check.errors.extend(undefined.map(|(value, _)| format!("{value} has no definition")));
    if check.next_var != micro_kernel.vars.len() {
        check.errors.push(format!("{} variables are named, {} are defined", micro_kernel.vars.len(), check.next_var));
    }
    check.errors
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Undefined,
    Visible,
    /// Defined inside a loop that has ended.
    Ended,
}

struct Check<'a> {
    micro_kernel: &'a MicroKernel,
    errors: Vec<String>,
    values: PrimaryMap<Val, State>,
    vars: PrimaryMap<Var, State>,
    next_var: usize,
}

impl Check<'_> {
    fn error(&mut self, message: String) {
        self.errors.push(message);
    }

    /// Checks that a product of 32 items has three pointers to float32, and whole tiles.
    fn warp_cooperative(&mut self) {
        let Some(t) = self.micro_kernel.warp_cooperative else { return };
        let float = |p: &MicroKernelParam| matches!(p, MicroKernelParam::Pointer { elem: Elem::F32, .. });
        let pointers = self.micro_kernel.params.len() == 3 && self.micro_kernel.params.values().all(float);
        let whole = t.rows > 0 && t.columns > 0 && t.depth > 0 && t.depth.is_multiple_of(16);
        if !pointers || !whole {
            self.error("not a product that 32 items can compute together".into());
        }
    }

    fn params(&mut self) {
        if self.micro_kernel.params.len() > 6 {
            self.error(format!("{} parameters, at most 6 travel in registers", self.micro_kernel.params.len()));
        }
        for (id, param) in &self.micro_kernel.params {
            match param {
                MicroKernelParam::Pointer { elem: Elem::Mask, name, .. } => {
                    self.error(format!("{name}: masks are never in memory"))
                }
                MicroKernelParam::Pointer { .. } => {}
                MicroKernelParam::Int { name, var } => {
                    self.define_var(*var);
                    if self.micro_kernel.vars.get(*var).is_some_and(|n| n != name) {
                        self.error(format!("{id} and its variable have different names"));
                    }
                }
            }
        }
    }

    fn define_var(&mut self, var: Var) {
        if var.index() != self.next_var || !self.vars.is_valid(var) {
            return self.error(format!("{var} is not defined in the order of numbers"));
        }
        self.vars[var] = State::Visible;
        self.next_var += 1;
    }

    fn define(&mut self, value: Val) {
        match self.values.get(value) {
            None => self.error(format!("{value} is not in the list of values")),
            Some(State::Undefined) => self.values[value] = State::Visible,
            Some(_) => self.error(format!("{value} is defined twice")),
        }
    }

    /// The type of a used value, if it may be used here.
    fn used(&mut self, value: Val) -> Option<Ty> {
        match self.values.get(value) {
            Some(State::Visible) => Some(self.micro_kernel.values[value]),
            Some(State::Ended) => {
                self.error(format!("{value} is used outside of the loop that defines it"));
                None
            }
            _ => {
                self.error(format!("{value} is used before its definition"));
                None
            }
        }
    }

    fn index(&mut self, index: &Index) {
        for pair in index.terms.windows(2) {
            if pair[0].0 >= pair[1].0 {
                self.error("index terms are not sorted by variable".into());
            }
        }
        for &(var, coefficient) in &index.terms {
            if self.vars.get(var) != Some(&State::Visible) {
                self.error(format!("{var} is not in scope"));
            }
            if coefficient == 0 {
                self.error(format!("{var} has the coefficient 0"));
            }
        }
    }

    fn block(&mut self, body: &[Inst]) {
        for inst in body {
            match inst {
                Inst::Let { result, op } => {
                    let ty = self.op(op);
                    self.define(*result);
                    let declared = self.micro_kernel.values.get(*result).copied();
                    if let (Some(ty), Some(declared)) = (ty, declared)
                        && ty != declared
                    {
                        self.error(format!("{result} is declared {declared}, its operation gives {ty}"));
                    }
                    if declared.is_some_and(|t| !(lanes_ok(t.lanes) || t.is_tile() && gives_tiles(op))) {
                        self.error(format!("{result}: lanes must be 1, 2, 4, 8 or 16"));
                    }
                }
                Inst::Store { to, value, count } => self.store(to, *value, *count),
                Inst::StoreTile { to, value, .. } => self.store_tile(to, *value),
                Inst::Prefetch { from } => {
                    self.address(from, Access::Read);
                }
                Inst::Loop { .. } => self.repeat(inst),
            }
        }
    }

    fn store(&mut self, to: &Address, value: Val, count: Option<u32>) {
        let elem = self.address(to, Access::Write);
        let Some(ty) = self.used(value) else { return };
        if let Some(elem) = elem
            && elem.widened() != ty.elem
        {
            self.error(format!("{value} of type {ty} is stored to {elem} memory"));
        }
        if ty.is_tile() {
            self.error(format!("{value} is a tile, stored as a vector"));
        }
        self.partial(count, ty.lanes);
    }

    fn store_tile(&mut self, to: &Address, value: Val) {
        let elem = self.address(to, Access::Write);
        let Some(ty) = self.used(value) else { return };
        if !ty.is_tile() || elem.is_some_and(|elem| elem != ty.elem) {
            let elem = elem.map_or(String::new(), |elem| format!(" to {elem} memory"));
            self.error(format!("{value} of type {ty} is stored as a tile{elem}"));
        }
    }

    fn repeat(&mut self, inst: &Inst) {
        let Inst::Loop { var, count, init, params, body, next, results } = inst else { return };
        self.index(count);
        let mut types = Vec::new();
        for &v in init {
            types.push(self.used(v));
        }
        if [params.len(), next.len(), results.len()] != [init.len(); 3] {
            self.error(format!("the loop over {var} carries different numbers of values"));
        }
        let before = self.values.clone();
        self.define_var(*var);
        params.iter().for_each(|&v| self.define(v));
        self.block(body);
        for (i, &v) in next.iter().enumerate() {
            let (ty, carried) = (self.used(v), types.get(i).copied().flatten());
            if ty.is_some() && carried.is_some() && ty != carried {
                self.error(format!("{v} does not have the type of the carried value {i}"));
            }
        }
        for list in [params, results] {
            for (v, ty) in list.iter().zip(&types) {
                if ty.is_some() && self.micro_kernel.values.get(*v) != ty.as_ref() {
                    self.error(format!("{v} does not have the type of the value that it carries"));
                }
            }
        }
        for (state, was) in self.values.values_mut().zip(before.values()) {
            if *was == State::Undefined && *state == State::Visible {
                *state = State::Ended;
            }
        }
        if let Some(state) = self.vars.get_mut(*var) {
            *state = State::Ended;
        }
        results.iter().for_each(|&v| self.define(v));
    }

    /// The element type behind an address, if it is a pointer that may be accessed so.
    fn address(&mut self, address: &Address, access: Access) -> Option<Elem> {
        self.index(&address.index);
        match self.micro_kernel.params.get(address.base) {
            Some(MicroKernelParam::Pointer { name, elem, access: allowed }) => {
                if *allowed != access && *allowed != Access::ReadWrite {
                    self.error(format!(
                        "{name} is not for {}",
                        if access == Access::Read { "reading" } else { "writing" }
                    ));
                }
                Some(*elem)
            }
            _ => {
                self.error(format!("{} is not a pointer", address.base));
                None
            }
        }
    }

    fn partial(&mut self, count: Option<u32>, lanes: u32) {
        if count.is_some_and(|c| c == 0 || c >= lanes) {
            self.error(format!("a partial count of {} for {lanes} lanes", count.unwrap_or(0)));
        }
    }

    /// The type of the result, if the operands are right.
    fn op(&mut self, op: &Op) -> Option<Ty> {
        if let Op::IndexI32 { index, .. } = op {
            self.index(index);
        }
        let memory = match op.address() {
            Some(from) => Some(self.address(from, Access::Read)?),
            None => None,
        };
        let unknown = op.operands().filter(|v| self.used(*v).is_none()).count();
        if unknown > 0 {
            return None;
        }
        let ty = |v: Val| self.micro_kernel.values[v];
        match op.check(ty, memory) {
            Ok(()) => Some(op.result(ty)),
            Err(error) => {
                self.error(error.0);
                None
            }
        }
    }
}

fn lanes_ok(lanes: u32) -> bool {
    lanes.is_power_of_two() && lanes <= 16
}

/// Operations whose result may be a tile.
fn gives_tiles(op: &Op) -> bool {
    matches!(op, Op::ConstF32 { .. } | Op::ConstI32 { .. } | Op::LoadTile { .. } | Op::Outer { .. })
}
