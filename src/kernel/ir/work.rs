//! How much code computes and moves.

use std::ops::{Add, AddAssign, Div, Mul};

/// Arithmetic and memory traffic of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiplications with an addition on float32, pairs of bf16 or groups of four bytes, one for each lane and
    /// product.
    pub multiply_adds: u64,
    /// Other additions, subtractions, multiplications, divisions and roots on float32, one for each lane.
    pub others: u64,
    /// Bytes that loads and stores move between registers and the nearest memory.
    pub bytes: u64,
}

impl Work {
    /// Operations of arithmetic: two for each multiply-add.
    pub fn flops(&self) -> u64 {
        2 * self.multiply_adds + self.others
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.multiply_adds += other.multiply_adds;
        self.others += other.others;
        self.bytes += other.bytes;
    }
}

impl Add for Work {
    type Output = Work;
    fn add(mut self, other: Work) -> Work {
        self += other;
        self
    }
}

impl Mul<u64> for Work {
    type Output = Work;
    fn mul(self, times: u64) -> Work {
        Work { multiply_adds: self.multiply_adds * times, others: self.others * times, bytes: self.bytes * times }
    }
}

impl Div<u64> for Work {
    type Output = Work;
    /// A part of it, rounded up.
    fn div(self, parts: u64) -> Work {
        Work {
            multiply_adds: self.multiply_adds.div_ceil(parts),
            others: self.others.div_ceil(parts),
            bytes: self.bytes.div_ceil(parts),
        }
    }
}
