//! Operations on lanes. A value of several vectors, or of several scalars, has all of them treated alike.

use super::micro_kernel::{Gen, Pieces};
use crate::kernel::ir::*;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::Ieee32;
use cranelift_codegen::ir::{InstBuilder, Value, types};

impl Gen<'_, '_> {
    /// Emits an operation that gives `result`.
    pub fn op(&mut self, result: Val, op: &Op) -> Pieces {
        let ty = self.ty(result);
        match op {
            Op::Unary { op, value } => self.pieces(*value).into_iter().map(|v| self.unary(*op, v)).collect(),
            Op::Binary { op, left, right } => self.binary_op(*op, ty, *left, *right),
            Op::Fma { a, b, c } => {
                // With the broadcast operand second, Cranelift's choice of instruction keeps the accumulator in place
                // more often.
                let (a, b) = if self.uniform.contains_key(a) { (b, a) } else { (a, b) };
                let (pairs, sums) = (self.pairs(*a, *b), self.pieces(*c));
                pairs.into_iter().zip(sums).map(|((a, b), c)| self.fma(a, b, c)).collect()
            }
            Op::Compare { op, left, right } => {
                let float = self.ty(*left).elem == Elem::F32;
                let pairs = self.pairs(*left, *right);
                pairs.into_iter().map(|(l, r)| self.compare(*op, float, l, r)).collect()
            }
            Op::Select { mask, then, otherwise } => {
                let (masks, pairs) = (self.pieces(*mask), self.pairs(*then, *otherwise));
                masks.into_iter().zip(pairs).map(|(m, (t, e))| self.select(m, t, e)).collect()
            }
            Op::Zip { left, right, high } => self.zip(*left, *right, *high),
            Op::Reduce { op, value } => vec![self.reduce(*op, ty.elem, self.pieces(*value))],
            Op::Dot2Bf16 { acc, a, b } | Op::Dot2I16 { acc, a, b } | Op::Dot4U8I8 { acc, a, b } => {
                let dot = match op {
                    Op::Dot2Bf16 { .. } => Self::dot2,
                    Op::Dot2I16 { .. } => Self::dot2_i16,
                    _ => Self::dot4,
                };
                let (pairs, sums) = (self.pairs(*a, *b), self.pieces(*acc));
                pairs.into_iter().zip(sums).map(|((a, b), c)| dot(self, a, b, c)).collect()
            }
            _ => self.source(result, ty, op),
        }
    }

    /// Emits operations whose lanes come from memory or from one scalar: constants, indices, loads and splats.
    fn source(&mut self, result: Val, ty: Ty, op: &Op) -> Pieces {
        match op {
            Op::ConstF32 { bits, .. } => self.fill_words(ty, |_| *bits),
            Op::ConstI32 { value, .. } => {
                let scalar = self.b.ins().iconst(types::I32, i64::from(*value as u32));
                self.uniform.insert(result, scalar);
                self.fill_words(ty, |_| *value as u32)
            }
            Op::Iota { .. } => self.fill_words(ty, |lane| lane as u32),
            Op::IndexI32 { index, .. } => {
                let wide = self.index(index);
                let scalar = self.b.ins().ireduce(types::I32, wide);
                self.fill(result, ty, scalar)
            }
            Op::Splat { value, .. } => {
                let scalar = self.pieces(*value)[0];
                self.fill(result, ty, scalar)
            }
            Op::Load { from, ty, count } => self.load(from, *ty, *count),
            Op::Broadcast { from, ty } => {
                if let Some(all) = self.neighbour(result) {
                    return vec![all; self.piece_type(*ty).1];
                }
                let scalar = self.load(from, Ty { elem: ty.elem, lanes: 1 }, None)[0];
                self.fill(result, *ty, scalar)
            }
            Op::LoadPacked { from, lanes } => self.load_packed(from, *lanes),
            Op::BroadcastPacked { from, .. } => {
                let scalar = self.load_packed(from, 1)[0];
                self.fill(result, ty, scalar)
            }
            _ => unreachable!("`op` emits the operations on values"),
        }
    }

    fn binary_op(&mut self, op: Binary, ty: Ty, left: Val, right: Val) -> Pieces {
        let pairs = self.pairs(left, right);
        if matches!(op, Binary::Shl | Binary::ShrU | Binary::ShrS) {
            let amount = self.uniform.get(&right).copied();
            return pairs.into_iter().map(|(l, r)| self.shift_lanes(op, l, r, amount)).collect();
        }
        pairs.into_iter().map(|(l, r)| self.binary(op, ty.elem, l, r)).collect()
    }

    fn pairs(&self, left: Val, right: Val) -> Vec<(Value, Value)> {
        self.values[left].iter().copied().zip(self.values[right].iter().copied()).collect()
    }

    pub(super) fn is_vector(&self, value: Value) -> bool {
        self.b.func.dfg.value_type(value).is_vector()
    }

    /// Emits constants, lane by lane.
    fn fill_words(&mut self, ty: Ty, word: impl Fn(usize) -> u32) -> Pieces {
        let (piece, pieces) = self.piece_type(ty);
        let scalar = |g: &mut Self, word: u32| match ty.elem {
            Elem::F32 => g.b.ins().f32const(Ieee32::with_bits(word)),
            _ => g.b.ins().iconst(types::I32, i64::from(word)),
        };
        let mut made: Vec<([u32; 4], Value)> = Vec::new();
        let mut out = Vec::with_capacity(pieces);
        for i in 0..pieces {
            if !self.is_wide(ty) {
                out.push(scalar(self, word(i)));
                continue;
            }
            let words = [0, 1, 2, 3].map(|lane| word(4 * i + lane));
            let value = match made.iter().find(|m| m.0 == words) {
                Some(m) => m.1,
                None => self.vector(piece, words),
            };
            made.push((words, value));
            out.push(value);
        }
        out
    }

    /// Emits a scalar in all lanes.
    fn fill(&mut self, result: Val, ty: Ty, scalar: Value) -> Pieces {
        self.uniform.insert(result, scalar);
        let (piece, pieces) = self.piece_type(ty);
        let one = if self.is_wide(ty) { self.b.ins().splat(piece, scalar) } else { scalar };
        vec![one; pieces]
    }

    /// Emits an I32 constant, in all lanes of a vector or as a scalar.
    pub fn words(&mut self, vector: bool, word: u32) -> Value {
        if vector { self.vector(types::I32X4, [word; 4]) } else { self.b.ins().iconst(types::I32, i64::from(word)) }
    }

    fn unary(&mut self, op: Unary, v: Value) -> Value {
        let vector = self.is_vector(v);
        match op {
            Unary::Neg => self.b.ins().fneg(v),
            Unary::Abs => self.b.ins().fabs(v),
            Unary::Sqrt => self.b.ins().sqrt(v),
            Unary::Round | Unary::Floor => {
                if vector && !self.options.vector_round {
                    return self.each_lane(v, |g, lane| g.unary(op, lane));
                }
                if !self.options.vector_round {
                    return self.round(v, op);
                }
                if op == Unary::Round { self.b.ins().nearest(v) } else { self.b.ins().floor(v) }
            }
            Unary::ToInt => self.b.ins().fcvt_to_sint_sat(if vector { types::I32X4 } else { types::I32 }, v),
            Unary::ToByte => {
                let bounds = [0.0f32, 255.0].map(|bound| {
                    let scalar = self.b.ins().f32const(bound);
                    if vector { self.b.ins().splat(types::F32X4, scalar) } else { scalar }
                });
                let v = self.binary(Binary::Max, Elem::F32, v, bounds[0]);
                let v = self.binary(Binary::Min, Elem::F32, v, bounds[1]);
                let v = self.unary(Unary::Round, v);
                self.unary(Unary::ToInt, v)
            }
            Unary::ToFloat => self.b.ins().fcvt_from_sint(if vector { types::F32X4 } else { types::F32 }, v),
            Unary::AsInt => self.cast(if vector { types::I32X4 } else { types::I32 }, v),
            Unary::AsFloat => self.cast(if vector { types::F32X4 } else { types::F32 }, v),
        }
    }

    /// Rounds to an integer by additions alone: 2²³ has no bits behind the point. Cranelift would call the mathematics
    /// library.
    fn round(&mut self, v: Value, op: Unary) -> Value {
        let bits = self.cast(types::I32, v);
        let sign = self.b.ins().band_imm_s(bits, i64::from(i32::MIN));
        let large = self.b.ins().bor_imm_s(sign, i64::from(8_388_608f32.to_bits()));
        let large = self.cast(types::F32, large);
        let sum = self.b.ins().fadd(v, large);
        let rounded = self.b.ins().fsub(sum, large);
        // The sign of zero.
        let rounded = self.b.ins().fcopysign(rounded, v);
        let size = self.b.ins().fabs(v);
        let limit = self.b.ins().f32const(8_388_608.0);
        let small = self.b.ins().fcmp(FloatCC::LessThan, size, limit);
        let rounded = self.b.ins().select(small, rounded, v);
        if op == Unary::Round {
            return rounded;
        }
        let one = self.b.ins().f32const(1.0);
        let below = self.b.ins().fsub(rounded, one);
        let above = self.b.ins().fcmp(FloatCC::GreaterThan, rounded, v);
        self.b.ins().select(above, below, rounded)
    }

    fn each_lane(&mut self, vector: Value, op: impl Fn(&mut Self, Value) -> Value) -> Value {
        let mut out = vector;
        for lane in 0..4u8 {
            let scalar = self.b.ins().extractlane(vector, lane);
            let scalar = op(self, scalar);
            out = self.b.ins().insertlane(out, scalar, lane);
        }
        out
    }

    fn binary(&mut self, op: Binary, elem: Elem, l: Value, r: Value) -> Value {
        if elem == Elem::F32 {
            return match op {
                Binary::Add => self.b.ins().fadd(l, r),
                Binary::Sub => self.b.ins().fsub(l, r),
                Binary::Mul => self.b.ins().fmul(l, r),
                Binary::Div => self.b.ins().fdiv(l, r),
                // In this form Cranelift finds `maxps` and `minps`.
                Binary::Max => {
                    let mask = self.b.ins().fcmp(FloatCC::LessThan, r, l);
                    self.select(mask, l, r)
                }
                Binary::Min => {
                    let mask = self.b.ins().fcmp(FloatCC::LessThan, l, r);
                    self.select(mask, l, r)
                }
                _ => unreachable!("the verifier lets no {op:?} of floats pass"),
            };
        }
        match op {
            Binary::Add => self.b.ins().iadd(l, r),
            Binary::Sub => self.b.ins().isub(l, r),
            Binary::Mul => self.b.ins().imul(l, r),
            Binary::Max => self.b.ins().smax(l, r),
            Binary::Min => self.b.ins().smin(l, r),
            Binary::MulHighU => self.mul_high(l, r),
            Binary::And => self.b.ins().band(l, r),
            Binary::Or => self.b.ins().bor(l, r),
            Binary::Xor => self.b.ins().bxor(l, r),
            _ if op.of_halves() => self.halves(op, l, r),
            _ => unreachable!("the verifier lets no {op:?} of integers pass; shifts are done elsewhere"),
        }
    }

    fn mul_high(&mut self, l: Value, r: Value) -> Value {
        if !self.is_vector(l) {
            let (l, r) = (self.b.ins().uextend(types::I64, l), self.b.ins().uextend(types::I64, r));
            let product = self.b.ins().imul(l, r);
            let high = self.b.ins().ushr_imm_u(product, 32);
            return self.b.ins().ireduce(types::I32, high);
        }
        let (a, b) = (self.b.ins().uwiden_low(l), self.b.ins().uwiden_low(r));
        let low = self.b.ins().imul(a, b);
        let (a, b) = (self.b.ins().uwiden_high(l), self.b.ins().uwiden_high(r));
        let high = self.b.ins().imul(a, b);
        // Words 1 and 3 of each pair of products.
        let words = self.shuffle(low, high, [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31]);
        self.cast(types::I32X4, words)
    }

    /// Shifts all lanes by a constant.
    pub fn shift(&mut self, op: Binary, value: Value, count: u32) -> Value {
        let amount = self.b.ins().iconst(types::I32, i64::from(count));
        self.shift_by(op, value, amount)
    }

    fn shift_by(&mut self, op: Binary, value: Value, amount: Value) -> Value {
        match op {
            Binary::Shl => self.b.ins().ishl(value, amount),
            Binary::ShrU => self.b.ins().ushr(value, amount),
            _ => self.b.ins().sshr(value, amount),
        }
    }

    /// Shifts lanes by different amounts, one by one: Cranelift shifts vectors by one amount only.
    fn shift_lanes(&mut self, op: Binary, l: Value, r: Value, amount: Option<Value>) -> Value {
        if !self.is_vector(l) {
            return self.shift_by(op, l, r);
        }
        if let Some(amount) = amount {
            return self.shift_by(op, l, amount);
        }
        let mut out = l;
        for lane in 0..4u8 {
            let (value, amount) = (self.b.ins().extractlane(l, lane), self.b.ins().extractlane(r, lane));
            let shifted = self.shift_by(op, value, amount);
            out = self.b.ins().insertlane(out, shifted, lane);
        }
        out
    }

    fn fma(&mut self, a: Value, b: Value, c: Value) -> Value {
        if self.options.fma {
            return self.b.ins().fma(a, b, c);
        }
        let product = self.b.ins().fmul(a, b);
        self.b.ins().fadd(product, c)
    }

    fn compare(&mut self, op: Compare, float: bool, l: Value, r: Value) -> Value {
        if float {
            let condition = match op {
                Compare::Eq => FloatCC::Equal,
                Compare::Ne => FloatCC::NotEqual,
                Compare::Lt => FloatCC::LessThan,
                Compare::Le => FloatCC::LessThanOrEqual,
                Compare::Gt => FloatCC::GreaterThan,
                Compare::Ge => FloatCC::GreaterThanOrEqual,
            };
            return self.b.ins().fcmp(condition, l, r);
        }
        let condition = match op {
            Compare::Eq => IntCC::Equal,
            Compare::Ne => IntCC::NotEqual,
            Compare::Lt => IntCC::SignedLessThan,
            Compare::Le => IntCC::SignedLessThanOrEqual,
            Compare::Gt => IntCC::SignedGreaterThan,
            Compare::Ge => IntCC::SignedGreaterThanOrEqual,
        };
        self.b.ins().icmp(condition, l, r)
    }

    fn select(&mut self, mask: Value, then: Value, otherwise: Value) -> Value {
        let ty = self.b.func.dfg.value_type(then);
        if !ty.is_vector() {
            return self.b.ins().select(mask, then, otherwise);
        }
        let mask = self.cast(ty, mask);
        self.b.ins().bitselect(mask, then, otherwise)
    }

    fn zip(&mut self, left: Val, right: Val, high: bool) -> Pieces {
        let pairs = self.pairs(left, right);
        if !self.is_wide(self.ty(left)) {
            let half = if high { &pairs[pairs.len() / 2..] } else { &pairs[..pairs.len() / 2] };
            return half.iter().flat_map(|&(l, r)| [l, r]).collect();
        }
        let first = if high { 2 * pairs.len() } else { 0 };
        let mut quarter = |lane: usize| {
            let ((l, r), begin) = (pairs[lane / 4], 4 * (lane % 4) as u8);
            let byte = |i: usize| begin + (i / 8 * 4 + i % 4) as u8 + if i % 8 < 4 { 0 } else { 16 };
            let bytes = self.shuffle(l, r, std::array::from_fn(byte));
            let ty = self.b.func.dfg.value_type(l);
            self.cast(ty, bytes)
        };
        (0..pairs.len()).map(|piece| quarter(first + 2 * piece)).collect()
    }

    fn reduce(&mut self, op: Binary, elem: Elem, mut pieces: Pieces) -> Value {
        loop {
            if pieces.len() > 1 {
                let upper = pieces.split_off(pieces.len() / 2);
                pieces = pieces.into_iter().zip(upper).map(|(l, r)| self.binary(op, elem, l, r)).collect();
            } else if self.is_vector(pieces[0]) {
                let vector = pieces[0];
                pieces = (0..4u8).map(|lane| self.b.ins().extractlane(vector, lane)).collect();
            } else {
                return pieces[0];
            }
        }
    }
}
