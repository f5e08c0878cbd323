//! Our own code generator for micro-kernels on x86-64: 256-bit vectors (AVX2 and FMA) or 512-bit vectors (AVX-512 F,
//! BW, DQ, VL), which Cranelift does not have.
//!
//! `analyse` looks ahead (what dies where, what folds, which addresses each loop steps), `lower` selects instructions
//! over virtual registers in the order of the source, `liveness` and `regalloc` give them places, `encode` writes
//! bytes.
//!
//! The functions follow the System V convention: up to six 64-bit parameters in registers, no calls, no relocations
//! (constants follow the code), position independent. They end with `vzeroupper`, since the code around them may use
//! the old vector encodings.

use crate::back::EmitError;
use crate::kernel::ir::MicroKernel;
pub use crate::lower::target::Isa;
use crate::lower::target::{Cpu, Target};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use lower::{Const, Machine};
use machine::Class;
use std::fmt::Write;
pub use tiles::configuration;

mod analyse;
mod codes;
mod encode;
mod liveness;
mod lower;
mod machine;
mod regalloc;
mod tiles;

/// Extensions of AVX-512; ignored for AVX2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features {
    /// AVX512_BF16: `vdpbf16ps`, `vcvtneps2bf16`. They read and write denormal numbers as 0.
    pub bf16: bool,
    /// AVX512_VNNI: `vpdpbusd`.
    pub vnni: bool,
    /// AMX_TILE, AMX_BF16 and AMX_INT8: registers of 16 x 16 words and their products.
    pub tiles: bool,
}

/// Function alignment in bytes that the loops inside count on for speed.
pub const ALIGN: usize = 64;

/// Writes the machine code of a verified micro-kernel. An error says what does not fit: lanes, or the number of
/// registers needed.
pub fn emit(micro_kernel: &MicroKernel, isa: Isa, features: Features) -> Result<Vec<u8>, EmitError> {
    let evex = match isa {
        Isa::Avx512 => true,
        Isa::Avx2 => false,
        Isa::Portable => {
            return Err(EmitError::Unsupported("the portable instruction set is not for this emitter".into()));
        }
    };
    if micro_kernel.params.len() > regalloc::PARAMS.len() {
        let count = micro_kernel.params.len();
        return Err(EmitError::Limit(format!(
            "micro-kernel {}: {count} parameters, 6 travel in registers",
            micro_kernel.name
        )));
    }
    if micro_kernel.has_tiles() && !(evex && features.tiles) {
        let what = format!("micro-kernel {}: tiles need AMX beside AVX-512", micro_kernel.name);
        return Err(EmitError::Unsupported(what));
    }
    let machine = Machine { evex, bf16: features.bf16 && evex, vnni: features.vnni };
    let info = analyse::analyse(micro_kernel, evex)?;
    // All constants of loops in registers if they fit, else the most used ones.
    let first = lower::lower(micro_kernel, &info, machine, &[])?;
    let mut hoist: Vec<Const> = first.constants.keys().copied().collect();
    hoist.sort_by_key(|c| std::cmp::Reverse(first.constants[c]));
    loop {
        let lowered = if hoist.is_empty() { None } else { Some(lower::lower(micro_kernel, &info, machine, &hoist)?) };
        let code = lowered.as_ref().map_or(&first.code, |l| &l.code);
        match regalloc::allocate(code, if evex { 32 } else { 16 }) {
            Ok(allocation) => {
                return encode::encode(code, &allocation, evex)
                    .map_err(|e| e.within(format_args!("micro-kernel {}", micro_kernel.name)));
            }
            Err(shortage) => {
                let Some(last) = hoist.iter().rposition(|c| c.class() == shortage.class) else {
                    let kind = match shortage.class {
                        Class::Mask => "mask",
                        Class::Tile => "tile",
                        Class::Vector | Class::Int => "vector",
                    };
                    return Err(EmitError::Limit(format!(
                        "micro-kernel {}: needs {} {kind} registers, {} exist",
                        micro_kernel.name, shortage.needed, shortage.available
                    )));
                };
                hoist.remove(last);
            }
        }
    }
}

/// Makes an error that no verified micro-kernel leads to.
fn bug(what: impl Into<String>) -> EmitError {
    EmitError::Internal { stage: "the x86 emitter", what: what.into() }
}

/// Makes the Cranelift back end's hook for micro-kernels: it emits those of an AVX2 or AVX-512 target, none of a
/// portable one. A micro-kernel that needs more registers than there are is left to Cranelift, which spills: right, if
/// slow. Recipes choose their tiles so that this does not happen where time is spent (`tests/x86.rs` holds the models
/// to it).
pub fn micro_kernel_code(target: &Target) -> impl Fn(&MicroKernel) -> Option<Result<Vec<u8>, EmitError>> + use<> {
    let Cpu { isa, bf16, vnni, tiles, .. } = target.cpu();
    let features = Features { bf16: bf16 || tiles, vnni, tiles };
    move |micro_kernel| if isa == Isa::Portable { None } else { emit(micro_kernel, isa, features).ok().map(Ok) }
}

/// Writes the code as text in Intel's syntax, a line per instruction; what follows the code is data.
pub fn listing(bytes: &[u8]) -> String {
    let mut decoder = Decoder::new(64, bytes, DecoderOptions::NONE);
    let mut formatter = IntelFormatter::new();
    let mut text = String::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let mut line = String::new();
        formatter.format(&instruction, &mut line);
        let _ = writeln!(text, "{:5x}  {line}", instruction.ip());
        if instruction.code() == iced_x86::Code::Retnq {
            break;
        }
    }
    let end = decoder.position();
    let data = bytes[end..].iter().position(|&b| b != 0xcc).map_or(bytes.len(), |skip| end + skip);
    for (i, word) in bytes[data..].chunks(4).enumerate() {
        let value = word.iter().rev().fold(0u32, |v, &b| v << 8 | u32::from(b));
        let _ = writeln!(text, "{:5x}  dd {value:#010x}", data + 4 * i);
    }
    text
}
