//! Back ends: kernel IR in, code out. They read nothing but verified kernel modules.

pub mod cranelift;
pub mod driver;
mod error;
pub mod opencl;
mod pointers;
pub mod wasm;
pub mod x86;

use crate::kernel::ir::MicroKernel;

pub use error::EmitError;

/// Makes machine code for a micro-kernel, an error, or `None` to leave it to Cranelift. The code is a System V function
/// of up to six 64-bit integers or pointers, without relocations, that keeps the callee-saved registers.
pub type MicroKernelCode<'a> = dyn Fn(&MicroKernel) -> Option<Result<Vec<u8>, EmitError>> + 'a;
