//! Instruction selection: a micro-kernel's structure becomes linear machine code over virtual registers. The order of
//! the source is kept: recipes write the order that keeps the register demand low.

use super::analyse::{AddressExpr, Info, pointee};
use super::bug;
use super::codes::{VOp, Width};
use super::machine::{Class, MInst, MachineCode, Mem, Src, VReg, VecInst};
use crate::back::EmitError;
use crate::kernel::ir::{
    Address, Elem, EntityRef, Index, Inst, MicroKernel, MicroKernelParam, Op, PrimaryMap, Ty, Unary, Val, Var,
};
use std::collections::{BTreeMap, HashMap};

mod arithmetic;
mod dots;
mod loops;
mod memory;
mod tiles;

/// A constant that can be kept in a register or read from the pool. The order is that of preference at equal use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Const {
    /// These 32 bits in every lane.
    Each(u32),
    /// 0, 1, 2, …
    Iota,
    /// Number i of a 4x4 matrix's transpose: 0, 4, 8, 12, 1, …
    Transposed,
    /// Interleaved lanes of the upper or lower halves of two vectors, as the permutation of both numbers them.
    Turns { high: bool },
    /// All ones in the odd lanes.
    OddLanes,
    /// All ones in the first lanes: a mask of AVX2.
    First(u32),
    /// These bits in a mask register of AVX-512.
    MaskBits(u16),
}

impl Const {
    /// Returns the class of registers that hold it.
    pub fn class(self) -> Class {
        if matches!(self, Const::MaskBits(_)) { Class::Mask } else { Class::Vector }
    }

    /// Returns the vector's bytes, for this many lanes.
    fn lanes(self, count: u32) -> Vec<u8> {
        let word = |i: u32| match self {
            Const::Each(bits) => bits,
            Const::Iota => i,
            Const::Transposed => i % 4 * 4 + i / 4,
            Const::Turns { high } => i / 2 + i % 2 * count + if high { count / 2 } else { 0 },
            Const::OddLanes => 0u32.wrapping_sub(i % 2),
            Const::First(n) => 0u32.wrapping_sub(u32::from(i < n)),
            Const::MaskBits(bits) => 0u32.wrapping_sub(u32::from(bits >> i & 1)),
        };
        (0..count).flat_map(|i| word(i).to_le_bytes()).collect()
    }
}

/// Where a value of the micro-kernel is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loc {
    Nothing,
    Reg(VReg),
    Const(Const),
    /// A load that its user reads as a memory operand: `Each` or `Whole` words, from here.
    Memory {
        mem: Mem,
        each: bool,
    },
}

/// A micro-kernel after selection.
pub struct Lowered {
    /// Its instructions.
    pub code: MachineCode,
    /// Constants used inside of loops, by weight: candidates to be kept in registers.
    pub constants: BTreeMap<Const, u64>,
}

pub(super) struct Lower<'a> {
    micro_kernel: &'a MicroKernel,
    info: &'a Info,
    evex: bool,
    bf16: bool,
    vnni: bool,
    code: MachineCode,
    locs: PrimaryMap<Val, Loc>,
    /// Registers that hold address expressions, in scope now.
    pointers: HashMap<AddressExpr, VReg>,
    int_vars: HashMap<Var, VReg>,
    /// Registers that hold bytes from row to row of a tile.
    pitches: HashMap<i64, VReg>,
    hoisted: HashMap<Const, VReg>,
    /// Even and odd bytes of factors of this block, widened.
    widened: HashMap<(Val, bool), [VReg; 2]>,
    constants: BTreeMap<Const, u64>,
    position: u32,
    blocks: u32,
    depth: u32,
}

/// What the machine has beyond its base instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// AVX-512, with its encodings and mask registers.
    pub evex: bool,
    /// Products of bf16 pairs.
    pub bf16: bool,
    /// Products of groups of four bytes.
    pub vnni: bool,
}

/// Lowers the micro-kernel; `hoist` are the constants that live in registers from the entry on.
pub fn lower(micro_kernel: &MicroKernel, info: &Info, machine: Machine, hoist: &[Const]) -> Result<Lowered, EmitError> {
    let mut l = Lower {
        micro_kernel,
        info,
        evex: machine.evex,
        bf16: machine.bf16,
        vnni: machine.vnni,
        code: MachineCode::default(),
        locs: micro_kernel.values.keys().map(|_| Loc::Nothing).collect(),
        pointers: HashMap::new(),
        int_vars: HashMap::new(),
        pitches: HashMap::new(),
        hoisted: HashMap::new(),
        widened: HashMap::new(),
        constants: BTreeMap::new(),
        position: 0,
        blocks: 0,
        depth: 0,
    };
    l.entry(hoist)?;
    l.block(&micro_kernel.body)?;
    Ok(Lowered { code: l.code, constants: l.constants })
}

impl Lower<'_> {
    fn entry(&mut self, hoist: &[Const]) -> Result<(), EmitError> {
        let widest = if self.evex { 16 } else { 8 };
        let fits = |t: &Ty| t.is_tile() || t.lanes <= widest && t.lanes.is_power_of_two();
        if let Some(ty) = self.micro_kernel.values.values().find(|t| !fits(t)) {
            return Err(EmitError::Limit(format!(
                "micro-kernel {}: {} lanes, this instruction set has {widest}",
                self.micro_kernel.name, ty.lanes
            )));
        }
        for (id, param) in &self.micro_kernel.params {
            let reg = self.code.reg(Class::Int);
            self.code.params.push(reg);
            match param {
                MicroKernelParam::Int { var, .. } => {
                    self.int_vars.insert(*var, reg);
                }
                MicroKernelParam::Pointer { .. } => {
                    let expr = AddressExpr { base: Some(id), terms: vec![] };
                    self.pointers.insert(expr, reg);
                }
            }
        }
        for expr in &self.info.fixed {
            let reg = self.entry_address(expr)?;
            self.pointers.insert(expr.clone(), reg);
        }
        for &bytes in &self.info.pitches {
            let reg = self.code.reg(Class::Int);
            self.push(MInst::IntConst { dst: reg, value: bytes });
            self.pitches.insert(bytes, reg);
        }
        for &constant in hoist {
            let reg = self.code.reg(constant.class());
            let width = if self.evex { Width::Z } else { Width::Y };
            self.constant_into(constant, width, reg);
            self.hoisted.insert(constant, reg);
        }
        Ok(())
    }

    /// Emits the code at the entry for an address expression of parameters only.
    fn entry_address(&mut self, expr: &AddressExpr) -> Result<VReg, EmitError> {
        let mut sum = match expr.base {
            None => None,
            Some(base) => Some(self.code.params[base.index()]),
        };
        let mut own = false;
        for &(var, factor) in &expr.terms {
            let src = *self.int_vars.get(&var).ok_or_else(|| bug("an index uses a variable that is not in scope"))?;
            let term = self.code.reg(Class::Int);
            self.push(MInst::IntMul { dst: term, src, factor });
            sum = Some(match sum {
                None => term,
                Some(from) => {
                    if !own {
                        self.push(MInst::IntAdd { dst: term, src: from });
                        term
                    } else {
                        self.push(MInst::IntAdd { dst: from, src: term });
                        from
                    }
                }
            });
            own = true;
        }
        sum.ok_or_else(|| bug("an index without terms needs no register"))
    }

    fn push(&mut self, inst: MInst) {
        self.code.insts.push(inst);
    }

    fn ty(&self, value: Val) -> Ty {
        self.micro_kernel.values[value]
    }

    fn class(&self, ty: Ty) -> Class {
        match ty.elem {
            _ if ty.is_tile() => Class::Tile,
            Elem::Mask if self.evex => Class::Mask,
            _ => Class::Vector,
        }
    }

    fn block(&mut self, body: &[Inst]) -> Result<(), EmitError> {
        let block = self.blocks;
        self.blocks += 1;
        let outer = std::mem::take(&mut self.widened);
        let mut rest = body.iter();
        while let Some(inst) = rest.next() {
            self.position += 1;
            let more = match self.store_together(inst, rest.as_slice())? {
                0 => self.dots_together(inst, rest.as_slice())?,
                stores => stores,
            };
            if more > 0 {
                self.position += more as u32;
                rest.nth(more - 1);
                continue;
            }
            match inst {
                Inst::Let { result, op } => {
                    let loc = self.value(*result, op, block)?;
                    self.locs[*result] = loc;
                }
                Inst::Store { to, value, count } => self.store(to, *value, *count)?,
                Inst::StoreTile { to, value, pitch } => self.store_tile(to, *value, *pitch)?,
                Inst::Prefetch { from } => {
                    let mem = self.mem(from)?;
                    self.push(MInst::Prefetch { mem });
                }
                Inst::Loop { .. } => self.repeat(inst)?,
            }
        }
        self.widened = outer;
        Ok(())
    }

    fn value(&mut self, result: Val, op: &Op, block: u32) -> Result<Loc, EmitError> {
        if let Op::Unary { op: Unary::AsInt | Unary::AsFloat, value } = op {
            return Ok(self.locs[*value]);
        }
        if self.info.values[result].uses == 0 {
            return Ok(Loc::Nothing);
        }
        Ok(match op {
            Op::ConstF32 { bits, .. } => Loc::Const(Const::Each(*bits)),
            Op::ConstI32 { value, .. } => Loc::Const(Const::Each(*value as u32)),
            Op::Iota { lanes: 1 } => Loc::Const(Const::Each(0)),
            Op::Iota { .. } => Loc::Const(Const::Iota),
            Op::IndexI32 { index, lanes } => self.index_value(index, *lanes)?,
            Op::Load { .. } | Op::Broadcast { .. } | Op::LoadPacked { .. } | Op::BroadcastPacked { .. } => {
                self.load(result, op)?
            }
            Op::LoadTile { from, pitch, stream, .. } => Loc::Reg(self.load_tile(from, *pitch, *stream)?),
            Op::Outer { kind, acc, a, b } => Loc::Reg(self.outer(*kind, *acc, *a, *b)?),
            _ => Loc::Reg(self.compute(op, block, self.info.only_narrow(result))?),
        })
    }

    fn index_value(&mut self, index: &Index, lanes: u32) -> Result<Loc, EmitError> {
        if index.terms.is_empty() {
            return Ok(Loc::Const(Const::Each(index.offset as u32)));
        }
        let src = self.address_register(&AddressExpr::of_index(index))?;
        let dst = self.code.reg(Class::Vector);
        self.push(MInst::FromInt { dst, src, add: index.offset as i32 });
        if lanes == 1 {
            return Ok(Loc::Reg(dst));
        }
        Ok(Loc::Reg(self.emit(VOp::Splat4, Width::of_lanes(lanes), vec![Src::Reg(dst)])))
    }

    // ------------------------------------------------------------ operands

    /// Emits `op` into a new vector register.
    fn emit(&mut self, op: VOp, width: Width, srcs: Vec<Src>) -> VReg {
        let dst = self.code.reg(Class::Vector);
        self.emit_into(op, width, srcs, dst);
        dst
    }

    fn emit_into(&mut self, op: VOp, width: Width, srcs: Vec<Src>, dst: VReg) {
        let (mask, zeroing) = (None, false);
        self.push(MInst::Vec(VecInst { op, width, dst: Some(dst), modifies: false, srcs, mask, zeroing }));
    }

    /// Counts a use of the constant if it is inside of a loop.
    fn count_use(&mut self, constant: Const) {
        if self.depth > 0 {
            *self.constants.entry(constant).or_default() += 10u64.pow(self.depth.min(12));
        }
    }

    fn constant_into(&mut self, constant: Const, width: Width, dst: VReg) {
        match constant {
            Const::Each(0) => self.push(MInst::Zero { dst }),
            Const::MaskBits(bits) => self.push(MInst::MaskImm { dst, bits }),
            Const::Each(_) => {
                let entry = self.code.pool.entry(constant.lanes(1));
                self.emit_into(VOp::Broadcast4, width, vec![Src::Mem(Mem::Pool(entry))], dst);
            }
            _ => {
                let entry = self.code.pool.entry(constant.lanes(width.bytes() / 4));
                self.emit_into(VOp::Move, width, vec![Src::Mem(Mem::Pool(entry))], dst);
            }
        }
    }

    /// Returns a register that holds the constant: the hoisted one or a new one.
    fn constant(&mut self, constant: Const, width: Width) -> VReg {
        self.count_use(constant);
        if let Some(&reg) = self.hoisted.get(&constant) {
            return reg;
        }
        let reg = self.code.reg(constant.class());
        self.constant_into(constant, width, reg);
        reg
    }

    /// Returns a register that holds the value.
    fn reg(&mut self, value: Val) -> Result<VReg, EmitError> {
        let width = Width::of_lanes(self.ty(value).lanes);
        match self.locs[value] {
            Loc::Reg(reg) => Ok(reg),
            Loc::Const(constant) => Ok(self.constant(constant, width)),
            Loc::Memory { mem, each } => {
                let one = self.ty(value).lanes == 1;
                let op = match (each, one) {
                    (_, true) => VOp::Load4,
                    (true, false) => VOp::Broadcast4,
                    (false, false) => VOp::Move,
                };
                Ok(self.emit(op, width, vec![Src::Mem(mem)]))
            }
            Loc::Nothing => {
                Err(bug(format!("micro-kernel {}: {value} is used before its definition", self.micro_kernel.name)))
            }
        }
    }

    /// Returns the value as the operand of a packed instruction that takes memory, or of a scalar one (`scalar`).
    fn operand(&mut self, value: Val, scalar: bool) -> Result<Src, EmitError> {
        let lanes = self.ty(value).lanes;
        let width = Width::of_lanes(lanes);
        match self.locs[value] {
            Loc::Memory { mem, each } => Ok(match (scalar, each || lanes == 1) {
                (true, _) | (false, false) => Src::Mem(mem),
                (false, true) => Src::Each(mem),
            }),
            Loc::Const(c @ Const::Each(bits)) if bits != 0 && !self.hoisted.contains_key(&c) => {
                self.count_use(c);
                let whole = if self.evex || scalar { 1 } else { width.bytes() / 4 };
                let mem = Mem::Pool(self.code.pool.entry(c.lanes(whole)));
                Ok(if self.evex && !scalar { Src::Each(mem) } else { Src::Mem(mem) })
            }
            _ => Ok(Src::Reg(self.reg(value)?)),
        }
    }

    fn in_memory(&self, value: Val) -> bool {
        matches!(self.locs[value], Loc::Memory { .. })
    }

    /// Returns the register that holds an address expression in scope.
    fn address_register(&self, expr: &AddressExpr) -> Result<VReg, EmitError> {
        let name = &self.micro_kernel.name;
        self.pointers
            .get(expr)
            .copied()
            .ok_or_else(|| bug(format!("micro-kernel {name}: an index uses a variable out of scope")))
    }

    fn mem(&self, address: &Address) -> Result<Mem, EmitError> {
        let bytes = pointee(self.micro_kernel, address.base)?.bytes() as i64;
        let base = self.address_register(&AddressExpr::of_address(address, bytes))?;
        Ok(Mem::Pointer { base, bytes: address.index.offset.wrapping_mul(bytes) })
    }
}
