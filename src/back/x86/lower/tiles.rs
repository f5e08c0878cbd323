//! Tiles: loads, products and stores. There is no move between two tile registers, so a sum stays in the register that
//! it starts in.

use super::{Const, Loc, Lower};
use crate::back::EmitError;
use crate::back::x86::analyse::row_bytes;
use crate::back::x86::bug;
use crate::back::x86::codes::Width;
use crate::back::x86::machine::{Class, MInst, VReg};
use crate::kernel::ir::{Address, Outer, Val};

impl Lower<'_> {
    pub(super) fn load_tile(&mut self, from: &Address, pitch: u32, stream: bool) -> Result<VReg, EmitError> {
        let (mem, pitch) = (self.mem(from)?, self.pitch(from, pitch)?);
        let dst = self.code.reg(Class::Tile);
        self.push(MInst::TileLoad { dst, mem, pitch, stream });
        Ok(dst)
    }

    pub(super) fn store_tile(&mut self, to: &Address, value: Val, pitch: u32) -> Result<(), EmitError> {
        let (mem, pitch) = (self.mem(to)?, self.pitch(to, pitch)?);
        let src = self.tile(value)?;
        self.push(MInst::TileStore { mem, pitch, src });
        Ok(())
    }

    pub(super) fn outer(&mut self, kind: Outer, acc: Val, a: Val, b: Val) -> Result<VReg, EmitError> {
        let dst = self.code.reg(Class::Tile);
        match self.locs[acc] {
            Loc::Const(_) => self.push(MInst::Zero { dst }),
            _ => {
                let src = self.tile(acc)?;
                self.push(MInst::Copy { dst, src, width: Width::Z });
            }
        }
        let (a, b) = (self.tile(a)?, self.tile(b)?);
        self.push(MInst::TileProduct { kind, dst, a, b });
        Ok(dst)
    }

    /// Returns a register that holds the tile.
    fn tile(&mut self, value: Val) -> Result<VReg, EmitError> {
        match self.locs[value] {
            Loc::Reg(reg) => Ok(reg),
            Loc::Const(Const::Each(0)) => {
                let dst = self.code.reg(Class::Tile);
                self.push(MInst::Zero { dst });
                Ok(dst)
            }
            _ => Err(bug(format!("micro-kernel {}: {value} is not a tile", self.micro_kernel.name))),
        }
    }

    fn pitch(&self, address: &Address, elements: u32) -> Result<VReg, EmitError> {
        let bytes = row_bytes(self.micro_kernel, address, elements)?;
        self.pitches.get(&bytes).copied().ok_or_else(|| bug("the analysis has not seen a tile's rows"))
    }
}
