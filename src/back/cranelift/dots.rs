//! Sums of products of what lies side by side in 32 bits.

use super::micro_kernel::Gen;
use crate::kernel::ir::Binary;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};

impl Gen<'_, '_> {
    /// `acc` and the products of two pairs of bf16.
    pub(super) fn dot2(&mut self, a: Value, b: Value, acc: Value) -> Value {
        let vector = self.is_vector(a);
        let float = if vector { types::F32X4 } else { types::F32 };
        let upper = self.words(vector, 0xffff_0000);
        let mut sum = acc;
        for high in [false, true] {
            let [x, y] = [a, b].map(|v| {
                let bits = if high { self.b.ins().band(v, upper) } else { self.shift(Binary::Shl, v, 16) };
                if vector { self.cast(float, bits) } else { self.b.ins().bitcast(float, MemFlagsData::new(), bits) }
            });
            let product = self.b.ins().fmul(x, y);
            sum = self.b.ins().fadd(sum, product);
        }
        sum
    }

    /// `acc` and the products of two pairs of 16-bit numbers.
    pub(super) fn dot2_i16(&mut self, a: Value, b: Value, acc: Value) -> Value {
        if self.is_vector(a) {
            // As Cranelift knows PMADDWD: products of the widened halves, neighbours added.
            let (a, b) = (self.cast(types::I16X8, a), self.cast(types::I16X8, b));
            let (a_low, b_low) = (self.b.ins().swiden_low(a), self.b.ins().swiden_low(b));
            let low = self.b.ins().imul(a_low, b_low);
            let (a_high, b_high) = (self.b.ins().swiden_high(a), self.b.ins().swiden_high(b));
            let high = self.b.ins().imul(a_high, b_high);
            let sums = self.b.ins().iadd_pairwise(low, high);
            return self.b.ins().iadd(acc, sums);
        }
        let mut sum = acc;
        for place in [16, 0] {
            let [a, b] = [a, b].map(|v| {
                let high = self.shift(Binary::Shl, v, place);
                self.shift(Binary::ShrS, high, 16)
            });
            let product = self.b.ins().imul(a, b);
            sum = self.b.ins().iadd(sum, product);
        }
        sum
    }

    /// Operations on halves of 16 bits. What is one lane becomes a vector.
    pub(super) fn halves(&mut self, op: Binary, l: Value, r: Value) -> Value {
        if !self.is_vector(l) {
            let [l, r] = [l, r].map(|v| self.b.ins().splat(types::I32X4, v));
            let all = self.halves(op, l, r);
            return self.b.ins().extractlane(all, 0);
        }
        let words = self.cast(types::I16X8, r);
        if op == Binary::SumHalves {
            let low = self.b.ins().swiden_low(words);
            let high = self.b.ins().swiden_high(words);
            let sums = self.b.ins().iadd_pairwise(low, high);
            return self.b.ins().iadd(l, sums);
        }
        let left = self.cast(types::I16X8, l);
        let halves = match op {
            Binary::AddHalves => self.b.ins().iadd(left, words),
            _ => self.mul_bytes(left, words),
        };
        self.cast(types::I32X4, halves)
    }

    /// Products of bytes, which fit 16 bits, even and odd ones apart; their sums are cut.
    fn mul_bytes(&mut self, left: Value, right: Value) -> Value {
        let eight = self.b.ins().iconst(types::I32, 8);
        let even = self.b.ins().ishl(left, eight);
        let even = self.b.ins().ushr(even, eight);
        let by = self.b.ins().ishl(right, eight);
        let by = self.b.ins().sshr(by, eight);
        let even = self.b.ins().imul(even, by);
        let odd = self.b.ins().ushr(left, eight);
        let by = self.b.ins().sshr(right, eight);
        let odd = self.b.ins().imul(odd, by);
        self.b.ins().sadd_sat(even, odd)
    }

    /// `acc` and the products of four unsigned bytes with signed ones.
    pub(super) fn dot4(&mut self, a: Value, b: Value, acc: Value) -> Value {
        let byte = self.words(self.is_vector(a), 0xff);
        let mut sum = acc;
        for i in 0..4 {
            let unsigned = self.shift(Binary::ShrU, a, 8 * i);
            let unsigned = self.b.ins().band(unsigned, byte);
            let signed = self.shift(Binary::Shl, b, 24 - 8 * i);
            let signed = self.shift(Binary::ShrS, signed, 24);
            let product = self.b.ins().imul(unsigned, signed);
            sum = self.b.ins().iadd(sum, product);
        }
        sum
    }
}
