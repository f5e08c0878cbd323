//! Tiles: squares of words that matrix units multiply.

use super::InterpError;
use super::micro_kernel::Run;
use super::ops::{dot4, f};
use crate::kernel::ir::{Address, Op, Outer, Ty, Val};

const ROW: usize = Ty::ROW as usize;

/// Rows of words.
pub(super) type Tile = [[u32; ROW]; ROW];

impl Run<'_> {
    /// The result of an operation that gives a tile.
    pub(super) fn tile(&mut self, op: &Op) -> Result<Tile, InterpError> {
        Ok(match op {
            Op::LoadTile { from, pitch, .. } => {
                let (block, byte, elem) = self.place(from);
                let pitch = i64::from(*pitch) * elem.bytes() as i64;
                let mut tile = [[0; ROW]; ROW];
                for (row, words) in (0..).zip(&mut tile) {
                    for (i, word) in (0..).zip(words) {
                        *word = self.memory.load(block, byte + row * pitch + 4 * i, 4)?;
                    }
                }
                tile
            }
            Op::Outer { kind, acc, a, b } => {
                let [acc, a, b] = [acc, a, b].map(|v| self.tile_of(*v));
                let column = |n: usize| -> [u32; ROW] { std::array::from_fn(|k| b[k][n]) };
                let columns: Tile = std::array::from_fn(column);
                let product = match kind {
                    Outer::Bf16 => bf16,
                    Outer::U8I8 => bytes,
                };
                std::array::from_fn(|m| std::array::from_fn(|n| product(acc[m][n], &a[m], &columns[n])))
            }
            // The only constant of a tile.
            _ => [[0; ROW]; ROW],
        })
    }

    fn tile_of(&self, value: Val) -> &Tile {
        self.tiles[value].as_deref().expect("the verifier wants a definition before each use")
    }

    pub(super) fn store_tile(&mut self, to: &Address, value: Val, pitch: u32) -> Result<(), InterpError> {
        let (block, byte, elem) = self.place(to);
        let pitch = i64::from(pitch) * elem.bytes() as i64;
        let tile = *self.tile_of(value);
        for (row, words) in (0..).zip(tile) {
            for (i, word) in (0..).zip(words) {
                self.memory.store(block, byte + row * pitch + 4 * i, 4, word)?;
            }
        }
        Ok(())
    }
}

/// A denormal number becomes 0, of its sign.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// `a · b + c`, rounded once; what is below the least normal number becomes 0 of its sign. The number that counts is
/// the one rounded to 24 bits as if exponents had no end: one that reaches the least normal number only because
/// denormal numbers are further apart is below it (measured on Emerald Rapids, for VDPBF16PS too).
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    const LEAST: f32 = f32::MIN_POSITIVE;
    // 2 to the power 64: the same numbers, far from the end of the exponents.
    const UP: f32 = 18_446_744_073_709_551_616.0;
    let sum = a.mul_add(b, c);
    let below = sum.abs() == LEAST && (a * UP).mul_add(b, c * UP).abs() < LEAST * UP;
    if below { 0f32.copysign(sum) } else { flush(sum) }
}

fn bf16(acc: u32, a: &[u32; ROW], b: &[u32; ROW]) -> u32 {
    let (mut even, mut odd) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let product = |a: u32, b: u32, sum: f32| multiply_add(flush(f(a)), flush(f(b)), sum);
        even = product(a << 16, b << 16, even);
        odd = product(a & 0xffff_0000, b & 0xffff_0000, odd);
    }
    flush(flush(f(acc)) + flush(even + odd)).to_bits()
}

fn bytes(acc: u32, a: &[u32; ROW], b: &[u32; ROW]) -> u32 {
    a.iter().zip(b).fold(acc, |sum, (a, b)| dot4(sum, *a, *b))
}

#[cfg(test)]
mod tests {
    use super::multiply_add;

    /// What the instructions gave for 2^-126 and a product of this many 2^-151.
    #[test]
    fn sums_just_below_the_least_normal_number_become_zero() {
        let least = f32::MIN_POSITIVE;
        for (part, expected) in [(0.5, least), (1.0, least), (1.25, 0.0), (1.5, 0.0), (1.75, 0.0), (2.0, 0.0)] {
            let sum = multiply_add(-part * 2f32.powi(-76), 2f32.powi(-75), least);
            assert_eq!(sum.to_bits(), f32::to_bits(expected), "{part}");
            let negative = multiply_add(part * 2f32.powi(-76), 2f32.powi(-75), -least);
            assert_eq!(negative.to_bits(), f32::to_bits(-expected), "-{part}");
        }
    }
}
