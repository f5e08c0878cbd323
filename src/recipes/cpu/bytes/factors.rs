//! Which products of whole numbers a processor has: what memory holds, and how many terms of a sum a word does.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Binary, Elem, Op, Unary, Val};
use crate::lower::target::{Isa, Target};
use crate::lower::tile::Beside;

/// The factors of products that are summed in 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Factors {
    /// Unsigned bytes with signed ones, four in a word: where an instruction multiplies them.
    Bytes,
    /// Unsigned bytes with signed ones, four in a word, whose products are summed in 16 bits first: where weights
    /// leave room for that, and an instruction does it. The number is that of the words summed together, 1 or 2.
    Narrow(usize),
    /// Signed 16-bit numbers, two in a word. Bytes are widened once on their way there, not again for each product.
    Words,
}

impl Factors {
    /// The fastest for a processor, and for weights that leave room to add `narrow` terms in 16 bits: 1, 2 or 4.
    pub fn of(target: &Target, narrow: usize) -> Factors {
        match (target.cpu().vnni, target.cpu().isa, narrow) {
            (true, ..) => Factors::Bytes,
            (false, Isa::Avx2 | Isa::Avx512, 4..) => Factors::Narrow(2),
            (false, Isa::Avx2 | Isa::Avx512, 2..) => Factors::Narrow(1),
            _ => Factors::Words,
        }
    }

    /// Words whose products are summed before they are added to others.
    pub fn together(self) -> usize {
        if let Factors::Narrow(words) = self { words } else { 1 }
    }

    /// Instructions for two terms of a sum.
    pub fn operations(self) -> f64 {
        match self {
            Factors::Bytes => 0.5,
            Factors::Narrow(words) => (2.0 * words as f64 + 1.0) / (2.0 * words as f64),
            Factors::Words => 2.0,
        }
    }

    /// Registers that a row of products takes beside its sums and the panel's row.
    pub fn beside(self) -> Beside {
        match self {
            // Weights are read from memory; a row's words, their products and ones to widen them are in registers.
            Factors::Narrow(words) => Beside { panel: false, others: 1 + 2 * words },
            _ => Beside { panel: true, others: 2 },
        }
    }

    /// Terms of a sum in a word.
    pub fn in_word(self) -> usize {
        4 / self.image().bytes()
    }

    /// What memory holds of an image.
    pub fn image(self) -> Elem {
        match self {
            Factors::Bytes | Factors::Narrow(_) => Elem::U8,
            Factors::Words => Elem::I16,
        }
    }

    /// `acc` and the products of words of the image with words of the weights, at most as many as [`together`] says.
    ///
    /// [`together`]: Factors::together
    pub fn dot(self, b: &mut MicroKernelBuilder, acc: Val, image: &[Val], weights: &[Val]) -> Val {
        let words = image.iter().copied().zip(weights.iter().copied());
        match self {
            Factors::Bytes => words.fold(acc, |acc, (a, w)| b.op(Op::Dot4U8I8 { acc, a, b: w })),
            Factors::Words => words.fold(acc, |acc, (a, w)| b.op(Op::Dot2I16 { acc, a, b: w })),
            Factors::Narrow(_) => {
                let products: Vec<Val> = words.map(|(a, w)| b.binary(Binary::MulBytes, a, w)).collect();
                let sums = products.into_iter().reduce(|sums, own| b.binary(Binary::AddHalves, sums, own));
                sums.map_or(acc, |sums| b.binary(Binary::SumHalves, acc, sums))
            }
        }
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
            Factors::Narrow(1) => "twos",
            Factors::Narrow(_) => "fours",
            Factors::Words => "words",
        }
    }

    /// The words for how a layer is computed.
    pub fn method(self) -> &'static str {
        match self {
            Factors::Bytes => "bytes",
            Factors::Narrow(1) => "bytes, by twos in 16 bits",
            Factors::Narrow(_) => "bytes, by fours in 16 bits",
            Factors::Words => "words",
        }
    }
}
