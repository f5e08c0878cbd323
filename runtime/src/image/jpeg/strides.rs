//! Sequential scans followed by strides: one look at the bits passes over whole coefficients.

use super::bits::{Bits, Found, Huffman};

/// Bits that index a table of strides.
const LOOK: u32 = 12;
/// The index of a block's last coefficient.
const LAST: u16 = 63;
/// Added to an advance where the block ends.
const ENDS: u16 = 128;
/// The bits do not hold a whole code: the Huffman table says what comes.
const NONE: u16 = 512;

/// Bits that are there after [`Bits::fill`], but at the end of the data.
const FULL: u32 = 56;

/// What a scan's next [`LOOK`] bits pass over. An entry: the number of bits, at most 27, in the lowest six, and above
/// them the coefficients that they advance by, with [`ENDS`] or [`NONE`].
pub struct Strides(Box<[u16; 1 << LOOK]>);

impl Strides {
    /// Makes strides over a difference of the first coefficient.
    pub fn dc(table: &Huffman) -> Strides {
        Strides(Box::new(std::array::from_fn(|bits| match table.find(aligned(bits as u32, 0)) {
            Some((length, size @ 0..=15)) if length <= LOOK => length as u16 + u16::from(size),
            _ => NONE << 6,
        })))
    }

    /// Makes strides over as many of the other coefficients as the bits hold codes of.
    pub fn ac(table: &Huffman) -> Strides {
        Strides(Box::new(std::array::from_fn(|bits| {
            let (mut passed, mut advance) = (0, 0);
            while passed < LOOK {
                let Some((length, symbol)) = table.find(aligned(bits as u32, passed)) else { break };
                let (zeros, size) = (u16::from(symbol >> 4), u32::from(symbol & 15));
                if passed + length > LOOK || advance + zeros >= LAST {
                    break;
                }
                passed += length + size;
                if size == 0 && zeros < 15 {
                    advance += ENDS;
                    break;
                }
                advance += zeros + 1;
            }
            if passed == 0 { NONE << 6 } else { advance << 6 | passed as u16 }
        })))
    }

    #[inline]
    fn next(&self, bits: &Bits) -> u16 {
        self.0[(bits.buffer >> (64 - LOOK)) as usize]
    }
}

/// Returns bits of a look behind the first `passed` as the highest of 16, with zeros behind them.
fn aligned(bits: u32, passed: u32) -> u32 {
    bits << (16 - LOOK + passed) & 0xffff
}

/// Follows one block. The tables themselves say what strides do not: long codes, the end of the data, and errors.
pub fn block(
    bits: &mut Bits,
    (dc, dc_strides): (&Huffman, &Strides),
    (ac, ac_strides): (&Huffman, &Strides),
) -> Found<()> {
    bits.fill();
    match dc_strides.next(bits) {
        entry if bits.count >= FULL && entry >> 6 != NONE => bits.drop((entry & 63).into()),
        _ => super::scan::difference(bits, dc)?,
    }
    let mut k = 1;
    loop {
        bits.fill();
        if bits.count < FULL {
            return super::scan::coefficients(bits, ac, k.into());
        }
        // Two strides take at most 54 bits.
        for _ in 0..2 {
            let entry = ac_strides.next(bits);
            let next = k + (entry >> 6);
            if next & !LAST == ENDS {
                bits.drop((entry & 63).into());
                return Ok(());
            }
            if next > LAST {
                return super::scan::coefficients(bits, ac, k.into());
            }
            bits.drop((entry & 63).into());
            k = next;
        }
    }
}
