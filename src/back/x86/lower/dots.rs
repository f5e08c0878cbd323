//! Sums of products of what lies side by side in 32 bits.

use super::{Const, Loc, Lower, Op};
use crate::back::EmitError;
use crate::back::x86::codes::{VOp, Width};
use crate::back::x86::machine::{Src, VReg};
use crate::kernel::ir::{Binary, Inst, Val};

impl Lower<'_> {
    /// Multiplies without VDPBF16PS: the elements are widened by shifts, their products are exact, the sums round one
    /// by one.
    pub(super) fn dot_bf16(&mut self, acc: Val, a: Val, b: Val) -> Result<VReg, EmitError> {
        let width = self.width(acc);
        let (acc, a, b) = (self.reg(acc)?, self.reg(a)?, self.reg(b)?);
        if self.bf16 {
            return Ok(self.modify(VOp::DotBf16, width, acc, vec![a.into(), b.into()]));
        }
        let upper = self.constant(Const::Each(0xffff_0000), width);
        let low = [a, b].map(|v| self.emit(VOp::ShlD, width, vec![v.into(), Src::Imm(16)]));
        let sum = self.modify(VOp::Fma231Ps, width, acc, vec![low[0].into(), low[1].into()]);
        let high = [a, b].map(|v| self.emit(VOp::And, width, vec![v.into(), upper.into()]));
        Ok(self.modify(VOp::Fma231Ps, width, sum, vec![high[0].into(), high[1].into()]))
    }

    /// Operations on halves of 16 bits.
    pub(super) fn halves(&mut self, op: Binary, left: Val, right: Val) -> Result<VReg, EmitError> {
        let (width, left_reg) = (self.width(left), self.reg(left)?);
        if op == Binary::SumHalves {
            // Products of both halves with 1, added.
            let (halves, ones) = (self.reg(right)?, self.constant(Const::Each(0x0001_0001), width));
            let sums = self.emit(VOp::MAddWd, width, vec![halves.into(), ones.into()]);
            return Ok(self.emit(VOp::AddD, width, vec![left_reg.into(), sums.into()]));
        }
        let op = if op == Binary::MulBytes { VOp::MAddUbSw } else { VOp::AddW };
        let right = if self.in_memory(right) { self.operand(right, false)? } else { self.reg(right)?.into() };
        Ok(self.emit(op, width, vec![left_reg.into(), right]))
    }

    /// Emits a sum of products of 16-bit numbers with a second one behind it: both products before both additions,
    /// which processors share out better among their units (measured on Zen 3: x1.06). Returns how many of the
    /// `rest` that took: 1 or 0.
    pub(super) fn dots_together(&mut self, first: &Inst, rest: &[Inst]) -> Result<usize, EmitError> {
        let pair = |inst: &Inst| match inst {
            Inst::Let { result, op: Op::Dot2I16 { acc, a, b } } => Some((*result, [*acc, *a, *b])),
            _ => None,
        };
        let (Some(one), Some(other)) = (pair(first), rest.first().and_then(pair)) else { return Ok(0) };
        let needed = [one.0, other.0].iter().all(|v| self.info.values[*v].uses > 0);
        if self.vnni || !needed || other.1.contains(&one.0) {
            return Ok(0);
        }
        let width = self.width(one.0);
        let mut products = Vec::new();
        for (_, [_, a, b]) in [one, other] {
            let factors = [self.reg(a)?, self.reg(b)?];
            products.push(self.emit(VOp::MAddWd, width, factors.map(Src::Reg).to_vec()));
        }
        for ((result, [acc, ..]), product) in [one, other].into_iter().zip(products) {
            let acc = self.reg(acc)?;
            let sum = self.emit(VOp::AddD, self.width(result), vec![acc.into(), product.into()]);
            self.locs[result] = Loc::Reg(sum);
        }
        Ok(1)
    }

    pub(super) fn dot_words(&mut self, acc: Val, a: Val, b: Val) -> Result<VReg, EmitError> {
        let width = self.width(acc);
        let (acc, a, b) = (self.reg(acc)?, self.reg(a)?, self.reg(b)?);
        if self.vnni {
            return Ok(self.modify(VOp::DotI16, width, acc, vec![a.into(), b.into()]));
        }
        let products = self.emit(VOp::MAddWd, width, vec![a.into(), b.into()]);
        Ok(self.emit(VOp::AddD, width, vec![acc.into(), products.into()]))
    }

    /// Multiplies without VPDPBUSD: even and odd bytes apart as 16-bit words, whose pairwise products cannot overflow
    /// 32 bits. A factor is widened once for all products that it is part of.
    pub(super) fn dot_bytes(&mut self, acc: Val, a: Val, b: Val) -> Result<VReg, EmitError> {
        let width = self.width(acc);
        if self.vnni {
            let (acc, a, b) = (self.reg(acc)?, self.reg(a)?, self.reg(b)?);
            return Ok(self.modify(VOp::DotU8I8, width, acc, vec![a.into(), b.into()]));
        }
        let acc = self.reg(acc)?;
        let [a_even, a_odd] = self.widened(a, false, width)?;
        let [b_even, b_odd] = self.widened(b, true, width)?;
        let even = self.emit(VOp::MAddWd, width, vec![a_even.into(), b_even.into()]);
        let odd = self.emit(VOp::MAddWd, width, vec![a_odd.into(), b_odd.into()]);
        let sum = self.emit(VOp::AddD, width, vec![even.into(), odd.into()]);
        Ok(self.emit(VOp::AddD, width, vec![acc.into(), sum.into()]))
    }

    /// Even and odd bytes as 16-bit words.
    fn widened(&mut self, value: Val, signed: bool, width: Width) -> Result<[VReg; 2], EmitError> {
        if let Some(parts) = self.widened.get(&(value, signed)) {
            return Ok(*parts);
        }
        let bytes = self.reg(value)?;
        let shift = |l: &mut Self, op, v: VReg| l.emit(op, width, vec![v.into(), Src::Imm(8)]);
        let even = if signed {
            let high = shift(self, VOp::ShlW, bytes);
            shift(self, VOp::ShrSW, high)
        } else {
            let mask = self.constant(Const::Each(0x00ff_00ff), width);
            self.emit(VOp::And, width, vec![bytes.into(), mask.into()])
        };
        let odd = shift(self, if signed { VOp::ShrSW } else { VOp::ShrUW }, bytes);
        self.widened.insert((value, signed), [even, odd]);
        Ok([even, odd])
    }
}
