//! Machine code before register allocation: one linear list with loop markers, over virtual registers.

use super::codes::{VOp, Width};
use crate::kernel::ir::Outer;
use cranelift_entity::{PrimaryMap, entity_impl};

/// A virtual register; index into [`MachineCode::classes`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VReg(u32);
entity_impl!(VReg, "register ");

/// A class of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// xmm, ymm or zmm.
    Vector,
    /// k1 to k7.
    Mask,
    /// A tile register.
    Tile,
    /// A 64-bit general register, or a stack slot where these run out.
    Int,
}

/// Place in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mem {
    /// `[base + bytes]`
    Pointer { base: VReg, bytes: i64 },
    /// Entry of the constant pool behind the code.
    Pool(usize),
}

impl Mem {
    /// Returns the register that it counts from.
    pub fn base(self) -> Option<VReg> {
        match self {
            Mem::Pointer { base, .. } => Some(base),
            Mem::Pool(_) => None,
        }
    }
}

/// Operand of a vector instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Src {
    /// A register.
    Reg(VReg),
    /// As many bytes of memory as the instruction reads.
    Mem(Mem),
    /// AVX-512 `{1toN}`: one 32-bit element of memory in every lane.
    Each(Mem),
    /// An immediate byte.
    Imm(u8),
}

/// An instruction on vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct VecInst {
    /// What it does.
    pub op: VOp,
    /// Width of its operands, but for those that the operation widens or narrows.
    pub width: Width,
    /// First operand; a store has none.
    pub dst: Option<VReg>,
    /// Whether `dst` is read as well as written.
    pub modifies: bool,
    /// The operands behind `dst`, in the order of the encoding.
    pub srcs: Vec<Src>,
    /// AVX-512 write mask (or the blend's selector); loads zero the other lanes if `zeroing`.
    pub mask: Option<VReg>,
    /// With a mask: whether lanes outside of it become 0 instead of keeping their value.
    pub zeroing: bool,
}

/// An instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum MInst {
    /// A vector instruction.
    Vec(VecInst),
    /// Loads a tile of rows that are `pitch` bytes apart; with `stream` the first level of cache stays as it is.
    TileLoad { dst: VReg, mem: Mem, pitch: VReg, stream: bool },
    /// Stores a tile to rows that are `pitch` bytes apart.
    TileStore { mem: Mem, pitch: VReg, src: VReg },
    /// `dst += a · b`
    TileProduct { kind: Outer, dst: VReg, a: VReg, b: VReg },
    /// Prefetches into the second level of cache; never faults.
    Prefetch { mem: Mem },
    /// Zero in every lane of a vector or tile.
    Zero { dst: VReg },
    /// Copies between registers of one class, not integers; vanishes where both get the same register, as two tiles
    /// must.
    Copy { dst: VReg, src: VReg, width: Width },
    /// These bits in a mask register.
    MaskImm { dst: VReg, bits: u16 },
    /// Lane 0 = the low 32 bits of `src + add`.
    FromInt { dst: VReg, src: VReg, add: i32 },
    /// `dst = value`
    IntConst { dst: VReg, value: i64 },
    /// `dst = src + add`
    IntCopy { dst: VReg, src: VReg, add: i64 },
    /// `dst = src * factor`
    IntMul { dst: VReg, src: VReg, factor: i64 },
    /// `dst += src`
    IntAdd { dst: VReg, src: VReg },
    /// `dst += value`
    IntAddImm { dst: VReg, value: i64 },
    /// Jumps to the exit of loop `id` unless `count > 0`.
    Guard { id: usize, count: VReg },
    /// Top of loop `id`, the target of the back edge. The loop may also be skipped from its `Guard`.
    LoopStart { id: usize, innermost: bool },
    /// Counts down: `counter -= 1`, back to the top unless it is 0.
    LoopEnd { id: usize, counter: VReg },
    /// The place after `LoopEnd` where the guard jumps to.
    LoopExit { id: usize },
}

/// How an instruction touches a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Reads it.
    Use,
    /// Writes all of it.
    Def,
    /// Reads and writes it.
    Modify,
}

impl MInst {
    /// Calls `f` for every virtual register of this instruction.
    pub fn visit(&self, mut f: impl FnMut(VReg, Touch)) {
        match self {
            MInst::Vec(v) => {
                for src in &v.srcs {
                    match *src {
                        Src::Reg(r)
                        | Src::Mem(Mem::Pointer { base: r, .. })
                        | Src::Each(Mem::Pointer { base: r, .. }) => f(r, Touch::Use),
                        _ => {}
                    }
                }
                if let Some(mask) = v.mask {
                    f(mask, Touch::Use);
                }
                if let Some(dst) = v.dst {
                    f(dst, if v.modifies { Touch::Modify } else { Touch::Def });
                }
            }
            MInst::TileLoad { dst, mem, pitch, .. } => {
                mem.base().into_iter().chain([*pitch]).for_each(|r| f(r, Touch::Use));
                f(*dst, Touch::Def);
            }
            MInst::TileStore { mem, pitch, src } => {
                mem.base().into_iter().chain([*pitch, *src]).for_each(|r| f(r, Touch::Use));
            }
            MInst::TileProduct { dst, a, b, .. } => {
                [*a, *b].into_iter().for_each(|r| f(r, Touch::Use));
                f(*dst, Touch::Modify);
            }
            MInst::Prefetch { mem: Mem::Pointer { base, .. } } => f(*base, Touch::Use),
            MInst::Prefetch { mem: Mem::Pool(_) } => {}
            MInst::Zero { dst } | MInst::MaskImm { dst, .. } | MInst::IntConst { dst, .. } => f(*dst, Touch::Def),
            MInst::Copy { dst, src, .. }
            | MInst::FromInt { dst, src, .. }
            | MInst::IntCopy { dst, src, .. }
            | MInst::IntMul { dst, src, .. } => {
                f(*src, Touch::Use);
                f(*dst, Touch::Def);
            }
            MInst::IntAdd { dst, src } => {
                f(*src, Touch::Use);
                f(*dst, Touch::Modify);
            }
            MInst::IntAddImm { dst, .. } => f(*dst, Touch::Modify),
            MInst::Guard { count, .. } => f(*count, Touch::Use),
            MInst::LoopEnd { counter, .. } => f(*counter, Touch::Modify),
            MInst::LoopStart { .. } | MInst::LoopExit { .. } => {}
        }
    }
}

/// Bytes behind the code, addressed relative to the instruction pointer. Entries are unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// Constants in the order of their first use.
    pub entries: Vec<Vec<u8>>,
}

impl Pool {
    /// Returns the number of a constant, which is added if it is new.
    pub fn entry(&mut self, bytes: Vec<u8>) -> usize {
        if let Some(i) = self.entries.iter().position(|e| *e == bytes) {
            return i;
        }
        self.entries.push(bytes);
        self.entries.len() - 1
    }
}

/// A function over virtual registers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineCode {
    /// Instructions in order.
    pub insts: Vec<MInst>,
    /// The class of each virtual register.
    pub classes: PrimaryMap<VReg, Class>,
    /// Constants behind the code.
    pub pool: Pool,
    /// The micro-kernel's parameters, which arrive in the ABI's registers.
    pub params: Vec<VReg>,
    /// Number of loops; their ids count from 0.
    pub loops: usize,
}

impl MachineCode {
    /// Makes a new virtual register.
    pub fn reg(&mut self, class: Class) -> VReg {
        self.classes.push(class)
    }
}
