//! Is a JPEG whole? Decoders show what is there and fill the rest with grey. This walks through all scans of a file
//! (baseline, extended sequential and progressive, Huffman coded) without computing a pixel: each must hold a valid
//! code for every block that the frame has, and the file must end with its end marker.

mod bits;
mod scan;
mod strides;

use bits::{Bits, Huffman};

/// What a scan says of itself in its header.
pub(super) struct Scan {
    /// Its components' places in the frame, with the numbers of their DC and AC tables.
    pub parts: Vec<(usize, usize, usize)>,
    /// First and last coefficient.
    pub band: [usize; 2],
    /// Bits below those that former scans gave (0 in the first one), and below those that this one gives.
    pub bits: [u8; 2],
}

/// A component of the frame.
pub(super) struct Component {
    id: u8,
    /// Blocks of an MCU, horizontal and vertical.
    pub sampling: [usize; 2],
    /// Blocks of the component alone, across and down.
    pub blocks: [usize; 2],
    /// Blocks across and down, as whole MCUs have them.
    pub padded: [usize; 2],
    /// Which coefficients of each block are known not to be 0; progressive files only.
    pub known: Vec<u64>,
    /// The lowest bit that is there of each coefficient; none before its first scan.
    bits: [Option<u8>; 64],
}

/// The frame's header.
pub(super) struct Frame {
    pub progressive: bool,
    pub mcus: [usize; 2],
    pub components: Vec<Component>,
}

/// A file under examination.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart: usize,
    /// Sequential scans of at least this number of blocks are followed by strides.
    many: usize,
}

/// Tables of strides cost as much as they save on about a thousand blocks.
const MANY: usize = 1 << 12;
/// More scans than any encoder writes: beyond that a small file could keep a reader busy for minutes.
const SCANS: usize = 100;
/// Blocks of 64 coefficients at most.
const BLOCKS: usize = 1 << 24;

/// Checks a whole file; an error says why it is not a whole JPEG, in words that follow on its name.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    check_by(bytes, MANY)
}

fn check_by(bytes: &[u8], many: usize) -> Result<(), String> {
    let (dc, ac) = ([const { None }; 4], [const { None }; 4]);
    let mut walk = Walk { bytes, at: 2, frame: None, dc, ac, restart: 0, many };
    let mut scans = 0;
    loop {
        match walk.marker()? {
            0xd9 => break,
            0xda => {
                scans += 1;
                if scans > SCANS {
                    return Err(format!("it has more than {SCANS} scans"));
                }
                walk.scan(scans)?;
            }
            0xc0..=0xc2 => walk.frame()?,
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err("it is a lossless or arithmetically coded JPEG, which is not supported".into());
            }
            0xc4 => walk.tables()?,
            0xdd => walk.restart = walk.segment()?.get(..2).map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1])),
            // Without a length.
            0xd0..=0xd8 | 0x01 => {}
            _ => _ = walk.segment()?,
        }
    }
    let frame = walk.frame.ok_or("it holds no picture")?;
    let whole = |c: &Component| c.bits[0] == Some(0) && c.bits[1..].iter().all(|b| b.unwrap_or(0) == 0);
    if frame.components.iter().all(whole) { Ok(()) } else { Err("scans of it are missing".into()) }
}

impl<'a> Walk<'a> {
    /// Reads up to the next marker. Other bytes before it are passed over, as all decoders do.
    fn marker(&mut self) -> Result<u8, String> {
        while let Some(&[first, second]) = self.bytes.get(self.at..self.at + 2) {
            self.at += 1;
            if first == 0xff && !matches!(second, 0 | 0xff) {
                self.at += 1;
                return Ok(second);
            }
        }
        Err("its end is missing".into())
    }

    /// Returns the contents of a segment, which a length precedes.
    fn segment(&mut self) -> Result<&'a [u8], String> {
        let cut = || String::from("it ends within a header");
        let length = self.bytes.get(self.at..self.at + 2).ok_or_else(cut)?;
        let length = usize::from(length[0]) << 8 | usize::from(length[1]);
        let inside = self.bytes.get(self.at + 2..(self.at + length).max(self.at + 2)).ok_or_else(cut)?;
        self.at += length.max(2);
        Ok(inside)
    }

    fn frame(&mut self) -> Result<(), String> {
        let progressive = self.bytes[self.at - 1] == 0xc2;
        let damaged = || String::from("its frame header is damaged");
        let header = self.segment()?;
        let &[_, h1, h0, w1, w0, count, ..] = header else { return Err(damaged()) };
        let size = [usize::from(w1) << 8 | usize::from(w0), usize::from(h1) << 8 | usize::from(h0)];
        let count = usize::from(count);
        if self.frame.is_some() || count == 0 || count > 4 || size.contains(&0) || header.len() < 6 + 3 * count {
            return Err(damaged());
        }
        let sampling = |c: &[u8]| [usize::from(c[1] >> 4), usize::from(c[1] & 15)];
        let parts = || header[6..6 + 3 * count].chunks_exact(3);
        if parts().flat_map(sampling).any(|s| !(1..=4).contains(&s)) {
            return Err(damaged());
        }
        let most = [0, 1].map(|d| parts().map(|c| sampling(c)[d]).max().unwrap_or(1));
        let mcus = [0, 1].map(|d| size[d].div_ceil(8 * most[d]));
        let component = |c: &[u8]| {
            let sampling = sampling(c);
            let blocks = [0, 1].map(|d| (size[d] * sampling[d]).div_ceil(most[d]).div_ceil(8));
            let padded = [0, 1].map(|d| mcus[d] * sampling[d]);
            Component { id: c[0], sampling, blocks, padded, known: vec![], bits: [None; 64] }
        };
        let mut components: Vec<Component> = parts().map(component).collect();
        if components.iter().map(|c| c.padded[0] * c.padded[1]).sum::<usize>() > BLOCKS {
            return Err("it is too large".into());
        }
        for c in components.iter_mut().filter(|_| progressive) {
            c.known = vec![0; c.padded[0] * c.padded[1]];
        }
        self.frame = Some(Frame { progressive, mcus, components });
        Ok(())
    }

    fn tables(&mut self) -> Result<(), String> {
        let mut rest = self.segment()?;
        while let Some((&head, behind)) = rest.split_first() {
            let (table, after) = Huffman::read(behind).ok_or("its Huffman tables are damaged")?;
            let kind = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *kind.get_mut(usize::from(head & 15)).ok_or("its Huffman tables are damaged")? = Some(table);
            rest = after;
        }
        Ok(())
    }

    fn scan(&mut self, number: usize) -> Result<(), String> {
        let damaged = || format!("the header of scan {number} is damaged");
        let header = self.segment()?;
        let frame = self.frame.as_mut().ok_or_else(damaged)?;
        let count = usize::from(*header.first().ok_or_else(damaged)?);
        let Some(&[first, last, bits]) = header.get(1 + 2 * count..4 + 2 * count) else { return Err(damaged()) };
        let mut parts = vec![];
        for part in header[1..1 + 2 * count].chunks_exact(2) {
            let place = frame.components.iter().position(|c| c.id == part[0]).ok_or_else(damaged)?;
            parts.push((place, usize::from(part[1] >> 4), usize::from(part[1] & 15)));
        }
        // Sequential scans hold all coefficients, whatever their header says.
        let scan = match frame.progressive {
            true => Scan { parts, band: [first.into(), last.into()], bits: [bits >> 4, bits & 15] },
            false => Scan { parts, band: [0, 63], bits: [0, 0] },
        };
        let [first, last] = scan.band;
        let alone = scan.parts.len() == 1;
        if scan.parts.is_empty() || first > last || last > 63 || (frame.progressive && first == 0 && last > 0) {
            return Err(damaged());
        }
        if !alone && first > 0 {
            return Err(damaged());
        }
        let mut bits = Bits::new(self.bytes, self.at);
        let tables = (&self.dc, &self.ac);
        scan::walk(frame, &scan, tables, [self.restart, self.many], &mut bits)
            .map_err(|(what, part)| format!("{what} {}", in_scan(part, number)))?;
        self.at = bits.behind();
        for &(place, ..) in &scan.parts {
            frame.components[place].bits[first..=last].fill(Some(scan.bits[1]));
        }
        Ok(())
    }
}

/// Where in a scan its data stop being right, as far as a share in whole percent says it.
fn in_scan(part: f64, number: usize) -> String {
    match (part * 100.0).round() {
        ..1.0 => format!("at the start of scan {number}"),
        100.0.. => format!("at the end of scan {number}"),
        percent => format!("after {percent} % of scan {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_by, in_scan};
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder};
    use std::collections::BTreeSet;

    /// Encodes noise of several scales; of high quality, so that codes of all lengths come.
    fn noise(color: ExtendedColorType, quality: u8) -> Vec<u8> {
        let byte = |i: u32| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8 / [1, 2, 8, 64][i as usize / 1000 % 4];
        let pixels: Vec<u8> = (0..96 * 80 * u32::from(color.bits_per_pixel()) / 8).map(byte).collect();
        let mut bytes = vec![];
        JpegEncoder::new_with_quality(&mut bytes, quality).write_image(&pixels, 96, 80, color).expect("an encoder");
        bytes
    }

    #[test]
    fn strides_find_what_single_codes_find() {
        let mut said = BTreeSet::new();
        for (color, quality) in
            [(ExtendedColorType::Rgb8, 80), (ExtendedColorType::Rgb8, 100), (ExtendedColorType::L8, 95)]
        {
            let whole = noise(color, quality);
            assert_eq!(check_by(&whole, 0), Ok(()));
            let step = 1 + whole.len() / 50;
            for at in (2..whole.len()).step_by(step) {
                let changed = |to: &[u8]| [&whole[..at], to, &whole[at + 1..]].concat();
                let cut = [&whole[..at], &[0xff, 0xd9]].concat();
                for damaged in [cut, changed(&[]), changed(&[!whole[at]]), changed(&[0xff, 0]), changed(&[0; 20])] {
                    let found = check_by(&damaged, 0);
                    assert_eq!(found, check_by(&damaged, usize::MAX), "{color:?} {quality} at {at}");
                    said.extend(found.err());
                }
            }
        }
        assert!(said.len() > 60, "{said:?}");
    }

    #[test]
    fn a_share_is_said_where_it_says_something() {
        let said = [0.0, 0.004, 0.005, 0.5, 0.994, 0.996].map(|part| in_scan(part, 2));
        let percent = |n| format!("after {n} % of scan 2");
        let (start, end) = ("at the start of scan 2".to_string(), "at the end of scan 2".to_string());
        assert_eq!(said, [start.clone(), start, percent(1), percent(50), percent(99), end]);
    }
}
