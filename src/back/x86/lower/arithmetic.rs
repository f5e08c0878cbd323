//! Operations on values in registers.

use super::super::bug;
use super::{Const, Loc, Lower, Op};
use crate::back::EmitError;
use crate::back::x86::codes::{VOp, Width};
use crate::back::x86::machine::{Class, MInst, Src, VReg, VecInst};
use crate::kernel::ir::{Binary, Compare, Elem, Ty, Unary, Val};

impl Lower<'_> {
    /// Computes the result of an operation that is neither a constant nor a load; `only_narrow`: stores take its
    /// lowest bits.
    pub(super) fn compute(&mut self, op: &Op, block: u32, only_narrow: bool) -> Result<VReg, EmitError> {
        match *op {
            Op::Splat { value, lanes } => self.splat(value, Width::of_lanes(lanes)),
            Op::Unary { op: Unary::ToByte, value } => self.round_to_byte(value, only_narrow),
            Op::Unary { op, value } => self.unary(op, value),
            Op::Binary { op, left, right } => self.binary(op, left, right),
            Op::Fma { a, b, c } => self.fma([a, b, c], block),
            Op::Compare { op, left, right } => self.compare(op, left, right),
            Op::Select { mask, then, otherwise } => self.select(mask, then, otherwise),
            Op::Zip { left, right, high } => self.zip(left, right, high),
            Op::Reduce { op, value } => self.reduce(op, value),
            Op::Dot2Bf16 { acc, a, b } => self.dot_bf16(acc, a, b),
            Op::Dot2I16 { acc, a, b } => self.dot_words(acc, a, b),
            Op::Dot4U8I8 { acc, a, b } => self.dot_bytes(acc, a, b),
            _ => Err(bug("constants and loads are handled by the caller")),
        }
    }

    pub(super) fn width(&self, value: Val) -> Width {
        Width::of_lanes(self.ty(value).lanes)
    }

    fn splat(&mut self, value: Val, width: Width) -> Result<VReg, EmitError> {
        if let Loc::Memory { mem, .. } = self.locs[value] {
            return Ok(self.emit(VOp::Broadcast4, width, vec![Src::Mem(mem)]));
        }
        let value = self.reg(value)?;
        Ok(self.emit(VOp::Splat4, width, vec![Src::Reg(value)]))
    }

    fn unary(&mut self, op: Unary, value: Val) -> Result<VReg, EmitError> {
        let (width, one) = (self.width(value), self.ty(value).lanes == 1);
        Ok(match op {
            Unary::Neg | Unary::Abs => {
                let (op, bits) = if op == Unary::Neg { (VOp::Xor, 1 << 31) } else { (VOp::And, !(1 << 31)) };
                let value = self.reg(value)?;
                let bits = self.constant(Const::Each(bits), width);
                self.emit(op, width, vec![Src::Reg(value), Src::Reg(bits)])
            }
            Unary::Sqrt if one => {
                let value = self.operand(value, true)?;
                // The first source only gives the upper lanes, which nobody reads.
                let upper = match value {
                    Src::Reg(reg) => reg,
                    _ => self.constant(Const::Each(0), width),
                };
                self.emit(VOp::SqrtSs, width, vec![Src::Reg(upper), value])
            }
            Unary::Sqrt | Unary::ToInt | Unary::ToFloat => {
                let op = match op {
                    Unary::Sqrt => VOp::SqrtPs,
                    Unary::ToInt => VOp::ToInt,
                    _ => VOp::ToFloat,
                };
                let value = self.operand(value, false)?;
                self.emit(op, width, vec![value])
            }
            Unary::Round | Unary::Floor => {
                // Bits 0 and 1: nearest even or down; bit 3: no inexact exception.
                let mode = if op == Unary::Round { 8 } else { 9 };
                let value = self.reg(value)?;
                self.emit(VOp::Round, width, vec![Src::Reg(value), Src::Imm(mode)])
            }
            Unary::ToByte => return Err(bug("`compute` handles it")),
            Unary::AsInt | Unary::AsFloat => self.reg(value)?,
        })
    }

    /// Rounds to a byte. Where that is all that becomes of it, negative numbers stay: the stores of `memory.rs` clamp
    /// them.
    fn round_to_byte(&mut self, value: Val, only_narrow: bool) -> Result<VReg, EmitError> {
        let width = self.width(value);
        let value = self.reg(value)?;
        let most = self.constant(Const::Each(255f32.to_bits()), width);
        // The second operand is what a NaN gives; the conversion makes the least number of it.
        let below = self.emit(VOp::MinPs, width, vec![most.into(), value.into()]);
        let whole = self.emit(VOp::ToNearest, width, vec![below.into()]);
        Ok(if only_narrow { whole } else { self.not_negative(whole, width) })
    }

    pub(super) fn not_negative(&mut self, value: VReg, width: Width) -> VReg {
        let zero = self.constant(Const::Each(0), width);
        self.emit(VOp::MaxD, width, vec![value.into(), zero.into()])
    }

    fn binary(&mut self, op: Binary, left: Val, right: Val) -> Result<VReg, EmitError> {
        let ty = self.ty(left);
        if let Some(by) = self.shift_count(op, right) {
            let left = self.reg(left)?;
            let op = match op {
                Binary::Shl => VOp::ShlD,
                Binary::ShrU => VOp::ShrUD,
                _ => VOp::ShrSD,
            };
            return Ok(self.emit(op, Width::of_lanes(ty.lanes), vec![Src::Reg(left), Src::Imm(by)]));
        }
        if op == Binary::MulHighU {
            let (left, right) = (self.reg(left)?, self.reg(right)?);
            return Ok(self.mul_high(left, right, Width::of_lanes(ty.lanes)));
        }
        if op.of_halves() {
            return self.halves(op, left, right);
        }
        let swaps = op.commutes();
        let left_is_const = matches!(self.locs[left], Loc::Const(_)) && !self.in_memory(right);
        let (left, right) =
            if swaps && (self.in_memory(left) || left_is_const) { (right, left) } else { (left, right) };
        let left = self.reg(left)?;
        let right = self.operand(right, ty == Ty::f32(1))?;
        self.binary_of(op, ty, left, right)
    }

    /// Returns the count of a shift by a constant.
    fn shift_count(&self, op: Binary, right: Val) -> Option<u8> {
        match (op, self.locs[right]) {
            (Binary::Shl | Binary::ShrU | Binary::ShrS, Loc::Const(Const::Each(by))) => Some((by & 31) as u8),
            _ => None,
        }
    }

    fn binary_of(&mut self, op: Binary, ty: Ty, left: VReg, right: Src) -> Result<VReg, EmitError> {
        use Binary::{Add, And, Div, Max, Min, Mul, Or, Shl, ShrS, ShrU, Sub, Xor};
        let op = match (ty.elem, op, ty.lanes == 1) {
            (Elem::F32, Add, true) => VOp::AddSs,
            (Elem::F32, Add, false) => VOp::AddPs,
            (Elem::F32, Sub, true) => VOp::SubSs,
            (Elem::F32, Sub, false) => VOp::SubPs,
            (Elem::F32, Mul, true) => VOp::MulSs,
            (Elem::F32, Mul, false) => VOp::MulPs,
            (Elem::F32, Div, true) => VOp::DivSs,
            (Elem::F32, Div, false) => VOp::DivPs,
            (Elem::F32, Max, true) => VOp::MaxSs,
            (Elem::F32, Max, false) => VOp::MaxPs,
            (Elem::F32, Min, true) => VOp::MinSs,
            (Elem::F32, Min, false) => VOp::MinPs,
            (Elem::I32, Add, _) => VOp::AddD,
            (Elem::I32, Sub, _) => VOp::SubD,
            (Elem::I32, Mul, _) => VOp::MulD,
            (Elem::I32, Max, _) => VOp::MaxD,
            (Elem::I32, Min, _) => VOp::MinD,
            (Elem::I32, And, _) => VOp::And,
            (Elem::I32, Or, _) => VOp::Or,
            (Elem::I32, Xor, _) => VOp::Xor,
            (Elem::I32, Shl, _) => VOp::ShlVar,
            (Elem::I32, ShrU, _) => VOp::ShrUVar,
            (Elem::I32, ShrS, _) => VOp::ShrSVar,
            _ => return Err(bug(format!("micro-kernel {}: {op:?} of {:?}", self.micro_kernel.name, ty.elem))),
        };
        Ok(self.emit(op, Width::of_lanes(ty.lanes), vec![left.into(), right]))
    }

    /// Multiplies to upper halves: even and odd lanes apart, since the machine multiplies to 64 bits.
    fn mul_high(&mut self, left: VReg, right: VReg, width: Width) -> VReg {
        let even = self.emit(VOp::MulUdq, width, vec![left.into(), right.into()]);
        let even = self.emit(VOp::ShrUQ, width, vec![even.into(), Src::Imm(32)]);
        let left = self.emit(VOp::ShrUQ, width, vec![left.into(), Src::Imm(32)]);
        let right = self.emit(VOp::ShrUQ, width, vec![right.into(), Src::Imm(32)]);
        let odd = self.emit(VOp::MulUdq, width, vec![left.into(), right.into()]);
        let lanes = self.constant(Const::OddLanes, width);
        let odd = self.emit(VOp::And, width, vec![odd.into(), lanes.into()]);
        self.emit(VOp::Or, width, vec![even.into(), odd.into()])
    }

    // ------------------------------------------------------------ fused multiply-add

    /// Computes `a · b + c`: the form is chosen so that the overwritten operand is one that dies.
    fn fma(&mut self, operands: [Val; 3], block: u32) -> Result<VReg, EmitError> {
        let [a, b, c] = operands;
        let (one, width) = (self.ty(c).lanes == 1, self.width(c));
        let form = |ps: VOp, ss: VOp| if one { ss } else { ps };
        let (f132, f213, f231) = (
            form(VOp::Fma132Ps, VOp::Fma132Ss),
            form(VOp::Fma213Ps, VOp::Fma213Ss),
            form(VOp::Fma231Ps, VOp::Fma231Ss),
        );
        let root = |v: Val| self.info.values[v].root;
        let distinct = root(a) != root(b) && root(a) != root(c) && root(b) != root(c);
        let dies = |v: Val| {
            let register = matches!(self.locs[v], Loc::Reg(_));
            register && distinct && self.info.dies(v, self.position, block)
        };
        let free = |v: Val| matches!(self.locs[v], Loc::Const(k) if !self.hoisted.contains_key(&k));
        let [a_dies, b_dies, c_dies] = operands.map(dies);
        let constant_c = matches!(self.locs[c], Loc::Const(_));
        // A multiplicand is overwritten when only it dies, or when the addend comes from memory.
        let over_multiplicand = (a_dies || b_dies) && !c_dies && (self.in_memory(c) || constant_c || !free(c));
        if over_multiplicand {
            let (mut over, mut other) = if a_dies { (a, b) } else { (b, a) };
            if a_dies && b_dies && self.in_memory(a) {
                (over, other) = (b, a);
            }
            let over = self.reg(over)?;
            if self.in_memory(other) {
                let (addend, factor) = (self.reg(c)?, self.operand(other, one)?);
                return Ok(self.modify(f132, width, over, vec![addend.into(), factor]));
            }
            let (factor, addend) = (self.reg(other)?, self.operand(c, one)?);
            return Ok(self.modify(f213, width, over, vec![factor.into(), addend]));
        }
        let (a, b) = if self.in_memory(a) || (free(a) && !self.in_memory(b)) { (b, a) } else { (a, b) };
        let over = self.reg(c)?;
        let (factor, other) = (self.reg(a)?, self.operand(b, one)?);
        Ok(self.modify(f231, width, over, vec![factor.into(), other]))
    }

    /// Emits an instruction that overwrites its first operand: with a copy, which coalescing removes if that one dies
    /// here.
    pub(super) fn modify(&mut self, op: VOp, width: Width, over: VReg, srcs: Vec<Src>) -> VReg {
        let dst = self.code.reg(Class::Vector);
        self.push(MInst::Copy { dst, src: over, width });
        let (mask, zeroing) = (None, false);
        self.push(MInst::Vec(VecInst { op, width, dst: Some(dst), modifies: true, srcs, mask, zeroing }));
        dst
    }

    // ------------------------------------------------------------ masks

    fn compare(&mut self, op: Compare, left: Val, right: Val) -> Result<VReg, EmitError> {
        let width = self.width(left);
        if self.ty(left).elem == Elem::F32 {
            // Ordered and quiet, except for `Ne`, which holds for a NaN.
            let predicate = match op {
                Compare::Eq => 0x00,
                Compare::Ne => 0x04,
                Compare::Lt => 0x11,
                Compare::Le => 0x12,
                Compare::Gt => 0x1e,
                Compare::Ge => 0x1d,
            };
            let (left, right) = (self.reg(left)?, self.operand(right, false)?);
            return Ok(self.compare_floats(left, right, width, predicate));
        }
        if self.evex {
            let predicate = match op {
                Compare::Eq => 0,
                Compare::Lt => 1,
                Compare::Le => 2,
                Compare::Ne => 4,
                Compare::Ge => 5,
                Compare::Gt => 6,
            };
            let (left, right) = (self.reg(left)?, self.operand(right, false)?);
            return Ok(self.compare_masked(VOp::CmpDK, left, right, width, predicate));
        }
        let (left, right) = (self.reg(left)?, self.reg(right)?);
        let (op, left, right, negate) = match op {
            Compare::Eq => (VOp::EqD, left, right, false),
            Compare::Ne => (VOp::EqD, left, right, true),
            Compare::Gt => (VOp::GtD, left, right, false),
            Compare::Le => (VOp::GtD, left, right, true),
            Compare::Lt => (VOp::GtD, right, left, false),
            Compare::Ge => (VOp::GtD, right, left, true),
        };
        let holds = self.emit(op, width, vec![left.into(), right.into()]);
        if !negate {
            return Ok(holds);
        }
        let ones = self.constant(Const::Each(!0), width);
        Ok(self.emit(VOp::Xor, width, vec![holds.into(), ones.into()]))
    }

    pub(super) fn compare_floats(&mut self, left: VReg, right: Src, width: Width, predicate: u8) -> VReg {
        if self.evex {
            self.compare_masked(VOp::CmpPsK, left, right, width, predicate)
        } else {
            self.emit(VOp::CmpPs, width, vec![left.into(), right, Src::Imm(predicate)])
        }
    }

    fn compare_masked(&mut self, op: VOp, left: VReg, right: Src, width: Width, predicate: u8) -> VReg {
        let dst = self.code.reg(Class::Mask);
        self.emit_into(op, width, vec![left.into(), right, Src::Imm(predicate)], dst);
        dst
    }

    fn select(&mut self, mask: Val, then: Val, otherwise: Val) -> Result<VReg, EmitError> {
        let width = self.width(then);
        let mask = self.reg(mask)?;
        let otherwise = self.reg(otherwise)?;
        let then = self.operand(then, false)?;
        Ok(self.blend(mask, then, otherwise, width))
    }

    /// Picks lanes of `then` where the mask is set, of `otherwise` elsewhere.
    pub(super) fn blend(&mut self, mask: VReg, then: Src, otherwise: VReg, width: Width) -> VReg {
        if !self.evex {
            return self.emit(VOp::BlendV, width, vec![otherwise.into(), then, mask.into()]);
        }
        let dst = self.code.reg(Class::Vector);
        let srcs = vec![otherwise.into(), then];
        let (mask, zeroing) = (Some(mask), false);
        self.push(MInst::Vec(VecInst { op: VOp::BlendK, width, dst: Some(dst), modifies: false, srcs, mask, zeroing }));
        dst
    }

    // ------------------------------------------------------------ reductions and dot products

    /// Interleaves lanes: within 128 bits, else by a permutation of both, or of their halves.
    fn zip(&mut self, left: Val, right: Val, high: bool) -> Result<VReg, EmitError> {
        let width = self.width(left);
        let (left, right) = (self.reg(left)?, self.reg(right)?);
        let within = if high { VOp::UnpackHigh } else { VOp::UnpackLow };
        if width == Width::X {
            return Ok(self.emit(within, width, vec![left.into(), right.into()]));
        }
        if self.evex {
            let order = self.constant(Const::Turns { high }, width);
            return Ok(self.modify(VOp::PermuteTwo, width, left, vec![order.into(), right.into()]));
        }
        let [low, high_lanes] =
            [VOp::UnpackLow, VOp::UnpackHigh].map(|op| self.emit(op, width, vec![left.into(), right.into()]));
        let halves = if high { 0x31 } else { 0x20 };
        Ok(self.emit(VOp::Halves, width, vec![low.into(), high_lanes.into(), Src::Imm(halves)]))
    }

    fn reduce(&mut self, op: Binary, value: Val) -> Result<VReg, EmitError> {
        let Ty { elem, mut lanes } = self.ty(value);
        let mut sum = self.reg(value)?;
        while lanes > 1 {
            let half = lanes / 2;
            let high = match lanes {
                16 => self.emit(VOp::ExtractHalfZ, Width::Z, vec![sum.into(), Src::Imm(1)]),
                8 if self.evex => self.emit(VOp::ExtractQuarter, Width::Y, vec![sum.into(), Src::Imm(1)]),
                8 => self.emit(VOp::ExtractHalf, Width::Y, vec![sum.into(), Src::Imm(1)]),
                // Lanes 2 and 3, or lane 1, go to the front.
                4 => self.emit(VOp::Shuffle, Width::X, vec![sum.into(), Src::Imm(0b1110)]),
                _ => self.emit(VOp::Shuffle, Width::X, vec![sum.into(), Src::Imm(0b0001)]),
            };
            sum = self.binary_of(op, Ty { elem, lanes: half }, sum, high.into())?;
            lanes = half;
        }
        Ok(sum)
    }
}

impl From<VReg> for Src {
    fn from(reg: VReg) -> Src {
        Src::Reg(reg)
    }
}
