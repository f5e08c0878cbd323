//! Damage: bits, blocks, lengths and counts; often with the checksums mended, so that it reaches what lies behind them.

use super::kinds::Kind;
use ninc_runtime::philox::Stream;
use ninc_runtime::store::{CHECKSUM, crc32};

/// Numbers at which something ends.
const EDGES: [u64; 25] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    15,
    16,
    127,
    128,
    255,
    256,
    257,
    0x7fff,
    0x8000,
    0x8001,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 33,
    u64::MAX,
];

/// Input `number` of a kind.
pub fn input(kind: &Kind, seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let name = crc32(kind.name.as_bytes());
    let mut random = Stream::new(u64::from(name), number as u32, (number >> 32) as u32);
    let mut below = |bound: usize| random.below(bound.max(1) as u32) as usize;
    let mut bytes = seeds[below(seeds.len())].clone();
    // One change most often: of many one is enough to be refused.
    let changes = [1, 1, 1, 2, 2, 3, 5, 9][below(8)];
    for _ in 0..changes {
        change(&mut bytes, seeds, &mut below);
    }
    if below(4) > 0 {
        (kind.mend)(&mut bytes);
    }
    bytes
}

/// A place: half of them where headers are.
fn place(bytes: &[u8], below: &mut dyn FnMut(usize) -> usize) -> usize {
    match below(2) {
        0 => below(bytes.len().min(64)),
        _ => below(bytes.len()),
    }
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], below: &mut dyn FnMut(usize) -> usize) {
    if bytes.is_empty() {
        return bytes.push(below(256) as u8);
    }
    let at = place(bytes, below);
    let some = 1 + below((bytes.len() - at).min(300));
    match below(12) {
        0 => bytes[at] ^= 1 << below(8),
        1 => bytes[at] = below(256) as u8,
        2 => bytes[at] = EDGES[below(14)] as u8,
        3..=5 => {
            // A length, a count, an offset: of any width, in either order.
            let width = [2, 4, 4, 8][below(4)];
            let edge = match below(6) {
                0 => (bytes.len() as u64).wrapping_add(below(9) as u64).wrapping_sub(4),
                1 => below(1 << 17) as u64,
                _ => EDGES[below(EDGES.len())],
            };
            let value = if below(2) == 0 {
                edge.to_le_bytes()[..width].to_vec()
            } else {
                edge.to_be_bytes()[8 - width..].to_vec()
            };
            let end = bytes.len().min(at + width);
            bytes[at..end].copy_from_slice(&value[..end - at]);
        }
        6 => bytes.truncate(at),
        7 => _ = bytes.drain(at..at + some),
        8 => {
            let block = bytes[at..at + some].to_vec();
            let times = 1 + below(20);
            let copies = block.repeat(times);
            bytes.splice(at..at, copies);
        }
        9 => {
            let other = &seeds[below(seeds.len())];
            let from = if other.len() > at && below(2) == 0 { at } else { below(other.len()) };
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from.min(other.len())..]);
        }
        10 => bytes[at..at + some].fill([0, 0xff, b'9', b'{'][below(4)]),
        _ => digits(bytes, at, below),
    }
}

/// Puts another number in the place of one that is written in digits.
fn digits(bytes: &mut Vec<u8>, at: usize, below: &mut dyn FnMut(usize) -> usize) {
    let Some(first) = bytes[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) else { return };
    let count = bytes[first..].iter().take_while(|b| b.is_ascii_digit()).count();
    let text = match below(4) {
        0 => "9".repeat(1 + below(40)),
        1 => below(100_000).to_string(),
        _ => EDGES[below(EDGES.len())].to_string(),
    };
    bytes.splice(first..first + count, text.into_bytes());
}

/// No checksums.
pub fn nothing(_: &mut [u8]) {}

/// Those of a PNG's chunks.
pub fn png(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(data) = bytes.get(at + 4..at + 8 + length) else { return };
        let sum = crc32(data).to_be_bytes();
        let Some(place) = bytes.get_mut(at + 8 + length..at + 12 + length) else { return };
        place.copy_from_slice(&sum);
        at += 12 + length;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
}

/// Those of a zip archive's members that are stored as they are.
pub fn zip(bytes: &mut [u8]) {
    let entries: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"PK\x01\x02")).collect();
    for entry in entries {
        let mend = |bytes: &mut [u8]| {
            let (size, head) = (word(bytes, entry + 20)?, word(bytes, entry + 42)?);
            let lengths = word(bytes, head + 26)?;
            let data = head + 30 + (lengths & 0xffff) + (lengths >> 16);
            let sum = crc32(bytes.get(data..data.checked_add(size)?)?).to_le_bytes();
            bytes.get_mut(entry + 16..entry + 20)?.copy_from_slice(&sum);
            bytes.get_mut(head + 14..head + 18)?.copy_from_slice(&sum);
            Some(())
        };
        mend(bytes);
    }
}

/// That of the header of a safetensors file of ours.
pub fn store(bytes: &mut [u8]) {
    let place = 8 + CHECKSUM.len()..8 + CHECKSUM.len() + 8;
    let Some(end) = word(bytes, 0).and_then(|length| length.checked_add(8)) else { return };
    if end > bytes.len() || place.end > end {
        return;
    }
    bytes[place.clone()].fill(b'0');
    let sum = format!("{:08x}", crc32(&bytes[..end]));
    bytes[place].copy_from_slice(sum.as_bytes());
}

/// Those of a tar archive's headers: the sum of their bytes, with spaces in its own place.
pub fn tar(bytes: &mut [u8]) {
    let (blocks, _) = bytes.as_chunks_mut::<512>();
    for block in blocks.iter_mut().filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
