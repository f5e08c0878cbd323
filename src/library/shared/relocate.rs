//! References of the object, resolved in the bytes where both ends are known, and left to the loader where they are
//! not.

use super::super::error::LibraryError;
use super::{Kind, Link, Machine};
use object::read::elf::ElfFile64;
use object::read::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SymbolIndex};
use object::{LittleEndian, SectionIndex, elf};
use std::collections::HashMap;

/// A relocation for the loader.
pub(super) struct Dynamic {
    /// Address of the word that it fills.
    pub place: usize,
    /// Number of the dynamic symbol, 0 for an address in the library.
    pub symbol: u32,
    /// Its type.
    pub kind: u32,
    /// What is added to the address.
    pub addend: i64,
}

impl Link {
    /// How many relocations the loader will have.
    pub(super) fn count_dynamic(&self, file: &ElfFile64<LittleEndian>, machine: &Machine) -> usize {
        let absolute = |section: SectionIndex| {
            let section = file.section_by_index(section).into_iter();
            let flags = section.flat_map(|s| s.relocations()).map(|(_, relocation)| relocation.flags());
            flags.filter(|f| matches!(f, RelocationFlags::Elf { r_type } if *r_type == machine.absolute)).count()
        };
        self.homes.keys().map(|&section| absolute(section)).sum::<usize>() + self.slots.len()
    }

    /// Resolves all references; gives the loader's relocations, those without a symbol first.
    pub(super) fn relocate(
        &mut self,
        file: &ElfFile64<LittleEndian>,
        machine: &Machine,
    ) -> Result<Vec<Dynamic>, LibraryError> {
        let mut dynamic: Vec<Dynamic> = Vec::new();
        // For each instruction that makes the upper part of a distance, that distance.
        let mut uppers: HashMap<i64, i64> = HashMap::new();
        for section in file.sections() {
            let Some(&(kind, start)) = self.homes.get(&section.index()) else { continue };
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(index) = relocation.target() else {
                    return Err(LibraryError::internal("a relocation without a symbol"));
                };
                let RelocationFlags::Elf { r_type } = relocation.flags() else {
                    return Err(LibraryError::internal("a relocation that is not one of ELF"));
                };
                let target = self.target(file, index)?;
                let (at, addend) = (start + offset as usize, relocation.addend());
                let place = self.part(kind).address + at;
                if r_type == machine.absolute {
                    let target = target.ok_or_else(|| LibraryError::internal("an imported address in data"))?;
                    let addend = target as i64 + addend;
                    dynamic.push(Dynamic { place, symbol: 0, kind: machine.relative, addend });
                } else {
                    let slot = self.slots.iter().position(|&s| s == index).map(|i| self.slots_at + 8 * i);
                    let to = Reference { place: place as i64, target, slot, addend };
                    match machine.code {
                        elf::EM_RISCV => self.patch_riscv(kind, at, r_type, &to, &mut uppers)?,
                        _ => self.patch(kind, at, machine, r_type, &to)?,
                    }
                }
            }
        }
        for (i, &index) in self.slots.iter().enumerate() {
            let place = self.slots_at + 8 * i;
            dynamic.push(match self.target(file, index)? {
                Some(target) => Dynamic { place, symbol: 0, kind: machine.relative, addend: target as i64 },
                // The imported symbols are the first of both lists.
                None => Dynamic { place, symbol: i as u32 + 1, kind: machine.imported, addend: 0 },
            });
        }
        dynamic.sort_by_key(|d| (d.symbol, d.place));
        Ok(dynamic)
    }

    /// The address of a symbol, `None` for an imported one.
    fn target(&self, file: &ElfFile64<LittleEndian>, index: SymbolIndex) -> Result<Option<usize>, LibraryError> {
        let symbol = file.symbol_by_index(index)?;
        symbol.section_index().map(|section| self.address(section, symbol.address() as usize)).transpose()
    }

    fn patch(
        &mut self,
        kind: Kind,
        at: usize,
        machine: &Machine,
        r_type: u32,
        to: &Reference,
    ) -> Result<(), LibraryError> {
        let bytes = &mut self.part(kind).bytes[at..at + 4];
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let patched = match machine.code {
            elf::EM_X86_64 => to.x86(r_type)?,
            _ => to.arm(r_type, word)?,
        };
        bytes.copy_from_slice(&patched.to_le_bytes());
        Ok(())
    }
}

impl Link {
    /// RISC-V's references are of two instructions: `auipc` adds the upper part of a distance to its own address, the
    /// next one has the lower part, with a sign. Where they have a relocation each, the second names the first.
    fn patch_riscv(
        &mut self,
        kind: Kind,
        at: usize,
        r_type: u32,
        to: &Reference,
        uppers: &mut HashMap<i64, i64>,
    ) -> Result<(), LibraryError> {
        let bytes = &mut self.part(kind).bytes;
        let mut set = |at: usize, part: u32| {
            let word = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            bytes[at..at + 4].copy_from_slice(&(word | part).to_le_bytes());
        };
        // Both parts of a distance, where they stand in the instructions.
        let split = |distance: i64| match i32::try_from(distance + 0x800) {
            Ok(upper) => Ok((upper as u32 & 0xffff_f000, (distance as u32 & 0xfff) << 20)),
            Err(_) => Err(LibraryError::Limit(FAR.into())),
        };
        match r_type {
            elf::R_RISCV_32_PCREL => set(at, to.distance(to.direct()?)?),
            elf::R_RISCV_CALL_PLT => {
                let (upper, lower) = split(to.direct()? + to.addend - to.place)?;
                set(at, upper);
                set(at + 4, lower);
            }
            elf::R_RISCV_GOT_HI20 => {
                let distance = to.slot()? + to.addend - to.place;
                uppers.insert(to.place, distance);
                set(at, split(distance)?.0);
            }
            elf::R_RISCV_PCREL_LO12_I => {
                let upper = uppers.get(&to.direct()?);
                let distance = upper.ok_or_else(|| LibraryError::internal("a lower part without an upper one"))?;
                set(at, split(*distance)?.1);
            }
            _ => return Err(unknown(r_type)),
        }
        Ok(())
    }
}

/// What an address that instructions cannot reach is called in an error.
const FAR: &str = "the library's code and data are further apart than its instructions reach, 2 GiB at most; \
                   without `--embed` the weights stay in a file of their own";

fn unknown(kind: u32) -> LibraryError {
    LibraryError::internal(format!("an unknown relocation {kind}"))
}

/// A reference from code: from where, and to what.
struct Reference {
    place: i64,
    target: Option<usize>,
    /// Where the loader puts the target's address, if it does.
    slot: Option<usize>,
    addend: i64,
}

impl Reference {
    fn direct(&self) -> Result<i64, LibraryError> {
        let target = self.target.map(|t| t as i64);
        target.ok_or_else(|| LibraryError::internal("a direct reference to something imported"))
    }

    fn slot(&self) -> Result<i64, LibraryError> {
        let slot = self.slot.map(|s| s as i64);
        slot.ok_or_else(|| LibraryError::internal("an indirect reference to something without a slot"))
    }

    /// The distance to `target` in 32 bits.
    fn distance(&self, target: i64) -> Result<u32, LibraryError> {
        let distance = i32::try_from(target + self.addend - self.place);
        distance.map(|d| d as u32).map_err(|_| LibraryError::Limit(FAR.into()))
    }

    fn x86(&self, kind: u32) -> Result<u32, LibraryError> {
        match kind {
            elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 => self.distance(self.direct()?),
            elf::R_X86_64_GOTPCREL => self.distance(self.slot()?),
            _ => Err(unknown(kind)),
        }
    }

    fn arm(&self, kind: u32, word: u32) -> Result<u32, LibraryError> {
        // Does it fit a signed number of `bits` bits?
        let within = |value: i64, bits: u32| match value >> (bits - 1) {
            0 | -1 => Ok(value as u32 & ((1 << bits) - 1)),
            _ => Err(LibraryError::Limit(FAR.into())),
        };
        let pages = |target: i64| {
            let pages = within(((target + self.addend) >> 12) - (self.place >> 12), 21)?;
            Ok::<_, LibraryError>(word | (pages & 3) << 29 | (pages >> 2) << 5)
        };
        Ok(match kind {
            elf::R_AARCH64_PREL32 => self.distance(self.direct()?)?,
            elf::R_AARCH64_CALL26 | elf::R_AARCH64_JUMP26 => {
                word | within((self.direct()? + self.addend - self.place) >> 2, 26)?
            }
            elf::R_AARCH64_ADR_PREL_PG_HI21 => pages(self.direct()?)?,
            elf::R_AARCH64_ADR_GOT_PAGE => pages(self.slot()?)?,
            elf::R_AARCH64_ADD_ABS_LO12_NC => word | ((self.direct()? + self.addend) as u32 & 0xfff) << 10,
            elf::R_AARCH64_LD64_GOT_LO12_NC => word | ((self.slot()? + self.addend) as u32 & 0xfff) >> 3 << 10,
            _ => return Err(unknown(kind)),
        })
    }
}
