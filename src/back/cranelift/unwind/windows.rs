//! `.pdata` and `.xdata` of COFF for x86-64: for each function that moves the stack pointer where it starts and ends,
//! and what its first instructions do.

use super::{Frames, bug};
use crate::back::EmitError;
use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_module::FuncId;
use cranelift_object::ObjectProduct;
use object::write::{Relocation, SectionId, SymbolId};
use object::{RelocationEncoding, RelocationFlags, RelocationKind, SectionKind};

/// Adds both tables.
pub(super) fn write(product: &mut ObjectProduct, functions: Vec<(FuncId, Frames)>) -> Result<(), EmitError> {
    let object = &mut product.object;
    let [starts, steps] = [".pdata", ".xdata"]
        .map(|name| object.add_section(vec![], name.as_bytes().to_vec(), SectionKind::ReadOnlyData));
    for (function, frames) in functions {
        let info = match frames {
            Frames::Known(UnwindInfo::WindowsX64(info)) => {
                let mut bytes = vec![0; info.emit_size()];
                info.emit(&mut bytes);
                bytes
            }
            Frames::Code(bytes) => from_code(&bytes)?,
            Frames::Known(_) | Frames::None(_) => continue,
        };
        // Without steps a function is one that does not move the stack pointer, which needs no entry.
        if info[2] == 0 {
            continue;
        }
        let symbol = product.function_symbol(function);
        let object = &mut product.object;
        let size = object.symbol(symbol).size as i64;
        let at = object.append_section_data(steps, &info, 4);
        let place = object.append_section_data(starts, &[0; 12], 4);
        let steps = object.section_symbol(steps);
        for (offset, symbol, addend) in [(0, symbol, 0), (4, symbol, size), (8, steps, at as i64)] {
            relocate(product, starts, place + offset, symbol, addend)?;
        }
    }
    Ok(())
}

/// Writes a place's distance from the start of the image.
fn relocate(
    product: &mut ObjectProduct,
    section: SectionId,
    offset: u64,
    symbol: SymbolId,
    addend: i64,
) -> Result<(), EmitError> {
    let (kind, encoding, size) = (RelocationKind::ImageOffset, RelocationEncoding::Generic, 32);
    let flags = RelocationFlags::Generic { kind, encoding, size };
    let relocation = Relocation { offset, symbol, addend, flags };
    product.object.add_relocation(section, relocation).map_err(|e| bug(e.to_string()))
}

/// Reads the first instructions of machine code that pushes registers and makes room on the stack before all else.
fn from_code(bytes: &[u8]) -> Result<Vec<u8>, EmitError> {
    use iced_x86::{Code, Decoder, DecoderOptions, Register};
    // UWOP_PUSH_NONVOL, UWOP_ALLOC_LARGE, UWOP_ALLOC_SMALL
    let [push, large, small] = [0u8, 1, 2];
    // For each step the offset behind it and its words, to be listed backwards.
    let mut steps: Vec<(u8, Vec<u8>)> = Vec::new();
    for instruction in Decoder::new(64, bytes, DecoderOptions::NONE).iter() {
        let code = instruction.code();
        let stack = instruction.op0_register() == Register::RSP;
        let behind = u8::try_from(instruction.next_ip()).map_err(|_| bug("a long start of a function"))?;
        if code == Code::Push_r64 {
            steps.push((behind, vec![behind, push | (instruction.op0_register().number() as u8) << 4]));
        } else if stack && matches!(code, Code::Sub_rm64_imm32 | Code::Sub_rm64_imm8) {
            let eights = instruction.immediate(1) / 8;
            let step = match eights {
                1..=16 => vec![behind, small | (eights as u8 - 1) << 4],
                _ => {
                    let [low, high] = u16::try_from(eights).map_err(|_| bug("a large frame"))?.to_le_bytes();
                    vec![behind, large, low, high]
                }
            };
            steps.push((behind, step));
        } else {
            break;
        }
    }
    let prologue = steps.last().map_or(0, |step| step.0);
    let codes: Vec<u8> = steps.into_iter().rev().flat_map(|step| step.1).collect();
    let mut info = vec![1, prologue, (codes.len() / 2) as u8, 0];
    info.extend(codes);
    info.resize(info.len().next_multiple_of(4), 0);
    Ok(info)
}
