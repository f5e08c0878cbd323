//! Shared libraries without a linker: the object's sections laid out, its references resolved, the tables of a dynamic
//! ELF file around them. The file depends on the object, its name and the names of
//! the libraries that it needs alone.
//!
//! Three segments: tables and constants (read), code (read and execute), what the loader fills in (addresses of
//! kernels in the plan, of the C library's functions; read-only after loading) with the memory that the code changes
//! behind it.

use super::error::LibraryError;
use object::elf;
use object::read::elf::{ElfFile64, Sym};
use object::read::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SymbolIndex};
use object::{Architecture, FileFlags, LittleEndian, SectionIndex, SectionKind};
use std::collections::HashMap;

mod file;
mod frames;
mod relocate;

/// What differs between processors.
struct Machine {
    code: u16,
    /// Flags of the file's header, as in the object's: how floats are passed, for RISC-V.
    flags: u32,
    /// Segments start at multiples of this: the largest pages that Linux has there.
    page: usize,
    /// Type of the loader's relocation for an address in the library.
    relative: u32,
    /// Type of the loader's relocation for the address of an imported function.
    imported: u32,
    /// Type of the object's relocation for an address.
    absolute: u32,
    /// Types of the object's relocations that go through a slot which the loader fills.
    through_slot: &'static [u32],
}

fn machine(file: &ElfFile64<LittleEndian>) -> Result<Machine, LibraryError> {
    let flags = match file.flags() {
        FileFlags::Elf { e_flags, .. } => e_flags,
        _ => 0,
    };
    match file.architecture() {
        Architecture::X86_64 => Ok(Machine {
            code: elf::EM_X86_64,
            flags,
            page: 0x1000,
            relative: elf::R_X86_64_RELATIVE,
            imported: elf::R_X86_64_GLOB_DAT,
            absolute: elf::R_X86_64_64,
            through_slot: &[elf::R_X86_64_GOTPCREL],
        }),
        Architecture::Aarch64 => Ok(Machine {
            code: elf::EM_AARCH64,
            flags,
            page: 0x10000,
            relative: elf::R_AARCH64_RELATIVE,
            imported: elf::R_AARCH64_GLOB_DAT,
            absolute: elf::R_AARCH64_ABS64,
            through_slot: &[elf::R_AARCH64_ADR_GOT_PAGE, elf::R_AARCH64_LD64_GOT_LO12_NC],
        }),
        Architecture::Riscv64 => Ok(Machine {
            code: elf::EM_RISCV,
            flags,
            page: 0x1000,
            relative: elf::R_RISCV_RELATIVE,
            imported: elf::R_RISCV_64,
            absolute: elf::R_RISCV_64,
            through_slot: &[elf::R_RISCV_GOT_HI20],
        }),
        other => Err(LibraryError::Unsupported(other)),
    }
}

/// The shared library `name` (its `DT_SONAME`) of an object file, which needs these libraries (`DT_NEEDED`).
pub fn write(name: &str, needs: &[&str], object: &[u8]) -> Result<Vec<u8>, LibraryError> {
    let file = ElfFile64::<LittleEndian>::parse(object)?;
    let machine = machine(&file)?;
    let mut link = Link::default();
    link.symbols(&file)?;
    link.sections(&file, &machine)?;
    file::write(link, &file, &machine, (name, needs), build_id(name, needs, object))
}

/// A number for debuggers to tell builds apart by, from all that the file depends on: FNV-1a with 128 bits.
fn build_id(name: &str, needs: &[&str], object: &[u8]) -> [u8; 16] {
    let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let step =
        |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    // Names end with a zero.
    let names = [name].into_iter().chain(needs.iter().copied()).flat_map(|name| name.as_bytes().iter().chain(&[0]));
    names.chain(object).fold(start, step).to_be_bytes()
}

/// A section of the library that sections of the object become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Constants,
    Frames,
    Code,
    /// Constants that hold addresses.
    Data,
    /// Functions to call when the library is unloaded.
    AtEnd,
    /// Memory that is zero at first.
    Zeros,
}

const KINDS: [Kind; 6] = [Kind::Constants, Kind::Frames, Kind::Code, Kind::Data, Kind::AtEnd, Kind::Zeros];

/// A section of the library.
#[derive(Clone, Default)]
struct Part {
    /// The section's contents; empty for zeros.
    bytes: Vec<u8>,
    size: usize,
    align: usize,
    /// Its address in memory, which is its offset in the file.
    address: usize,
}

/// A symbol that is defined in the object.
struct Symbol {
    name: String,
    section: SectionIndex,
    offset: usize,
    size: u64,
    /// `STT_FUNC` or `STT_OBJECT`.
    kind: u8,
}

/// The object, sorted for a library.
#[derive(Default)]
struct Link {
    /// Names of the C library's functions.
    imports: Vec<String>,
    exports: Vec<Symbol>,
    locals: Vec<Symbol>,
    parts: [Part; KINDS.len()],
    /// Where each section of the object went: the part and the offset in it.
    homes: HashMap<SectionIndex, (Kind, usize)>,
    /// Symbols that are reached through a slot, in the order of the slots: the imported ones first, then some of the
    /// library's own.
    slots: Vec<SymbolIndex>,
    /// Address of the slots.
    slots_at: usize,
}

impl Link {
    fn symbols(&mut self, file: &ElfFile64<LittleEndian>) -> Result<(), LibraryError> {
        for symbol in file.symbols() {
            let name = symbol.name()?.to_string();
            if name.is_empty() {
                continue;
            }
            if symbol.is_undefined() {
                self.slots.push(symbol.index());
                self.imports.push(name);
                continue;
            }
            let Some(section) = symbol.section_index() else { continue };
            let entry = symbol.elf_symbol();
            let (offset, size, kind) = (symbol.address() as usize, entry.st_size(LittleEndian), entry.st_type());
            let list = if symbol.is_global() { &mut self.exports } else { &mut self.locals };
            if matches!(kind, elf::STT_FUNC | elf::STT_OBJECT) {
                list.push(Symbol { name, section, offset, size, kind });
            }
        }
        // Symbols of one bucket of the hash table stand together.
        let buckets = self.buckets();
        self.exports.sort_by_key(|symbol| elf::gnu_hash(symbol.name.as_bytes()) % buckets);
        Ok(())
    }

    /// Returns the number of buckets of the table that finds exported symbols by name.
    fn buckets(&self) -> u32 {
        (self.exports.len() as u32 / 4).max(1)
    }

    fn part(&mut self, kind: Kind) -> &mut Part {
        &mut self.parts[kind as usize]
    }

    /// Puts sections of one kind one behind the other, and lists what is reached through slots.
    fn sections(&mut self, file: &ElfFile64<LittleEndian>, machine: &Machine) -> Result<(), LibraryError> {
        for section in file.sections() {
            let kind = match (section.name(), section.kind()) {
                (Ok(".eh_frame"), _) => Kind::Frames,
                (Ok(".fini_array"), _) => Kind::AtEnd,
                (_, SectionKind::ReadOnlyData | SectionKind::ReadOnlyString) => Kind::Constants,
                (_, SectionKind::Text) => Kind::Code,
                (_, SectionKind::ReadOnlyDataWithRel | SectionKind::Data) => Kind::Data,
                (_, SectionKind::UninitializedData) => Kind::Zeros,
                _ => continue,
            };
            let (align, size) = (section.align().max(1) as usize, section.size() as usize);
            let part = self.part(kind);
            part.align = part.align.max(align);
            let at = part.size.next_multiple_of(align);
            part.size = at + size;
            if kind != Kind::Zeros {
                part.bytes.resize(at, 0);
                part.bytes.extend(section.data()?);
            }
            self.homes.insert(section.index(), (kind, at));
            for (_, relocation) in section.relocations() {
                if let (RelocationFlags::Elf { r_type }, RelocationTarget::Symbol(index)) =
                    (relocation.flags(), relocation.target())
                    && machine.through_slot.contains(&r_type)
                    && !self.slots.contains(&index)
                {
                    self.slots.push(index);
                }
            }
        }
        Ok(())
    }

    /// The address in the library of a place in a section of the object.
    fn address(&self, section: SectionIndex, offset: usize) -> Result<usize, LibraryError> {
        let (kind, at) = self
            .homes
            .get(&section)
            .ok_or_else(|| LibraryError::internal("a reference to a section that is left out"))?;
        Ok(self.parts[*kind as usize].address + at + offset)
    }
}
