//! Zeroed memory that starts at a multiple of 64 bytes: a cache line, and the widest vector.

use crate::{Error, Result};
use std::alloc::{Layout, alloc_zeroed};

const LINE: usize = 64;
/// Size of a large page on most processors, which have them besides their usual ones.
const LARGE_PAGE: usize = 2 << 20;

/// Bytes that start at an address which suits vectors, shared by threads through views that do not overlap.
#[derive(Default)]
pub struct Buffer {
    lines: Vec<[u8; LINE]>,
    /// Bytes in front of the first aligned one.
    skip: usize,
    len: usize,
}

impl Buffer {
    /// Allocates `len` zeros. Pages that nobody touches take no memory.
    pub fn zeroed(len: usize) -> Result<Buffer> {
        let none = || Error::new(format!("no memory for {len} bytes")).with_help("use a smaller batch");
        // A fault for each small page costs more than filling it with zeros.
        let large = len >= 2 * LARGE_PAGE;
        let (align, slack) = if large { (LARGE_PAGE, 2 * LARGE_PAGE) } else { (LINE, LINE) };
        let mut lines = zeros((len + slack).div_ceil(LINE)).ok_or_else(none)?;
        let start = lines.as_ptr().addr();
        let skip = start.next_multiple_of(align) - start;
        if large {
            advise(&mut lines.as_flattened_mut()[skip..][..len.next_multiple_of(LARGE_PAGE)]);
        }
        Ok(Buffer { lines, skip, len })
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is it without bytes?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.lines.as_flattened()[self.skip..][..self.len]
    }

    /// Returns all bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.lines.as_flattened_mut()[self.skip..][..self.len]
    }
}

/// Zeros as the system gives them, which fills pages only when they are touched; `None` where it has no memory.
fn zeros(count: usize) -> Option<Vec<[u8; LINE]>> {
    let layout = Layout::array::<[u8; LINE]>(count).ok().filter(|l| l.size() > 0)?;
    // SAFETY: the layout has a size; the memory holds `count` lines of zeros, was allocated with the layout that a
    // vector of this capacity frees it with, and nobody else has it.
    #[allow(unsafe_code)]
    unsafe {
        let memory = alloc_zeroed(layout);
        (!memory.is_null()).then(|| Vec::from_raw_parts(memory.cast(), count, count))
    }
}

/// Asks for large pages.
#[cfg(target_os = "linux")]
fn advise(memory: &mut [u8]) {
    // SAFETY: the range is the slice's own memory. It is advice: the contents stay as they are, and a system that does
    // not know it says so, which changes nothing.
    #[allow(unsafe_code)]
    unsafe {
        libc::madvise(memory.as_mut_ptr().cast(), memory.len(), libc::MADV_HUGEPAGE);
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_memory: &mut [u8]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zero() {
        for len in [0, 1, 63, 64, 1000, 2 * LARGE_PAGE - 1, 2 * LARGE_PAGE, 5_000_000] {
            let mut buffer = Buffer::zeroed(len).expect("small");
            let align = if len >= 2 * LARGE_PAGE { LARGE_PAGE } else { 64 };
            assert_eq!(buffer.bytes_mut().as_ptr().addr() % align, 0);
            assert!(buffer.bytes().len() == len && buffer.bytes().iter().all(|&b| b == 0));
            buffer.bytes_mut().fill(1);
        }
        assert!(Buffer::zeroed(isize::MAX as usize - 200).is_err());
    }
}
