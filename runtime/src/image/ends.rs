//! Do files of pictures end where they should? Some decoders take what is there for the whole.

use image::ImageFormat;

/// Checks that a file has all the bytes that its own structure asks for, where its format lets that be seen.
pub fn check(format: ImageFormat, bytes: &[u8]) -> Result<(), &'static str> {
    let whole = match format {
        ImageFormat::WebP => webp(bytes),
        ImageFormat::Gif => gif(bytes).unwrap_or(false),
        ImageFormat::Qoi => bytes.ends_with(&QOI_END),
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

fn webp(bytes: &[u8]) -> bool {
    riff(bytes).is_some_and(|size| size <= bytes.len() as u64)
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
