//! `__compact_unwind` of Mach-O: a word for each function. Those that Cranelift compiles have a frame pointer there, so
//! the word is that of such a frame. What machine code of our own keeps on the stack has no word of this table.

use super::{Frames, bug};
use crate::back::EmitError;
use cranelift_module::FuncId;
use cranelift_object::ObjectProduct;
use object::macho::{S_ATTR_DEBUG, S_REGULAR};
use object::write::Relocation;
use object::{Architecture, RelocationEncoding, RelocationFlags, RelocationKind, SectionFlags, SectionKind};

/// A frame pointer, and nothing said of other registers.
const ARM64_FRAME: u32 = 0x0400_0000;
const X86_64_FRAME: u32 = 0x0100_0000;

/// Adds the table.
pub(super) fn write(product: &mut ObjectProduct, functions: Vec<(FuncId, Frames)>) -> Result<(), EmitError> {
    let frame = match product.object.architecture() {
        Architecture::Aarch64 => ARM64_FRAME,
        _ => X86_64_FRAME,
    };
    let section = product.object.add_section(b"__LD".to_vec(), b"__compact_unwind".to_vec(), SectionKind::Other);
    product.object.section_mut(section).flags = SectionFlags::MachO { flags: S_REGULAR | S_ATTR_DEBUG };
    let known = functions.into_iter().filter(|(_, frames)| matches!(frames, Frames::Known(_)));
    for (function, _) in known {
        let symbol = product.function_symbol(function);
        let size = product.object.symbol(symbol).size as u32;
        // The function's address, its size, the word, no personality, no data of a language.
        let mut entry = vec![0; 32];
        entry[8..12].copy_from_slice(&size.to_le_bytes());
        entry[12..16].copy_from_slice(&frame.to_le_bytes());
        let offset = product.object.append_section_data(section, &entry, 8);
        let flags = RelocationFlags::Generic {
            kind: RelocationKind::Absolute,
            encoding: RelocationEncoding::Generic,
            size: 64,
        };
        let relocation = Relocation { offset, symbol, addend: 0, flags };
        product.object.add_relocation(section, relocation).map_err(|e| bug(e.to_string()))?;
    }
    Ok(())
}
