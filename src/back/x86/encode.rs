//! From machine code with places to bytes: prologue, body, epilogue, constants.

use super::bug;
use super::codes::{VOp, Width};
use super::machine::{Class, MInst, MachineCode, Mem, Src, VReg, VecInst};
use super::regalloc::{Allocation, PARAMS, Place};
use crate::back::EmitError;
use cranelift_entity::PrimaryMap;
use iced_x86::{Code, Encoder, IcedError, Instruction, OpKind, Register};

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
/// Never allocated: holds slots, long constants and mask bits for a moment.
const SCRATCH: Register = Register::RAX;

/// A line of the output.
enum Line {
    Inst(Instruction),
    /// Jump to a label; the target is filled in by [`assemble`].
    Jump(Code, usize),
    /// Label, placed at the next multiple of the number of bytes.
    Label(usize, usize),
}

/// An instruction's operand in final form.
#[derive(Clone, Copy)]
enum Operand {
    Reg(Register),
    At { base: Register, bytes: i32, each: bool },
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

/// Bytes of the function. Its start should be aligned to 64 (for the loops and the pool; a matter of speed only).
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

    /// Register or stack slot of an integer.
    fn int(&self, r: VReg) -> Operand {
        match self.place(r) {
            Place::Stack(slot) => Operand::At { base: Register::RSP, bytes: 8 * slot as i32, each: false },
            Place::Reg(n) => Operand::Reg(GENERAL[n as usize]),
            Place::Nowhere => Operand::Reg(SCRATCH),
        }
    }

    /// An integer in a register: its own, or the scratch that it is loaded into.
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

    /// A memory operand; far displacements and spilled bases go through the scratch register.
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

    /// scratch = value
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
            MInst::Zero { dst } => self.zero(dst),
            MInst::Copy { dst, src, width } => self.copy(dst, src, width),
            MInst::MaskImm { dst, bits } => {
                self.raw(Code::Mov_r32_imm32, &[Operand::Reg(Register::EAX), Operand::Imm32(bits.into())]);
                let dst = self.mask(dst);
                self.raw(Code::VEX_Kmovw_kr_r32, &[Operand::Reg(dst), Operand::Reg(Register::EAX)]);
            }
            MInst::Prefetch { mem } => {
                let at = self.memory(mem, false);
                // Into the second level: the first is full of what is multiplied overlapped.
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

    fn integer(&mut self, inst: &MInst) {
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
            MInst::IntCopy { dst, src, add } => {
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

    /// The short idiom that reads nothing; it clears the whole register at any width.
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

    /// Two rounds: all lengths are known after the first, since jumps and pool operands have fixed sizes.
    fn assemble(mut self) -> Result<Vec<u8>, IcedError> {
        let mut labels = vec![0; 2 * self.code.loops];
        let (at, _) = self.round(&mut labels, &[])?;
        let mut pool = vec![0; at.next_multiple_of(64)];
        let mut places = vec![0; self.code.pool.entries.len()];
        let mut order: Vec<usize> = (0..places.len()).collect();
        // The longest first: then every entry is aligned to its size.
        order.sort_by_key(|&i| std::cmp::Reverse(self.code.pool.entries[i].len()));
        for i in order {
            places[i] = pool.len() as u64;
            pool.extend_from_slice(&self.code.pool.entries[i]);
        }
        let (_, mut bytes) = self.round(&mut labels, &places)?;
        if !places.is_empty() {
            // Never executed; a trap marks the end of the code.
            bytes.resize(at.next_multiple_of(64), 0xcc);
            bytes.extend_from_slice(&pool[bytes.len()..]);
        }
        Ok(bytes)
    }

    fn round(&mut self, labels: &mut [u64], pool: &[u64]) -> Result<(usize, Vec<u8>), IcedError> {
        for &(line, entry) in &self.pooled {
            if let Line::Inst(i) = &mut self.lines[line] {
                i.set_memory_displacement64(pool.get(entry).copied().unwrap_or(0));
            }
        }
        let mut encoder = Encoder::new(64);
        let mut at = 0;
        for line in &self.lines {
            match line {
                Line::Inst(i) => at += encoder.encode(i, at)? as u64,
                Line::Jump(code, label) => {
                    let jump = Instruction::with_branch(*code, labels[*label])?;
                    at += encoder.encode(&jump, at)? as u64;
                }
                Line::Label(label, align) => {
                    let mut missing = at.next_multiple_of(*align as u64) - at;
                    while missing > 0 {
                        let nop = NOPS[missing.min(9) as usize - 1];
                        nop.iter().for_each(|&byte| encoder.write_u8(byte));
                        at += nop.len() as u64;
                        missing -= nop.len() as u64;
                    }
                    labels[*label] = at;
                }
            }
        }
        Ok((at as usize, encoder.take_buffer()))
    }
}

/// Instructions without effect of 1 to 9 bytes, as the processor manuals recommend them.
const NOPS: [&[u8]; 9] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0x00],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];
