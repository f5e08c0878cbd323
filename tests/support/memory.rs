//! Executable memory, and buffers between pages that fault.
#![allow(unsafe_code)]

use std::ptr;

const PAGE: usize = 4096;

/// Pages of our own from the kernel; unmapped on drop.
struct Map {
    at: *mut u8,
    len: usize,
}

impl Map {
    fn new(len: usize) -> Map {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous mapping at an address that the kernel chooses touches no memory of ours.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "mmap of {len} bytes");
        Map { at: at.cast(), len }
    }

    fn protect(&self, from: usize, len: usize, access: i32) {
        assert!(from + len <= self.len);
        // SAFETY: the range lies in this mapping, whose memory nobody has borrowed.
        let result = unsafe { libc::mprotect(self.at.add(from).cast(), len, access) };
        assert_eq!(result, 0, "mprotect");
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and is not used afterwards.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// Bytes that end, or start, exactly at a page that may not be touched; the page on the other side neither.
pub struct Guarded {
    map: Map,
    start: usize,
    len: usize,
}

impl Guarded {
    pub fn new(bytes: &[u8], at_end: bool) -> Guarded {
        let inner = bytes.len().next_multiple_of(PAGE).max(PAGE);
        let map = Map::new(inner + 2 * PAGE);
        map.protect(0, PAGE, libc::PROT_NONE);
        map.protect(PAGE + inner, PAGE, libc::PROT_NONE);
        let start = if at_end { PAGE + inner - bytes.len() } else { PAGE };
        // SAFETY: start..start + len lies in the accessible pages of the new mapping.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), map.at.add(start), bytes.len()) };
        Guarded { map, start, len: bytes.len() }
    }

    /// Sides alternate: even ones end at a page that may not be touched, odd ones start at one.
    pub fn all(blocks: &[Vec<u8>]) -> Vec<Guarded> {
        blocks.iter().enumerate().map(|(i, b)| Guarded::new(b, i % 2 == 0)).collect()
    }

    pub fn pointer(&self) -> *mut u8 {
        self.map.at.wrapping_add(self.start)
    }

    pub fn address(&self) -> u64 {
        self.map.at as u64 + self.start as u64
    }

    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: the range is accessible, and no compiled code runs while this borrow lives.
        unsafe { std::slice::from_raw_parts(self.map.at.add(self.start), self.len) }.to_vec()
    }
}

/// A compiled micro-kernel in executable memory.
pub struct Code {
    map: Map,
}

impl Code {
    pub fn new(bytes: &[u8]) -> Code {
        let map = Map::new(bytes.len().next_multiple_of(PAGE));
        // SAFETY: the mapping is at least as long as the code.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), map.at, bytes.len()) };
        map.protect(0, map.len, libc::PROT_READ | libc::PROT_EXEC);
        Code { map }
    }

    /// Calls the micro-kernel. The caller must pass pointers to memory that the micro-kernel may touch, and a host that
    /// has its instructions; what it touches besides faults.
    pub fn call(&self, args: &[u64]) {
        let mut a = [0; 6];
        a[..args.len()].copy_from_slice(args);
        // SAFETY: the emitter writes System V functions of up to six integers; the tests pass guarded buffers.
        let f: extern "sysv64" fn(u64, u64, u64, u64, u64, u64) = unsafe { std::mem::transmute(self.map.at) };
        f(a[0], a[1], a[2], a[3], a[4], a[5]);
    }
}
