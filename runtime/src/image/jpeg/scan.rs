//! The entropy-coded data of a JPEG's scan, followed code by code.

use super::bits::{BAD, Bits, Found, Huffman};
use super::strides::{self, Strides};
use super::{Frame, Scan};

/// What the codes of a scan's blocks mean.
#[derive(Clone, Copy)]
enum Coding<'a> {
    Sequential { dc: &'a Huffman, ac: &'a Huffman },
    ByStrides { dc: (&'a Huffman, &'a Strides), ac: (&'a Huffman, &'a Strides) },
    DcFirst { dc: &'a Huffman },
    DcAgain,
    AcFirst { ac: &'a Huffman, band: [usize; 2] },
    AcAgain { ac: &'a Huffman, band: [usize; 2] },
}

type Tables<'a> = (&'a [Option<Huffman>; 4], &'a [Option<Huffman>; 4]);

/// Follows a scan with a restart marker every `restart` MCUs, if any; by strides, which find the same, if it has at
/// least `many` blocks. An error says what is wrong and which part of the scan was right.
pub(super) fn walk(
    frame: &mut Frame,
    scan: &Scan,
    tables: Tables,
    [restart, many]: [usize; 2],
    bits: &mut Bits,
) -> Result<(), (&'static str, f64)> {
    // The blocks of one component lie row by row; those of several come by MCUs.
    let alone = (scan.parts.len() == 1).then(|| scan.parts[0].0);
    let [wide, high] = alone.map_or(frame.mcus, |c| frame.components[c].blocks);
    let many = wide * high * scan.parts.len() >= many;
    let coding = |&part| coding(frame.progressive, scan, tables, part, many);
    let codings: Vec<Coding> = scan.parts.iter().map(coding).collect::<Found<_>>().map_err(|e| (e, 0.0))?;
    let mut run = 0;
    for (y, x) in (0..high).flat_map(|y| (0..wide).map(move |x| (y, x))) {
        let mcu = y * wide + x;
        let fail = |what| (what, mcu as f64 / (wide * high) as f64);
        if restart > 0 && mcu > 0 && mcu % restart == 0 {
            bits.restart(mcu / restart - 1).map_err(fail)?;
            run = 0;
        }
        for (&(place, ..), &coding) in scan.parts.iter().zip(&codings) {
            let component = &mut frame.components[place];
            let [sx, sy] = if alone.is_some() { [1, 1] } else { component.sampling };
            for (dy, dx) in (0..sy).flat_map(|dy| (0..sx).map(move |dx| (dy, dx))) {
                let index = (y * sy + dy) * component.padded[0] + x * sx + dx;
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
    many: bool,
) -> Found<Coding<'a>> {
    let find = |tables: &'a [Option<Huffman>; 4], number: usize| {
        tables.get(number).and_then(Option::as_ref).ok_or("a Huffman table is missing")
    };
    let (band, first) = (scan.band, scan.bits[0] == 0);
    Ok(match (progressive, band[0] == 0, first) {
        (false, ..) => {
            let (dc, ac) = (find(dc, dc_number)?, find(ac, ac_number)?);
            let by_strides =
                || Coding::ByStrides { dc: (dc, dc.strides(Strides::dc)), ac: (ac, ac.strides(Strides::ac)) };
            if many { by_strides() } else { Coding::Sequential { dc, ac } }
        }
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
            coefficients(bits, ac, 1)
        }
        Coding::ByStrides { dc, ac } => strides::block(bits, dc, ac),
        Coding::DcFirst { dc } => difference(bits, dc),
        Coding::DcAgain => bits.skip(1),
        Coding::AcFirst { ac, band } => ac_first(bits, ac, band, known, run),
        Coding::AcAgain { ac, band } => ac_again(bits, ac, band, known, run),
    }
}

/// Follows a sequential block from coefficient `k` on.
pub(super) fn coefficients(bits: &mut Bits, ac: &Huffman, mut k: usize) -> Found<()> {
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

/// Follows the difference of a block's first coefficient from that of the block before.
pub(super) fn difference(bits: &mut Bits, dc: &Huffman) -> Found<()> {
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
