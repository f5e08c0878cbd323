//! Runs a plan on the processor's cores.

/// Compiled kernels, by index.
pub trait Code: Send + Sync {
    /// Runs rounds `begin..end` of a kernel's parallel loop.
    ///
    /// # Safety
    /// `buffers` points to one pointer for each buffer of the kernel, to memory as large as the plan says for the batch in
    /// `vars` (batch, first, total); `scratch` to the plan's scratch bytes of this kernel, for this thread alone. No other
    /// thread runs the same rounds, or another launch on the same memory, at the same time.
    #[allow(unsafe_code)]
    unsafe fn call(
        &self,
        kernel: usize,
        buffers: *const *mut u8,
        vars: *const i64,
        begin: i64,
        end: i64,
        scratch: *mut u8,
    );
}
