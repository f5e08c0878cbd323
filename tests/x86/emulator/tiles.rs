//! Tile registers of the emulator.

use super::Machine;
use iced_x86::{CpuidFeature, Instruction, Mnemonic};

/// Rows of words.
pub type Tile = [[u32; 16]; 16];

pub const FEATURES: [CpuidFeature; 3] = [CpuidFeature::AMX_TILE, CpuidFeature::AMX_BF16, CpuidFeature::AMX_INT8];

impl Machine<'_> {
    pub fn tile_step(&mut self, i: &Instruction) -> Result<(), String> {
        let number = |n: u32| i.op_register(n).number();
        match i.mnemonic() {
            Mnemonic::Tilezero => self.tiles[number(0)] = [[0; 16]; 16],
            Mnemonic::Tileloadd | Mnemonic::Tileloaddt1 => {
                for row in 0..16 {
                    let bytes = self.read(self.row(i, row), 64)?;
                    let word = |n: usize| u32::from_le_bytes(bytes[4 * n..4 * n + 4].try_into().unwrap());
                    self.tiles[number(0)][row as usize] = std::array::from_fn(word);
                }
            }
            Mnemonic::Tilestored => {
                for row in 0..16 {
                    let words = self.tiles[number(1)][row as usize];
                    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
                    self.write(self.row(i, row), &bytes)?;
                }
            }
            Mnemonic::Tdpbf16ps => self.products(i, pairs),
            Mnemonic::Tdpbusd => self.products(i, bytes),
            _ => return Err("unknown".into()),
        }
        Ok(())
    }

    /// The index register of the address steps from row to row.
    fn row(&self, i: &Instruction, row: u64) -> u64 {
        let pitch = self.general[i.memory_index().number()].wrapping_mul(i.memory_index_scale().into());
        let first = self.general[i.memory_base().number()].wrapping_add(i.memory_displacement64());
        first.wrapping_add(pitch.wrapping_mul(row))
    }

    fn products(&mut self, i: &Instruction, product: fn(u32, &[u32; 16], [u32; 16]) -> u32) {
        let [c, a, b] = [0, 1, 2].map(|n| i.op_register(n).number());
        let (a, b) = (self.tiles[a], self.tiles[b]);
        for m in 0..16 {
            for n in 0..16 {
                self.tiles[c][m][n] = product(self.tiles[c][m][n], &a[m], b.map(|row| row[n]));
            }
        }
    }
}

/// Sums of even and of odd products apart, each multiplied and added in one rounding; denormal numbers count as 0.
fn pairs(c: u32, a: &[u32; 16], b: [u32; 16]) -> u32 {
    let number = |w: u32| if w & 0x7f80_0000 == 0 { f32::from_bits(w & 0x8000_0000) } else { f32::from_bits(w) };
    let again = |x: f32| number(x.to_bits());
    let sum = |of: fn(u32) -> u32| {
        a.iter().zip(b).fold(0.0, |sum, (a, b)| again(flushed(number(of(*a)), number(of(b)), sum)))
    };
    let both = again(sum(|w| w << 16) + sum(|w| w >> 16 << 16));
    again(number(c) + both).to_bits()
}

/// `a · b + c`, 0 where the exact sum is so far below 2^-126 that 24 bits cannot round it up to that: the sum and its
/// error in float64 are exact.
pub fn flushed(a: f32, b: f32, c: f32) -> f32 {
    let (product, c64) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c64;
    let other = sum - product;
    let error = (product - (sum - other)) + (c64 - other);
    let least = 2f64.powi(-126) - 2f64.powi(-151);
    let below = sum.abs() < least || sum.abs() == least && error * sum < 0.0;
    let rounded = a.mul_add(b, c);
    if below && rounded != 0.0 { 0f32.copysign(rounded) } else { rounded }
}

fn bytes(c: u32, a: &[u32; 16], b: [u32; 16]) -> u32 {
    let products = a.iter().zip(b).flat_map(|(a, b)| a.to_le_bytes().into_iter().zip(b.to_le_bytes()));
    products.fold(c as i32, |sum, (u, s)| sum.wrapping_add(i32::from(u) * i32::from(s as i8))) as u32
}
