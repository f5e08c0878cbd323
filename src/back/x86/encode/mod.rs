//! From machine code with places to bytes: prologue, body, epilogue, constants.

use super::bug;
use super::codes::{VOp, Width};
use super::machine::{Class, MInst, MachineCode, Mem, Src, VReg, VecInst};
use super::regalloc::{Allocation, PARAMS, Place};
use crate::back::EmitError;
use assemble::Line;
use cranelift_entity::PrimaryMap;
use iced_x86::{Code, Instruction, OpKind, Register};

mod assemble;
mod integer;
mod tiles;

const GENERAL: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];
/// Registers that belong to the caller: rbx, rbp, r12 to r15.
const SAVED: [u8; 6] = [3, 5, 12, 13, 14, 15];
/// Never allocated: holds spilled integers, long constants and mask bits for a moment.
const SCRATCH: Register = Register::RAX;

/// An instruction's operand in final form.
#[derive(Clone, Copy)]
enum Operand {
    Reg(Register),
    At { base: Register, bytes: i32, each: bool },
    Rows { base: Register, pitch: Register, bytes: i32 },
    Pool { entry: usize, each: bool },
    Imm8(u8),
    Imm32(i32),
}

struct Encode<'a> {
    code: &'a MachineCode,
    places: &'a PrimaryMap<VReg, Place>,
    evex: bool,
    lines: Vec<Line>,
    /// Lines whose memory operand is a pool entry.
    pooled: Vec<(usize, usize)>,
}

/// Writes the bytes of the function. Its start should be aligned to 64 (for the loops and the pool; a matter of speed
/// only).
pub fn encode(code: &MachineCode, allocation: &Allocation, evex: bool) -> Result<Vec<u8>, EmitError> {
    let mut e = Encode { code, places: &allocation.places, evex, lines: vec![], pooled: vec![] };
    let used = |r: &u8| code.classes.iter().any(|(v, &c)| c == Class::Int && e.places[v] == Place::Reg(*r));
    let saved: Vec<u8> = SAVED.into_iter().filter(used).collect();
    for &r in &saved {
        e.raw(Code::Push_r64, &[Operand::Reg(GENERAL[r as usize])]);
    }
    let frame = 8 * allocation.slots as i32;
    if frame > 0 {
        e.raw(Code::Sub_rm64_imm32, &[Operand::Reg(Register::RSP), Operand::Imm32(frame)]);
    }
    for (&param, register) in code.params.iter().zip(PARAMS) {
        if let Place::Stack(_) = e.place(param) {
            let slot = e.int(param);
            e.raw(Code::Mov_rm64_r64, &[slot, Operand::Reg(GENERAL[register as usize])]);
        }
    }
    for inst in &code.insts {
        e.inst(inst)?;
    }
    if frame > 0 {
        e.raw(Code::Add_rm64_imm32, &[Operand::Reg(Register::RSP), Operand::Imm32(frame)]);
    }
    for &r in saved.iter().rev() {
        e.raw(Code::Pop_r64, &[Operand::Reg(GENERAL[r as usize])]);
    }
    e.raw(Code::VEX_Vzeroupper, &[]);
    e.raw(Code::Retnq, &[]);
    e.assemble().map_err(|error| bug(format!("encoding failed: {error}")))
}

fn vector(number: u8, width: Width) -> Register {
    let base = match width {
        Width::X => Register::XMM0,
        Width::Y => Register::YMM0,
        Width::Z => Register::ZMM0,
    };
    base + u32::from(number)
}

fn instruction(code: Code, operands: &[Operand]) -> Instruction {
    let mut i = Instruction::new();
    i.set_code(code);
    for (n, &operand) in operands.iter().enumerate() {
        let n = n as u32;
        match operand {
            Operand::Reg(r) => {
                i.set_op_kind(n, OpKind::Register);
                i.set_op_register(n, r);
            }
            Operand::At { base, bytes, each } => {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_base(base);
                i.set_memory_displacement64(i64::from(bytes) as u64);
                i.set_memory_displ_size(u32::from(bytes != 0));
                i.set_is_broadcast(each);
            }
            Operand::Rows { base, pitch, bytes } => {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_base(base);
                i.set_memory_index(pitch);
                i.set_memory_displacement64(i64::from(bytes) as u64);
                i.set_memory_displ_size(u32::from(bytes != 0));
            }
            Operand::Pool { each, .. } => {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_base(Register::RIP);
                i.set_memory_displ_size(8);
                i.set_is_broadcast(each);
            }
            Operand::Imm8(value) => {
                i.set_op_kind(n, OpKind::Immediate8);
                i.set_immediate8(value);
            }
            Operand::Imm32(value) => {
                // 64-bit instructions extend their sign; `mov r32, imm32` has no sign to extend.
                let kind = if code == Code::Mov_r32_imm32 { OpKind::Immediate32 } else { OpKind::Immediate32to64 };
                i.set_op_kind(n, kind);
                i.set_immediate32(value as u32);
            }
        }
    }
    i
}

impl Encode<'_> {
    fn raw(&mut self, code: Code, operands: &[Operand]) {
        self.push(instruction(code, operands), operands);
    }

    fn push(&mut self, instruction: Instruction, operands: &[Operand]) {
        for operand in operands {
            if let Operand::Pool { entry, .. } = operand {
                self.pooled.push((self.lines.len(), *entry));
            }
        }
        self.lines.push(Line::Inst(instruction));
    }

    fn place(&self, r: VReg) -> Place {
        self.places[r]
    }

    /// Returns the register or stack slot of an integer.
    fn int(&self, r: VReg) -> Operand {
        match self.place(r) {
            Place::Stack(slot) => Operand::At { base: Register::RSP, bytes: 8 * slot as i32, each: false },
            Place::Reg(n) => Operand::Reg(GENERAL[n as usize]),
            Place::Nowhere => Operand::Reg(SCRATCH),
        }
    }

    /// Returns a register that holds an integer: its own, or the scratch that it is loaded into.
    fn int_reg(&mut self, r: VReg) -> Register {
        match self.int(r) {
            Operand::Reg(register) => register,
            slot => {
                self.raw(Code::Mov_r64_rm64, &[Operand::Reg(SCRATCH), slot]);
                SCRATCH
            }
        }
    }

    fn mask(&self, r: VReg) -> Register {
        match self.place(r) {
            Place::Reg(n) => Register::K0 + u32::from(n),
            _ => Register::K1,
        }
    }

    fn vec(&self, r: VReg, width: Width) -> Register {
        match self.place(r) {
            Place::Reg(n) => vector(n, width),
            _ => vector(0, width),
        }
    }

    /// Returns a memory operand; far displacements and spilled bases go through the scratch register.
    fn memory(&mut self, mem: Mem, each: bool) -> Operand {
        match mem {
            Mem::Pool(entry) => Operand::Pool { entry, each },
            Mem::Pointer { base, bytes } => match i32::try_from(bytes) {
                Ok(bytes) => Operand::At { base: self.int_reg(base), bytes, each },
                Err(_) => {
                    let from = self.int(base);
                    self.long(bytes);
                    self.raw(Code::Add_r64_rm64, &[Operand::Reg(SCRATCH), from]);
                    Operand::At { base: SCRATCH, bytes: 0, each }
                }
            },
        }
    }

    /// Encodes `scratch = value`.
    fn long(&mut self, value: i64) {
        let mut i = Instruction::new();
        i.set_code(Code::Mov_r64_imm64);
        i.set_op_kind(0, OpKind::Register);
        i.set_op_register(0, SCRATCH);
        i.set_op_kind(1, OpKind::Immediate64);
        i.set_immediate64(value as u64);
        self.push(i, &[]);
    }

    fn inst(&mut self, inst: &MInst) -> Result<(), EmitError> {
        match *inst {
            MInst::Vec(ref v) => self.vec_inst(v)?,
            MInst::TileLoad { .. } | MInst::TileStore { .. } | MInst::TileProduct { .. } => self.tile_inst(inst)?,
            MInst::Zero { dst } if self.code.classes[dst] == Class::Tile => {
                self.raw(Code::VEX_Tilezero_tmm, &[Operand::Reg(self.tile(dst))]);
            }
            MInst::Copy { dst, src, .. } if self.code.classes[dst] == Class::Tile => self.tile_stays(dst, src)?,
            MInst::Zero { dst } => self.zero(dst),
            MInst::Copy { dst, src, width } => self.copy(dst, src, width),
            MInst::MaskImm { dst, bits } => {
                self.raw(Code::Mov_r32_imm32, &[Operand::Reg(Register::EAX), Operand::Imm32(bits.into())]);
                let dst = self.mask(dst);
                self.raw(Code::VEX_Kmovw_kr_r32, &[Operand::Reg(dst), Operand::Reg(Register::EAX)]);
            }
            MInst::Prefetch { mem } => {
                let at = self.memory(mem, false);
                // Into the second level: the first is full of what is being multiplied.
                self.raw(Code::Prefetcht1_m8, &[at]);
            }
            MInst::FromInt { dst, src, add } => {
                let from = self.int_reg(src);
                let mut low = from.full_register32();
                if add != 0 {
                    let at = Operand::At { base: from, bytes: add, each: false };
                    self.raw(Code::Lea_r64_m, &[Operand::Reg(SCRATCH), at]);
                    low = Register::EAX;
                }
                let code = VOp::FromInt.code(self.evex, Width::X);
                let dst = self.vec(dst, Width::X);
                self.raw(code, &[Operand::Reg(dst), Operand::Reg(low)]);
            }
            MInst::Guard { id, count } => {
                match self.int(count) {
                    Operand::Reg(r) => self.raw(Code::Test_rm64_r64, &[Operand::Reg(r), Operand::Reg(r)]),
                    slot => self.raw(Code::Cmp_rm64_imm32, &[slot, Operand::Imm32(0)]),
                }
                self.lines.push(Line::Jump(Code::Jle_rel32_64, 2 * id + 1));
            }
            MInst::LoopStart { id, innermost } => self.lines.push(Line::Label(2 * id, if innermost { 32 } else { 1 })),
            MInst::LoopEnd { id, counter } => {
                let counter = self.int(counter);
                self.raw(Code::Dec_rm64, &[counter]);
                self.lines.push(Line::Jump(Code::Jne_rel32_64, 2 * id));
            }
            MInst::LoopExit { id } => self.lines.push(Line::Label(2 * id + 1, 1)),
            _ => self.integer(inst),
        }
        Ok(())
    }

    /// Encodes `xor r, r`, which processors know to depend on nothing; it clears the whole register at any width.
    fn zero(&mut self, dst: VReg) {
        let Place::Reg(n) = self.place(dst) else { return };
        let (code, r) = if n < 16 {
            (Code::VEX_Vxorps_xmm_xmm_xmmm128, vector(n, Width::X))
        } else {
            (Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, vector(n, Width::Z))
        };
        self.raw(code, &[Operand::Reg(r); 3]);
    }

    fn copy(&mut self, dst: VReg, src: VReg, width: Width) {
        if self.place(dst) == self.place(src) {
            return;
        }
        if self.code.classes[dst] == Class::Mask {
            let (dst, src) = (self.mask(dst), self.mask(src));
            self.raw(Code::VEX_Kmovw_kr_km16, &[Operand::Reg(dst), Operand::Reg(src)]);
        } else {
            let (dst, src) = (self.vec(dst, width), self.vec(src, width));
            self.raw(VOp::Copy.code(self.evex, width), &[Operand::Reg(dst), Operand::Reg(src)]);
        }
    }

    fn vec_inst(&mut self, v: &VecInst) -> Result<(), EmitError> {
        let code = v.op.code(self.evex, v.width);
        if code == Code::INVALID {
            return Err(bug(format!("{:?} has no encoding at {:?} here", v.op, v.width)));
        }
        let widths = v.op.widths(v.width);
        let mut operands = Vec::with_capacity(4);
        if let Some(dst) = v.dst {
            operands.push((Some(dst), Operand::Imm8(0)));
        }
        for &src in &v.srcs {
            operands.push(match src {
                Src::Reg(r) => (Some(r), Operand::Imm8(0)),
                Src::Mem(mem) => (None, self.memory(mem, false)),
                Src::Each(mem) => (None, self.memory(mem, true)),
                Src::Imm(value) => (None, Operand::Imm8(value)),
            });
        }
        let operands: Vec<Operand> = operands
            .into_iter()
            .enumerate()
            .map(|(n, (reg, other))| match reg {
                Some(r) if self.code.classes[r] == Class::Mask => Operand::Reg(self.mask(r)),
                Some(r) => Operand::Reg(self.vec(r, if n == 0 { widths.0 } else { widths.1 })),
                None => other,
            })
            .collect();
        let mut instruction = instruction(code, &operands);
        if let Some(mask) = v.mask {
            instruction.set_op_mask(self.mask(mask));
            instruction.set_zeroing_masking(v.zeroing);
        }
        self.push(instruction, &operands);
        Ok(())
    }
}
