//! Operations of micro-kernels, and what the IR knows of each: operands, result, rules and work; `op_text` has its
//! text. How it is computed stands with the interpreter and the back ends.

use super::{Address, Binary, Compare, Elem, Index, Outer, Ty, Unary, Val, Work};
use crate::kernel::error::OperandError;

/// An operation of a micro-kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A float in every lane.
    ConstF32 {
        /// Its bits, so that it prints and compares exactly.
        bits: u32,
        /// Lanes of the result.
        lanes: u32,
    },
    /// An integer in every lane.
    ConstI32 {
        /// The integer.
        value: i32,
        /// Lanes of the result.
        lanes: u32,
    },
    /// 0, 1, 2, … as I32 lanes.
    Iota {
        /// Lanes of the result.
        lanes: u32,
    },
    /// A micro-kernel's integer, wrapped to 32 bits, in every lane.
    IndexI32 {
        /// The integer.
        index: Index,
        /// Lanes of the result.
        lanes: u32,
    },
    /// A scalar in every lane.
    Splat {
        /// The scalar.
        value: Val,
        /// Lanes of the result.
        lanes: u32,
    },
    /// Consecutive elements. They keep their type (F32, I32); Bf16 widens to F32, U8 and I8 widen to I32.
    Load {
        /// The first element.
        from: Address,
        /// Type of the result.
        ty: Ty,
        /// Elements that are loaded, if not one for each lane; the other lanes are 0.
        count: Option<u32>,
    },
    /// One element in every lane, widened like `Load`.
    Broadcast {
        /// The element.
        from: Address,
        /// Type of the result.
        ty: Ty,
    },
    /// Raw bytes as I32 values: 2 Bf16 or 4 U8/I8 in each lane.
    LoadPacked {
        /// The first element.
        from: Address,
        /// Lanes of the result.
        lanes: u32,
    },
    /// One I32 of raw bytes (2 Bf16 or 4 U8/I8) in every lane.
    BroadcastPacked {
        /// The first element.
        from: Address,
        /// Lanes of the result.
        lanes: u32,
    },
    /// A tile: row r is the 64 bytes at `from + r · pitch`, as [`Ty::ROW`] words: sums of F32 or I32, or the raw bytes
    /// of smaller elements.
    LoadTile {
        /// The first element.
        from: Address,
        /// F32, or I32.
        elem: Elem,
        /// Elements from row to row.
        pitch: u32,
        /// Nobody reads it again soon: it need not stay in the first level of cache.
        stream: bool,
    },
    /// `op(value)` in each lane.
    Unary {
        /// The operator.
        op: Unary,
        /// Its operand.
        value: Val,
    },
    /// `left op right` in each lane.
    Binary {
        /// The operator.
        op: Binary,
        /// Its first operand.
        left: Val,
        /// Its second operand.
        right: Val,
    },
    /// `a · b + c`, rounded once where the target has it, else twice.
    Fma {
        /// A factor.
        a: Val,
        /// The other factor.
        b: Val,
        /// The addend.
        c: Val,
    },
    /// A mask: does `left op right` hold in each lane?
    Compare {
        /// The comparison.
        op: Compare,
        /// Its first operand.
        left: Val,
        /// Its second operand.
        right: Val,
    },
    /// Lanes of `then` where the mask is set, of `otherwise` elsewhere.
    Select {
        /// The mask.
        mask: Val,
        /// Taken where it is set.
        then: Val,
        /// Taken where it is not.
        otherwise: Val,
    },
    /// The interleaved lanes of the lower or upper halves of two vectors: `left`, `right`, `left`, …
    Zip {
        /// Gives the even lanes.
        left: Val,
        /// Gives the odd lanes.
        right: Val,
        /// Takes the upper halves.
        high: bool,
    },
    /// Folds all lanes by halves: lane i with lane i + lanes/2, and so on. The result is a scalar.
    Reduce {
        /// The operator.
        op: Binary,
        /// The vector.
        value: Val,
    },
    /// `acc + a.0·b.0 + a.1·b.1` over pairs of Bf16 in I32 lanes (VDPBF16PS).
    Dot2Bf16 {
        /// F32 lanes.
        acc: Val,
        /// Pairs.
        a: Val,
        /// Pairs.
        b: Val,
    },
    /// `acc + a.0·b.0 + a.1·b.1` over pairs of signed 16-bit numbers in I32 lanes; sums wrap (VPMADDWD, VPDPWSSD).
    Dot2I16 {
        /// I32 lanes.
        acc: Val,
        /// Pairs.
        a: Val,
        /// Pairs.
        b: Val,
    },
    /// `acc + Σ₄ a(u8)·b(i8)` over quadruples in I32 lanes (VPDPBUSD).
    Dot4U8I8 {
        /// I32 lanes.
        acc: Val,
        /// Quadruples, unsigned.
        a: Val,
        /// Quadruples, signed.
        b: Val,
    },
    /// Products of the rows of `a` with the columns of `b`, added to a tile of sums: [`Outer`] says which.
    Outer {
        /// What the words hold, and how sums round.
        kind: Outer,
        /// Sums, row by row.
        acc: Val,
        /// Row m holds the terms of row m of the sums, 64 bytes of them.
        a: Val,
        /// Word n of row k holds terms of column n of the sums, those that meet word k of a row of `a`.
        b: Val,
    },
}

impl Op {
    /// The values that it reads, in the order of the text.
    pub fn operands(&self) -> impl Iterator<Item = Val> + use<> {
        let list = match *self {
            Op::ConstF32 { .. } | Op::ConstI32 { .. } | Op::Iota { .. } | Op::IndexI32 { .. } => [None; 3],
            Op::Load { .. } | Op::Broadcast { .. } | Op::LoadPacked { .. } | Op::BroadcastPacked { .. } => [None; 3],
            Op::LoadTile { .. } => [None; 3],
            Op::Splat { value, .. } | Op::Unary { value, .. } | Op::Reduce { value, .. } => [Some(value), None, None],
            Op::Binary { left, right, .. } | Op::Compare { left, right, .. } | Op::Zip { left, right, .. } => {
                [Some(left), Some(right), None]
            }
            Op::Fma { a, b, c } => [a, b, c].map(Some),
            Op::Select { mask, then, otherwise } => [mask, then, otherwise].map(Some),
            Op::Dot2Bf16 { acc, a, b }
            | Op::Dot2I16 { acc, a, b }
            | Op::Dot4U8I8 { acc, a, b }
            | Op::Outer { acc, a, b, .. } => [acc, a, b].map(Some),
        };
        list.into_iter().flatten()
    }

    /// The memory that it reads.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Op::Load { from, .. } | Op::Broadcast { from, .. } => Some(from),
            Op::LoadPacked { from, .. } | Op::BroadcastPacked { from, .. } | Op::LoadTile { from, .. } => Some(from),
            _ => None,
        }
    }

    /// The result's type, given those of the operands.
    pub fn result(&self, ty: impl Fn(Val) -> Ty) -> Ty {
        match *self {
            Op::ConstF32 { lanes, .. } => Ty::f32(lanes),
            Op::ConstI32 { lanes, .. } | Op::Iota { lanes } | Op::IndexI32 { lanes, .. } => Ty::i32(lanes),
            Op::LoadPacked { lanes, .. } | Op::BroadcastPacked { lanes, .. } => Ty::i32(lanes),
            Op::Splat { value, lanes } => Ty { elem: ty(value).elem, lanes },
            Op::Load { ty, .. } | Op::Broadcast { ty, .. } => ty,
            Op::Unary { op: Unary::ToInt | Unary::ToByte | Unary::AsInt, value } => Ty::i32(ty(value).lanes),
            Op::Unary { op: Unary::ToFloat | Unary::AsFloat, value } => Ty::f32(ty(value).lanes),
            Op::Unary { value, .. } => ty(value),
            Op::Binary { left, .. } | Op::Zip { left, .. } => ty(left),
            Op::Fma { c, .. } => ty(c),
            Op::Compare { left, .. } => Ty::mask(ty(left).lanes),
            Op::Select { then, .. } => ty(then),
            Op::Reduce { value, .. } => Ty { elem: ty(value).elem, lanes: 1 },
            Op::Dot2Bf16 { acc, .. } | Op::Dot2I16 { acc, .. } => ty(acc),
            Op::Dot4U8I8 { acc, .. } | Op::Outer { acc, .. } => ty(acc),
            Op::LoadTile { elem, .. } => Ty::tile(elem),
        }
    }

    /// Says what is wrong with the types of the operands, or with that of the memory behind the address. The sentence
    /// is made only for an error: most of a check's time would go into sentences that nobody reads.
    pub fn check(&self, ty: impl Fn(Val) -> Ty, memory: Option<Elem>) -> Result<(), OperandError> {
        if let Some(wide) = self.operands().map(&ty).find(|ty| ty.is_tile() && !matches!(self, Op::Outer { .. })) {
            return Err(OperandError(format!("{} of the tile {wide}", self.word())));
        }
        match *self {
            Op::ConstF32 { bits, lanes: Ty::TILE } if bits != 0 => Err(OperandError("a tile starts from 0".into())),
            Op::ConstI32 { value, lanes: Ty::TILE } if value != 0 => Err(OperandError("a tile starts from 0".into())),
            Op::ConstF32 { .. } | Op::ConstI32 { .. } | Op::Iota { .. } | Op::IndexI32 { .. } => Ok(()),
            Op::Splat { value, .. } => {
                let ty = ty(value);
                rule(ty.lanes == 1 && ty.elem != Elem::Mask, || "splat takes a scalar number".into())
            }
            Op::Load { ty, count: Some(count), .. } if count == 0 || count >= ty.lanes => {
                Err(OperandError(format!("a partial count of {count} for {} lanes", ty.lanes)))
            }
            Op::Load { .. }
            | Op::Broadcast { .. }
            | Op::LoadPacked { .. }
            | Op::BroadcastPacked { .. }
            | Op::LoadTile { .. } => memory.map_or(Ok(()), |elem| self.check_memory(elem)),
            Op::Unary { op, value } => {
                let (wants, ty) =
                    (if matches!(op, Unary::ToFloat | Unary::AsFloat) { Elem::I32 } else { Elem::F32 }, ty(value));
                rule(ty.elem == wants, || format!("{op:?} takes {wants}, got {ty}"))
            }
            Op::Binary { op, left, right } => {
                let (l, r) = (ty(left), ty(right));
                rule(l == r, || format!("{op:?} of {l} and {r}"))?;
                rule(op.takes(l.elem), || format!("{op:?} is not defined for {l}"))
            }
            Op::Fma { a, b, c } => {
                let [a, b, c] = [a, b, c].map(ty);
                rule(a == c && b == c && c.elem == Elem::F32, || format!("fma of {a}, {b} and {c}"))
            }
            Op::Compare { left, right, .. } => {
                let (l, r) = (ty(left), ty(right));
                rule(l == r && l.elem != Elem::Mask, || format!("comparison of {l} and {r}"))
            }
            Op::Select { mask, then, otherwise } => {
                let [mask, then, otherwise] = [mask, then, otherwise].map(ty);
                let ok = mask == Ty::mask(then.lanes) && then == otherwise && then.elem != Elem::Mask;
                rule(ok, || format!("select by {mask} of {then} and {otherwise}"))
            }
            Op::Zip { left, right, .. } => {
                let (l, r) = (ty(left), ty(right));
                rule(l == r && l.elem != Elem::Mask && l.lanes >= 4, || format!("interleaved lanes of {l} and {r}"))
            }
            Op::Reduce { op, value } => {
                let ty = ty(value);
                let ok = op.folds() && op.takes(ty.elem) && ty.lanes > 1;
                rule(ok, || format!("reduction of {ty} by {op:?}"))
            }
            Op::Dot2Bf16 { acc, a, b } => dot(Elem::F32, [acc, a, b].map(ty)),
            Op::Dot2I16 { acc, a, b } | Op::Dot4U8I8 { acc, a, b } => dot(Elem::I32, [acc, a, b].map(ty)),
            Op::Outer { kind, acc, a, b } => {
                let [acc, a, b] = [acc, a, b].map(ty);
                let ok = acc == Ty::tile(kind.sums()) && a == Ty::tile(Elem::I32) && b == a;
                rule(ok, || format!("{} of {a} and {b} into {acc}", kind.word()))
            }
        }
    }

    /// Says whether a load may read memory of this element.
    fn check_memory(&self, of: Elem) -> Result<(), OperandError> {
        match *self {
            Op::Load { ty, .. } | Op::Broadcast { ty, .. } => {
                rule(of.widened() == ty.elem, || format!("{of} memory is loaded as {ty}"))
            }
            Op::LoadPacked { .. } | Op::BroadcastPacked { .. } => {
                rule(of.bytes() < 4, || format!("{of} memory holds no packed elements"))
            }
            Op::LoadTile { elem, .. } => {
                rule(of.tile() == Some(elem), || format!("{of} memory is loaded as {}", Ty::tile(elem)))
            }
            _ => Ok(()),
        }
    }

    /// The arithmetic that it does and the bytes that it loads, given its result's type, those of its operands and that
    /// of the memory behind the address.
    pub fn work(&self, result: Ty, ty: impl Fn(Val) -> Ty, memory: Option<Elem>) -> Work {
        let lanes = u64::from(result.lanes);
        let others = |others| Work { others, ..Work::default() };
        let multiply_adds = |multiply_adds| Work { multiply_adds, ..Work::default() };
        let bytes = |elements| {
            let bytes = elements * memory.map_or(0, |elem| elem.bytes() as u64);
            Work { bytes, ..Work::default() }
        };
        match *self {
            Op::Fma { .. } => multiply_adds(lanes),
            Op::Dot2Bf16 { .. } | Op::Dot2I16 { .. } => multiply_adds(2 * lanes),
            Op::Binary { op: Binary::Add | Binary::Sub | Binary::Mul | Binary::Div, .. }
                if result.elem == Elem::F32 =>
            {
                others(lanes)
            }
            Op::Unary { op: Unary::Sqrt, .. } => others(lanes),
            Op::Reduce { op: Binary::Add | Binary::Mul, value } if result.elem == Elem::F32 => {
                others(u64::from(ty(value).lanes) - 1)
            }
            Op::Load { count, .. } => bytes(count.map_or(lanes, u64::from)),
            Op::Broadcast { .. } => bytes(1),
            Op::LoadPacked { .. } => Work { bytes: 4 * lanes, ..Work::default() },
            Op::BroadcastPacked { .. } => Work { bytes: 4, ..Work::default() },
            Op::ConstF32 { .. } | Op::ConstI32 { .. } | Op::Iota { .. } | Op::IndexI32 { .. } | Op::Splat { .. } => {
                Work::default()
            }
            Op::Binary { op: Binary::MulBytes, .. } => multiply_adds(4 * lanes),
            Op::Unary { .. } | Op::Binary { .. } | Op::Compare { .. } | Op::Select { .. } => Work::default(),
            Op::Reduce { .. } | Op::Zip { .. } => Work::default(),
            Op::Dot4U8I8 { .. } => multiply_adds(4 * lanes),
            Op::LoadTile { .. } => Work { bytes: 4 * lanes, ..Work::default() },
            Op::Outer { kind: Outer::Bf16, .. } => multiply_adds(u64::from(2 * Ty::ROW) * lanes),
            Op::Outer { kind: Outer::U8I8, .. } => multiply_adds(u64::from(4 * Ty::ROW) * lanes),
        }
    }
}

fn rule(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), OperandError> {
    if holds { Ok(()) } else { Err(OperandError(sentence())) }
}

fn dot(sums: Elem, [acc, a, b]: [Ty; 3]) -> Result<(), OperandError> {
    let ok = acc.elem == sums && a == Ty::i32(acc.lanes) && b == a;
    rule(ok, || format!("dot product of {a} and {b} into {acc}"))
}
