//! Instructions on tile registers.

use super::{Encode, Operand, SCRATCH};
use crate::back::EmitError;
use crate::back::x86::bug;
use crate::back::x86::machine::{MInst, Mem, VReg};
use crate::back::x86::regalloc::Place;
use crate::kernel::ir::Outer;
use iced_x86::{Code, Register};

impl Encode<'_> {
    pub(super) fn tile(&self, r: VReg) -> Register {
        match self.place(r) {
            Place::Reg(n) => Register::TMM0 + u32::from(n),
            _ => Register::TMM0,
        }
    }

    pub(super) fn tile_inst(&mut self, inst: &MInst) -> Result<(), EmitError> {
        match *inst {
            MInst::TileLoad { dst, mem, pitch, stream } => {
                let rows = self.rows(mem, pitch)?;
                let code = if stream { Code::VEX_Tileloaddt1_tmm_sibmem } else { Code::VEX_Tileloadd_tmm_sibmem };
                self.raw(code, &[Operand::Reg(self.tile(dst)), rows]);
            }
            MInst::TileStore { mem, pitch, src } => {
                let rows = self.rows(mem, pitch)?;
                self.raw(Code::VEX_Tilestored_sibmem_tmm, &[rows, Operand::Reg(self.tile(src))]);
            }
            MInst::TileProduct { kind, dst, a, b } => {
                let code = match kind {
                    Outer::Bf16 => Code::VEX_Tdpbf16ps_tmm_tmm_tmm,
                    Outer::U8I8 => Code::VEX_Tdpbusd_tmm_tmm_tmm,
                };
                self.raw(code, &[dst, a, b].map(|r| Operand::Reg(self.tile(r))));
            }
            _ => return Err(bug("not an instruction on tiles")),
        }
        Ok(())
    }

    /// Checks that a copy of a tile has nothing to do: there is no instruction that moves one, so both must have one
    /// register.
    pub(super) fn tile_stays(&self, dst: VReg, src: VReg) -> Result<(), EmitError> {
        match self.place(dst) == self.place(src) {
            true => Ok(()),
            false => Err(EmitError::Limit("a tile would have to move to another register".into())),
        }
    }

    /// Returns the operand of a load or store: rows from `mem` on.
    fn rows(&mut self, mem: Mem, pitch: VReg) -> Result<Operand, EmitError> {
        let short = || EmitError::Limit("too many addresses beside tiles".into());
        let Operand::Reg(pitch) = self.int(pitch) else { return Err(short()) };
        match self.memory(mem, false) {
            Operand::At { base, bytes, .. } if base != pitch || base != SCRATCH => {
                Ok(Operand::Rows { base, pitch, bytes })
            }
            _ => Err(short()),
        }
    }
}
