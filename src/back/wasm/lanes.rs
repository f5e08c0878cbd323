//! Operations on lanes. A value of more than four lanes is several vectors, all treated alike.

use super::micro_kernel::Gen;
use super::scalars;
use crate::kernel::ir::*;
use wasm_encoder::InstructionSink;

/// A constant of four words.
pub(super) fn words(words: [u32; 4]) -> i128 {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    i128::from_le_bytes(bytes.try_into().expect("four words have 16 bytes"))
}

/// The word that a constant has in a lane; `None` for other operations.
pub(super) fn constant(op: &Op, lane: u32) -> Option<u32> {
    match op {
        Op::ConstF32 { bits, .. } => Some(*bits),
        Op::ConstI32 { value, .. } => Some(*value as u32),
        Op::Iota { .. } => Some(lane),
        _ => None,
    }
}

impl Gen<'_> {
    /// Emits an operation whose result has its locals; constant vectors have theirs from the start.
    pub fn op(&mut self, result: Val, op: &Op) {
        match op {
            Op::ConstF32 { .. } | Op::ConstI32 { .. } | Op::Iota { .. } => self.fill(result, op),
            Op::IndexI32 { index, .. } => {
                self.index(index);
                self.spread(result);
            }
            Op::Splat { value, .. } => {
                let scalar = self.values[*value][0];
                self.sink().local_get(scalar);
                self.spread(result);
            }
            Op::Load { from, count, .. } => self.load(result, from, *count),
            Op::Broadcast { from, .. } => {
                self.uniform.insert(result);
                self.broadcast(result, from, false);
            }
            Op::LoadPacked { from, .. } => self.load_packed(result, from),
            Op::BroadcastPacked { from, .. } => {
                self.uniform.insert(result);
                self.broadcast(result, from, true);
            }
            Op::Zip { left, right, high } => self.zip(result, *left, *right, *high),
            Op::Reduce { op, value } => self.reduce(result, *op, *value),
            Op::LoadTile { .. } | Op::Outer { .. } => unreachable!("`function` lets no tiles pass"),
            _ => self.lanewise(result, op),
        }
    }

    /// Emits an operation whose lanes depend on the same lanes of its operands.
    fn lanewise(&mut self, result: Val, op: &Op) {
        let vectors = self.ty(result).lanes >= 4;
        let operands: Vec<Vec<u32>> = op.operands().map(|v| self.values[v].clone()).collect();
        let float = op.operands().next().is_some_and(|v| self.ty(v).elem == Elem::F32);
        let amount = match op {
            Op::Binary { op: Binary::Shl | Binary::ShrU | Binary::ShrS, right, .. } => self.amount(*right),
            _ => Amount::Lanes,
        };
        for (i, local) in self.values[result].clone().into_iter().enumerate() {
            let piece: Vec<u32> = operands.iter().map(|locals| locals[i]).collect();
            let relaxed = self.features.relaxed;
            let mut out = InstructionSink::new(&mut self.code);
            match (vectors, amount) {
                (false, _) => scalars::lane(&mut out, op, float, &piece),
                (true, Amount::Lanes) => vector(&mut out, op, float, relaxed, &piece),
                (true, amount) => shift(&mut out, op, amount, &piece),
            }
            out.local_set(local);
        }
    }

    /// Returns the number of bits by which all lanes are shifted, if it is one.
    fn amount(&self, count: Val) -> Amount {
        match self.constants.get(&count) {
            Some(&count) => Amount::Constant(count),
            None if self.uniform.contains(&count) => Amount::Same,
            None => Amount::Lanes,
        }
    }

    /// Emits constant scalars, lane by lane.
    fn fill(&mut self, result: Val, op: &Op) {
        let float = self.ty(result).elem == Elem::F32;
        for (local, lane) in self.values[result].clone().into_iter().zip(0..) {
            let word = constant(op, lane).unwrap_or_default();
            let mut out = self.sink();
            match float {
                true => _ = out.f32_const(f32::from_bits(word).into()),
                false => _ = out.i32_const(word as i32),
            }
            out.local_set(local);
        }
    }

    /// Puts the scalar on the stack into all lanes of a value.
    fn spread(&mut self, result: Val) {
        self.uniform.insert(result);
        let ty = self.ty(result);
        let locals = self.values[result].clone();
        let mut out = self.sink();
        match ty.elem {
            _ if ty.lanes < 4 => {}
            Elem::F32 => _ = out.f32x4_splat(),
            _ => _ = out.i32x4_splat(),
        }
        locals[1..].iter().for_each(|&local| _ = out.local_tee(local));
        out.local_set(locals[0]);
    }

    fn zip(&mut self, result: Val, left: Val, right: Val, high: bool) {
        let (lefts, rights) = (self.values[left].clone(), self.values[right].clone());
        let first = if high { 2 * lefts.len() } else { 0 };
        for (piece, local) in self.values[result].clone().into_iter().enumerate() {
            let lane = first + 2 * piece;
            let begin = 4 * (lane % 4) as u8;
            let byte = |i: usize| begin + (i / 8 * 4 + i % 4) as u8 + if i % 8 < 4 { 0 } else { 16 };
            let mut out = self.sink();
            out.local_get(lefts[lane / 4]).local_get(rights[lane / 4]);
            out.i8x16_shuffle(std::array::from_fn(byte)).local_set(local);
        }
    }

    /// Folds lanes by halves, in temporary locals.
    fn reduce(&mut self, result: Val, op: Binary, value: Val) {
        let ty = self.ty(value);
        let (float, vectors) = (ty.elem == Elem::F32, ty.lanes >= 4);
        let mut pieces = self.values[value].clone();
        let mut own = Vec::new();
        let kind = super::micro_kernel::piece_type(ty).0;
        while pieces.len() > 1 {
            let half = pieces.len() / 2;
            for i in 0..half {
                let (left, right, sum) = (pieces[i], pieces[i + half], self.locals.take(kind));
                let mut out = InstructionSink::new(&mut self.code);
                fold(&mut out, op, float, vectors, [left, right]);
                out.local_set(sum);
                own.push(sum);
                pieces[i] = sum;
            }
            pieces.truncate(half);
        }
        let mut last = pieces[0];
        if vectors {
            // Lanes 2 and 3 below lanes 0 and 1, then lane 1 below lane 0.
            for start in [8u8, 4] {
                let [low, sum] = [(); 2].map(|()| self.locals.take(kind));
                let mut out = InstructionSink::new(&mut self.code);
                let order = std::array::from_fn(|i| (i as u8 + start) % 16);
                out.local_get(last).local_get(last).i8x16_shuffle(order).local_set(low);
                fold(&mut out, op, float, true, [last, low]);
                out.local_set(sum);
                own.extend([low, sum]);
                last = sum;
            }
        }
        own.into_iter().for_each(|local| self.locals.give(local));
        let local = self.values[result][0];
        let mut out = self.sink();
        out.local_get(last);
        match (vectors, float) {
            (true, true) => _ = out.f32x4_extract_lane(0),
            (true, false) => _ = out.i32x4_extract_lane(0),
            _ => {}
        }
        out.local_set(local);
    }
}

/// By how many bits lanes are shifted.
#[derive(Clone, Copy)]
enum Amount {
    /// All by this number.
    Constant(i32),
    /// All by the same number, that of the first lane.
    Same,
    /// Each by its own.
    Lanes,
}

/// Puts `left op right` on the stack.
fn fold(out: &mut InstructionSink, op: Binary, float: bool, vectors: bool, pair: [u32; 2]) {
    match vectors {
        true => binary(out, op, float, pair),
        false => scalars::binary(out, op, float, pair),
    }
}

/// Puts the result of an operation on vectors on the stack.
fn vector(out: &mut InstructionSink, op: &Op, float: bool, relaxed: bool, operands: &[u32]) {
    match (op, operands) {
        (Op::Unary { op, .. }, &[v]) => unary(out, *op, v),
        (Op::Binary { op, .. }, &[l, r]) => binary(out, *op, float, [l, r]),
        (Op::Fma { .. }, &[a, b, c]) if relaxed => {
            out.local_get(a).local_get(b).local_get(c).f32x4_relaxed_madd();
        }
        (Op::Fma { .. }, &[a, b, c]) => {
            out.local_get(a).local_get(b).f32x4_mul().local_get(c).f32x4_add();
        }
        (Op::Compare { op, .. }, &[l, r]) => {
            out.local_get(l).local_get(r);
            compare(out, *op, float);
        }
        (Op::Select { .. }, &[mask, then, otherwise]) => {
            out.local_get(then).local_get(otherwise).local_get(mask).v128_bitselect();
        }
        (Op::Dot2Bf16 { .. }, &[acc, a, b]) => dot2(out, [acc, a, b]),
        (Op::Dot2I16 { .. }, &[acc, a, b]) => {
            _ = out.local_get(acc).local_get(a).local_get(b).i32x4_dot_i16x8_s().i32x4_add();
        }
        (Op::Dot4U8I8 { .. }, &[acc, a, b]) => dot4(out, [acc, a, b]),
        _ => unreachable!("`op` emits all other operations"),
    }
}

fn unary(out: &mut InstructionSink, op: Unary, v: u32) {
    out.local_get(v);
    match op {
        Unary::Neg => _ = out.f32x4_neg(),
        Unary::Abs => _ = out.f32x4_abs(),
        Unary::Sqrt => _ = out.f32x4_sqrt(),
        Unary::Round => _ = out.f32x4_nearest(),
        Unary::Floor => _ = out.f32x4_floor(),
        Unary::ToInt => _ = out.i32x4_trunc_sat_f32x4_s(),
        // The conversion is defined for all numbers, and bounds are integers: they may come behind it.
        Unary::ToByte => {
            out.f32x4_nearest().i32x4_trunc_sat_f32x4_s();
            out.v128_const(words([0; 4])).i32x4_max_s().v128_const(words([255; 4])).i32x4_min_s();
        }
        Unary::ToFloat => _ = out.f32x4_convert_i32x4_s(),
        Unary::AsInt | Unary::AsFloat => {}
    }
}

fn binary(out: &mut InstructionSink, op: Binary, float: bool, [l, r]: [u32; 2]) {
    match op {
        // `pmax` and `pmin` are `maxps` and `minps` with their operands exchanged.
        Binary::Max | Binary::Min if float => _ = out.local_get(r).local_get(l),
        Binary::MulHighU => return mul_high(out, [l, r]),
        Binary::Shl | Binary::ShrU | Binary::ShrS => return shift_lanes(out, op, [l, r]),
        _ if op.of_halves() => {
            return halves(out, op, |out, v| _ = out.local_get(v), [l, r]);
        }
        _ => _ = out.local_get(l).local_get(r),
    }
    match (op, float) {
        (Binary::Add, true) => _ = out.f32x4_add(),
        (Binary::Sub, true) => _ = out.f32x4_sub(),
        (Binary::Mul, true) => _ = out.f32x4_mul(),
        (Binary::Div, true) => _ = out.f32x4_div(),
        (Binary::Max, true) => _ = out.f32x4_pmax(),
        (Binary::Min, true) => _ = out.f32x4_pmin(),
        (Binary::Add, false) => _ = out.i32x4_add(),
        (Binary::Sub, false) => _ = out.i32x4_sub(),
        (Binary::Mul, false) => _ = out.i32x4_mul(),
        (Binary::Max, false) => _ = out.i32x4_max_s(),
        (Binary::Min, false) => _ = out.i32x4_min_s(),
        (Binary::And, _) => _ = out.v128_and(),
        (Binary::Or, _) => _ = out.v128_or(),
        (Binary::Xor, _) => _ = out.v128_xor(),
        _ => unreachable!("the verifier lets no {op:?} of these numbers pass"),
    }
}

/// Operations on halves of 16 bits, of operands that `get` puts on the stack as vectors.
pub(super) fn halves(out: &mut InstructionSink, op: Binary, get: impl Fn(&mut InstructionSink, u32), [l, r]: [u32; 2]) {
    match op {
        Binary::MulBytes => {
            // A product of bytes fits 16 bits, a sum of two may not.
            get(out, l);
            out.v128_const(words([0x00ff_00ff; 4])).v128_and();
            get(out, r);
            out.i32_const(8).i16x8_shl().i32_const(8).i16x8_shr_s().i16x8_mul();
            get(out, l);
            out.i32_const(8).i16x8_shr_u();
            get(out, r);
            out.i32_const(8).i16x8_shr_s().i16x8_mul().i16x8_add_sat_s();
        }
        Binary::AddHalves => {
            [l, r].into_iter().for_each(|v| get(out, v));
            out.i16x8_add();
        }
        _ => {
            get(out, l);
            get(out, r);
            out.i32x4_extadd_pairwise_i16x8_s().i32x4_add();
        }
    }
}

fn mul_high(out: &mut InstructionSink, [l, r]: [u32; 2]) {
    out.local_get(l).local_get(r).i64x2_extmul_low_i32x4_u();
    out.local_get(l).local_get(r).i64x2_extmul_high_i32x4_u();
    // Words 1 and 3 of each pair of products.
    out.i8x16_shuffle([4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31]);
}

/// Shifts all lanes by one number of bits.
fn shift(out: &mut InstructionSink, op: &Op, amount: Amount, operands: &[u32]) {
    out.local_get(operands[0]);
    match amount {
        Amount::Constant(count) => _ = out.i32_const(count),
        _ => _ = out.local_get(operands[1]).i32x4_extract_lane(0),
    }
    match op {
        Op::Binary { op: Binary::Shl, .. } => _ = out.i32x4_shl(),
        Op::Binary { op: Binary::ShrU, .. } => _ = out.i32x4_shr_u(),
        _ => _ = out.i32x4_shr_s(),
    }
}

/// Shifts each lane by its own number of bits, one lane after another: WebAssembly shifts all lanes by one number.
fn shift_lanes(out: &mut InstructionSink, op: Binary, [l, r]: [u32; 2]) {
    out.local_get(l);
    for lane in 0..4 {
        out.local_get(l).i32x4_extract_lane(lane).local_get(r).i32x4_extract_lane(lane);
        scalars::shift(out, op);
        out.i32x4_replace_lane(lane);
    }
}

fn compare(out: &mut InstructionSink, op: Compare, float: bool) {
    match (op, float) {
        (Compare::Eq, true) => out.f32x4_eq(),
        (Compare::Ne, true) => out.f32x4_ne(),
        (Compare::Lt, true) => out.f32x4_lt(),
        (Compare::Le, true) => out.f32x4_le(),
        (Compare::Gt, true) => out.f32x4_gt(),
        (Compare::Ge, true) => out.f32x4_ge(),
        (Compare::Eq, false) => out.i32x4_eq(),
        (Compare::Ne, false) => out.i32x4_ne(),
        (Compare::Lt, false) => out.i32x4_lt_s(),
        (Compare::Le, false) => out.i32x4_le_s(),
        (Compare::Gt, false) => out.i32x4_gt_s(),
        (Compare::Ge, false) => out.i32x4_ge_s(),
    };
}

/// Products of bf16 are exact in float32, so that it does not matter whether they are fused.
fn dot2(out: &mut InstructionSink, [acc, a, b]: [u32; 3]) {
    let upper = words([0xffff_0000; 4]);
    out.local_get(acc);
    [a, b].into_iter().for_each(|v| _ = out.local_get(v).i32_const(16).i32x4_shl());
    out.f32x4_mul().f32x4_add();
    [a, b].into_iter().for_each(|v| _ = out.local_get(v).v128_const(upper).v128_and());
    out.f32x4_mul().f32x4_add();
}

/// Adds four products of bytes to each lane.
fn dot4(out: &mut InstructionSink, [acc, a, b]: [u32; 3]) {
    // Even bytes and odd bytes as words of 16 bits, whose signed products fit an instruction that adds pairs of them.
    out.local_get(acc);
    out.local_get(a).v128_const(words([0x00ff_00ff; 4])).v128_and();
    out.local_get(b).i32_const(8).i16x8_shl().i32_const(8).i16x8_shr_s();
    out.i32x4_dot_i16x8_s().i32x4_add();
    out.local_get(a).i32_const(8).i16x8_shr_u();
    out.local_get(b).i32_const(8).i16x8_shr_s();
    out.i32x4_dot_i16x8_s().i32x4_add();
}

/// Rounds floats to their upper halves, to nearest even, in the lower halves of lanes. A NaN stays a NaN.
pub(super) fn narrow_bf16(out: &mut InstructionSink, value: u32) {
    let upper = |out: &mut InstructionSink| _ = out.local_get(value).i32_const(16).i32x4_shr_u();
    upper(out);
    out.v128_const(words([0x40; 4])).v128_or();
    upper(out);
    out.v128_const(words([1; 4])).v128_and().v128_const(words([0x7fff; 4])).i32x4_add();
    out.local_get(value).i32x4_add().i32_const(16).i32x4_shr_u();
    out.local_get(value).local_get(value).f32x4_ne().v128_bitselect();
}
