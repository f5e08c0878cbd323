//! Static libraries: an archive of one object, without times, owners or anything else of the machine that writes it. In
//! System V's form of `ar`; for Windows with Microsoft's second index, for Apple's systems in BSD's form.

use super::error::LibraryError;
use object::BinaryFormat;
use object::read::{Object, ObjectSymbol};

/// Returns the symbols that an object gives to others, in its order.
pub fn exported(object: &[u8]) -> Result<Vec<String>, LibraryError> {
    let file = object::File::parse(object)?;
    let given = file.symbols().filter(|symbol| symbol.is_global() && symbol.is_definition());
    given.map(|symbol| Ok(symbol.name()?.to_string())).collect()
}

/// An archive of one object, with the index of symbols that linkers look into first.
pub fn write(name: &str, object: &[u8]) -> Result<Vec<u8>, LibraryError> {
    let format = object::File::parse(object)?.format();
    let symbols = exported(object)?;
    match format {
        BinaryFormat::MachO => bsd(name, object, &symbols),
        _ => system_v(name, object, &symbols, format == BinaryFormat::Coff),
    }
}

/// System V's form. The indices: the number of symbols, for each the place of its member, the names; the second one has
/// the places of members first, then the numbers of members for symbols in the order of their names. Then long names,
/// then the members.
fn system_v(name: &str, object: &[u8], symbols: &[String], second: bool) -> Result<Vec<u8>, LibraryError> {
    // Microsoft's names end with a 0.
    let long = if second { format!("{name}\0") } else { format!("{name}/\n") };
    let index = 4 + 4 * symbols.len() + names(symbols).len();
    let sorted = 4 + 4 + 4 + 2 * symbols.len() + names(symbols).len();
    let mut place = 8 + 60 + index.next_multiple_of(2) + 60 + long.len().next_multiple_of(2);
    if second {
        place += 60 + sorted.next_multiple_of(2);
    }
    let place = u32::try_from(place).map_err(LibraryError::internal)?;
    let count = symbols.len() as u32;
    let mut archive = b"!<arch>\n".to_vec();
    member(&mut archive, "/", index);
    archive.extend(count.to_be_bytes());
    symbols.iter().for_each(|_| archive.extend(place.to_be_bytes()));
    archive.extend(names(symbols));
    pad(&mut archive);
    if second {
        let mut by_name = symbols.to_vec();
        by_name.sort();
        member(&mut archive, "/", sorted);
        [1, place, count].iter().for_each(|word| archive.extend(word.to_le_bytes()));
        symbols.iter().for_each(|_| archive.extend(1u16.to_le_bytes()));
        archive.extend(names(&by_name));
        pad(&mut archive);
    }
    member(&mut archive, "//", long.len());
    archive.extend(long.bytes());
    pad(&mut archive);
    member(&mut archive, "/0", object.len());
    archive.extend(object);
    pad(&mut archive);
    Ok(archive)
}

/// BSD's form: names stand behind the headers, and objects start at multiples of eight. The index: its size, for each
/// symbol the place of its name and that of its member, the size of the names, the names.
fn bsd(name: &str, object: &[u8], symbols: &[String]) -> Result<Vec<u8>, LibraryError> {
    const INDEX: &str = "__.SYMDEF SORTED";
    let mut symbols = symbols.to_vec();
    symbols.sort();
    let mut texts = names(&symbols);
    texts.resize(texts.len().next_multiple_of(8), 0);
    let body = 4 + 8 * symbols.len() + 4 + texts.len();
    // A name is filled up so that what stands behind it starts at a multiple of eight.
    let filled = |start: usize, name: &str| (start + 60 + name.len()).next_multiple_of(8) - start - 60;
    let start = filled(8, INDEX);
    let place = (8 + 60 + start + body).next_multiple_of(8);
    let word = |value: usize| u32::try_from(value).map(u32::to_le_bytes).map_err(LibraryError::internal);
    let mut archive = b"!<arch>\n".to_vec();
    let named = |archive: &mut Vec<u8>, name: &str, room: usize, size: usize| {
        member(archive, &format!("#1/{room}"), room + size);
        archive.extend(name.bytes());
        archive.resize(archive.len() + room - name.len(), 0);
    };
    named(&mut archive, INDEX, start, place - 68 - start);
    archive.extend(word(8 * symbols.len())?);
    let mut at = 0;
    for symbol in &symbols {
        archive.extend(word(at)?);
        archive.extend(word(place)?);
        at += symbol.len() + 1;
    }
    archive.extend(word(texts.len())?);
    archive.extend(texts);
    archive.resize(place, 0);
    let room = filled(place, name);
    named(&mut archive, name, room, object.len().next_multiple_of(8));
    archive.extend(object);
    archive.resize(archive.len().next_multiple_of(8), 0);
    Ok(archive)
}

/// Names with a 0 behind each.
fn names(symbols: &[String]) -> Vec<u8> {
    symbols.iter().flat_map(|name| name.bytes().chain([0])).collect()
}

fn member(archive: &mut Vec<u8>, name: &str, size: usize) {
    archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644).bytes());
}

fn pad(archive: &mut Vec<u8>) {
    if archive.len() % 2 == 1 {
        archive.push(b'\n');
    }
}
