//! Files by patterns in which `*` stands for any text.

use super::output::Done;
use ninc_runtime::Error;
use ninc_runtime::pattern::fits;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// What fits a path with patterns in its parts, by name, for shells that do not look themselves; `None` for a path
/// without a `*`, or one that is there as it is.
pub fn files(path: &Path) -> Done<Option<Vec<PathBuf>>> {
    let is_pattern = |part: &Component| part.as_os_str().as_encoded_bytes().contains(&b'*');
    if !path.components().any(|part| is_pattern(&part)) || path.exists() {
        return Ok(None);
    }
    if path.components().any(|part| part.as_os_str() == "**") {
        return Err(Error::new(format!("{}: `**` stands for no depth of folders", path.display()))
            .with_help("name the folder: the pictures in all folders below it are taken")
            .into());
    }
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        found = match is_pattern(&part) {
            true => found.iter().map(|folder| entries(folder, part.as_os_str())).collect::<Done<Vec<_>>>()?.concat(),
            false => found.iter().map(|folder| folder.join(part)).filter(|path| path.exists()).collect(),
        };
    }
    found.sort();
    match found.is_empty() {
        true => {
            Err(Error::new(format!("no file fits {}", path.display())).with_help("name the files, or a folder").into())
        }
        false => Ok(Some(found)),
    }
}

/// Returns the entries of a folder whose names fit a pattern; none for what is not a folder.
fn entries(folder: &Path, pattern: &OsStr) -> Done<Vec<PathBuf>> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !here.is_dir() {
        return Ok(vec![]);
    }
    let failed = |e: std::io::Error| Error::file("read the folder", here, &e);
    let pattern = pattern.as_encoded_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(here).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name_bytes = name.as_encoded_bytes();
        // As shells do, hidden files are only what a pattern that begins with a point means.
        if fits(pattern, name_bytes) && (pattern.starts_with(b".") || !name_bytes.starts_with(b".")) {
            found.push(folder.join(&name));
        }
    }
    Ok(found)
}
