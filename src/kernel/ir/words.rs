//! Scalar operators that operations apply to each lane.

use super::Elem;

words! {
    /// An operator on one number.
    Unary {
        /// F32: changes the sign.
        Neg = "neg",
        /// F32: clears the sign.
        Abs = "abs",
        /// F32: square root.
        Sqrt = "sqrt",
        /// F32: to the nearest integer, ties to even.
        Round = "round",
        /// F32: to the next integer below.
        Floor = "floor",
        /// F32 → I32, truncating; out of range is unspecified.
        ToInt = "to_int",
        /// F32 → I32: to the nearest integer, ties to even, at least 0 and at most 255; a NaN gives 0.
        ToByte = "to_byte",
        /// I32 → F32.
        ToFloat = "to_float",
        /// F32 → I32, the same bits.
        AsInt = "as_int",
        /// I32 → F32, the same bits.
        AsFloat = "as_float",
    }
}

words! {
    /// An operator on two numbers.
    Binary {
        /// Sum; of I32 wrapping.
        Add = "add",
        /// Difference; of I32 wrapping.
        Sub = "sub",
        /// Product; of I32 wrapping.
        Mul = "mul",
        /// F32: as x86 `maxps left, right`: `if left > right { left } else { right }`, so a NaN on either side gives
        /// `right`. I32: signed.
        Max = "max",
        /// F32: `if left < right { left } else { right }`. I32: signed.
        Min = "min",
        /// F32: quotient.
        Div = "div",
        /// I32: upper 32 bits of the unsigned product.
        MulHighU = "mul_high_u",
        /// I32: bits that both have.
        And = "and",
        /// I32: bits that one has.
        Or = "or",
        /// I32: bits that exactly one has.
        Xor = "xor",
        /// I32: shifts left by the lane's count, 0 to 31.
        Shl = "shl",
        /// I32: shifts right by the lane's count, filling with zeros.
        ShrU = "shr_u",
        /// I32: shifts right by the lane's count, filling with the sign.
        ShrS = "shr_s",
        /// I32: in each half of 16 bits, the sum of the products of its two unsigned bytes on the left with the two
        /// signed ones on the right, -32768 or 32767 beyond (VPMADDUBSW).
        MulBytes = "mul_bytes",
        /// I32: sums of each half of 16 bits apart, wrapping (VPADDW).
        AddHalves = "add_halves",
        /// I32: the number on the left and both signed halves of the one on the right; wrapping.
        SumHalves = "sum_halves",
    }
}

impl Binary {
    /// Is it defined for these numbers?
    pub fn takes(self, elem: Elem) -> bool {
        use Binary::*;
        match self {
            Add | Sub | Mul | Max | Min => matches!(elem, Elem::F32 | Elem::I32),
            Div => elem == Elem::F32,
            MulHighU | And | Or | Xor | Shl | ShrU | ShrS => elem == Elem::I32,
            MulBytes | AddHalves | SumHalves => elem == Elem::I32,
        }
    }

    /// Does it work on halves of 16 bits?
    pub fn of_halves(self) -> bool {
        matches!(self, Binary::MulBytes | Binary::AddHalves | Binary::SumHalves)
    }

    /// May a reduction fold lanes by it?
    pub fn folds(self) -> bool {
        use Binary::*;
        matches!(self, Add | Mul | Max | Min | And | Or | Xor)
    }

    /// Can its operands be swapped without a change of the result?
    pub fn commutes(self) -> bool {
        use Binary::*;
        matches!(self, Add | Mul | And | Or | Xor | AddHalves)
    }
}

words! {
    /// A comparison of F32, ordered (false on NaN; `Ne` is true on NaN), or of signed I32.
    Compare {
        /// Equal.
        Eq = "eq",
        /// Not equal.
        Ne = "ne",
        /// Less.
        Lt = "lt",
        /// Less or equal.
        Le = "le",
        /// Greater.
        Gt = "gt",
        /// Greater or equal.
        Ge = "ge",
    }
}

words! {
    /// Products of a tile of rows with a tile of columns, 16 by 16 sums at once: what matrix units of processors do.
    Outer {
        /// Pairs of bf16 in each word, sums in F32. Of the 32 products of a sum those with an even number and those
        /// with an odd one are added up apart, from 0 and in order, each multiplied and added in one rounding; then
        /// the odd sum is added to the even one, and that to the sum so far. Denormal numbers are read as 0, and a
        /// result that is one becomes 0, of its sign.
        Bf16 = "outer_bf16",
        /// Four bytes in each word, unsigned ones of `a` and signed ones of `b`, sums in I32 that wrap.
        U8I8 = "outer_u8i8",
    }
}

impl Outer {
    /// The type of the sums.
    pub fn sums(self) -> Elem {
        match self {
            Outer::Bf16 => Elem::F32,
            Outer::U8I8 => Elem::I32,
        }
    }
}
