//! Loads and stores of micro-kernels: widening, packed bytes, first lanes only. Memory is little-endian and not
//! aligned.

use super::micro_kernel::{Gen, Pieces};
use crate::kernel::ir::*;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value, types};

/// Returns the flags of all accesses: without a promise of alignment; the recipe promises that the memory is there.
fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap().with_endianness(Endianness::Little)
}

impl Gen<'_, '_> {
    /// Casts a vector to another type; its 128 bits stay.
    pub fn cast(&mut self, ty: Type, value: Value) -> Value {
        if self.b.func.dfg.value_type(value) == ty {
            return value;
        }
        self.b.ins().bitcast(ty, MemFlagsData::new().with_endianness(Endianness::Little), value)
    }

    /// Emits a constant vector of these four words.
    pub fn vector(&mut self, ty: Type, words: [u32; 4]) -> Value {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let constant = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
        self.b.ins().vconst(ty, constant)
    }

    /// Picks bytes of `a` (0 to 15) and `b` (16 to 31) in this order.
    pub fn shuffle(&mut self, a: Value, b: Value, order: [u8; 16]) -> Value {
        let (a, b) = (self.cast(types::I8X16, a), self.cast(types::I8X16, b));
        let order = self.b.func.dfg.immediates.push(ConstantData::from(&order[..]));
        self.b.ins().shuffle(a, b, order)
    }

    /// Loads a value of type `ty`; with `count` only that many lanes, the others are zero.
    pub fn load(&mut self, from: &Address, ty: Ty, count: Option<u32>) -> Pieces {
        let elem = self.elem(from.base);
        let place = self.address(from);
        let count = count.unwrap_or(ty.lanes) as usize;
        self.gather(ty, count, |g, lane, whole| {
            let at = place.1 + (lane * elem.bytes()) as i32;
            if whole { g.load_vector(elem, place.0, at) } else { g.load_scalar(elem, place.0, at) }
        })
    }

    /// Loads `lanes` words of 32 bits as they are, whatever the element type.
    pub fn load_packed(&mut self, from: &Address, lanes: u32) -> Pieces {
        let place = self.address(from);
        self.gather(Ty::i32(lanes), lanes as usize, |g, lane, whole| {
            let ty = if whole { types::I32X4 } else { types::I32 };
            g.b.ins().load(ty, flags(), place.0, place.1 + 4 * lane as i32)
        })
    }

    /// Loads the first `count` lanes by `load(lane, four at once?)`; the others are zero.
    fn gather(&mut self, ty: Ty, count: usize, load: impl Fn(&mut Self, usize, bool) -> Value) -> Pieces {
        let (piece, pieces) = self.piece_type(ty);
        if !self.is_wide(ty) {
            return (0..pieces).map(|i| if i < count { load(self, i, false) } else { self.zero(piece) }).collect();
        }
        let mut out = Vec::with_capacity(pieces);
        for first in (0..ty.lanes as usize).step_by(4) {
            if first + 4 <= count {
                out.push(load(self, first, true));
                continue;
            }
            let mut vector = self.zero(piece);
            for lane in first..count {
                let scalar = load(self, lane, false);
                vector = self.b.ins().insertlane(vector, scalar, (lane - first) as u8);
            }
            out.push(vector);
        }
        out
    }

    fn zero(&mut self, ty: Type) -> Value {
        match ty {
            types::F32 => self.b.ins().f32const(0.0),
            types::I32 => self.b.ins().iconst(types::I32, 0),
            _ => self.vector(ty, [0; 4]),
        }
    }

    fn load_scalar(&mut self, elem: Elem, pointer: Value, at: i32) -> Value {
        match elem {
            Elem::F32 => self.b.ins().load(types::F32, flags(), pointer, at),
            Elem::Bf16 => {
                let half = self.b.ins().uload16(types::I32, flags(), pointer, at);
                let word = self.shift(Binary::Shl, half, 16);
                self.b.ins().bitcast(types::F32, MemFlagsData::new(), word)
            }
            Elem::I16 => self.b.ins().sload16(types::I32, flags(), pointer, at),
            Elem::U8 => self.b.ins().uload8(types::I32, flags(), pointer, at),
            Elem::I8 => self.b.ins().sload8(types::I32, flags(), pointer, at),
            Elem::I32 | Elem::Mask => self.b.ins().load(types::I32, flags(), pointer, at),
        }
    }

    fn load_vector(&mut self, elem: Elem, pointer: Value, at: i32) -> Value {
        match elem {
            Elem::F32 => self.b.ins().load(types::F32X4, flags(), pointer, at),
            Elem::Bf16 => {
                let halves = self.b.ins().uload16x4(flags(), pointer, at);
                let words = self.shift(Binary::Shl, halves, 16);
                self.cast(types::F32X4, words)
            }
            Elem::I16 => self.b.ins().sload16x4(flags(), pointer, at),
            Elem::U8 | Elem::I8 => {
                let four = self.b.ins().load(types::I32, flags(), pointer, at);
                let bytes = self.b.ins().scalar_to_vector(types::I32X4, four);
                let bytes = self.cast(types::I8X16, bytes);
                if elem == Elem::U8 {
                    let halves = self.b.ins().uwiden_low(bytes);
                    self.b.ins().uwiden_low(halves)
                } else {
                    let halves = self.b.ins().swiden_low(bytes);
                    self.b.ins().swiden_low(halves)
                }
            }
            Elem::I32 | Elem::Mask => self.b.ins().load(types::I32X4, flags(), pointer, at),
        }
    }

    /// Stores a value; with `count` only that many lanes.
    pub fn store(&mut self, to: &Address, value: Val, count: Option<u32>) {
        let (elem, ty) = (self.elem(to.base), self.ty(value));
        let (pointer, start) = self.address(to);
        let count = count.unwrap_or(ty.lanes) as usize;
        let at = |lane: usize| start + (lane * elem.bytes()) as i32;
        for (i, piece) in self.pieces(value).into_iter().enumerate() {
            if !self.is_wide(ty) {
                if i < count {
                    self.store_scalar(elem, piece, pointer, at(i));
                }
                continue;
            }
            if 4 * i + 4 <= count {
                self.store_vector(elem, piece, pointer, at(4 * i));
                continue;
            }
            for lane in 4 * i..count {
                let scalar = self.b.ins().extractlane(piece, (lane - 4 * i) as u8);
                self.store_scalar(elem, scalar, pointer, at(lane));
            }
        }
    }

    fn store_scalar(&mut self, elem: Elem, value: Value, pointer: Value, at: i32) {
        match elem {
            Elem::Bf16 => {
                let half = self.narrow_bf16(value);
                self.b.ins().istore16(flags(), half, pointer, at);
            }
            Elem::I16 => {
                self.b.ins().istore16(flags(), value, pointer, at);
            }
            Elem::U8 | Elem::I8 => {
                self.b.ins().istore8(flags(), value, pointer, at);
            }
            Elem::F32 | Elem::I32 | Elem::Mask => {
                self.b.ins().store(flags(), value, pointer, at);
            }
        }
    }

    fn store_vector(&mut self, elem: Elem, value: Value, pointer: Value, at: i32) {
        match elem {
            Elem::Bf16 | Elem::I16 => {
                let halves = if elem == Elem::I16 { value } else { self.narrow_bf16(value) };
                // With their signs, they are narrowed without a change of bits, on processors without `pshufb` too.
                let high = self.shift(Binary::Shl, halves, 16);
                let signed = self.shift(Binary::ShrS, high, 16);
                let packed = self.b.ins().snarrow(signed, signed);
                let packed = self.cast(types::I64X2, packed);
                let eight = self.b.ins().extractlane(packed, 0u8);
                self.b.ins().store(flags(), eight, pointer, at);
            }
            Elem::U8 | Elem::I8 => {
                let low = self.words(true, 0xff);
                let bytes = self.b.ins().band(value, low);
                let halves = self.b.ins().snarrow(bytes, bytes);
                let packed = self.b.ins().unarrow(halves, halves);
                let packed = self.cast(types::I32X4, packed);
                let four = self.b.ins().extractlane(packed, 0u8);
                self.b.ins().store(flags(), four, pointer, at);
            }
            Elem::F32 | Elem::I32 | Elem::Mask => {
                self.b.ins().store(flags(), value, pointer, at);
            }
        }
    }

    /// Rounds floats to their upper halves, to nearest even, in the lower halves of I32 lanes. A NaN stays a NaN.
    fn narrow_bf16(&mut self, value: Value) -> Value {
        let vector = self.b.func.dfg.value_type(value) == types::F32X4;
        let bits = self.cast(if vector { types::I32X4 } else { types::I32 }, value);
        let upper = self.shift(Binary::ShrU, bits, 16);
        let (one, half) = (self.words(vector, 1), self.words(vector, 0x7fff));
        let odd = self.b.ins().band(upper, one);
        let bias = self.b.ins().iadd(odd, half);
        let sum = self.b.ins().iadd(bits, bias);
        let rounded = self.shift(Binary::ShrU, sum, 16);
        let quiet = self.words(vector, 0x40);
        let nan = self.b.ins().bor(upper, quiet);
        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, value, value);
        if vector { self.b.ins().bitselect(is_nan, nan, rounded) } else { self.b.ins().select(is_nan, nan, rounded) }
    }
}
