//! Shared libraries without a linker: the object's sections laid out, its references resolved, the tables of a dynamic
//! ELF file around them. The file depends on the object alone.
//!
//! Three segments: tables and constants (read), code (read and execute), what the loader fills in (addresses of kernels in
//! the plan, of the C library's functions; read-only after loading).

use object::elf;
use object::read::elf::{ElfFile64, Sym};
use object::read::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SymbolIndex};
use object::{LittleEndian, SectionIndex, SectionKind};
use std::collections::HashMap;

/// Relocations that go through a slot which the loader fills.
const THROUGH_SLOT: [(object::Architecture, u32); 3] = [
    (object::Architecture::X86_64, elf::R_X86_64_GOTPCREL),
    (object::Architecture::Aarch64, elf::R_AARCH64_ADR_GOT_PAGE),
    (object::Architecture::Aarch64, elf::R_AARCH64_LD64_GOT_LO12_NC),
];

/// What differs between processors.
struct Machine {
    code: u16,
    /// Segments start at multiples of this: the largest pages that Linux has there.
    page: usize,
    /// Types of dynamic relocations.
    relative: u32,
    buffer: u32,
}

fn machine(file: &ElfFile64<LittleEndian>) -> Result<Machine, String> {
    match file.architecture() {
        object::Architecture::X86_64 => Ok(Machine {
            code: elf::EM_X86_64,
            page: 0x1000,
            relative: elf::R_X86_64_RELATIVE,
            buffer: elf::R_X86_64_GLOB_DAT,
        }),
        object::Architecture::Aarch64 => Ok(Machine {
            code: elf::EM_AARCH64,
            page: 0x10000,
            relative: elf::R_AARCH64_RELATIVE,
            buffer: elf::R_AARCH64_GLOB_DAT,
        }),
        other => Err(format!("no shared library can be written for {other:?}")),
    }
}

/// The shared library `name` (its `DT_SONAME`) of an object file.
pub fn write(name: &str, object: &[u8]) -> Result<Vec<u8>, String> {
    let file = ElfFile64::<LittleEndian>::parse(object).map_err(|e| e.to_string())?;
    let machine = machine(&file)?;
    let mut link = Link::default();
    link.symbols(&file)?;
    link.place(&file, name, machine.page)?;
    link.relocate(&file, &machine)?;
    Ok(link.file(&machine))
}

/// A part of the output.
#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    address: usize,
}

#[derive(Default)]
struct Link {
    /// Names of the C library's functions, then exported ones with where they are defined.
    imports: Vec<String>,
    exports: Vec<(String, SectionIndex, usize, usize)>,
    hash: Part,
    symbols: Part,
    strings: Part,
    relocations: Part,
    constants: Part,
    code: Part,
    data: Part,
    buffers: Part,
    dynamic: Part,
    /// Where each section of the object went: the part (0 constants, 1 code, 2 data) and the offset in it.
    sections: HashMap<SectionIndex, (usize, usize)>,
    /// The slot of each symbol that is reached through one: the imported ones first, then some of the library's own.
    slot_of: HashMap<SymbolIndex, usize>,
    soname: usize,
    needed: usize,
}

fn align(value: usize, to: usize) -> usize {
    value.next_multiple_of(to)
}

impl Link {
    fn symbols(&mut self, file: &ElfFile64<LittleEndian>) -> Result<(), String> {
        for symbol in file.symbols() {
            let name = symbol.name().map_err(|e| e.to_string())?.to_string();
            if symbol.is_undefined() && !name.is_empty() {
                self.slot_of.insert(symbol.index(), self.imports.len());
                self.imports.push(name);
            } else if symbol.is_global() && symbol.is_definition() {
                let section = symbol.section_index().ok_or("an exported symbol without a section")?;
                let size = symbol.elf_symbol().st_size(LittleEndian) as usize;
                self.exports.push((name, section, symbol.address() as usize, size));
            }
        }
        Ok(())
    }

    fn part(&mut self, number: usize) -> &mut Part {
        match number {
            0 => &mut self.constants,
            1 => &mut self.code,
            _ => &mut self.data,
        }
    }

    fn string(&mut self, text: &str) -> usize {
        let at = self.strings.bytes.len();
        self.strings.bytes.extend(text.bytes().chain([0]));
        at
    }

    /// Sizes first, then addresses: everything in front of the code depends on counts alone.
    fn place(&mut self, file: &ElfFile64<LittleEndian>, name: &str, page: usize) -> Result<(), String> {
        let mut relative = 0;
        for section in file.sections() {
            let number = match section.kind() {
                SectionKind::ReadOnlyData | SectionKind::ReadOnlyString => 0,
                SectionKind::Text => 1,
                SectionKind::ReadOnlyDataWithRel | SectionKind::Data => 2,
                _ => continue,
            };
            let bytes = section.data().map_err(|e| e.to_string())?.to_vec();
            let part = self.part(number);
            part.bytes.resize(align(part.bytes.len(), (section.align() as usize).max(64)), 0);
            let at = part.bytes.len();
            part.bytes.extend(bytes);
            self.sections.insert(section.index(), (number, at));
            relative += if number == 2 { section.relocations().count() } else { 0 };
            for (_, relocation) in section.relocations() {
                if let (RelocationFlags::Elf { r_type }, RelocationTarget::Symbol(index)) =
                    (relocation.flags(), relocation.target())
                    && THROUGH_SLOT.contains(&(file.architecture(), r_type))
                {
                    let next = self.slot_of.len();
                    self.slot_of.entry(index).or_insert(next);
                }
            }
        }
        self.strings.bytes.push(0);
        (self.soname, self.needed) = (self.string(name), self.string("libc.so.6"));
        let count = 1 + self.imports.len() + self.exports.len();
        // One bucket for each exported name at least, as few collisions as a small table needs.
        let buckets = self.exports.len().max(1).next_power_of_two();
        self.hash.bytes = vec![0; 4 * (2 + buckets + count)];
        self.symbols.bytes = vec![0; 24 * count];
        let names: Vec<String> = self.imports.iter().chain(self.exports.iter().map(|e| &e.0)).cloned().collect();
        let starts: Vec<usize> = names.iter().map(|n| self.string(n)).collect();
        self.buffers.bytes = vec![0; 8 * self.slot_of.len()];
        self.relocations.bytes = vec![0; 24 * (relative + self.slot_of.len())];
        self.dynamic.bytes = vec![0; 16 * 12];
        let mut at = 64 + 56 * HEADERS;
        for part in [&mut self.hash, &mut self.symbols, &mut self.strings, &mut self.relocations, &mut self.constants] {
            part.address = align(at, 64);
            at = part.address + part.bytes.len();
        }
        self.code.address = align(at, page);
        at = align(self.code.address + self.code.bytes.len(), page);
        for part in [&mut self.data, &mut self.buffers, &mut self.dynamic] {
            part.address = align(at, 64);
            at = part.address + part.bytes.len();
        }
        self.tables(&names, &starts, buckets)
    }

    /// The table of symbols and the one that finds them by name.
    fn tables(&mut self, names: &[String], starts: &[usize], buckets: usize) -> Result<(), String> {
        let count = names.len() + 1;
        let put = |bytes: &mut Vec<u8>, index: usize, value: u32| {
            bytes[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
        };
        put(&mut self.hash.bytes, 0, buckets as u32);
        put(&mut self.hash.bytes, 1, count as u32);
        for (i, (name, start)) in names.iter().zip(starts).enumerate() {
            let (info, shndx, value, size) = match i.checked_sub(self.imports.len()) {
                None => (elf::STB_GLOBAL << 4, elf::SHN_UNDEF, 0, 0),
                Some(export) => {
                    let (_, section, offset, size) = self.exports[export].clone();
                    let address = self.address_in(section, offset)?;
                    (elf::STB_GLOBAL << 4 | elf::STT_FUNC, CODE_SECTION, address, size)
                }
            };
            let entry = 24 * (i + 1);
            let mut bytes = (*start as u32).to_le_bytes().to_vec();
            bytes.extend([info, elf::STV_DEFAULT]);
            bytes.extend(shndx.to_le_bytes());
            bytes.extend((value as u64).to_le_bytes());
            bytes.extend((size as u64).to_le_bytes());
            self.symbols.bytes[entry..entry + 24].copy_from_slice(&bytes);
            // The symbol goes to the front of its bucket's chain.
            let bucket = 2 + elf::hash(name.as_bytes()) as usize % buckets;
            let first: [u8; 4] = self.hash.bytes[4 * bucket..4 * bucket + 4].try_into().expect("four bytes");
            put(&mut self.hash.bytes, 2 + buckets + i + 1, u32::from_le_bytes(first));
            put(&mut self.hash.bytes, bucket, i as u32 + 1);
        }
        Ok(())
    }

    fn address_in(&mut self, section: SectionIndex, offset: usize) -> Result<usize, String> {
        let &(part, at) = self.sections.get(&section).ok_or("a reference to a section that is left out")?;
        Ok(self.part(part).address + at + offset)
    }

    fn relocate(&mut self, file: &ElfFile64<LittleEndian>, machine: &Machine) -> Result<(), String> {
        let mut entries: Vec<(usize, u64, i64)> = Vec::new();
        for section in file.sections() {
            let Some(&(number, start)) = self.sections.get(&section.index()) else { continue };
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(index) = relocation.target() else {
                    return Err("a relocation without a symbol".into());
                };
                let RelocationFlags::Elf { r_type } = relocation.flags() else {
                    return Err("a relocation that is none of ELF".into());
                };
                let symbol = file.symbol_by_index(index).map_err(|e| e.to_string())?;
                let target = match symbol.section_index() {
                    Some(section) => Some(self.address_in(section, symbol.address() as usize)?),
                    None => None,
                };
                let buffer = self.slot_of.get(&index).map(|i| self.buffers.address + 8 * i);
                let at = start + offset as usize;
                let place = self.part(number).address + at;
                let addend = relocation.addend();
                let absolute = matches!(
                    (machine.code, r_type),
                    (elf::EM_X86_64, elf::R_X86_64_64) | (elf::EM_AARCH64, elf::R_AARCH64_ABS64)
                );
                if absolute {
                    let target = target.ok_or("an imported address in data")?;
                    entries.push((place, u64::from(machine.relative), target as i64 + addend));
                    continue;
                }
                let bytes = &mut self.part(number).bytes[at..at + 4];
                let value = Reference { place: place as i64, target, buffer, addend };
                let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                let patched = match machine.code {
                    elf::EM_X86_64 => value.x86(r_type)?,
                    _ => value.arm(r_type, word)?,
                };
                bytes.copy_from_slice(&patched.to_le_bytes());
            }
        }
        for i in 0..self.imports.len() {
            let info = (i as u64 + 1) << 32 | u64::from(machine.buffer);
            entries.push((self.buffers.address + 8 * i, info, 0));
        }
        let mut own: Vec<(usize, SymbolIndex)> = self.slot_of.iter().map(|(&s, &i)| (i, s)).collect();
        own.retain(|(buffer, _)| *buffer >= self.imports.len());
        own.sort_by_key(|o| o.0);
        for (buffer, index) in own {
            let symbol = file.symbol_by_index(index).map_err(|e| e.to_string())?;
            let section = symbol.section_index().ok_or("a buffer of a symbol without a section")?;
            let target = self.address_in(section, symbol.address() as usize)?;
            entries.push((self.buffers.address + 8 * buffer, u64::from(machine.relative), target as i64));
        }
        self.relocations.bytes.clear();
        for (place, info, addend) in entries {
            self.relocations.bytes.extend((place as u64).to_le_bytes());
            self.relocations.bytes.extend(info.to_le_bytes());
            self.relocations.bytes.extend(addend.to_le_bytes());
        }
        Ok(())
    }
}

/// A reference from code: from where, and to what.
struct Reference {
    place: i64,
    target: Option<usize>,
    /// Where the loader puts the address of something imported.
    buffer: Option<usize>,
    addend: i64,
}

impl Reference {
    fn here(&self) -> Result<i64, String> {
        self.target.map(|t| t as i64).ok_or_else(|| "a direct reference to something imported".to_string())
    }

    fn far(&self) -> Result<i64, String> {
        self.buffer.map(|s| s as i64).ok_or_else(|| "an indirect reference to something in the library".to_string())
    }

    fn x86(&self, kind: u32) -> Result<u32, String> {
        let target = match kind {
            elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 => self.here()?,
            elf::R_X86_64_GOTPCREL => self.far()?,
            _ => return Err(format!("an unknown relocation {kind}")),
        };
        let distance = i32::try_from(target + self.addend - self.place).map_err(|e| e.to_string())?;
        Ok(distance as u32)
    }

    fn arm(&self, kind: u32, word: u32) -> Result<u32, String> {
        let pages = |target: i64| {
            let pages = ((target + self.addend) >> 12) - (self.place >> 12);
            word | (pages as u32 & 3) << 29 | (pages as u32 >> 2 & 0x7ffff) << 5
        };
        Ok(match kind {
            elf::R_AARCH64_CALL26 | elf::R_AARCH64_JUMP26 => {
                word | ((self.here()? + self.addend - self.place) >> 2) as u32 & 0x3ff_ffff
            }
            elf::R_AARCH64_ADR_PREL_PG_HI21 => pages(self.here()?),
            elf::R_AARCH64_ADR_GOT_PAGE => pages(self.far()?),
            elf::R_AARCH64_ADD_ABS_LO12_NC => word | ((self.here()? + self.addend) as u32 & 0xfff) << 10,
            elf::R_AARCH64_LD64_GOT_LO12_NC => word | ((self.far()? + self.addend) as u32 & 0xfff) >> 3 << 10,
            _ => return Err(format!("an unknown relocation {kind}")),
        })
    }
}

/// Program headers: three segments to load, the dynamic table, what becomes read-only, the stack.
const HEADERS: usize = 6;
/// Number of the code's section header.
const CODE_SECTION: u16 = 6;

impl Link {
    fn dynamic(&mut self) {
        let relocations = self.relocations.bytes.len();
        let entries = [
            (elf::DT_NEEDED, self.needed),
            (elf::DT_SONAME, self.soname),
            (elf::DT_HASH, self.hash.address),
            (elf::DT_STRTAB, self.strings.address),
            (elf::DT_SYMTAB, self.symbols.address),
            (elf::DT_STRSZ, self.strings.bytes.len()),
            (elf::DT_SYMENT, 24),
            (elf::DT_RELA, self.relocations.address),
            (elf::DT_RELASZ, relocations),
            (elf::DT_RELAENT, 24),
            // All addresses are filled in at loading, so that the pages can be made read-only.
            (elf::DT_FLAGS, elf::DF_BIND_NOW as usize),
            (elf::DT_NULL, 0),
        ];
        self.dynamic.bytes.clear();
        for (tag, value) in entries {
            self.dynamic.bytes.extend((tag as u64).to_le_bytes());
            self.dynamic.bytes.extend((value as u64).to_le_bytes());
        }
    }

    fn file(mut self, machine: &Machine) -> Vec<u8> {
        self.dynamic();
        let page = machine.page;
        let end = |part: &Part| part.address + part.bytes.len();
        let (first, code) = (end(&self.constants), end(&self.code));
        let (data, last) = (self.data.address, end(&self.dynamic));
        let mut out = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
        out.resize(16, 0);
        let mut half = |values: &[u16]| values.iter().for_each(|v| out.extend(v.to_le_bytes()));
        half(&[elf::ET_DYN, machine.code, 1, 0]);
        let names = b"\0.hash\0.dynsym\0.dynstr\0.rela.dyn\0.rodata\0.text\0.data.rel.ro\0.got\0.dynamic\0.shstrtab\0";
        let table = align(last + names.len(), 64);
        for value in [0, 64, table as u64] {
            out.extend(value.to_le_bytes());
        }
        out.extend(0u32.to_le_bytes());
        for value in [64, 56, HEADERS as u16, 64, 11, 10] {
            out.extend(value.to_le_bytes());
        }
        let (r, w, x) = (elf::PF_R, elf::PF_W, elf::PF_X);
        let whole = |part: &Part| (part.address, part.bytes.len());
        let headers = [
            (elf::PT_LOAD, r, (0, first), page),
            (elf::PT_LOAD, r | x, (self.code.address, code - self.code.address), page),
            (elf::PT_LOAD, r | w, (data, last - data), page),
            (elf::PT_DYNAMIC, r | w, whole(&self.dynamic), 8),
            (elf::PT_GNU_RELRO, r, (data, last - data), 1),
            (elf::PT_GNU_STACK, r | w, (0, 0), 16),
        ];
        for (kind, flags, (address, size), alignment) in headers {
            out.extend(kind.to_le_bytes());
            out.extend(flags.to_le_bytes());
            // Memory that becomes read-only ends with its page; nothing lies behind it.
            let memory = if kind == elf::PT_GNU_RELRO { align(address + size, page) - address } else { size };
            let memory =
                if kind == elf::PT_LOAD && flags == r | w { align(address + size, page) - address } else { memory };
            for value in [address, address, address, size, memory, alignment] {
                out.extend((value as u64).to_le_bytes());
            }
        }
        let parts = [
            (&self.hash, elf::SHT_HASH, elf::SHF_ALLOC, 2, 4),
            (&self.symbols, elf::SHT_DYNSYM, elf::SHF_ALLOC, 3, 24),
            (&self.strings, elf::SHT_STRTAB, elf::SHF_ALLOC, 0, 0),
            (&self.relocations, elf::SHT_RELA, elf::SHF_ALLOC, 2, 24),
            (&self.constants, elf::SHT_PROGBITS, elf::SHF_ALLOC, 0, 0),
            (&self.code, elf::SHT_PROGBITS, elf::SHF_ALLOC | elf::SHF_EXECINSTR, 0, 0),
            (&self.data, elf::SHT_PROGBITS, elf::SHF_ALLOC | elf::SHF_WRITE, 0, 0),
            (&self.buffers, elf::SHT_PROGBITS, elf::SHF_ALLOC | elf::SHF_WRITE, 0, 8),
            (&self.dynamic, elf::SHT_DYNAMIC, elf::SHF_ALLOC | elf::SHF_WRITE, 3, 16),
        ];
        for (part, ..) in &parts {
            out.resize(part.address, 0);
            out.extend(&part.bytes);
        }
        out.extend(names);
        out.resize(table + 64, 0);
        let starts: Vec<usize> =
            (0..names.len()).filter(|&i| i + 1 < names.len() && names[i] == 0).map(|i| i + 1).collect();
        let mut section =
            |name: usize, kind: u32, flags: u32, at: usize, offset: usize, size: usize, link: u32, entry: u64| {
                out.extend((name as u32).to_le_bytes());
                out.extend(kind.to_le_bytes());
                for value in [u64::from(flags), at as u64, offset as u64, size as u64] {
                    out.extend(value.to_le_bytes());
                }
                out.extend(link.to_le_bytes());
                // The number of local symbols.
                out.extend(u32::from(kind == elf::SHT_DYNSYM).to_le_bytes());
                let alignment: u64 = if kind == elf::SHT_STRTAB { 1 } else { 8 };
                for value in [alignment, entry] {
                    out.extend(value.to_le_bytes());
                }
            };
        for (i, (part, kind, flags, link, entry)) in parts.iter().enumerate() {
            section(starts[i], *kind, *flags, part.address, part.address, part.bytes.len(), *link, *entry);
        }
        section(starts[9], elf::SHT_STRTAB, 0, 0, last, names.len(), 0, 0);
        out
    }
}
