//! The interpreter in the place of compiled code: lets the executor be tested without a back end.
//!
//! Here the interpreter works on raw memory like compiled code, so it is one of the named places of `unsafe`.

use super::{Blocks, InterpError, run_iteration};
use crate::kernel::ir::{Elem, EntityRef, KernelId, Module};
use crate::verified::Verified;
use ninc_runtime::exec::Code;
use std::sync::Arc;

/// A module as [`Code`]. Accesses are not checked: the executor passes no sizes.
pub struct InterpCode {
    module: Arc<Verified<Module>>,
}

impl InterpCode {
    /// Wraps the module's kernels.
    pub fn new(module: Arc<Verified<Module>>) -> InterpCode {
        InterpCode { module }
    }
}

struct Raw {
    blocks: Vec<*mut u8>,
}

#[allow(unsafe_code)]
impl Blocks for Raw {
    fn load(&self, block: usize, at: i64, bytes: usize) -> Result<u32, InterpError> {
        let mut word = [0; 4];
        // SAFETY: `Code::call` is unsafe and asks for pointers to memory as large as the kernel's accesses.
        unsafe { self.blocks[block].offset(at as isize).copy_to_nonoverlapping(word.as_mut_ptr(), bytes) };
        Ok(u32::from_le_bytes(word))
    }

    fn store(&mut self, block: usize, at: i64, bytes: usize, value: u32) -> Result<(), InterpError> {
        let word = value.to_le_bytes();
        // SAFETY: as in `load`; iterations of one launch never write what another one touches.
        unsafe { self.blocks[block].offset(at as isize).copy_from_nonoverlapping(word.as_ptr(), bytes) };
        Ok(())
    }
}

#[allow(unsafe_code)]
impl Code for InterpCode {
    unsafe fn call(
        &self,
        kernel: usize,
        buffers: *const *mut u8,
        vars: *const i64,
        begin: i64,
        end: i64,
        scratch: *mut u8,
    ) {
        let kernel = &self.module.kernels[KernelId::new(kernel)];
        // SAFETY: the caller passes one pointer for each buffer, three variables and the scratch memory that the plan
        // asks for.
        let (mut blocks, vars) = unsafe {
            let buffers = std::slice::from_raw_parts(buffers, kernel.buffers.len()).to_vec();
            (buffers, [*vars, *vars.add(1), *vars.add(2)])
        };
        for offset in scratch_offsets(kernel.scratch.values().map(|s| (s.elem, s.len))).0 {
            // SAFETY: offsets are smaller than the scratch size of the plan, which the same function computes.
            blocks.push(unsafe { scratch.add(offset) });
        }
        let mut memory = Raw { blocks };
        for iteration in begin..end {
            run_iteration(&self.module, kernel, &mut memory, vars, iteration).expect("raw memory reports no errors");
        }
    }
}

/// Offsets of scratch arrays, each at a multiple of 64 bytes, and the size of all: what all back ends agree on.
pub fn scratch_offsets(arrays: impl Iterator<Item = (Elem, usize)>) -> (Vec<usize>, usize) {
    let mut end = 0;
    let offsets = arrays.map(|(elem, len)| {
        let offset = end;
        end += (len * elem.bytes()).next_multiple_of(64);
        offset
    });
    (offsets.collect(), end)
}
