//! WebAssembly back end: vectors of 128 bits, products and sums rounded apart (or, relaxed, as the engine likes best).
//!
//! Structured code becomes structured code: a micro-kernel is a function whose values are locals, a kernel a function
//! of loops around calls. Memory is the module's own, addresses have 32 bits, and constant parts of an index are the
//! offsets of loads and stores. Engines assign registers; what is left to do here is to keep the order of instructions,
//! to advance one pointer for all accesses that differ by a constant, and to reuse locals, so that code stays small.

use super::EmitError;

mod lanes;
mod locals;
mod memory;
mod micro_kernel;
mod module;
mod narrow;
mod nest;
mod scalars;
mod threads;

pub use module::{Builder, Call};
pub use narrow::{Floats, Narrow};
pub use threads::BYTES as MEETING_BYTES;

/// What the engine may be asked for beyond 128-bit vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features {
    /// Relaxed vector instructions: a multiply-add rounds once or twice, whichever is faster where it runs.
    pub relaxed: bool,
    /// Shared memory: where the bytes lie by which threads meet, [`MEETING_BYTES`] of them.
    pub threads: Option<u32>,
}

/// What kernels for WebAssembly cannot have, by the names of kernel IR's features.
pub const UNSUPPORTED: [&str; 2] = ["tiles", "groups"];

/// Makes an error that no verified module leads to.
fn bug(what: impl Into<String>) -> EmitError {
    EmitError::Internal { stage: "the WebAssembly back end", what: what.into() }
}
