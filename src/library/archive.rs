//! Static libraries: an archive in the format of System V's `ar`, without times, owners or anything else of the
//! machine that writes it.

use super::error::LibraryError;
use object::read::{Object, ObjectSymbol};

/// An archive of one object, with the index of symbols that linkers look into first.
pub fn write(name: &str, object: &[u8]) -> Result<Vec<u8>, LibraryError> {
    let file = object::File::parse(object)?;
    let mut symbols: Vec<&str> = Vec::new();
    for symbol in file.symbols() {
        if symbol.is_global() && symbol.is_definition() {
            symbols.push(symbol.name()?);
        }
    }
    // The index: the count, for each symbol the place of its member, the names. Then long names, then the members.
    let names: Vec<u8> = symbols.iter().flat_map(|s| s.bytes().chain([0])).collect();
    let index = 4 + 4 * symbols.len() + names.len();
    let long = format!("{name}/\n");
    let place = 8 + 60 + index.next_multiple_of(2) + 60 + long.len().next_multiple_of(2);
    let place = u32::try_from(place).map_err(LibraryError::internal)?.to_be_bytes();
    let mut archive = b"!<arch>\n".to_vec();
    member(&mut archive, "/", index);
    archive.extend((symbols.len() as u32).to_be_bytes());
    symbols.iter().for_each(|_| archive.extend(place));
    archive.extend(names);
    pad(&mut archive);
    member(&mut archive, "//", long.len());
    archive.extend(long.bytes());
    pad(&mut archive);
    member(&mut archive, "/0", object.len());
    archive.extend(object);
    pad(&mut archive);
    Ok(archive)
}

fn member(archive: &mut Vec<u8>, name: &str, size: usize) {
    archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644).bytes());
}

fn pad(archive: &mut Vec<u8>) {
    if archive.len() % 2 == 1 {
        archive.push(b'\n');
    }
}
