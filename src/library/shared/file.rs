//! The file: first a place for everything, then the references, then the bytes in the order of their places.

use super::super::error::LibraryError;
use super::relocate::Dynamic;
use super::{Kind, Link, Machine, Part, Symbol, frames};
use object::read::elf::ElfFile64;
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, Rel, SectionHeader, SectionIndex, Sym, Writer};
use object::{Endianness, LittleEndian, elf};

/// Program headers: three segments to load, the dynamic table, what becomes read-only, the frames' table, the note,
/// the stack.
const SEGMENTS: u32 = 8;
/// Entries of the dynamic table beside the libraries that are needed.
const DYNAMICS: usize = 14;
/// Header of the note with the build's number: sizes of the name and of the number, type, name.
const NOTE: [u8; 16] = [4, 0, 0, 0, 16, 0, 0, 0, elf::NT_GNU_BUILD_ID as u8, 0, 0, 0, b'G', b'N', b'U', 0];
/// The table by name: words of its filter, and its second hash's shift.
const BLOOM: u32 = 4;
const BLOOM_SHIFT: u32 = 26;

/// A section's number, name and place.
#[derive(Clone, Copy)]
struct Section {
    index: SectionIndex,
    name: StringId,
    at: usize,
    size: usize,
}

/// A file under construction.
struct File<'a> {
    w: Writer<'a>,
    machine: &'a Machine,
    link: Link,
    id: [u8; 16],
    relocations: Vec<Dynamic>,
    names: Names,
    note: Section,
    rela: Section,
    frames_table: Section,
    slots: Section,
    /// The library's sections, by `Kind`.
    parts: Vec<Section>,
    hash_at: usize,
    dynsym_at: usize,
    dynstr_at: usize,
    dynamic_at: usize,
}

/// Names in the tables of strings.
struct Names {
    soname: StringId,
    needed: Vec<StringId>,
    imports: Vec<StringId>,
    exports: Vec<StringId>,
    /// Names in the table for debuggers: local symbols, then exported ones.
    all: Vec<StringId>,
}

/// Writes the whole library; `link` is what `object` was sorted into.
pub(super) fn write(
    link: Link,
    object: &ElfFile64<LittleEndian>,
    machine: &Machine,
    (name, needs): (&str, &[&str]),
    id: [u8; 16],
) -> Result<Vec<u8>, LibraryError> {
    let names: [Vec<Vec<u8>>; 3] = [
        link.imports.iter().map(|n| n.clone().into_bytes()).collect(),
        link.exports.iter().map(|s| s.name.clone().into_bytes()).collect(),
        link.locals.iter().chain(&link.exports).map(|s| s.name.clone().into_bytes()).collect(),
    ];
    let mut bytes = Vec::new();
    let mut w = Writer::new(Endianness::Little, true, &mut bytes);
    let names = Names {
        soname: w.add_dynamic_string(name.as_bytes()),
        needed: needs.iter().map(|n| w.add_dynamic_string(n.as_bytes())).collect(),
        imports: names[0].iter().map(|n| w.add_dynamic_string(n)).collect(),
        exports: names[1].iter().map(|n| w.add_dynamic_string(n)).collect(),
        all: names[2].iter().map(|n| w.add_string(n)).collect(),
    };
    let mut file = File::new(w, machine, link, names, id);
    file.rela.size = 24 * file.link.count_dynamic(object, machine);
    file.reserve();
    file.relocations = file.link.relocate(object, machine)?;
    if 24 * file.relocations.len() != file.rela.size {
        return Err(LibraryError::internal("relocations were counted wrong"));
    }
    file.headers()?;
    file.read_only()?;
    file.changed()?;
    file.symbols();
    file.sections();
    Ok(bytes)
}

impl<'a> File<'a> {
    /// Numbers all sections, in the order of their places.
    fn new(mut w: Writer<'a>, machine: &'a Machine, link: Link, names: Names, id: [u8; 16]) -> File<'a> {
        let section = |w: &mut Writer<'a>, name: &'static [u8], size: usize| Section {
            name: w.add_section_name(name),
            index: w.reserve_section_index(),
            at: 0,
            size,
        };
        let size = |kind: Kind| link.parts[kind as usize].size;
        let note = section(&mut w, b".note.gnu.build-id", NOTE.len() + id.len());
        w.reserve_gnu_hash_section_index();
        w.reserve_dynsym_section_index();
        w.reserve_dynstr_section_index();
        let rela = section(&mut w, b".rela.dyn", 0);
        let constants = section(&mut w, b".rodata", size(Kind::Constants));
        let frames_table = section(&mut w, b".eh_frame_hdr", frames::size(&link.parts[Kind::Frames as usize]));
        let mut parts = vec![constants];
        let others: [(&'static [u8], Kind); 4] = [
            (b".eh_frame", Kind::Frames),
            (b".text", Kind::Code),
            (b".data.rel.ro", Kind::Data),
            (b".fini_array", Kind::AtEnd),
        ];
        parts.extend(others.map(|(name, kind)| section(&mut w, name, size(kind))));
        let slots = section(&mut w, b".got", 8 * link.slots.len());
        w.reserve_dynamic_section_index();
        parts.push(section(&mut w, b".bss", size(Kind::Zeros)));
        w.reserve_symtab_section_index();
        w.reserve_strtab_section_index();
        w.reserve_shstrtab_section_index();
        let [hash_at, dynsym_at, dynstr_at, dynamic_at] = [0; 4];
        let relocations = vec![];
        File {
            w,
            machine,
            link,
            id,
            relocations,
            names,
            note,
            rela,
            frames_table,
            slots,
            parts,
            hash_at,
            dynsym_at,
            dynstr_at,
            dynamic_at,
        }
    }

    /// Gives everything a place.
    fn reserve(&mut self) {
        let w = &mut self.w;
        w.reserve_file_header();
        w.reserve_program_headers(SEGMENTS);
        self.note.at = w.reserve(self.note.size, 4);
        let (imports, exports) = (self.link.imports.len(), self.link.exports.len());
        (0..imports + exports).for_each(|_| _ = w.reserve_dynamic_symbol_index());
        self.hash_at = w.reserve_gnu_hash(BLOOM, self.link.buckets(), exports as u32);
        self.dynsym_at = w.reserve_dynsym();
        self.dynstr_at = w.reserve_dynstr();
        self.rela.at = w.reserve(self.rela.size, 8);
        let page = self.machine.page;
        let place = |w: &mut Writer, section: &mut Section, part: &mut Part, align: usize| {
            section.at = w.reserve(section.size, part.align.max(align));
            part.address = section.at;
        };
        let parts = &mut self.link.parts;
        place(w, &mut self.parts[0], &mut parts[0], 64);
        self.frames_table.at = w.reserve(self.frames_table.size, 4);
        // The frames, the code, data and the functions to call at the end.
        for (i, align) in [8, page, page, 8].into_iter().enumerate() {
            place(w, &mut self.parts[i + 1], &mut parts[i + 1], align);
        }
        self.slots.at = w.reserve(self.slots.size, 8);
        self.link.slots_at = self.slots.at;
        self.dynamic_at = w.reserve_dynamic(DYNAMICS + self.names.needed.len());
        // Zeros have addresses only, after the page in which the file's part of the segment ends.
        let zeros = &mut self.link.parts[Kind::Zeros as usize];
        zeros.address = w.reserved_len().next_multiple_of(page.max(zeros.align));
        self.parts[Kind::Zeros as usize].at = zeros.address;
        let (locals, exports) = (self.link.locals.iter(), self.link.exports.iter());
        for symbol in locals.chain(exports) {
            let kind = self.link.homes.get(&symbol.section).map(|home| home.0);
            w.reserve_symbol_index(kind.map(|kind| self.parts[kind as usize].index));
        }
        w.reserve_symtab();
        w.reserve_strtab();
        w.reserve_shstrtab();
        w.reserve_section_headers();
    }

    fn end(&self, kind: Kind) -> usize {
        let part = self.parts[kind as usize];
        part.at + part.size
    }

    fn headers(&mut self) -> object::write::Result<()> {
        let header = FileHeader {
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            e_type: elf::ET_DYN,
            e_machine: self.machine.code,
            e_entry: 0,
            e_flags: self.machine.flags,
        };
        self.w.write_file_header(&header)?;
        self.w.write_align_program_headers();
        let (r, w, x) = (elf::PF_R, elf::PF_W, elf::PF_X);
        let page = self.machine.page;
        let (code, data) = (self.parts[Kind::Code as usize].at, self.parts[Kind::Data as usize].at);
        let dynamic = 16 * (DYNAMICS + self.names.needed.len());
        let last = self.dynamic_at + dynamic;
        // What is read-only after loading ends with its page; the zeros follow.
        let fixed = last.next_multiple_of(page) - data;
        let segments = [
            (elf::PT_LOAD, r, 0, self.end(Kind::Frames), None, page),
            (elf::PT_LOAD, r | x, code, self.end(Kind::Code) - code, None, page),
            (elf::PT_LOAD, r | w, data, last - data, Some(self.end(Kind::Zeros) - data), page),
            (elf::PT_DYNAMIC, r | w, self.dynamic_at, dynamic, None, 8),
            (elf::PT_GNU_RELRO, r, data, last - data, Some(fixed), 1),
            (elf::PT_GNU_EH_FRAME, r, self.frames_table.at, self.frames_table.size, None, 4),
            (elf::PT_NOTE, r, self.note.at, self.note.size, None, 4),
            (elf::PT_GNU_STACK, r | w, 0, 0, None, 16),
        ];
        for (p_type, p_flags, at, size, memory, align) in segments {
            self.w.write_program_header(&ProgramHeader {
                p_type,
                p_flags,
                p_offset: at as u64,
                p_vaddr: at as u64,
                p_paddr: at as u64,
                p_filesz: size as u64,
                p_memsz: memory.unwrap_or(size) as u64,
                p_align: align as u64,
            });
        }
        Ok(())
    }

    /// Writes the note, the loader's tables, constants, frames and code.
    fn read_only(&mut self) -> object::write::Result<()> {
        let (w, link) = (&mut self.w, &self.link);
        w.pad_until(self.note.at);
        w.write(&NOTE);
        w.write(&self.id);
        let exports = link.exports.len() as u32;
        let hash = |i: u32| elf::gnu_hash(link.exports[i as usize].name.as_bytes());
        let first = 1 + link.imports.len() as u32;
        w.write_gnu_hash(first, BLOOM_SHIFT, BLOOM, link.buckets(), exports, hash);
        w.write_null_dynamic_symbol();
        for &name in &self.names.imports {
            let st_info = elf::STB_GLOBAL << 4;
            let [st_value, st_size] = [0; 2];
            let (name, st_other, st_shndx) = (Some(name), elf::STV_DEFAULT, elf::SHN_UNDEF);
            w.write_dynamic_symbol(&Sym { name, section: None, st_info, st_other, st_shndx, st_value, st_size });
        }
        for (symbol, &name) in link.exports.iter().zip(&self.names.exports) {
            w.write_dynamic_symbol(&entry(link, &self.parts, symbol, name, elf::STB_GLOBAL));
        }
        w.write_dynstr();
        w.write_align_relocation();
        for d in &self.relocations {
            let rel = Rel { r_offset: d.place as u64, r_sym: d.symbol, r_type: d.kind, r_addend: d.addend };
            w.write_relocation(true, &rel);
        }
        w.pad_until(self.parts[Kind::Constants as usize].at);
        w.write(&link.parts[Kind::Constants as usize].bytes);
        w.pad_until(self.frames_table.at);
        w.write(&frames::table(&link.parts[Kind::Frames as usize], self.frames_table.at));
        for kind in [Kind::Frames, Kind::Code] {
            w.pad_until(self.parts[kind as usize].at);
            w.write(&link.parts[kind as usize].bytes);
        }
        Ok(())
    }

    /// Writes what the loader changes.
    fn changed(&mut self) -> object::write::Result<()> {
        let (w, link) = (&mut self.w, &self.link);
        for kind in [Kind::Data, Kind::AtEnd] {
            w.pad_until(self.parts[kind as usize].at);
            w.write(&link.parts[kind as usize].bytes);
        }
        w.pad_until(self.slots.at);
        w.write(&vec![0; self.slots.size]);
        w.write_align_dynamic();
        for &library in &self.names.needed {
            w.write_dynamic_string(elf::DT_NEEDED, library)?;
        }
        w.write_dynamic_string(elf::DT_SONAME, self.names.soname)?;
        let relative = self.relocations.iter().filter(|d| d.symbol == 0).count();
        let at_end = self.parts[Kind::AtEnd as usize];
        let entries = [
            (elf::DT_GNU_HASH, self.hash_at),
            (elf::DT_STRTAB, self.dynstr_at),
            (elf::DT_SYMTAB, self.dynsym_at),
            (elf::DT_STRSZ, w.dynstr_len()),
            (elf::DT_SYMENT, 24),
            (elf::DT_RELA, self.rela.at),
            (elf::DT_RELASZ, self.rela.size),
            (elf::DT_RELAENT, 24),
            (elf::DT_RELACOUNT, relative),
            (elf::DT_FINI_ARRAY, at_end.at),
            (elf::DT_FINI_ARRAYSZ, at_end.size),
            // All addresses are filled in at loading, so that the pages can be made read-only.
            (elf::DT_FLAGS, elf::DF_BIND_NOW as usize),
            (elf::DT_NULL, 0),
        ];
        debug_assert_eq!(entries.len() + 1, DYNAMICS);
        entries.into_iter().try_for_each(|(tag, value)| w.write_dynamic(tag, value as u64))
    }

    /// Writes the table of symbols for debuggers.
    fn symbols(&mut self) {
        let (w, link) = (&mut self.w, &self.link);
        w.write_null_symbol();
        let locals = link.locals.iter().map(|s| (s, elf::STB_LOCAL));
        let exports = link.exports.iter().map(|s| (s, elf::STB_GLOBAL));
        for ((symbol, binding), &name) in locals.chain(exports).zip(&self.names.all) {
            w.write_symbol(&entry(link, &self.parts, symbol, name, binding));
        }
        w.write_strtab();
        w.write_shstrtab();
    }

    /// Writes the headers of sections, in the order of their numbers.
    fn sections(&mut self) {
        self.w.write_null_section_header();
        let (a, wr, x) = (elf::SHF_ALLOC, elf::SHF_WRITE, elf::SHF_EXECINSTR);
        let dynsym = self.w.dynsym_index().0;
        self.section(self.note, elf::SHT_NOTE, a, 4, 0, 0);
        self.w.write_gnu_hash_section_header(self.hash_at as u64);
        self.w.write_dynsym_section_header(self.dynsym_at as u64, 1);
        self.w.write_dynstr_section_header(self.dynstr_at as u64);
        self.section(self.rela, elf::SHT_RELA, a, 8, dynsym, 24);
        let aligns: Vec<usize> = self.link.parts.iter().map(|part| part.align).collect();
        let parts = self.parts.clone();
        let part = |file: &mut Self, kind: Kind, sh_type: u32, flags: u32, entry: u64| {
            file.section(parts[kind as usize], sh_type, flags, aligns[kind as usize], 0, entry);
        };
        part(self, Kind::Constants, elf::SHT_PROGBITS, a, 0);
        self.section(self.frames_table, elf::SHT_PROGBITS, a, 4, 0, 0);
        part(self, Kind::Frames, elf::SHT_PROGBITS, a, 0);
        part(self, Kind::Code, elf::SHT_PROGBITS, a | x, 0);
        part(self, Kind::Data, elf::SHT_PROGBITS, a | wr, 0);
        part(self, Kind::AtEnd, elf::SHT_FINI_ARRAY, a | wr, 8);
        self.section(self.slots, elf::SHT_PROGBITS, a | wr, 8, 0, 8);
        self.w.write_dynamic_section_header(self.dynamic_at as u64);
        part(self, Kind::Zeros, elf::SHT_NOBITS, a | wr, 0);
        self.w.write_symtab_section_header(1 + self.link.locals.len() as u32);
        self.w.write_strtab_section_header();
        self.w.write_shstrtab_section_header();
    }

    fn section(&mut self, section: Section, sh_type: u32, flags: u32, align: usize, link: u32, entry: u64) {
        self.w.write_section_header(&SectionHeader {
            name: Some(section.name),
            sh_type,
            sh_flags: u64::from(flags),
            sh_addr: section.at as u64,
            sh_offset: if sh_type == elf::SHT_NOBITS { 0 } else { section.at as u64 },
            sh_size: section.size as u64,
            sh_link: link,
            sh_info: 0,
            sh_addralign: align as u64,
            sh_entsize: entry,
        });
    }
}

/// A symbol's entry in either table.
fn entry(link: &Link, parts: &[Section], symbol: &Symbol, name: StringId, binding: u8) -> Sym {
    let home = link.homes.get(&symbol.section);
    let address = home.map(|&(kind, at)| parts[kind as usize].at + at + symbol.offset);
    Sym {
        name: Some(name),
        section: home.map(|&(kind, _)| parts[kind as usize].index),
        st_info: binding << 4 | symbol.kind,
        st_other: elf::STV_DEFAULT,
        st_shndx: elf::SHN_ABS,
        st_value: address.unwrap_or(0) as u64,
        st_size: symbol.size,
    }
}
