//! Loops: carried values, the counter, and the address registers that each loop steps.

use super::super::bug;
use super::{Loc, Lower};
use crate::back::EmitError;
use crate::back::x86::analyse::AddressExpr;
use crate::back::x86::codes::Width;
use crate::back::x86::machine::{Class, MInst, VReg};
use crate::kernel::ir::{Inst, Val, Var};

impl Lower<'_> {
    /// Emits a loop: carried values in registers, a counter that falls to 0, addresses that step.
    pub(super) fn repeat(&mut self, inst: &Inst) -> Result<(), EmitError> {
        let Inst::Loop { var, count, init, params, body, next, results } = inst else {
            return Err(bug("not a loop"));
        };
        let carried: Vec<VReg> = init.iter().map(|&v| self.code.reg(self.class(self.ty(v)))).collect();
        for (&v, &reg) in init.iter().zip(&carried) {
            self.copy_into(v, reg)?;
        }
        for (r, &reg) in results.iter().zip(&carried) {
            self.locs[*r] = Loc::Reg(reg);
        }
        if count.terms.is_empty() && count.offset <= 0 {
            // Never runs; positions and blocks must stay those of the analysis.
            self.skip(body);
            return Ok(());
        }
        for (p, &reg) in params.iter().zip(&carried) {
            self.locs[*p] = Loc::Reg(reg);
        }
        let id = self.code.loops;
        self.code.loops += 1;
        let counter = self.code.reg(Class::Int);
        if count.terms.is_empty() {
            self.push(MInst::IntConst { dst: counter, value: count.offset });
        } else {
            let src = self.address_register(&AddressExpr::of_index(count))?;
            self.push(MInst::IntCopy { dst: counter, src, add: count.offset });
            self.push(MInst::Guard { id, count: counter });
        }
        let stepped = self.enter(*var)?;
        let innermost = !body.iter().any(|i| matches!(i, Inst::Loop { .. }));
        self.push(MInst::LoopStart { id, innermost });
        self.depth += 1;
        self.block(body)?;
        self.position += 1;
        self.carry(next, &carried)?;
        for (expr, reg, step) in stepped {
            self.push(MInst::IntAddImm { dst: reg, value: step });
            self.pointers.remove(&expr);
        }
        self.push(MInst::LoopEnd { id, counter });
        self.depth -= 1;
        self.push(MInst::LoopExit { id });
        Ok(())
    }

    /// Sets registers for the address expressions that the loop over `var` steps to their first values.
    fn enter(&mut self, var: Var) -> Result<Vec<(AddressExpr, VReg, i64)>, EmitError> {
        let info = self.info;
        let mut stepped = vec![];
        for expr in info.stepped.get(&var).map_or(&[][..], |k| k) {
            let mut outer = expr.clone();
            let step = outer.terms.pop().expect("a stepped address ends with its loop's variable").1;
            let reg = self.code.reg(Class::Int);
            if outer.base.is_none() && outer.terms.is_empty() {
                self.push(MInst::IntConst { dst: reg, value: 0 });
            } else {
                let src = self.address_register(&outer)?;
                self.push(MInst::IntCopy { dst: reg, src, add: 0 });
            }
            stepped.push((expr.clone(), reg, step));
        }
        for (expr, reg, _) in &stepped {
            self.pointers.insert(expr.clone(), *reg);
        }
        Ok(stepped)
    }

    /// Keeps the numbering of positions and blocks in step with the analysis over a body that is not emitted.
    fn skip(&mut self, body: &[Inst]) {
        self.blocks += 1;
        for inst in body {
            self.position += 1;
            if let Inst::Loop { body, .. } = inst {
                self.skip(body);
            }
        }
        self.position += 1;
    }

    /// Emits `reg = value` for a carried value that enters its loop.
    fn copy_into(&mut self, value: Val, reg: VReg) -> Result<(), EmitError> {
        let width = Width::of_lanes(self.ty(value).lanes);
        match self.locs[value] {
            Loc::Const(constant) if self.ty(value).is_tile() || !self.hoisted.contains_key(&constant) => {
                self.constant_into(constant, width, reg);
            }
            _ => {
                let src = self.reg(value)?;
                self.push(MInst::Copy { dst: reg, src, width });
            }
        }
        Ok(())
    }

    /// Gives all carried values their next ones at once: what another copy still reads goes through a temporary.
    fn carry(&mut self, next: &[Val], carried: &[VReg]) -> Result<(), EmitError> {
        let mut moves = vec![];
        for (i, &v) in next.iter().enumerate() {
            let width = Width::of_lanes(self.ty(v).lanes);
            let mut src = self.reg(v)?;
            if src == carried[i] {
                continue;
            }
            if carried.contains(&src) {
                let class = self.code.classes[src];
                let kept = self.code.reg(class);
                self.push(MInst::Copy { dst: kept, src, width });
                src = kept;
            }
            moves.push(MInst::Copy { dst: carried[i], src, width });
        }
        self.code.insts.extend(moves);
        Ok(())
    }
}
