//! Compiled kernels in this process's memory: one of the named places of `unsafe`.
//!
//! All code lies in one reserved range, so that calls reach each other; its pages become executable and read-only
//! before the first pointer to them is taken.

use super::bug;
use super::cache::{self, Key};
use super::emit::{self, Emitted};
use super::{Effort, MicroKernelCode, host_isa};
use crate::back::EmitError;
use crate::kernel::ir::Module;
use crate::lower::target::Target;
use crate::verified::Verified;
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use cranelift_module::{Linkage, Module as _};
use ninc_runtime::exec::Code;
use ninc_runtime::program;
use std::fmt::Write;
use std::hash::Hash;
use std::path::Path;

type Entry = extern "C" fn(*const *mut u8, *const i64, i64, i64, *mut u8);

/// The compiled kernels of a module. Dropping it frees the code.
pub struct JitCode {
    /// `Some` until it is dropped.
    module: Option<JITModule>,
    kernels: Vec<Entry>,
    functions: Vec<Emitted>,
}

// SAFETY: after `compile` nothing in here is changed; the code is read-only and keeps no state.
#[allow(unsafe_code)]
unsafe impl Send for JitCode {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for JitCode {}

pub(super) fn compile(
    module: &Verified<Module>,
    target: &Target,
    micro_kernel_code: &MicroKernelCode,
    folder: Option<&Path>,
) -> Result<JitCode, EmitError> {
    let micro_kernel_isa = host_isa(Effort::MicroKernel)?;
    let mut builder = JITBuilder::with_isa(host_isa(Effort::Kernel)?, cranelift_module::default_libcall_names());
    // Reserved, not used: a unit takes some kilobytes. The JIT's calls reach 2 GiB at most.
    let reserve = (16 << 20) + (128 << 10) * (module.micro_kernels.len() + module.kernels.len());
    let arena = ArenaMemoryProvider::new_with_size(reserve.min(1 << 30))
        .map_err(|e| EmitError::Limit(format!("memory for code: {e}")))?;
    builder.memory_provider(Box::new(arena));
    let mut jit = JITModule::new(builder);
    let key = folder.map(|_| key(module, target, &micro_kernel_isa, jit.isa()));
    let known = folder.zip(key.as_ref()).and_then(|(folder, key)| cache::read(folder, key));
    let fresh = known.is_none();
    let emitted =
        emit::emit(&mut jit, "", module, target, micro_kernel_isa.as_ref(), micro_kernel_code, Linkage::Local, known);
    // The holder comes first: it frees the memory on every way out.
    let mut code = JitCode { module: Some(jit), kernels: Vec::new(), functions: Vec::new() };
    let (micro_kernels, kernels, pieces) = emitted?;
    if let (Some(folder), Some(key), true) = (folder, &key, fresh) {
        cache::write(folder, key, &pieces);
    }
    let jit = code.module.as_mut().expect("just put there");
    jit.finalize_definitions().map_err(|e| bug(format!("Cranelift: {e}")))?;
    code.kernels = kernels.iter().map(|k| entry(jit.get_finalized_function(k.id))).collect();
    code.functions = micro_kernels.into_iter().chain(kernels).collect();
    Ok(code)
}

/// Collects all that the machine code depends on.
fn key(module: &Module, target: &Target, micro_kernel: &OwnedTargetIsa, kernel: &dyn TargetIsa) -> Key {
    let flags = |isa: &dyn TargetIsa| {
        let own: Vec<String> = isa.isa_flags().iter().map(|f| f.to_string()).collect();
        format!("{} {} {}", isa.name(), isa.flags(), own.join(" "))
    };
    // Two builds of one version may emit different code: the program's own file tells them apart.
    let build = program::file().and_then(|file| std::fs::metadata(file).ok());
    let build = build.and_then(|m| Some((m.len(), m.modified().ok()?)));
    let mut key = Key::default();
    (env!("CARGO_PKG_VERSION"), build, target, flags(micro_kernel.as_ref()), flags(kernel), module).hash(&mut key);
    key
}

#[allow(unsafe_code)]
fn entry(address: *const u8) -> Entry {
    // SAFETY: the address is that of a finished function with this signature, which `emit` gives to all kernels.
    unsafe { std::mem::transmute::<*const u8, Entry>(address) }
}

impl JitCode {
    /// Writes the machine code of all functions as text: instructions on x86-64, bytes elsewhere. Constants follow the
    /// code of some functions and read as senseless instructions.
    pub fn asm(&self) -> String {
        let mut text = String::new();
        for function in &self.functions {
            writeln!(text, "{}: ; {} bytes", function.name, function.bytes).expect("strings take all text");
            list(self.code(function), &mut text);
        }
        text
    }

    /// Writes a line a function for Linux's `perf`: address, bytes (both hexadecimal) and name.
    pub fn perf_map(&self) -> String {
        let line = |f: &Emitted| format!("{:x} {:x} {}\n", self.code(f).as_ptr().addr(), f.bytes, f.name);
        self.functions.iter().map(line).collect()
    }

    /// Returns the bytes of machine code of all functions.
    pub fn code_bytes(&self) -> usize {
        self.functions.iter().map(|f| f.bytes).sum()
    }

    #[allow(unsafe_code)]
    fn code(&self, function: &Emitted) -> &[u8] {
        let module = self.module.as_ref().expect("dropped only in `drop`");
        // SAFETY: the module wrote this many bytes there and keeps them, readable, as long as it lives.
        unsafe { std::slice::from_raw_parts(module.get_finalized_function(function.id), function.bytes) }
    }
}

#[cfg(target_arch = "x86_64")]
fn list(code: &[u8], text: &mut String) {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    let mut formatter = IntelFormatter::new();
    for instruction in Decoder::with_ip(64, code, 0, DecoderOptions::NONE).iter() {
        write!(text, "  {:5x}  ", instruction.ip()).expect("strings take all text");
        formatter.format(&instruction, text);
        text.push('\n');
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn list(code: &[u8], text: &mut String) {
    for (i, row) in code.chunks(16).enumerate() {
        let bytes: Vec<String> = row.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(text, "  {:5x}  {}", 16 * i, bytes.join(" ")).expect("strings take all text");
    }
}

impl Drop for JitCode {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: `call` borrows `self`, so no kernel runs; the pointers in `kernels` are never handed out.
            unsafe { module.free_memory() };
        }
    }
}

#[allow(unsafe_code)]
impl Code for JitCode {
    unsafe fn call(
        &self,
        kernel: usize,
        buffers: *const *mut u8,
        vars: *const i64,
        begin: i64,
        end: i64,
        scratch: *mut u8,
    ) {
        (self.kernels[kernel])(buffers, vars, begin, end, scratch);
    }
}
