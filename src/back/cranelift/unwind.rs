//! How to find the caller's frame at each instruction, for debuggers and profilers: `.eh_frame` of ELF here, what COFF
//! has in `unwind/windows`, what Mach-O has in `unwind/compact`.

use super::bug;
use crate::back::EmitError;
use cranelift_codegen::gimli::constants::{DW_EH_PE_pcrel, DW_EH_PE_sdata4};
use cranelift_codegen::gimli::write::{
    Address, CallFrameInstruction, EhFrame, EndianVec, FrameDescriptionEntry, FrameTable, RelocateWriter, Relocation,
    RelocationTarget,
};
use cranelift_codegen::gimli::{LittleEndian, X86_64};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_module::FuncId;
use cranelift_object::ObjectProduct;
use object::{BinaryFormat, RelocationEncoding, RelocationFlags, RelocationKind};

mod compact;
mod windows;

/// The frames of a function.
pub enum Frames {
    /// As Cranelift describes them.
    Known(UnwindInfo),
    /// Read from x86-64 machine code that changes the stack pointer only at its start and its end.
    Code(Vec<u8>),
    /// A function of this many bytes that does not change the stack pointer.
    None(usize),
}

impl Frames {
    fn entry(self, address: Address) -> Option<FrameDescriptionEntry> {
        match self {
            Frames::Known(UnwindInfo::SystemV(info)) => Some(info.to_fde(address)),
            Frames::Known(_) => None,
            Frames::Code(bytes) => Some(from_code(&bytes, address)),
            Frames::None(bytes) => Some(FrameDescriptionEntry::new(address, bytes as u32)),
        }
    }
}

/// Reads the frames of machine code from its pushes, pops, additions to and subtractions from the stack pointer.
fn from_code(bytes: &[u8], address: Address) -> FrameDescriptionEntry {
    use iced_x86::{Code, Decoder, DecoderOptions, Register};
    let mut entry = FrameDescriptionEntry::new(address, bytes.len() as u32);
    // Bytes from the stack pointer to the caller's: the return address is there at first.
    let mut depth = 8;
    for instruction in Decoder::new(64, bytes, DecoderOptions::NONE).iter() {
        // What follows the code are constants.
        if instruction.code() == Code::Retnq {
            break;
        }
        let at = instruction.next_ip() as u32;
        let saved = register(instruction.op0_register());
        let stack = instruction.op0_register() == Register::RSP;
        match instruction.code() {
            Code::Push_r64 => depth += 8,
            Code::Pop_r64 => depth -= 8,
            Code::Sub_rm64_imm32 | Code::Sub_rm64_imm8 if stack => depth += instruction.immediate(1) as i32,
            Code::Add_rm64_imm32 | Code::Add_rm64_imm8 if stack => depth -= instruction.immediate(1) as i32,
            _ => continue,
        }
        entry.add_instruction(at, CallFrameInstruction::CfaOffset(depth));
        match (instruction.code(), saved) {
            (Code::Push_r64, Some(saved)) => entry.add_instruction(at, CallFrameInstruction::Offset(saved, -depth)),
            (Code::Pop_r64, Some(saved)) => entry.add_instruction(at, CallFrameInstruction::Restore(saved)),
            _ => {}
        }
    }
    entry
}

/// Finds the DWARF number of a register that functions keep.
fn register(register: iced_x86::Register) -> Option<cranelift_codegen::gimli::Register> {
    use iced_x86::Register;
    Some(match register {
        Register::RBX => X86_64::RBX,
        Register::RBP => X86_64::RBP,
        Register::R12 => X86_64::R12,
        Register::R13 => X86_64::R13,
        Register::R14 => X86_64::R14,
        Register::R15 => X86_64::R15,
        _ => return None,
    })
}

/// A section under construction with its relocations.
struct Section {
    writer: EndianVec<LittleEndian>,
    relocations: Vec<Relocation>,
}

impl RelocateWriter for Section {
    type Writer = EndianVec<LittleEndian>;

    fn writer(&self) -> &Self::Writer {
        &self.writer
    }

    fn writer_mut(&mut self) -> &mut Self::Writer {
        &mut self.writer
    }

    fn relocate(&mut self, relocation: Relocation) {
        self.relocations.push(relocation);
    }
}

/// Describes the frames of these functions in an object, as its format does.
pub fn write(
    product: &mut ObjectProduct,
    isa: &dyn TargetIsa,
    functions: Vec<(FuncId, Frames)>,
) -> Result<(), EmitError> {
    match product.object.format() {
        BinaryFormat::Coff => windows::write(product, functions),
        BinaryFormat::MachO => compact::write(product, functions),
        _ => write_eh_frame(product, isa, functions),
    }
}

/// Adds `.eh_frame` to an object. References are relative, so that nothing is left to the loader.
fn write_eh_frame(
    product: &mut ObjectProduct,
    isa: &dyn TargetIsa,
    functions: Vec<(FuncId, Frames)>,
) -> Result<(), EmitError> {
    let mut cie = isa.create_systemv_cie().ok_or_else(unknown)?;
    cie.fde_address_encoding = DW_EH_PE_pcrel | DW_EH_PE_sdata4;
    let mut table = FrameTable::default();
    let cie = table.add_cie(cie);
    let mut symbols = Vec::new();
    for (function, frames) in functions {
        let address = Address::Symbol { symbol: symbols.len(), addend: 0 };
        symbols.push(product.function_symbol(function));
        if let Some(entry) = frames.entry(address) {
            table.add_fde(cie, entry);
        }
    }
    let mut frames = EhFrame(Section { writer: EndianVec::new(LittleEndian), relocations: vec![] });
    table.write_eh_frame(&mut frames).map_err(|e| bug(e.to_string()))?;
    let section = product.object.section_id(object::write::StandardSection::EhFrame);
    product.object.append_section_data(section, frames.0.writer.slice(), 8);
    for relocation in frames.0.relocations {
        let RelocationTarget::Symbol(symbol) = relocation.target else { return Err(bug("frames of a section")) };
        let flags = RelocationFlags::Generic {
            kind: RelocationKind::Relative,
            encoding: RelocationEncoding::Generic,
            size: 8 * relocation.size,
        };
        // By the section: a linker that makes a shared library may give an exported symbol to another file.
        let function = product.object.symbol(symbols[symbol]);
        let (home, start) = (function.section.id().ok_or_else(|| bug("frames of an import"))?, function.value as i64);
        let symbol = product.object.section_symbol(home);
        let (offset, addend) = (relocation.offset as u64, start + relocation.addend);
        let relocation = object::write::Relocation { offset, symbol, addend, flags };
        product.object.add_relocation(section, relocation).map_err(|e| bug(e.to_string()))?;
    }
    Ok(())
}

fn unknown() -> EmitError {
    EmitError::Unsupported("no frames are known for this processor".into())
}
