//! The bits of a JPEG's entropy-coded data, and its tables of codes.

use super::strides::Strides;
use std::cell::OnceCell;

/// Length in bits of the longest code that one look into a table finds.
const QUICK: u32 = 9;

/// A table of codes.
pub struct Huffman {
    /// Length and symbol by the next [`QUICK`] bits; a length of 0 stands for longer codes.
    quick: Vec<(u8, u8)>,
    /// By length: the first code beyond those of this length, left-aligned in 16 bits, and what is added to a
    /// code to get the index of its symbol.
    longer: [(u32, i32); 17],
    symbols: Vec<u8>,
    strides: OnceCell<Strides>,
}

impl Huffman {
    /// Reads counts by length and symbols; gives what follows them.
    pub fn read(bytes: &[u8]) -> Option<(Huffman, &[u8])> {
        let (counts, rest) = bytes.split_at_checked(16)?;
        let total: usize = counts.iter().map(|&c| usize::from(c)).sum();
        let (symbols, rest) = rest.split_at_checked(total)?;
        let mut table = Huffman {
            quick: vec![(0, 0); 1 << QUICK],
            longer: [(0, 0); 17],
            symbols: symbols.to_vec(),
            strides: OnceCell::new(),
        };
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16u32 {
            table.longer[length as usize].1 = index as i32 - code as i32;
            for _ in 0..counts[length as usize - 1] {
                if code >= 1 << length {
                    return None;
                }
                if length <= QUICK {
                    let first = (code as usize) << (QUICK - length);
                    table.quick[first..first + (1 << (QUICK - length))].fill((length as u8, symbols[index]));
                }
                (code, index) = (code + 1, index + 1);
            }
            table.longer[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Some((table, rest))
    }

    /// Returns the table's strides, which `make` makes once.
    pub fn strides(&self, make: impl FnOnce(&Huffman) -> Strides) -> &Strides {
        self.strides.get_or_init(|| make(self))
    }

    /// Returns the length of the code that 16 bits begin with, and its symbol.
    #[inline]
    pub fn find(&self, next: u32) -> Option<(u32, u8)> {
        let (length, symbol) = self.quick[(next >> (16 - QUICK)) as usize];
        if length > 0 {
            return Some((length.into(), symbol));
        }
        let long = (QUICK + 1..=16).find(|&l| next < self.longer[l as usize].0)?;
        let index = (next >> (16 - long)) as i32 + self.longer[long as usize].1;
        Some((long, *self.symbols.get(index as usize)?))
    }
}

/// What a step of a scan gives; the error: the scan's data ended, or hold a code that its table does not have.
pub type Found<T> = Result<T, &'static str>;

pub const SHORT: &str = "its data end";
pub const BAD: &str = "its data are damaged";

/// The bits of a scan up to the next marker.
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next `count` bits, from the highest down. Those below may be bits that follow already, or not.
    pub buffer: u64,
    pub count: u32,
}

impl<'a> Bits<'a> {
    /// Starts at the byte `at`.
    pub fn new(bytes: &'a [u8], at: usize) -> Bits<'a> {
        Bits { bytes, at, buffer: 0, count: 0 }
    }

    /// Takes more bytes in, until there are at least 56 bits or the next marker comes.
    #[inline]
    pub fn fill(&mut self) {
        if let Some(&eight) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let word = u64::from_be_bytes(eight);
            // Is none of these bytes 0xff?
            if (!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 == 0 {
                self.buffer |= word >> self.count;
                self.at += (63 - self.count as usize) / 8;
                self.count |= 56;
                return;
            }
        }
        self.fill_by_bytes();
    }

    #[inline(never)]
    fn fill_by_bytes(&mut self) {
        while self.count < 56 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            if byte == 0xff && self.bytes.get(self.at + 1) != Some(&0) {
                return;
            }
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
            self.at += if byte == 0xff { 2 } else { 1 };
        }
    }

    /// Passes over bits, at most 63, that are known to be there.
    #[inline]
    pub fn drop(&mut self, count: u32) {
        self.count -= count;
        self.buffer <<= count;
    }

    /// Passes over bits, at most 63, if they are there.
    fn pass(&mut self, count: u32) -> Found<()> {
        if self.count < count {
            return Err(SHORT);
        }
        self.drop(count);
        Ok(())
    }

    /// Takes the next bits, at most 16.
    pub fn take(&mut self, count: u32) -> Found<u32> {
        if self.count < count {
            self.fill();
        }
        let value = (self.buffer >> 48) as u32 >> (16 - count);
        self.pass(count)?;
        Ok(value)
    }

    /// Passes over any number of bits.
    pub fn skip(&mut self, mut count: u32) -> Found<()> {
        while count > 0 {
            let some = count.min(16);
            self.take(some)?;
            count -= some;
        }
        Ok(())
    }

    pub fn symbol(&mut self, table: &Huffman) -> Found<u8> {
        if self.count < 16 {
            self.fill();
        }
        // Behind the end come ones, which begin no code.
        let ones = if self.count < 16 { 0xffff >> self.count } else { 0 };
        let found = table.find((self.buffer >> 48) as u32 | ones);
        let (length, symbol) = found.ok_or(if self.count < 16 { SHORT } else { BAD })?;
        self.pass(length)?;
        Ok(symbol)
    }

    /// Returns the place where a marker may follow: behind all that was read, or before it.
    pub fn behind(&self) -> usize {
        self.at
    }

    /// Goes on behind the restart marker of this number.
    pub fn restart(&mut self, number: usize) -> Found<()> {
        (self.buffer, self.count) = (0, 0);
        while let Some(&[first, second]) = self.bytes.get(self.at..self.at + 2) {
            if first == 0xff && !matches!(second, 0 | 0xff) {
                let expected = usize::from(second) == 0xd0 + number % 8;
                self.at += if expected { 2 } else { 0 };
                return if expected { Ok(()) } else { Err(SHORT) };
            }
            self.at += 1;
        }
        Err(SHORT)
    }
}
