//! What operations compute. Lanes are 32-bit words, whatever their type.

use super::InterpError;
use super::micro_kernel::Run;
use crate::kernel::ir::{Binary, Compare, Elem, Op, Ty, Unary};

/// All lanes of a value; those beyond its type are 0.
pub(super) type Lanes = [u32; 16];

impl Run<'_> {
    /// The result of an operation; lanes beyond those of its type hold anything.
    pub(super) fn op(&self, op: &Op) -> Result<Lanes, InterpError> {
        Ok(match op {
            Op::ConstF32 { bits, .. } => [*bits; 16],
            Op::ConstI32 { value, .. } => [*value as u32; 16],
            Op::Iota { .. } => std::array::from_fn(|i| i as u32),
            Op::IndexI32 { index, .. } => [index.eval(&self.vars) as u32; 16],
            Op::Splat { value, .. } => [self.get(*value)[0]; 16],
            Op::Load { from, ty, count } => self.load(from, count.unwrap_or(ty.lanes) as usize)?,
            Op::Broadcast { from, .. } => [self.load(from, 1)?[0]; 16],
            Op::LoadPacked { from, lanes } => self.load_packed(from, *lanes as usize)?,
            Op::BroadcastPacked { from, .. } => [self.load_packed(from, 1)?[0]; 16],
            Op::Unary { op, value } => self.get(*value).map(|v| unary(*op, v)),
            Op::Binary { op, left, right } => {
                let elem = self.ty(*left).elem;
                zip(&self.get(*left), &self.get(*right), |l, r| binary(*op, elem, l, r))
            }
            Op::Fma { a, b, c } => {
                let (a, b, c) = (self.get(*a), self.get(*b), self.get(*c));
                std::array::from_fn(|i| fma(a[i], b[i], c[i]))
            }
            Op::Compare { op, left, right } => {
                let elem = self.ty(*left).elem;
                zip(&self.get(*left), &self.get(*right), |l, r| compare(*op, elem, l, r))
            }
            Op::Select { mask, then, otherwise } => {
                let (m, t, e) = (self.get(*mask), self.get(*then), self.get(*otherwise));
                std::array::from_fn(|i| if m[i] != 0 { t[i] } else { e[i] })
            }
            Op::Reduce { op, value } => {
                let Ty { elem, lanes } = self.ty(*value);
                let mut folded = self.get(*value);
                let mut half = lanes as usize / 2;
                while half > 0 {
                    for i in 0..half {
                        folded[i] = binary(*op, elem, folded[i], folded[i + half]);
                    }
                    half /= 2;
                }
                folded
            }
            Op::Zip { left, right, high } => {
                let (l, r) = (self.get(*left), self.get(*right));
                let first = if *high { self.ty(*left).lanes as usize / 2 } else { 0 };
                let lane = |i: usize| if i.is_multiple_of(2) { l[first + i / 2] } else { r[first + i / 2] };
                // Lanes beyond the type hold anything.
                std::array::from_fn(|i| if first + i / 2 < 16 { lane(i) } else { 0 })
            }
            Op::Dot2Bf16 { acc, a, b } => {
                let (c, a, b) = (self.get(*acc), self.get(*a), self.get(*b));
                std::array::from_fn(|i| dot2(c[i], a[i], b[i]))
            }
            Op::Dot2I16 { acc, a, b } => {
                let (c, a, b) = (self.get(*acc), self.get(*a), self.get(*b));
                std::array::from_fn(|i| dot2_i16(c[i], a[i], b[i]))
            }
            Op::Dot4U8I8 { acc, a, b } => {
                let (c, a, b) = (self.get(*acc), self.get(*a), self.get(*b));
                std::array::from_fn(|i| dot4(c[i], a[i], b[i]))
            }
            Op::LoadTile { .. } | Op::Outer { .. } => unreachable!("the results of these are tiles"),
        })
    }
}

pub(super) fn f(word: u32) -> f32 {
    f32::from_bits(word)
}

fn zip(left: &Lanes, right: &Lanes, op: impl Fn(u32, u32) -> u32) -> Lanes {
    std::array::from_fn(|i| op(left[i], right[i]))
}

fn unary(op: Unary, v: u32) -> u32 {
    match op {
        Unary::Neg => v ^ 0x8000_0000,
        Unary::Abs => v & 0x7fff_ffff,
        Unary::Sqrt => f(v).sqrt().to_bits(),
        Unary::Round => f(v).round_ties_even().to_bits(),
        Unary::Floor => f(v).floor().to_bits(),
        Unary::ToInt => f(v) as i32 as u32,
        Unary::ToByte => f(v).round_ties_even() as u8 as u32,
        Unary::ToFloat => (v as i32 as f32).to_bits(),
        Unary::AsInt | Unary::AsFloat => v,
    }
}

fn binary(op: Binary, elem: Elem, l: u32, r: u32) -> u32 {
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
        Binary::MulBytes => halves(|i| {
            let product = |i: usize| i32::from(l.to_le_bytes()[i]) * i32::from(r.to_le_bytes()[i] as i8);
            (product(2 * i) + product(2 * i + 1)).clamp(i16::MIN.into(), i16::MAX.into())
        }),
        Binary::AddHalves => halves(|i| half(l, i) + half(r, i)),
        Binary::SumHalves => (l as i32).wrapping_add(half(r, 0) + half(r, 1)) as u32,
        Binary::Div => unreachable!("the verifier lets no division of integers pass"),
    }
}

/// Half `i` of a word, the lower one first, with its sign.
fn half(word: u32, i: usize) -> i32 {
    i32::from((word >> (16 * i)) as i16)
}

/// A word of two halves, from their lower 16 bits.
fn halves(half: impl Fn(usize) -> i32) -> u32 {
    half(0) as u32 & 0xffff | (half(1) as u32) << 16
}

fn compare(op: Compare, elem: Elem, l: u32, r: u32) -> u32 {
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

fn fma(a: u32, b: u32, c: u32) -> u32 {
    f(a).mul_add(f(b), f(c)).to_bits()
}

/// Adds the products of elements 0 first, rounding after each. The products are exact in float32 (8 + 8 bits of
/// mantissa), so it does not matter whether they are fused.
fn dot2(acc: u32, a: u32, b: u32) -> u32 {
    let low = f(acc) + f(a << 16) * f(b << 16);
    (low + f(a & 0xffff_0000) * f(b & 0xffff_0000)).to_bits()
}

pub(super) fn dot2_i16(acc: u32, a: u32, b: u32) -> u32 {
    let product = |shift: u32| i32::from((a >> shift) as i16).wrapping_mul(i32::from((b >> shift) as i16)) as u32;
    acc.wrapping_add(product(0)).wrapping_add(product(16))
}

pub(super) fn dot4(acc: u32, a: u32, b: u32) -> u32 {
    let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
    products.fold(acc, |sum, (u, i)| sum.wrapping_add((i32::from(u) * i32::from(i as i8)) as u32))
}

/// Rounds to nearest even; a NaN stays a NaN.
pub(super) fn to_bf16(word: u32) -> u32 {
    if f(word).is_nan() { word >> 16 | 0x40 } else { word.wrapping_add(0x7fff + (word >> 16 & 1)) >> 16 }
}
