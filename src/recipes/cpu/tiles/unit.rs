//! What tiles multiply: pairs of bf16, or four bytes with four signed ones.

use super::blocks::TILE;
use crate::kernel::ir::{Elem, Outer};

/// The terms of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// bf16, summed in float32.
    Bf16,
    /// Bytes, summed in whole numbers.
    Bytes,
}

impl Unit {
    /// Terms of a step: those in a row of a tile of A.
    pub const fn step(self) -> usize {
        self.word() * TILE
    }

    /// Terms of a word.
    pub const fn word(self) -> usize {
        match self {
            Unit::Bf16 => 2,
            Unit::Bytes => 4,
        }
    }

    /// Of A.
    pub const fn elem(self) -> Elem {
        match self {
            Unit::Bf16 => Elem::Bf16,
            Unit::Bytes => Elem::U8,
        }
    }

    /// Of the sums.
    pub const fn sums(self) -> Elem {
        match self {
            Unit::Bf16 => Elem::F32,
            Unit::Bytes => Elem::I32,
        }
    }

    /// The product.
    pub const fn outer(self) -> Outer {
        match self {
            Unit::Bf16 => Outer::Bf16,
            Unit::Bytes => Outer::U8I8,
        }
    }

    /// Bytes of a term of A, and of B.
    pub const fn bytes(self) -> usize {
        self.elem().bytes()
    }

    /// A part of names.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Bf16 => "",
            Unit::Bytes => "_bytes",
        }
    }
}
