//! `__compact_unwind` of Mach-O: a word for each function. Those that Cranelift compiles have a frame pointer there, so
//! the word is that of such a frame. For machine code of our own it says what its first instructions push, and how
//! large the frame is.

use super::{Frames, bug};
use crate::back::EmitError;
use cranelift_module::FuncId;
use cranelift_object::ObjectProduct;
use iced_x86::{Code, Decoder, DecoderOptions, Register};
use object::macho::{S_ATTR_DEBUG, S_REGULAR};
use object::write::Relocation;
use object::{Architecture, RelocationEncoding, RelocationFlags, RelocationKind, SectionFlags, SectionKind};

/// A frame pointer, and nothing said of other registers.
const ARM64_FRAME: u32 = 0x0400_0000;
const X86_64_FRAME: u32 = 0x0100_0000;
/// No frame pointer. ARM64's is for a function that leaves the stack pointer alone. X86-64's first word holds the
/// frame's size, in words of 8 bytes; the second, for larger frames, holds where the instruction that makes room states
/// its bytes.
const ARM64_FRAMELESS: u32 = 0x0200_0000;
const X86_64_FRAMELESS: u32 = 0x0200_0000;
const X86_64_FRAMELESS_LARGE: u32 = 0x0300_0000;

/// The registers that functions of x86-64 keep, in the order in which the table numbers them.
const KEPT: [Register; 6] = [Register::RBX, Register::R12, Register::R13, Register::R14, Register::R15, Register::RBP];

/// Adds the table.
pub(super) fn write(product: &mut ObjectProduct, functions: Vec<(FuncId, Frames)>) -> Result<(), EmitError> {
    let arm = product.object.architecture() == Architecture::Aarch64;
    let section = product.object.add_section(b"__LD".to_vec(), b"__compact_unwind".to_vec(), SectionKind::Other);
    product.object.section_mut(section).flags = SectionFlags::MachO { flags: S_REGULAR | S_ATTR_DEBUG };
    for (function, frames) in functions {
        let word = match (frames, arm) {
            (Frames::Known(_), true) => ARM64_FRAME,
            (Frames::Known(_), false) => X86_64_FRAME,
            (Frames::None(_), true) => ARM64_FRAMELESS,
            (Frames::None(_), false) => frameless(&[])?,
            (Frames::Code(bytes), _) => frameless(&bytes)?,
        };
        let symbol = product.function_symbol(function);
        let size = product.object.symbol(symbol).size as u32;
        // The function's address, its size, the word, no personality, no data of a language.
        let mut entry = vec![0; 32];
        entry[8..12].copy_from_slice(&size.to_le_bytes());
        entry[12..16].copy_from_slice(&word.to_le_bytes());
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

/// Reads the word from machine code for x86-64 that pushes registers and makes room on the stack before all else.
fn frameless(bytes: &[u8]) -> Result<u32, EmitError> {
    let (mut pushed, mut room) = (Vec::new(), None);
    for instruction in Decoder::new(64, bytes, DecoderOptions::NONE).iter() {
        let stack = instruction.op0_register() == Register::RSP;
        match instruction.code() {
            Code::Push_r64 if room.is_none() => pushed.push(instruction.op0_register()),
            Code::Sub_rm64_imm32 | Code::Sub_rm64_imm8 if stack && room.is_none() => {
                room = Some((instruction.immediate(1) as u32, instruction.next_ip() as u32 - 4));
            }
            _ => break,
        }
    }
    // The return address is on the stack too.
    let words = 1 + pushed.len() as u32;
    let kept = (pushed.len() as u32) << 10 | permutation(&pushed)?;
    let (bytes, at) = room.unwrap_or_default();
    Ok(match words + bytes / 8 {
        size @ ..256 => X86_64_FRAMELESS | size << 16 | kept,
        _ => X86_64_FRAMELESS_LARGE | at << 16 | words << 13 | kept,
    })
}

/// Returns which registers were pushed, in this order: for each, from the last one on, how many that are not named yet
/// come before it.
fn permutation(pushed: &[Register]) -> Result<u32, EmitError> {
    let mut left = KEPT.to_vec();
    let mut number = 0;
    for register in pushed.iter().rev() {
        let at = left.iter().position(|kept| kept == register);
        let at = at.ok_or_else(|| bug(format!("{register:?} is pushed, which no function keeps")))?;
        number = number * left.len() as u32 + at as u32;
        left.remove(at);
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words that LLVM's assembler gives for these instructions.
    #[test]
    fn words_are_those_of_an_assembler() {
        let ret = [0xc3];
        let three = [0x53, 0x41, 0x54, 0x41, 0x57];
        let all = [0x55, 0x41, 0x57, 0x41, 0x56, 0x41, 0x55, 0x41, 0x54, 0x53, 0x48, 0x81, 0xec, 0, 0x10, 0, 0];
        let small = [0x41, 0x55, 0x53, 0x48, 0x81, 0xec, 8, 1, 0, 0];
        for (start, word) in [
            // push rbx, r12, r15
            (&three[..], 0x0204_0c54),
            // push rbp, r15, r14, r13, r12, rbx; sub rsp, 4096
            (&all, 0x030d_f800),
            // push r13, rbx; sub rsp, 264
            (&small, 0x0224_0801),
            (&[], 0x0201_0000),
        ] {
            let found = frameless(&[start, &ret].concat()).expect("kept registers");
            assert_eq!(found, word, "{found:#x} for {start:x?}");
        }
        assert!(frameless(&[0x50, 0xc3]).is_err(), "rax is nobody's to keep");
    }
}
