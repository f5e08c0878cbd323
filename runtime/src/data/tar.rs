//! Members of a tar archive, read in place: nothing is ever unpacked to a disk, so no name in it can lead anywhere.

use super::files;
use crate::{Error, Result};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

const BLOCK: usize = 512;
/// The most bytes an archive may unpack to.
const CAP: u64 = 8 << 30;

/// The members whose names, with or without `./` in front, are exactly `wanted`. Stops reading when it has them all.
pub fn members(path: &Path, wanted: &[String], largest: u64) -> Result<HashMap<String, Vec<u8>>> {
    let mut reader = files::unzipped(path)?.take(CAP);
    let mut found = HashMap::new();
    while found.len() < wanted.len() {
        let header = files::exactly(&mut reader, BLOCK, path)?;
        if header.iter().all(|&b| b == 0) {
            break;
        }
        let (name, size, regular) = parse(&header, path)?;
        let padded = size.checked_add(BLOCK as u64 - 1).ok_or_else(|| files::cut(path, "a member's size"))?;
        let padded = padded / BLOCK as u64 * BLOCK as u64;
        if regular && wanted.contains(&name) {
            if size > largest {
                return Err(Error::new(format!("{name} in {} has {size} bytes: too large", path.display())));
            }
            let contents = files::exactly(&mut reader, size as usize, path)?;
            found.insert(name, contents);
            skip(&mut reader, padded - size, path)?;
        } else {
            skip(&mut reader, padded, path)?;
        }
    }
    match wanted.iter().find(|w| !found.contains_key(*w)) {
        Some(missing) => Err(Error::new(format!("{} has no member {missing}", path.display()))
            .with_help("take the binary version of the data set, not the one for Python or MATLAB")),
        None => Ok(found),
    }
}

fn skip(reader: &mut dyn Read, count: u64, path: &Path) -> Result<()> {
    let skipped = std::io::copy(&mut reader.take(count), &mut std::io::sink()).map_err(|e| files::broken(path, &e))?;
    if skipped == count { Ok(()) } else { Err(files::cut(path, "it ends within a member")) }
}

/// Name, size, and whether the member is a plain file.
fn parse(header: &[u8], path: &Path) -> Result<(String, u64, bool)> {
    let sum: u64 =
        header.iter().enumerate().map(|(i, &b)| if (148..156).contains(&i) { 32 } else { u64::from(b) }).sum();
    if octal(&header[148..156]) != Some(sum) {
        return Err(Error::new(format!("{} is not a tar archive, or it is damaged", path.display()))
            .with_help("expected a .tar or .tar.gz file"));
    }
    let size = octal(&header[124..136]).ok_or_else(|| files::cut(path, "a member's size"))?;
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let mut name = text(&header[..100]);
    if &header[257..262] == b"ustar" && header[345] != 0 && &header[257..265] != b"ustar  \0" {
        name = format!("{}/{name}", text(&header[345..500]));
    }
    let name = name.strip_prefix("./").map(str::to_string).unwrap_or(name);
    Ok((name, size, matches!(header[156], b'0' | 0)))
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(|c: char| c == '\0' || c == ' '), 8).ok()
}
