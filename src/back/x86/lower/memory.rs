//! Loads and stores: whole and partial vectors, elements that widen and narrow.

use super::super::bug;
use super::{Const, Loc, Lower, Op};
use crate::back::EmitError;
use crate::back::x86::analyse::pointee;
use crate::back::x86::codes::{VOp, Width};
use crate::back::x86::machine::{MInst, Mem, Src, VReg, VecInst};
use crate::kernel::ir::{Address, Elem, Inst, Ty, Val};

impl Mem {
    /// Returns the place `more` bytes after this one.
    fn plus(self, more: i64) -> Mem {
        match self {
            Mem::Pointer { base, bytes } => Mem::Pointer { base, bytes: bytes.wrapping_add(more) },
            pool => pool,
        }
    }
}

impl Lower<'_> {
    pub(super) fn load(&mut self, result: Val, op: &Op) -> Result<Loc, EmitError> {
        let (from, each, count) = match op {
            Op::Load { from, count, .. } => (from, false, *count),
            Op::LoadPacked { from, .. } => (from, false, None),
            Op::Broadcast { from, .. } | Op::BroadcastPacked { from, .. } => (from, true, None),
            _ => return Err(bug("not a load")),
        };
        let lanes = self.ty(result).lanes;
        let packed = matches!(op, Op::LoadPacked { .. } | Op::BroadcastPacked { .. });
        let elem = if packed { Elem::I32 } else { pointee(self.micro_kernel, from.base)? };
        let mem = self.mem(from)?;
        if self.info.values[result].folded {
            return Ok(Loc::Memory { mem, each });
        }
        let width = Width::of_lanes(lanes);
        let reg = match (each && lanes > 1, elem.bytes()) {
            (true, 4) => self.emit(VOp::Broadcast4, width, vec![Src::Mem(mem)]),
            (true, _) => self.broadcast_narrow(elem, width, mem),
            (false, 4) => self.load_words(mem, lanes, count.unwrap_or(lanes)),
            (false, _) => self.load_narrow(elem, mem, lanes, count.unwrap_or(lanes)),
        };
        Ok(Loc::Reg(reg))
    }

    fn masked_load(&mut self, op: VOp, width: Width, mem: Mem, count: u32) -> VReg {
        let mask = Some(self.constant(Const::MaskBits(first(count)), width));
        let dst = self.code.reg(crate::back::x86::machine::Class::Vector);
        let srcs = vec![Src::Mem(mem)];
        self.push(MInst::Vec(VecInst { op, width, dst: Some(dst), modifies: false, srcs, mask, zeroing: true }));
        dst
    }

    fn masked_store(&mut self, op: VOp, width: Width, mem: Mem, value: VReg, count: u32) {
        let mask = Some(self.constant(Const::MaskBits(first(count)), width));
        self.emit_store(op, width, vec![Src::Mem(mem), Src::Reg(value)], mask);
    }

    fn emit_store(&mut self, op: VOp, width: Width, srcs: Vec<Src>, mask: Option<VReg>) {
        self.push(MInst::Vec(VecInst { op, width, dst: None, modifies: false, srcs, mask, zeroing: false }));
    }

    /// Loads 32-bit words; loads of 4, 8, 16, 32 and 64 bytes clear the rest of the register, so these need no mask.
    fn load_words(&mut self, mem: Mem, lanes: u32, count: u32) -> VReg {
        let (op, width) = match count {
            1 => (VOp::Load4, Width::X),
            2 => (VOp::Load8, Width::X),
            4 | 8 | 16 => (VOp::Move, Width::of_lanes(count)),
            _ if self.evex => return self.masked_load(VOp::Move, Width::of_lanes(lanes), mem, count),
            _ => {
                let width = Width::of_lanes(lanes);
                let mask = self.constant(Const::First(count), width);
                return self.emit(VOp::MaskLoad, width, vec![Src::Reg(mask), Src::Mem(mem)]);
            }
        };
        self.emit(op, width, vec![Src::Mem(mem)])
    }

    fn store_words(&mut self, mem: Mem, value: VReg, lanes: u32, count: u32) {
        let (op, width) = match count {
            1 => (VOp::Store4, Width::X),
            2 => (VOp::Store8, Width::X),
            4 | 8 | 16 => (VOp::MoveTo, Width::of_lanes(count)),
            _ if self.evex => return self.masked_store(VOp::MoveTo, Width::of_lanes(lanes), mem, value, count),
            _ => {
                let width = Width::of_lanes(lanes);
                let mask = self.constant(Const::First(count), width);
                let srcs = vec![Src::Mem(mem), Src::Reg(mask), Src::Reg(value)];
                return self.emit_store(VOp::MaskStore, width, srcs, None);
            }
        };
        self.emit_store(op, width, vec![Src::Mem(mem), Src::Reg(value)], None);
    }

    /// Loads one 16-bit or 8-bit element to every lane: repeats it within the lane, then shifts it into its place.
    fn broadcast_narrow(&mut self, elem: Elem, width: Width, mem: Mem) -> VReg {
        let (op, shift, by) = match elem {
            Elem::Bf16 => (VOp::Broadcast2, VOp::ShlD, 16),
            Elem::I16 => (VOp::Broadcast2, VOp::ShrSD, 16),
            Elem::U8 => (VOp::Broadcast1, VOp::ShrUD, 24),
            _ => (VOp::Broadcast1, VOp::ShrSD, 24),
        };
        let all = self.emit(op, width, vec![Src::Mem(mem)]);
        self.emit(shift, width, vec![Src::Reg(all), Src::Imm(by)])
    }

    /// Loads 16-bit or 8-bit elements, widened to 32 bits.
    fn load_narrow(&mut self, elem: Elem, mem: Mem, lanes: u32, count: u32) -> VReg {
        let width = Width::of_lanes(lanes);
        let widen = match elem {
            Elem::Bf16 => VOp::WidenWd,
            Elem::I16 => VOp::WidenSWd,
            Elem::U8 => VOp::WidenBd,
            _ => VOp::WidenSBd,
        };
        let wide = if count == lanes && lanes >= 4 {
            self.emit(widen, width, vec![Src::Mem(mem)])
        } else if self.evex {
            self.masked_load(widen, width, mem, count)
        } else {
            let bytes = elem.bytes() as i64;
            let insert = if bytes == 2 { VOp::Insert2 } else { VOp::Insert1 };
            let mut gathered = self.code.reg(crate::back::x86::machine::Class::Vector);
            self.push(MInst::Zero { dst: gathered });
            for i in 0..count {
                let srcs = vec![Src::Reg(gathered), Src::Mem(mem.plus(i64::from(i) * bytes)), Src::Imm(i as u8)];
                gathered = self.emit(insert, Width::X, srcs);
            }
            self.emit(widen, width, vec![Src::Reg(gathered)])
        };
        if elem == Elem::Bf16 { self.emit(VOp::ShlD, width, vec![Src::Reg(wide), Src::Imm(16)]) } else { wide }
    }

    pub(super) fn store(&mut self, to: &Address, value: Val, count: Option<u32>) -> Result<(), EmitError> {
        let lanes = self.ty(value).lanes;
        let count = count.unwrap_or(lanes);
        let elem = pointee(self.micro_kernel, to.base)?;
        let mem = self.mem(to)?;
        let id = value;
        let value = self.reg(id)?;
        let width = Width::of_lanes(lanes);
        if elem.bytes() == 4 {
            self.store_words(mem, value, lanes, count);
        } else if elem == Elem::Bf16 && self.bf16 && count == lanes && lanes >= 8 {
            let narrow = self.emit(VOp::NarrowBf16, width, vec![Src::Reg(value)]);
            let half = if lanes == 16 { Width::Y } else { Width::X };
            self.emit_store(VOp::MoveTo, half, vec![Src::Mem(mem), Src::Reg(narrow)], None);
        } else if self.rounded_to_byte(id) {
            let words = if self.evex { self.not_negative(value, width) } else { value };
            self.store_narrow(elem, mem, words, lanes, count, true);
        } else {
            let words = if elem == Elem::Bf16 { self.round_bf16(value, width) } else { value };
            self.store_narrow(elem, mem, words, lanes, count, false);
        }
        Ok(())
    }

    /// Emits a store with those of the `rest` that one instruction packs, and returns how many of them these are; 0
    /// where nothing was emitted.
    pub(super) fn store_together(&mut self, first: &Inst, rest: &[Inst]) -> Result<usize, EmitError> {
        match rest {
            [second, ..] if self.store_line(first, second)? => Ok(1),
            [second, third, fourth, ..] if self.store_rows([first, second, third, fourth])? => Ok(3),
            _ => Ok(0),
        }
    }

    /// Emits two rows of 32 bytes: the packing instructions take two vectors each and saturate. Says whether the stores
    /// are that.
    fn store_rows(&mut self, stores: [&Inst; 4]) -> Result<bool, EmitError> {
        let mut parts = Vec::new();
        for store in stores {
            let Inst::Store { to, value, count: None } = store else { return Ok(false) };
            let fits = self.ty(*value) == Ty::i32(16) && self.rounded_to_byte(*value);
            if !(self.evex && fits && pointee(self.micro_kernel, to.base)? == Elem::U8) {
                return Ok(false);
            }
            parts.push((to, *value));
        }
        let beside = |a: &Address, b: &Address| b.base == a.base && b.index == a.index.clone().offset(16);
        if !(beside(parts[0].0, parts[1].0) && beside(parts[2].0, parts[3].0)) {
            return Ok(false);
        }
        let (above, below) = (self.mem(parts[0].0)?, self.mem(parts[2].0)?);
        let mut words = Vec::new();
        for row in parts.chunks(2) {
            let pair = [self.reg(row[0].1)?, self.reg(row[1].1)?];
            words.push(self.emit(VOp::PackSsDw, Width::Z, pair.map(Src::Reg).to_vec()));
        }
        // Every 128 bits hold four bytes of each of the four vectors.
        let bytes = self.emit(VOp::PackUsWb, Width::Z, vec![Src::Reg(words[0]), Src::Reg(words[1])]);
        let order = self.constant(Const::Transposed, Width::Z);
        let rows = self.emit(VOp::PermuteD, Width::Z, vec![Src::Reg(order), Src::Reg(bytes)]);
        self.emit_store(VOp::MoveTo, Width::Y, vec![Src::Mem(above), Src::Reg(rows)], None);
        self.emit_store(VOp::ExtractHalfZ, Width::Z, vec![Src::Mem(below), Src::Reg(rows), Src::Imm(1)], None);
        Ok(true)
    }

    /// Is the value one that `round_to_byte` left negative?
    fn rounded_to_byte(&self, value: Val) -> bool {
        self.info.values[value].to_byte && self.info.only_narrow(value)
    }

    /// Emits two stores of 16 numbers as bf16 beside each other as one of a whole line. Says whether they are that.
    fn store_line(&mut self, first: &Inst, second: &Inst) -> Result<bool, EmitError> {
        let (Inst::Store { to, value: low, count: None }, Inst::Store { to: behind, value: high, count: None }) =
            (first, second)
        else {
            return Ok(false);
        };
        let whole = [low, high].iter().all(|v| self.ty(**v) == Ty::f32(16));
        let beside = behind.base == to.base && behind.index == to.index.clone().offset(16);
        if !(self.bf16 && whole && beside && pointee(self.micro_kernel, to.base)? == Elem::Bf16) {
            return Ok(false);
        }
        let mem = self.mem(to)?;
        let (low, high) = (self.reg(*low)?, self.reg(*high)?);
        let line = self.emit(VOp::NarrowTwoBf16, Width::Z, vec![Src::Reg(high), Src::Reg(low)]);
        self.emit_store(VOp::MoveTo, Width::Z, vec![Src::Mem(mem), Src::Reg(line)], None);
        Ok(true)
    }

    /// Rounds to the upper halves, to nearest even, in the lower halves of the lanes; a NaN stays a NaN.
    fn round_bf16(&mut self, value: VReg, width: Width) -> VReg {
        let x = Src::Reg(value);
        let high = self.emit(VOp::ShrUD, width, vec![x, Src::Imm(16)]);
        let one = self.constant(Const::Each(1), width);
        let odd = self.emit(VOp::And, width, vec![Src::Reg(high), Src::Reg(one)]);
        let bias = self.constant(Const::Each(0x7fff), width);
        let sum = self.emit(VOp::AddD, width, vec![x, Src::Reg(bias)]);
        let sum = self.emit(VOp::AddD, width, vec![Src::Reg(sum), Src::Reg(odd)]);
        let rounded = self.emit(VOp::ShrUD, width, vec![Src::Reg(sum), Src::Imm(16)]);
        let quiet = self.constant(Const::Each(0x40), width);
        let nan = self.emit(VOp::Or, width, vec![Src::Reg(high), Src::Reg(quiet)]);
        const UNORDERED: u8 = 3;
        let is_nan = self.compare_floats(value, x, width, UNORDERED);
        self.blend(is_nan, Src::Reg(nan), rounded, width)
    }

    /// Stores the low 16 or 8 bits of the first lanes; `rounded`: those that `round_to_byte` gave.
    fn store_narrow(&mut self, elem: Elem, mem: Mem, value: VReg, lanes: u32, count: u32, rounded: bool) {
        let width = Width::of_lanes(lanes);
        let bytes = elem.bytes() as i64;
        if self.evex {
            let op = if bytes == 2 { VOp::NarrowDw } else { VOp::NarrowDb };
            if count == lanes && lanes >= 4 {
                return self.emit_store(op, width, vec![Src::Mem(mem), Src::Reg(value)], None);
            }
            return self.masked_store(op, width, mem, value, count);
        }
        let mut value = value;
        let shift = |l: &mut Self, op, v| l.emit(op, width, vec![Src::Reg(v), Src::Imm(16)]);
        let signed = elem == Elem::I16 && !rounded;
        if signed {
            let high = shift(self, VOp::ShlD, value);
            value = shift(self, VOp::ShrSD, high);
        } else if bytes == 1 && !rounded {
            // The packing instructions saturate: only the low byte may be left.
            let low = self.constant(Const::Each(0xff), width);
            value = self.emit(VOp::And, width, vec![Src::Reg(value), Src::Reg(low)]);
        }
        // Eight 16-bit words in an xmm register.
        let high = if width == Width::Y {
            self.emit(VOp::ExtractHalf, Width::Y, vec![Src::Reg(value), Src::Imm(1)])
        } else {
            value
        };
        let pack = if signed { VOp::PackSsDw } else { VOp::PackUsDw };
        let mut small = self.emit(pack, Width::X, vec![Src::Reg(value), Src::Reg(high)]);
        if bytes == 1 {
            small = self.emit(VOp::PackUsWb, Width::X, vec![Src::Reg(small); 2]);
        }
        let whole = match i64::from(count) * bytes {
            4 => Some(VOp::Store4),
            8 => Some(VOp::Store8),
            16 => Some(VOp::MoveTo),
            _ => None,
        };
        if let Some(op) = whole {
            return self.emit_store(op, Width::X, vec![Src::Mem(mem), Src::Reg(small)], None);
        }
        let extract = if bytes == 2 { VOp::Extract2 } else { VOp::Extract1 };
        for i in 0..count {
            let place = Src::Mem(mem.plus(i64::from(i) * bytes));
            self.emit_store(extract, Width::X, vec![place, Src::Reg(small), Src::Imm(i as u8)], None);
        }
    }
}

/// Returns a mask with the first `count` bits set.
fn first(count: u32) -> u16 {
    ((1u32 << count) - 1) as u16
}
