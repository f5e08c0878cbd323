//! Do files of pictures end where they should? Some decoders take what is there for the whole.

use image::ImageFormat;

/// Checks that a file has all the bytes that its own structure asks for, where its format lets that be seen.
pub fn check(format: ImageFormat, bytes: &[u8]) -> Result<(), &'static str> {
    let whole = match format {
        ImageFormat::WebP => webp(bytes),
        ImageFormat::Gif => gif(bytes).unwrap_or(false),
        ImageFormat::Qoi => bytes.ends_with(&QOI_END),
        ImageFormat::Tiff => tiff(bytes).unwrap_or(false),
        _ => true,
    };
    if whole { Ok(()) } else { Err("its end is missing") }
}

/// Tells whether a file's end is that of its format; `None` for formats that need a closer look.
pub fn usual(format: ImageFormat, start: &[u8], end: &[u8], length: u64) -> Option<bool> {
    match format {
        ImageFormat::Jpeg => Some(end.ends_with(&[0xff, 0xd9])),
        ImageFormat::Png => Some(end.ends_with(PNG_END)),
        ImageFormat::Gif => Some(end.ends_with(&[GIF_END])),
        ImageFormat::Qoi => Some(end.ends_with(&QOI_END)),
        ImageFormat::WebP => Some(riff(start).is_some_and(|size| size <= length)),
        _ => None,
    }
}

/// The last chunk of a PNG: no bytes of data, its name, its checksum.
const PNG_END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
const QOI_END: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
const GIF_END: u8 = 0x3b;

/// Returns the bytes of a RIFF file, as its header says.
fn riff(start: &[u8]) -> Option<u64> {
    Some(u64::from(u32::from_le_bytes(start.get(4..8)?.try_into().ok()?)) + 8)
}

/// All chunks of a WebP must lie within the file: decoders take memory for what a chunk says of itself.
fn webp(bytes: &[u8]) -> bool {
    let Some(end) = riff(bytes).filter(|&size| size <= bytes.len() as u64) else { return false };
    let mut at = 12;
    while at + 8 <= end {
        let Some(size) = bytes.get(at as usize + 4..).and_then(|rest| rest.first_chunk()) else { return false };
        at += 8 + u64::from(u32::from_le_bytes(*size)).next_multiple_of(2);
    }
    // The last byte may be one that fills up an odd length, which some writers leave out.
    at <= end + 1
}

/// Walks through a GIF's blocks to its last byte; `None` where it ends before.
fn gif(bytes: &[u8]) -> Option<bool> {
    // A table of colours has 3·2^(n+1) bytes.
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3usize << ((flags & 7) + 1) };
    let mut at = 13 + table(*bytes.get(10)?);
    loop {
        match bytes.get(at)? {
            0x21 => at += 2,
            0x2c => at += 11 + table(*bytes.get(at + 9)?),
            byte => return Some(*byte == GIF_END),
        }
        // Data in blocks that begin with their length; an empty one is the last.
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
    }
}

/// No tag of a TIFF's first picture may have more values than fit into the file; `None` where its table ends early.
/// Decoders take memory for as many as a tag says.
fn tiff(bytes: &[u8]) -> Option<bool> {
    let little = bytes.first() == Some(&b'I');
    let number = |at: usize, width: usize| {
        let field = bytes.get(at..at.checked_add(width)?)?.iter();
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        Some(if little { field.rev().fold(0, add) } else { field.fold(0, add) })
    };
    // BigTIFF has wider fields: that of the table's place, of the number of entries, and of values in an entry.
    let (place, wide) = if number(2, 2)? == 43 { (8, 8) } else { (4, 4) };
    let table = usize::try_from(number(place, wide)?).ok()?;
    let head = if wide == 8 { 8 } else { 2 };
    for entry in 0..number(table, head)?.min(bytes.len() as u64) as usize {
        let at = table + head + entry * (4 + 2 * wide);
        let size = match number(at + 2, 2)? {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 1,
        };
        if number(at + 4, wide)? > bytes.len() as u64 / size {
            return Some(false);
        }
    }
    Some(true)
}
