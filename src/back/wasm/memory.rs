//! Loads and stores of micro-kernels: widening, packed bytes, first lanes only. Memory is not aligned.

use super::lanes::words;
use super::micro_kernel::{Gen, Place, piece_type};
use crate::kernel::ir::*;
use wasm_encoder::{InstructionSink, MemArg, MemArgTarget, ValType};

/// Memory at this offset from the address on the stack.
fn at_offset(offset: u64) -> MemArg {
    MemArg { offset, align: 0, target: MemArgTarget::default(), ordering: None }
}

impl Place {
    /// The place `bytes` bytes behind this one.
    fn plus(self, bytes: usize) -> Place {
        Place { offset: self.offset + bytes as i64, ..self }
    }

    /// Puts the address on the stack and returns the offset that an instruction adds to it.
    fn push(self, out: &mut InstructionSink) -> MemArg {
        out.local_get(self.pointer);
        let offset = match u32::try_from(self.offset) {
            Ok(offset) => offset,
            Err(_) => {
                out.i32_const(self.offset as i32).i32_add();
                0
            }
        };
        at_offset(offset.into())
    }
}

impl Gen<'_> {
    /// Loads a value into its locals; with `count` only that many lanes, the others are zero.
    pub fn load(&mut self, result: Val, from: &Address, count: Option<u32>) {
        let (elem, ty) = (self.elem(from.base), self.ty(result));
        let place = self.address(from);
        let count = count.unwrap_or(ty.lanes) as usize;
        for (i, local) in self.values[result].clone().into_iter().enumerate() {
            let mut out = InstructionSink::new(&mut self.code);
            if ty.lanes >= 4 {
                let lanes = count.saturating_sub(4 * i).min(4);
                vector(&mut out, elem, place.plus(4 * i * elem.bytes()), lanes, local);
                continue;
            }
            match elem.widened() {
                _ if i < count => scalar(&mut out, elem, place.plus(i * elem.bytes())),
                Elem::F32 => _ = out.f32_const(0.0.into()),
                _ => _ = out.i32_const(0),
            }
            out.local_set(local);
        }
    }

    /// Loads words of 32 bits as they are, whatever the element type.
    pub fn load_packed(&mut self, result: Val, from: &Address) {
        let vectors = self.ty(result).lanes >= 4;
        let place = self.address(from);
        for (i, local) in self.values[result].clone().into_iter().enumerate() {
            let mut out = InstructionSink::new(&mut self.code);
            if vectors {
                vector(&mut out, Elem::I32, place.plus(16 * i), 4, local);
            } else {
                scalar(&mut out, Elem::I32, place.plus(4 * i));
                out.local_set(local);
            }
        }
    }

    /// Loads one element, or one word of raw bytes, into all lanes.
    pub fn broadcast(&mut self, result: Val, from: &Address, packed: bool) {
        let elem = if packed { Elem::I32 } else { self.elem(from.base) };
        let (_, count) = piece_type(self.ty(result));
        let vectors = self.ty(result).lanes >= 4;
        let place = self.address(from);
        let locals = self.values[result].clone();
        let mut out = InstructionSink::new(&mut self.code);
        match elem {
            _ if !vectors => scalar(&mut out, elem, place),
            Elem::F32 | Elem::I32 | Elem::Mask => {
                let at = place.push(&mut out);
                out.v128_load32_splat(at);
            }
            Elem::Bf16 => {
                let at = place.push(&mut out);
                out.v128_load16_splat(at).i32_const(16).i32x4_shl();
            }
            Elem::I16 | Elem::U8 | Elem::I8 => {
                scalar(&mut out, elem, place);
                out.i32x4_splat();
            }
        }
        (1..count).for_each(|i| _ = out.local_tee(locals[i]));
        out.local_set(locals[0]);
    }

    /// Stores a value; with `count` only that many lanes.
    pub fn store(&mut self, to: &Address, value: Val, count: Option<u32>) {
        let (elem, ty) = (self.elem(to.base), self.ty(value));
        let place = self.address(to);
        let count = count.unwrap_or(ty.lanes) as usize;
        for (i, local) in self.values[value].clone().into_iter().enumerate() {
            if ty.lanes < 4 {
                if i < count {
                    self.store_scalar(elem, local, place.plus(i * elem.bytes()));
                }
                continue;
            }
            let lanes = count.saturating_sub(4 * i).min(4);
            if lanes > 0 {
                self.store_vector(elem, local, place.plus(4 * i * elem.bytes()), lanes);
            }
        }
    }

    fn store_scalar(&mut self, elem: Elem, value: u32, place: Place) {
        let mut out = InstructionSink::new(&mut self.code);
        let at = place.push(&mut out);
        match elem {
            Elem::Bf16 => {
                super::scalars::narrow_bf16(&mut out, value);
                out.i32_store16(at);
            }
            Elem::I16 => _ = out.local_get(value).i32_store16(at),
            Elem::U8 | Elem::I8 => _ = out.local_get(value).i32_store8(at),
            Elem::F32 => _ = out.local_get(value).f32_store(at),
            Elem::I32 | Elem::Mask => _ = out.local_get(value).i32_store(at),
        }
    }

    /// Stores the first `lanes` lanes of a vector, 1 to 4.
    fn store_vector(&mut self, elem: Elem, value: u32, place: Place, lanes: usize) {
        let narrow = self.narrow(elem, value);
        let mut out = InstructionSink::new(&mut self.code);
        let at = |out: &mut InstructionSink, lane: usize| {
            let at = place.plus(lane * elem.bytes()).push(out);
            out.local_get(narrow.unwrap_or(value));
            at
        };
        // Four lanes or two at once, then what is left.
        let done = if lanes >= 4 { 4 } else { lanes & 2 };
        if done > 0 {
            let at = at(&mut out, 0);
            match done * elem.bytes() {
                16 => _ = out.v128_store(at),
                8 => _ = out.v128_store64_lane(at, 0),
                4 => _ = out.v128_store32_lane(at, 0),
                _ => _ = out.v128_store16_lane(at, 0),
            }
        }
        if done < lanes {
            let at = at(&mut out, done);
            match elem.bytes() {
                4 => _ = out.v128_store32_lane(at, done as u8),
                2 => _ = out.v128_store16_lane(at, done as u8),
                _ => _ = out.v128_store8_lane(at, done as u8),
            }
        }
        narrow.into_iter().for_each(|local| self.locals.give(local));
    }

    /// Brings the lanes of a vector together as elements of fewer bytes, in a local of its own.
    fn narrow(&mut self, elem: Elem, value: u32) -> Option<u32> {
        let narrow = (elem.bytes() < 4).then(|| self.locals.take(ValType::V128))?;
        let mut out = InstructionSink::new(&mut self.code);
        let step = elem.bytes() as u8;
        if elem == Elem::Bf16 {
            super::lanes::narrow_bf16(&mut out, value);
        } else {
            out.local_get(value);
        }
        // Lane i gives its lowest bytes; what is behind them does not matter.
        let byte = |i: u8| if i < 4 * step { i / step * 4 + i % step } else { 0 };
        out.local_tee(narrow).local_get(narrow).i8x16_shuffle(std::array::from_fn(|i| byte(i as u8)));
        out.local_set(narrow);
        Some(narrow)
    }
}

/// Puts one element on the stack, widened.
fn scalar(out: &mut InstructionSink, elem: Elem, place: Place) {
    let at = place.push(out);
    match elem {
        Elem::F32 => _ = out.f32_load(at),
        Elem::Bf16 => _ = out.i32_load16_u(at).i32_const(16).i32_shl().f32_reinterpret_i32(),
        Elem::I16 => _ = out.i32_load16_s(at),
        Elem::U8 => _ = out.i32_load8_u(at),
        Elem::I8 => _ = out.i32_load8_s(at),
        Elem::I32 | Elem::Mask => _ = out.i32_load(at),
    }
}

/// Loads a vector into a local: its first `lanes` lanes are elements, widened, the others are 0.
fn vector(out: &mut InstructionSink, elem: Elem, place: Place, lanes: usize, local: u32) {
    let bytes = elem.bytes();
    if lanes == 0 {
        out.v128_const(words([0; 4])).local_set(local);
        return;
    }
    // The elements as they are, at the start of a vector of zeros.
    let (at, done) = match (bytes, lanes) {
        (4, 2 | 3) | (2, 4) => (place.push(out), 8 / bytes),
        (4, 4) => (place.push(out), 4),
        (1, 4) | (4, 1) | (2, 2 | 3) => (place.push(out), 4 / bytes),
        _ => (at_offset(0), 0),
    };
    match done * bytes {
        0 => _ = out.v128_const(words([0; 4])),
        4 => _ = out.v128_load32_zero(at),
        8 => _ = out.v128_load64_zero(at),
        _ => _ = out.v128_load(at),
    }
    for lane in done..lanes {
        out.local_set(local);
        let at = place.plus(lane * bytes).push(out);
        out.local_get(local);
        match bytes {
            4 => _ = out.v128_load32_lane(at, lane as u8),
            2 => _ = out.v128_load16_lane(at, lane as u8),
            _ => _ = out.v128_load8_lane(at, lane as u8),
        }
    }
    match elem {
        Elem::F32 | Elem::I32 | Elem::Mask => {}
        Elem::Bf16 => _ = out.i32x4_extend_low_i16x8_u().i32_const(16).i32x4_shl(),
        Elem::I16 => _ = out.i32x4_extend_low_i16x8_s(),
        Elem::U8 => _ = out.i16x8_extend_low_i8x16_u().i32x4_extend_low_i16x8_u(),
        Elem::I8 => _ = out.i16x8_extend_low_i8x16_s().i32x4_extend_low_i16x8_s(),
    }
    out.local_set(local);
}
