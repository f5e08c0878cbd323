//! Arithmetic on addresses and counters.

use super::{Encode, Operand, SCRATCH};
use crate::back::x86::machine::{MInst, VReg};
use iced_x86::Code;

impl Encode<'_> {
    /// Encodes an instruction on 64-bit integers, each in a register or a stack slot.
    pub(super) fn integer(&mut self, inst: &MInst) {
        let scratch = Operand::Reg(SCRATCH);
        match *inst {
            MInst::IntConst { dst, value } => {
                let dst = self.int(dst);
                if let Ok(value) = i32::try_from(value) {
                    self.raw(Code::Mov_rm64_imm32, &[dst, Operand::Imm32(value)]);
                } else {
                    self.long(value);
                    self.raw(Code::Mov_rm64_r64, &[dst, scratch]);
                }
            }
            MInst::IntCopy { dst, src, add } => self.int_copy(dst, src, add),
            MInst::IntMul { dst, src, factor } => {
                let (to, from) = (self.int(dst), self.int(src));
                if let Ok(factor) = i32::try_from(factor) {
                    self.raw(Code::Imul_r64_rm64_imm32, &[scratch, from, Operand::Imm32(factor)]);
                } else {
                    self.long(factor);
                    self.raw(Code::Imul_r64_rm64, &[scratch, from]);
                }
                self.raw(Code::Mov_rm64_r64, &[to, scratch]);
            }
            MInst::IntAdd { dst, src } => {
                let to = self.int(dst);
                let from = self.int_reg(src);
                self.raw(Code::Add_rm64_r64, &[to, Operand::Reg(from)]);
            }
            MInst::IntAddImm { dst, value } => {
                let to = self.int(dst);
                if let Ok(value) = i32::try_from(value) {
                    self.raw(Code::Add_rm64_imm32, &[to, Operand::Imm32(value)]);
                } else {
                    self.long(value);
                    self.raw(Code::Add_rm64_r64, &[to, scratch]);
                }
            }
            _ => unreachable!("the other instructions are handled by the caller"),
        }
    }

    /// Encodes `dst = src + add`; nothing where both are the same place and `add` is 0.
    fn int_copy(&mut self, dst: VReg, src: VReg, add: i64) {
        let scratch = Operand::Reg(SCRATCH);
        let (to, from) = (self.int(dst), self.int(src));
        match i32::try_from(add) {
            Ok(0) if self.place(dst) == self.place(src) => {}
            Ok(add) => {
                let from = self.int_reg(src);
                let at = Operand::At { base: from, bytes: add, each: false };
                match to {
                    Operand::Reg(_) if add == 0 => self.raw(Code::Mov_rm64_r64, &[to, Operand::Reg(from)]),
                    Operand::Reg(_) => self.raw(Code::Lea_r64_m, &[to, at]),
                    _ => {
                        self.raw(Code::Lea_r64_m, &[scratch, at]);
                        self.raw(Code::Mov_rm64_r64, &[to, scratch]);
                    }
                }
            }
            Err(_) => {
                self.long(add);
                self.raw(Code::Add_r64_rm64, &[scratch, from]);
                self.raw(Code::Mov_rm64_r64, &[to, scratch]);
            }
        }
    }
}
