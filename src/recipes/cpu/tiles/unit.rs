//! What tiles multiply: pairs of bf16, pairs of numbers in parts, or four bytes with four signed ones.

use super::blocks::TILE;
use crate::kernel::ir::{Elem, Outer};
use crate::lower::Method;

/// The terms of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// bf16, summed in float32.
    Bf16,
    /// float32 in three parts of bf16 ([`super::parts`]), summed in float32.
    Split,
    /// tf32 in two parts of bf16 ([`super::parts`]), summed in float32.
    Tf32,
    /// Bytes, summed in whole numbers.
    Bytes,
}

/// Which part of A meets which part of B, in order: small products first, and from one to the next only one side
/// changes. High times high comes last.
const SIX: [[usize; 2]; 6] = [[0, 2], [0, 1], [1, 1], [1, 0], [2, 0], [0, 0]];
/// Of numbers in two parts: all products.
const FOUR: [[usize; 2]; 4] = [[0, 1], [1, 1], [1, 0], [0, 0]];

impl Unit {
    /// Terms of a step: those in a row of a tile of A.
    pub const fn step(self) -> usize {
        self.in_word() * TILE
    }

    /// Terms of a word.
    pub const fn in_word(self) -> usize {
        match self {
            Unit::Bf16 | Unit::Split | Unit::Tf32 => 2,
            Unit::Bytes => 4,
        }
    }

    /// Of A.
    pub const fn elem(self) -> Elem {
        match self {
            Unit::Bf16 | Unit::Split | Unit::Tf32 => Elem::Bf16,
            Unit::Bytes => Elem::U8,
        }
    }

    /// Of the sums.
    pub const fn sums(self) -> Elem {
        match self {
            Unit::Bf16 | Unit::Split | Unit::Tf32 => Elem::F32,
            Unit::Bytes => Elem::I32,
        }
    }

    /// The product.
    pub const fn outer(self) -> Outer {
        match self {
            Unit::Bf16 | Unit::Split | Unit::Tf32 => Outer::Bf16,
            Unit::Bytes => Outer::U8I8,
        }
    }

    /// Parts of a term, each an element of A.
    pub const fn parts(self) -> usize {
        match self {
            Unit::Bf16 | Unit::Bytes => 1,
            Unit::Tf32 => 2,
            Unit::Split => 3,
        }
    }

    /// The parts of A and of B that are multiplied in each step.
    pub const fn products(self) -> &'static [[usize; 2]] {
        match self {
            Unit::Bf16 | Unit::Bytes => &[[0, 0]],
            Unit::Tf32 => &FOUR,
            Unit::Split => &SIX,
        }
    }

    /// What values lie in memory as, where tiles read them without a copy.
    pub fn image(self) -> Option<Elem> {
        (self.parts() == 1).then_some(self.elem())
    }

    /// Bytes of a term of A, and of B.
    pub const fn bytes(self) -> usize {
        self.elem().bytes() * self.parts()
    }

    /// How it computes, for reports.
    pub fn method(self) -> Method {
        match self {
            Unit::Bf16 | Unit::Bytes => self.word().into(),
            Unit::Split | Unit::Tf32 => Method::Split { products: self.products().len() },
        }
    }

    /// The word of reports.
    pub const fn word(self) -> &'static str {
        match self {
            Unit::Bf16 | Unit::Bytes => "tiles",
            Unit::Split | Unit::Tf32 => "split",
        }
    }

    /// A part of names.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Bf16 => "",
            Unit::Split => "_split",
            Unit::Tf32 => "_tf32",
            Unit::Bytes => "_bytes",
        }
    }
}
