//! Operations on single lanes, given as 32-bit words.

use crate::kernel::ir::{Binary, Compare, Elem, Unary};

/// All lanes of a value; those beyond its type are 0.
pub(super) type Lanes = [u32; 16];

fn f(word: u32) -> f32 {
    f32::from_bits(word)
}

pub(super) fn zip(left: &Lanes, right: &Lanes, op: impl Fn(u32, u32) -> u32) -> Lanes {
    std::array::from_fn(|i| op(left[i], right[i]))
}

pub(super) fn unary(op: Unary, v: u32) -> u32 {
    match op {
        Unary::Neg => v ^ 0x8000_0000,
        Unary::Abs => v & 0x7fff_ffff,
        Unary::Sqrt => f(v).sqrt().to_bits(),
        Unary::Round => f(v).round_ties_even().to_bits(),
        Unary::Floor => f(v).floor().to_bits(),
        Unary::ToInt => f(v) as i32 as u32,
        Unary::ToFloat => (v as i32 as f32).to_bits(),
        Unary::AsInt | Unary::AsFloat => v,
    }
}

pub(super) fn binary(op: Binary, elem: Elem, l: u32, r: u32) -> u32 {
    if elem == Elem::F32 { float(op, f(l), f(r)).to_bits() } else { int(op, l, r) }
}

fn float(op: Binary, l: f32, r: f32) -> f32 {
    match op {
        Binary::Add => l + r,
        Binary::Sub => l - r,
        Binary::Mul => l * r,
        Binary::Div => l / r,
        Binary::Max => {
            if l > r {
                l
            } else {
                r
            }
        }
        Binary::Min => {
            if l < r {
                l
            } else {
                r
            }
        }
        _ => unreachable!("the verifier lets no {op:?} of floats pass"),
    }
}

fn int(op: Binary, l: u32, r: u32) -> u32 {
    match op {
        Binary::Add => l.wrapping_add(r),
        Binary::Sub => l.wrapping_sub(r),
        Binary::Mul => l.wrapping_mul(r),
        Binary::Max => (l as i32).max(r as i32) as u32,
        Binary::Min => (l as i32).min(r as i32) as u32,
        Binary::MulHighU => ((u64::from(l) * u64::from(r)) >> 32) as u32,
        Binary::And => l & r,
        Binary::Or => l | r,
        Binary::Xor => l ^ r,
        Binary::Shl => l.wrapping_shl(r),
        Binary::ShrU => l.wrapping_shr(r),
        Binary::ShrS => (l as i32).wrapping_shr(r) as u32,
        Binary::Div => unreachable!("the verifier lets no division of integers pass"),
    }
}

pub(super) fn compare(op: Compare, elem: Elem, l: u32, r: u32) -> u32 {
    let holds = if elem == Elem::F32 { order(op, &f(l), &f(r)) } else { order(op, &(l as i32), &(r as i32)) };
    if holds { u32::MAX } else { 0 }
}

fn order<T: PartialOrd>(op: Compare, l: &T, r: &T) -> bool {
    match op {
        Compare::Eq => l == r,
        Compare::Ne => l != r,
        Compare::Lt => l < r,
        Compare::Le => l <= r,
        Compare::Gt => l > r,
        Compare::Ge => l >= r,
    }
}

pub(super) fn fma(a: u32, b: u32, c: u32) -> u32 {
    f(a).mul_add(f(b), f(c)).to_bits()
}

/// The products are exact in float32 (8 + 8 bits of mantissa), so it does not matter whether they are fused.
pub(super) fn dot2(acc: u32, a: u32, b: u32) -> u32 {
    let low = f(acc) + f(a << 16) * f(b << 16);
    (low + f(a & 0xffff_0000) * f(b & 0xffff_0000)).to_bits()
}

pub(super) fn dot4(acc: u32, a: u32, b: u32) -> u32 {
    let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
    products.fold(acc, |sum, (u, i)| sum.wrapping_add((i32::from(u) * i32::from(i as i8)) as u32))
}

/// Rounds to nearest even; a NaN stays one.
pub(super) fn to_bf16(word: u32) -> u32 {
    if f(word).is_nan() { word >> 16 | 0x40 } else { word.wrapping_add(0x7fff + (word >> 16 & 1)) >> 16 }
}
