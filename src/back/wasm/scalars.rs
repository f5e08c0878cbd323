//! Operations on the lanes of narrow values, which are scalars. A mask is 1 or 0.

use super::lanes::halves;
use crate::kernel::ir::{Binary, Compare, Op, Unary};
use wasm_encoder::InstructionSink;

/// Puts the result of an operation on the stack.
pub(super) fn lane(out: &mut InstructionSink, op: &Op, float: bool, operands: &[u32]) {
    match (op, operands) {
        (Op::Unary { op, .. }, &[v]) => unary(out, *op, v),
        (Op::Binary { op, .. }, &[l, r]) => binary(out, *op, float, [l, r]),
        (Op::Fma { .. }, &[a, b, c]) => _ = out.local_get(a).local_get(b).f32_mul().local_get(c).f32_add(),
        (Op::Compare { op, .. }, &[l, r]) => {
            out.local_get(l).local_get(r);
            compare(out, *op, float);
        }
        (Op::Select { .. }, &[mask, then, otherwise]) => {
            out.local_get(then).local_get(otherwise).local_get(mask).select();
        }
        (Op::Dot2Bf16 { .. }, &[acc, a, b]) => dot2(out, [acc, a, b]),
        (Op::Dot2I16 { .. }, &[acc, a, b]) => dot2_i16(out, [acc, a, b]),
        (Op::Dot4U8I8 { .. }, &[acc, a, b]) => dot4(out, [acc, a, b]),
        _ => unreachable!("lanes of vectors emit all other operations"),
    }
}

fn unary(out: &mut InstructionSink, op: Unary, v: u32) {
    out.local_get(v);
    match op {
        Unary::Neg => _ = out.f32_neg(),
        Unary::Abs => _ = out.f32_abs(),
        Unary::Sqrt => _ = out.f32_sqrt(),
        Unary::Round => _ = out.f32_nearest(),
        Unary::Floor => _ = out.f32_floor(),
        Unary::ToInt => _ = out.i32_trunc_sat_f32_s(),
        Unary::ToByte => {
            // An unsigned conversion gives 0 for what is below, and for what is not a number.
            out.f32_const(255.0.into()).local_get(v).f32_const(255.0.into()).f32_gt().i32_eqz();
            out.select().f32_nearest().i32_trunc_sat_f32_u();
        }
        Unary::ToFloat => _ = out.f32_convert_i32_s(),
        Unary::AsInt => _ = out.i32_reinterpret_f32(),
        Unary::AsFloat => _ = out.f32_reinterpret_i32(),
    }
}

/// Puts `left op right` on the stack.
pub(super) fn binary(out: &mut InstructionSink, op: Binary, float: bool, [l, r]: [u32; 2]) {
    if op.of_halves() {
        halves(out, op, |out, v| _ = out.local_get(v).i32x4_splat(), [l, r]);
        out.i32x4_extract_lane(0);
        return;
    }
    out.local_get(l).local_get(r);
    match (op, float) {
        (Binary::Add, true) => _ = out.f32_add(),
        (Binary::Sub, true) => _ = out.f32_sub(),
        (Binary::Mul, true) => _ = out.f32_mul(),
        (Binary::Div, true) => _ = out.f32_div(),
        (Binary::Max, true) => _ = out.local_get(l).local_get(r).f32_gt().select(),
        (Binary::Min, true) => _ = out.local_get(l).local_get(r).f32_lt().select(),
        (Binary::Add, false) => _ = out.i32_add(),
        (Binary::Sub, false) => _ = out.i32_sub(),
        (Binary::Mul, false) => _ = out.i32_mul(),
        (Binary::Max, false) => _ = out.local_get(l).local_get(r).i32_gt_s().select(),
        (Binary::Min, false) => _ = out.local_get(l).local_get(r).i32_lt_s().select(),
        (Binary::And, _) => _ = out.i32_and(),
        (Binary::Or, _) => _ = out.i32_or(),
        (Binary::Xor, _) => _ = out.i32_xor(),
        (Binary::MulHighU, _) => mul_high(out, r),
        (Binary::Shl | Binary::ShrU | Binary::ShrS, _) => shift(out, op),
        _ => unreachable!("the verifier lets no {op:?} of these numbers pass"),
    }
}

/// The upper half of the product of the two numbers on the stack, the second of which is `right`.
fn mul_high(out: &mut InstructionSink, right: u32) {
    out.drop().i64_extend_i32_u().local_get(right).i64_extend_i32_u();
    out.i64_mul().i64_const(32).i64_shr_u().i32_wrap_i64();
}

/// Shifts the number below the top of the stack by the number at its top.
pub(super) fn shift(out: &mut InstructionSink, op: Binary) {
    match op {
        Binary::Shl => _ = out.i32_shl(),
        Binary::ShrU => _ = out.i32_shr_u(),
        _ => _ = out.i32_shr_s(),
    }
}

fn compare(out: &mut InstructionSink, op: Compare, float: bool) {
    match (op, float) {
        (Compare::Eq, true) => out.f32_eq(),
        (Compare::Ne, true) => out.f32_ne(),
        (Compare::Lt, true) => out.f32_lt(),
        (Compare::Le, true) => out.f32_le(),
        (Compare::Gt, true) => out.f32_gt(),
        (Compare::Ge, true) => out.f32_ge(),
        (Compare::Eq, false) => out.i32_eq(),
        (Compare::Ne, false) => out.i32_ne(),
        (Compare::Lt, false) => out.i32_lt_s(),
        (Compare::Le, false) => out.i32_le_s(),
        (Compare::Gt, false) => out.i32_gt_s(),
        (Compare::Ge, false) => out.i32_ge_s(),
    };
}

fn dot2(out: &mut InstructionSink, [acc, a, b]: [u32; 3]) {
    out.local_get(acc);
    [a, b].into_iter().for_each(|v| _ = out.local_get(v).i32_const(16).i32_shl().f32_reinterpret_i32());
    out.f32_mul().f32_add();
    let upper = 0xffff_0000u32 as i32;
    [a, b].into_iter().for_each(|v| _ = out.local_get(v).i32_const(upper).i32_and().f32_reinterpret_i32());
    out.f32_mul().f32_add();
}

fn dot2_i16(out: &mut InstructionSink, [acc, a, b]: [u32; 3]) {
    out.local_get(acc);
    for shift in [0, 16] {
        for pair in [a, b] {
            out.local_get(pair).i32_const(shift).i32_shr_u().i32_extend16_s();
        }
        out.i32_mul().i32_add();
    }
}

fn dot4(out: &mut InstructionSink, [acc, a, b]: [u32; 3]) {
    out.local_get(acc);
    for shift in [0, 8, 16, 24] {
        out.local_get(a).i32_const(shift).i32_shr_u().i32_const(0xff).i32_and();
        out.local_get(b).i32_const(shift).i32_shr_u().i32_extend8_s();
        out.i32_mul().i32_add();
    }
}

/// Rounds a float to its upper half, to nearest even, in the lower half of a word. A NaN stays a NaN.
pub(super) fn narrow_bf16(out: &mut InstructionSink, value: u32) {
    let bits = |out: &mut InstructionSink| _ = out.local_get(value).i32_reinterpret_f32();
    bits(out);
    out.i32_const(16).i32_shr_u().i32_const(0x40).i32_or();
    bits(out);
    bits(out);
    out.i32_const(16).i32_shr_u().i32_const(1).i32_and().i32_const(0x7fff).i32_add();
    out.i32_add().i32_const(16).i32_shr_u();
    out.local_get(value).local_get(value).f32_ne().select();
}
