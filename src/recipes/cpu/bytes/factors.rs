//! Which products of whole numbers a processor has: what memory holds, and how many terms of a sum a word does.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Binary, Elem, Op, Unary, Val};
use crate::lower::target::Target;

/// The factors of products that are summed in 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Factors {
    /// Unsigned bytes with signed ones, four in a word: where an instruction multiplies them.
    Bytes,
    /// Signed 16-bit numbers, two in a word. Bytes are widened once on their way there, not again for each product.
    Words,
}

impl Factors {
    /// The fastest for a processor.
    pub fn of(target: &Target) -> Factors {
        if target.cpu().vnni { Factors::Bytes } else { Factors::Words }
    }

    /// Terms of a sum in a word.
    pub fn in_word(self) -> usize {
        4 / self.image().bytes()
    }

    /// What memory holds of an image.
    pub fn image(self) -> Elem {
        match self {
            Factors::Bytes => Elem::U8,
            Factors::Words => Elem::I16,
        }
    }

    /// `acc` and the products of words of `a`, of the image, with words of `b`, of the weights.
    pub fn dot(self, b: &mut MicroKernelBuilder, acc: Val, a: Val, weights: Val) -> Val {
        b.op(match self {
            Factors::Bytes => Op::Dot4U8I8 { acc, a, b: weights },
            Factors::Words => Op::Dot2I16 { acc, a, b: weights },
        })
    }

    /// Whole numbers as term `place` of words.
    pub fn placed(self, b: &mut MicroKernelBuilder, value: Val, place: usize) -> Val {
        let lanes = b.ty(value).lanes;
        let bits = 32 / self.in_word();
        let (mask, shift) = (b.i32((1 << bits) - 1, lanes), b.i32((bits * place) as i32, lanes));
        let value = b.unary(Unary::ToInt, value);
        let value = b.binary(Binary::And, value, mask);
        if place == 0 { value } else { b.binary(Binary::Shl, value, shift) }
    }

    /// A part of names.
    pub fn name(self) -> &'static str {
        match self {
            Factors::Bytes => "bytes",
            Factors::Words => "words",
        }
    }
}
