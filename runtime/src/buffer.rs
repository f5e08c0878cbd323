//! Zeroed memory that starts at a multiple of 64 bytes: a cache line, and the widest vector.

use crate::{Error, Result};

const LINE: usize = 64;

#[derive(Default)]
pub struct Buffer {
    lines: Vec<[u8; LINE]>,
    /// Bytes in front of the first aligned one.
    skip: usize,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Result<Buffer> {
        let mut lines: Vec<[u8; LINE]> = Vec::new();
        let count = len.div_ceil(LINE) + 1;
        lines
            .try_reserve_exact(count)
            .map_err(|_| Error::new(format!("no memory for {len} bytes")).with_help("use a smaller batch"))?;
        advise(&mut lines);
        lines.resize(count, [0; LINE]);
        let skip = lines.as_ptr().addr().next_multiple_of(LINE) - lines.as_ptr().addr();
        Ok(Buffer { lines, skip, len })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn bytes(&self) -> &[u8] {
        &self.lines.as_flattened()[self.skip..][..self.len]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.lines.as_flattened_mut()[self.skip..][..self.len]
    }
}

/// Memory from which on large pages are worth having: two of them.
#[cfg(target_os = "linux")]
const LARGE: usize = 4 << 20;

/// Asks for large pages, before the memory is touched: a fault for each small one costs more than filling it with zeros.
#[cfg(target_os = "linux")]
fn advise(lines: &mut Vec<[u8; LINE]>) {
    const PAGE: usize = 64 << 10;
    let room = lines.spare_capacity_mut();
    let bytes = size_of_val(room);
    if bytes < LARGE {
        return;
    }
    let start = room.as_mut_ptr().addr();
    let skip = start.next_multiple_of(PAGE) - start;
    // SAFETY: the range lies in the vector's own memory. It is advice: the contents stay as they are, and a system that does
    // not know it says so, which changes nothing.
    #[allow(unsafe_code)]
    unsafe {
        libc::madvise(room.as_mut_ptr().byte_add(skip).cast(), bytes - skip, libc::MADV_HUGEPAGE);
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_lines: &mut Vec<[u8; LINE]>) {}

/// The numbers in bytes, each through `read`.
pub fn numbers<T>(bytes: &[u8], read: impl Fn([u8; 4]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks::<4>().0.iter().map(move |b| read(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zero() {
        for len in [0, 1, 63, 64, 1000] {
            let mut buffer = Buffer::zeroed(len).expect("small");
            assert_eq!(buffer.bytes_mut().as_ptr().addr() % 64, 0);
            assert_eq!(buffer.bytes(), vec![0; len]);
        }
        assert!(Buffer::zeroed(isize::MAX as usize - 200).is_err());
    }
}
