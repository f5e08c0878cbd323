//! Cranelift back end: any processor that Cranelift knows, vectors of 128 bits.
//!
//! Micro-kernels are compiled without Cranelift's optimiser: it moves all loads of an unrolled body to its start, which
//! spills register tiles. Their address arithmetic is therefore written as it is to be executed (`micro_kernel`).
//! Kernels, which are loops around calls, are compiled with it.

use super::{EmitError, MicroKernelCode};
use crate::kernel::ir::Module;
use crate::lower::target::Target;
use crate::verified::Verified;
use cranelift_codegen::CodegenError;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use std::path::Path;

pub mod cache;
mod dots;
mod emit;
mod jit;
mod lanes;
mod memory;
mod micro_kernel;
mod neighbours;
mod nest;
mod object;
mod unwind;

pub use emit::{Emitted, emit};
pub use jit::JitCode;
pub use object::{Object, isa_for};
pub use unwind::Frames;

/// Compiles for this process, all micro-kernels by Cranelift.
pub fn compile(module: &Verified<Module>, target: &Target) -> Result<JitCode, EmitError> {
    compile_with(module, target, &|_| None, None)
}

/// Compiles for this process; `micro_kernel_code` may bring the machine code of micro-kernels.
/// `cache` is a folder (`cache_folder::private`) for code that the next start need not make again.
pub fn compile_with(
    module: &Verified<Module>,
    target: &Target,
    micro_kernel_code: &MicroKernelCode,
    cache: Option<&Path>,
) -> Result<JitCode, EmitError> {
    jit::compile(module, target, micro_kernel_code, cache)
}

/// Writes the functions of a module as Cranelift IR, before any optimisation.
pub fn clif(module: &Verified<Module>, target: &Target) -> Result<String, EmitError> {
    let isa = host_isa(Effort::MicroKernel)?;
    emit::clif(module, target, isa.as_ref())
}

/// How much Cranelift does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Keep the order of instructions.
    MicroKernel,
    /// Optimise.
    Kernel,
}

/// Where code runs, as far as it matters to what Cranelift makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    /// In the memory of this process.
    Jit,
    /// In a file of ELF.
    Unix,
    /// In a file of Mach-O, whose functions all have a frame pointer.
    Apple,
    /// In a file of COFF: addresses are relative or filled in by the loader, not looked up in a table, and the stack
    /// grows a page at a time.
    Windows,
}

/// Returns Cranelift's settings.
fn settings_for(effort: Effort, system: System) -> Result<settings::Flags, EmitError> {
    let mut flags = settings::builder();
    let truth = |value: bool| if value { "true" } else { "false" };
    let settings = [
        ("opt_level", if effort == Effort::MicroKernel { "none" } else { "speed" }),
        ("is_pic", truth(matches!(system, System::Unix | System::Apple))),
        ("use_colocated_libcalls", "false"),
        ("preserve_frame_pointers", truth(system == System::Apple)),
        ("enable_probestack", truth(system == System::Windows)),
        ("probestack_strategy", "inline"),
        ("enable_verifier", truth(cfg!(debug_assertions))),
    ];
    for (name, value) in settings {
        flags.set(name, value).map_err(|e| bug(format!("flag {name}: {e}")))?;
    }
    Ok(settings::Flags::new(flags))
}

/// Returns the machine that this runs on, for the JIT.
pub fn host_isa(effort: Effort) -> Result<OwnedTargetIsa, EmitError> {
    let builder: isa::Builder = cranelift_native::builder()
        .map_err(|e| EmitError::Unsupported(format!("Cranelift does not know this machine: {e}")))?;
    builder.finish(settings_for(effort, System::Jit)?).map_err(failed)
}

/// Makes an error that no verified module leads to.
fn bug(what: impl Into<String>) -> EmitError {
    EmitError::Internal { stage: "the Cranelift back end", what: what.into() }
}

/// Makes an error of what Cranelift says, by its kind.
fn failed(error: CodegenError) -> EmitError {
    match error {
        CodegenError::Unsupported(what) => EmitError::Unsupported(format!("Cranelift: {what}")),
        CodegenError::ImplLimitExceeded | CodegenError::CodeTooLarge => EmitError::Limit(format!("Cranelift: {error}")),
        error => bug(format!("Cranelift: {error}")),
    }
}

/// Does the instruction set have a feature? Features of other architectures count as present.
pub(crate) fn has_feature(isa: &dyn isa::TargetIsa, name: &str) -> bool {
    isa.isa_flags().iter().find(|f| f.name == name).is_none_or(|f| f.as_bool() == Some(true))
}
