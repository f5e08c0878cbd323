//! Members of a tar archive, read in place: nothing is ever unpacked to a disk, so no name in it can lead anywhere.

use super::files;
use crate::{Error, Result};
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use tar::{Archive, Entry, EntryType, PaxExtensions};

/// The most bytes an archive may unpack to.
const CAP: u64 = 8 << 30;

/// The most bytes of a long name or of another extension of a header.
const EXTENSION: u64 = 1 << 16;

/// What stands in front of a member's header.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    sparse: bool,
}

/// Reads the members whose names, with or without `./` in front, are exactly `wanted`. Stops when it has them all.
pub fn members(path: &Path, wanted: &[String], largest: u64) -> Result<HashMap<String, Vec<u8>>> {
    let mut archive = Archive::new(files::unzipped(path)?.take(CAP));
    // Raw, because the crate would read extensions of any size into memory.
    let mut entries = archive.entries().map_err(|e| damaged(path, &e))?.raw(true);
    let (mut found, mut extension) = (HashMap::new(), Extension::default());
    while found.len() < wanted.len() {
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(|e| damaged(path, &e))?;
        if extends(&mut entry, &mut extension, path)? {
            continue;
        }
        let Extension { name, sparse } = std::mem::take(&mut extension);
        let name = name.unwrap_or_else(|| entry.path_bytes().into_owned());
        let name = String::from_utf8_lossy(name.strip_prefix(b"./").unwrap_or(&name)).into_owned();
        if wanted.contains(&name) {
            if let Some(kind) = refused(entry.header().entry_type(), sparse) {
                let error = format!("{name} in {} is {kind}, not a plain file", path.display());
                return Err(Error::new(error).with_help("unpack the archive and pack its files again, or get it again"));
            }
            let size = entry.size();
            if size > largest {
                return Err(Error::new(format!("{name} in {} has {size} bytes: too large", path.display())));
            }
            found.insert(name, files::exactly(&mut entry, size as usize, path)?);
        }
    }
    let missing: Vec<&str> = wanted.iter().filter(|w| !found.contains_key(*w)).map(String::as_str).collect();
    match missing.is_empty() {
        false => Err(Error::new(format!("{} has no member {}", path.display(), missing.join(", ")))
            .with_help("take the binary version of the data set, not the one for Python or MATLAB")),
        true => Ok(found),
    }
}

/// Is this entry an extension of the next header? Then what it says is in `extension`.
fn extends(entry: &mut Entry<impl Read>, extension: &mut Extension, path: &Path) -> Result<bool> {
    let kind = entry.header().entry_type();
    if kind.is_pax_global_extensions() || kind.is_gnu_longlink() {
        return Ok(true);
    }
    if !kind.is_gnu_longname() && !kind.is_pax_local_extensions() {
        return Ok(false);
    }
    let size = entry.size();
    if size > EXTENSION {
        return Err(files::cut(path, &format!("{size} bytes of a member's name")));
    }
    let bytes = files::exactly(entry, size as usize, path)?;
    if kind.is_gnu_longname() {
        extension.name = bytes.split(|&b| b == 0).next().map(<[u8]>::to_vec);
        return Ok(true);
    }
    for line in PaxExtensions::new(&bytes) {
        let line = line.map_err(|e| damaged(path, &e))?;
        match line.key_bytes() {
            b"path" => extension.name = Some(line.value_bytes().to_vec()),
            key => extension.sparse |= key.starts_with(b"GNU.sparse."),
        }
    }
    Ok(true)
}

/// Says what a member is whose contents do not lie behind its header as they are.
fn refused(kind: EntryType, sparse: bool) -> Option<&'static str> {
    match kind {
        _ if sparse || kind.is_gnu_sparse() => Some("sparse"),
        _ if kind.is_file() || kind.is_contiguous() => None,
        _ if kind.is_hard_link() || kind.is_symlink() => Some("a link"),
        _ if kind.is_dir() => Some("a folder"),
        _ => Some("a device"),
    }
}

/// Describes an archive that cannot be read on.
fn damaged(path: &Path, cause: &io::Error) -> Error {
    let cause = cause.to_string();
    // What should be a number is quoted, whatever its bytes are.
    let cause = match cause.starts_with("numeric field") {
        true => "a header has something else where a size or sum is",
        false => &cause,
    };
    Error::new(format!("{} is not a tar archive, or it is damaged: {cause}", path.display()))
        .with_help("expected a .tar or .tar.gz file")
}
