//! The entropy-coded data of a JPEG's scan, followed code by code.

use super::jpeg::{Frame, Scan};

/// Length in bits of the longest code that one look into a table finds.
const QUICK: u32 = 9;

/// A table of codes.
pub struct Huffman {
    /// Length and symbol by the next [`QUICK`] bits; a length of 0 stands for longer codes.
    quick: Vec<(u8, u8)>,
    /// By length: the first code beyond those of this length, left-aligned in 16 bits, and what leads from a code to
    /// its symbol.
    longer: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// Reads counts by length and symbols; gives what follows them.
    pub fn read(bytes: &[u8]) -> Option<(Huffman, &[u8])> {
        let (counts, rest) = bytes.split_at_checked(16)?;
        let total: usize = counts.iter().map(|&c| usize::from(c)).sum();
        let (symbols, rest) = rest.split_at_checked(total)?;
        let mut table = Huffman { quick: vec![(0, 0); 1 << QUICK], longer: [(0, 0); 17], symbols: symbols.to_vec() };
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
}

/// What a step of a scan gives; the error: the scan's data ended, or hold a code that its table does not have.
type Found<T> = Result<T, &'static str>;

const SHORT: &str = "its data end";
const BAD: &str = "its data are damaged";

/// The bits of a scan up to the next marker.
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// Starts at the byte `at`.
    pub fn new(bytes: &'a [u8], at: usize) -> Bits<'a> {
        Bits { bytes, at, buffer: 0, count: 0 }
    }

    /// Takes more bytes in, until there are at least 32 bits or the next marker comes.
    fn fill(&mut self) {
        while self.count <= 32 {
            if let Some(four) = self.bytes.get(self.at..self.at + 4).filter(|four| !four.contains(&0xff)) {
                let word = four.iter().fold(0, |word, &b| word << 8 | u64::from(b));
                self.buffer = self.buffer << 32 | word;
                (self.count, self.at) = (self.count + 32, self.at + 4);
                continue;
            }
            let Some(&byte) = self.bytes.get(self.at) else { return };
            let next = self.bytes.get(self.at + 1);
            if byte == 0xff && next != Some(&0) {
                return;
            }
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
            self.at += if byte == 0xff { 2 } else { 1 };
        }
    }

    /// Takes the next bits, at most 16.
    fn take(&mut self, count: u32) -> Found<u32> {
        if self.count < count {
            self.fill();
        }
        self.count = self.count.checked_sub(count).ok_or(SHORT)?;
        Ok((self.buffer >> self.count) as u32 & ((1 << count) - 1))
    }

    /// Passes over any number of bits.
    fn skip(&mut self, mut count: u32) -> Found<()> {
        while count > 0 {
            let some = count.min(16);
            self.take(some)?;
            count -= some;
        }
        Ok(())
    }

    fn symbol(&mut self, table: &Huffman) -> Found<u8> {
        if self.count < 16 {
            self.fill();
        }
        // Behind the end come ones, which begin no code.
        let next = match self.count {
            count @ 16.. => (self.buffer >> (count - 16)) as u32 & 0xffff,
            count => ((self.buffer as u32 & ((1 << count) - 1)) << (16 - count)) | ((1 << (16 - count)) - 1),
        };
        let (mut length, mut symbol) = table.quick[(next >> (16 - QUICK)) as usize];
        if length == 0 {
            let found = (QUICK + 1..=16).find(|&l| next < table.longer[l as usize].0);
            let long = found.ok_or(if self.count < 16 { SHORT } else { BAD })?;
            let index = (next >> (16 - long)) as i32 + table.longer[long as usize].1;
            symbol = *table.symbols.get(index as usize).ok_or(BAD)?;
            length = long as u8;
        }
        self.count = self.count.checked_sub(length.into()).ok_or(SHORT)?;
        Ok(symbol)
    }

    /// Returns the place where a marker may follow: behind all that was read, or before it.
    pub fn behind(&self) -> usize {
        self.at
    }

    /// Goes on behind the restart marker of this number.
    fn restart(&mut self, number: usize) -> Found<()> {
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

/// What the codes of a scan's blocks mean.
#[derive(Clone, Copy)]
enum Coding<'a> {
    Sequential { dc: &'a Huffman, ac: &'a Huffman },
    DcFirst { dc: &'a Huffman },
    DcAgain,
    AcFirst { ac: &'a Huffman, band: [usize; 2] },
    AcAgain { ac: &'a Huffman, band: [usize; 2] },
}

type Tables<'a> = (&'a [Option<Huffman>; 4], &'a [Option<Huffman>; 4]);

/// Follows a scan. An error says what is wrong and which part of the scan was right.
pub(super) fn walk(
    frame: &mut Frame,
    scan: &Scan,
    tables: Tables,
    restart: usize,
    bits: &mut Bits,
) -> Result<(), (&'static str, f64)> {
    let codings: Vec<Coding> = scan
        .parts
        .iter()
        .map(|&part| coding(frame.progressive, scan, tables, part))
        .collect::<Found<_>>()
        .map_err(|e| (e, 0.0))?;
    // The blocks of one component lie row by row; those of several come by MCUs.
    let alone = (scan.parts.len() == 1).then(|| scan.parts[0].0);
    let [wide, high] = alone.map_or(frame.mcus, |c| frame.components[c].blocks);
    let mut run = 0;
    for mcu in 0..wide * high {
        let fail = |what| (what, mcu as f64 / (wide * high) as f64);
        if restart > 0 && mcu > 0 && mcu % restart == 0 {
            bits.restart(mcu / restart - 1).map_err(fail)?;
            run = 0;
        }
        let (x, y) = (mcu % wide, mcu / wide);
        for (&(place, ..), &coding) in scan.parts.iter().zip(&codings) {
            let component = &mut frame.components[place];
            let [sx, sy] = if alone.is_some() { [1, 1] } else { component.sampling };
            for within in 0..sx * sy {
                let index = (y * sy + within / sx) * component.padded[0] + x * sx + within % sx;
                let mut none = 0;
                let known = component.known.get_mut(index).unwrap_or(&mut none);
                block(bits, coding, known, &mut run).map_err(fail)?;
            }
        }
    }
    Ok(())
}

fn coding<'a>(
    progressive: bool,
    scan: &Scan,
    (dc, ac): Tables<'a>,
    (_, dc_number, ac_number): (usize, usize, usize),
) -> Found<Coding<'a>> {
    let find = |tables: &'a [Option<Huffman>; 4], number: usize| {
        tables.get(number).and_then(Option::as_ref).ok_or("a Huffman table is missing")
    };
    let (band, first) = (scan.band, scan.bits[0] == 0);
    Ok(match (progressive, band[0] == 0, first) {
        (false, ..) => Coding::Sequential { dc: find(dc, dc_number)?, ac: find(ac, ac_number)? },
        (true, true, true) => Coding::DcFirst { dc: find(dc, dc_number)? },
        (true, true, false) => Coding::DcAgain,
        (true, false, true) => Coding::AcFirst { ac: find(ac, ac_number)?, band },
        (true, false, false) => Coding::AcAgain { ac: find(ac, ac_number)?, band },
    })
}

/// Follows one block. `known` are its coefficients that are not 0, `run` the blocks that an end of band still covers.
fn block(bits: &mut Bits, coding: Coding, known: &mut u64, run: &mut u32) -> Found<()> {
    match coding {
        Coding::Sequential { dc, ac } => {
            difference(bits, dc)?;
            let mut k = 1;
            while k < 64 {
                let symbol = bits.symbol(ac)?;
                match (symbol >> 4, symbol & 15) {
                    (15, 0) => k += 16,
                    (_, 0) => break,
                    (zeros, size) => {
                        k += usize::from(zeros) + 1;
                        bits.take(size.into())?;
                    }
                }
            }
            if k > 64 { Err(BAD) } else { Ok(()) }
        }
        Coding::DcFirst { dc } => difference(bits, dc),
        Coding::DcAgain => bits.skip(1),
        Coding::AcFirst { ac, band } => ac_first(bits, ac, band, known, run),
        Coding::AcAgain { ac, band } => ac_again(bits, ac, band, known, run),
    }
}

fn difference(bits: &mut Bits, dc: &Huffman) -> Found<()> {
    let size = bits.symbol(dc)?;
    if size > 16 { Err(BAD) } else { bits.skip(size.into()) }
}

fn ac_first(bits: &mut Bits, ac: &Huffman, [first, last]: [usize; 2], known: &mut u64, run: &mut u32) -> Found<()> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut k = first;
    while k <= last {
        let symbol = bits.symbol(ac)?;
        match (symbol >> 4, symbol & 15) {
            (15, 0) => k += 16,
            (more, 0) => {
                *run = (1 << more) - 1 + bits.take(more.into())?;
                return Ok(());
            }
            (zeros, size) => {
                k += usize::from(zeros);
                if k > last {
                    return Err(BAD);
                }
                bits.take(size.into())?;
                *known |= 1 << k;
                k += 1;
            }
        }
    }
    Ok(())
}

/// Follows a block of a scan that gives each coefficient that is not 0 one more bit, and new ones their first.
fn ac_again(bits: &mut Bits, ac: &Huffman, [first, last]: [usize; 2], known: &mut u64, run: &mut u32) -> Found<()> {
    let mut k = first;
    while *run == 0 && k <= last {
        let symbol = bits.symbol(ac)?;
        let (mut zeros, size) = (symbol >> 4, symbol & 15);
        match size {
            0 if zeros < 15 => {
                *run = (1 << zeros) + bits.take(zeros.into())?;
                break;
            }
            0 => {}
            1 => bits.skip(1)?,
            _ => return Err(BAD),
        }
        while k <= last {
            if *known >> k & 1 == 1 {
                bits.skip(1)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            k += 1;
        }
        if size == 1 {
            if k > last {
                return Err(BAD);
            }
            *known |= 1 << k;
        }
        k += 1;
    }
    if *run > 0 {
        // What is left of the block gets its bits alone.
        let band = if k > last { 0 } else { u64::MAX << k & u64::MAX >> (63 - last) };
        bits.skip((*known & band).count_ones())?;
        *run -= 1;
    }
    Ok(())
}
