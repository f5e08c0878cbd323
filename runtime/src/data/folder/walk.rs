//! The files of a folder of pictures: those that are read, and those that are left out, each with its reason.

use crate::data::reading::Reading;
use crate::{Error, Result};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

/// Endings of pictures, in lower case.
const ENDINGS: [&str; 10] = ["png", "jpg", "jpeg", "jpe", "bmp", "webp", "gif", "tif", "tiff", "qoi"];
/// How deep folders may lie within each other.
const DEPTH: usize = 64;

/// A file or a folder within a folder.
pub struct Entry {
    pub path: PathBuf,
    pub name: String,
    pub folder: bool,
}

impl Entry {
    /// Why neither a file nor a folder of this name is looked at, if so.
    fn hidden(&self) -> Option<&'static str> {
        match self.name.as_str() {
            "__MACOSX" => Some("in __MACOSX, which macOS' archiver makes"),
            name if name.starts_with('.') => Some("hidden"),
            _ => None,
        }
    }

    /// A folder that is not hidden?
    pub fn visible(&self) -> bool {
        self.folder && self.hidden().is_none()
    }

    /// A file that is read as a picture?
    pub fn is_picture(&self) -> bool {
        !self.folder && self.hidden().is_none() && ending(&self.path).is_some_and(|e| ENDINGS.contains(&e.as_str()))
    }
}

fn ending(path: &Path) -> Option<String> {
    path.extension().map(|e| e.to_string_lossy().to_lowercase())
}

/// A name as text. Bytes that are not UTF-8 are written as `\xE9`, so that different names stay different.
fn text(name: &std::ffi::OsStr) -> String {
    let chunks = name.as_encoded_bytes().utf8_chunks();
    chunks.fold(String::new(), |mut text, chunk| {
        text += chunk.valid();
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02X}"));
        text
    })
}

/// What lies in a folder, by name.
pub fn entries(folder: &Path) -> Result<Vec<Entry>> {
    let failed = |e: std::io::Error| Error::file("read the folder", folder, &e);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // Through links, as everywhere. A link to nothing is a file that cannot be read.
        let folder = fs::metadata(&path).as_ref().is_ok_and(Metadata::is_dir);
        found.push(Entry { name: text(&entry.file_name()), path, folder });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Pictures of a class's folder and of the folders in it, in the order of their paths; `reading` learns of the rest.
pub fn pictures(folder: &Path, reading: &mut Reading) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(folder, &mut vec![], &mut |entry, depth| {
        if entry.is_picture() && !odd(&entry.path) {
            reading.deeper += usize::from(depth > 1);
            found.push(entry.path);
        } else {
            let reason = left_out(&entry);
            reading.skip(&reason, entry.path);
        }
    })?;
    Ok(found)
}

/// Leaves out a file, or all files of a folder, for a reason that holds for them whatever they are.
pub fn skip(entry: Entry, reason: &str, reading: &mut Reading) -> Result<()> {
    let reason = entry.hidden().unwrap_or(reason);
    match entry.folder {
        true => walk(&entry.path, &mut vec![], &mut |file, _| reading.skip(reason, file.path)),
        false => {
            reading.skip(reason, entry.path);
            Ok(())
        }
    }
}

/// Neither a file nor a link to nothing: reading a pipe or a device would never end.
fn odd(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|kind| !kind.is_file())
}

/// Why a file is left out.
fn left_out(entry: &Entry) -> String {
    if let Some(reason) = entry.hidden() {
        return reason.into();
    }
    match ending(&entry.path) {
        _ if odd(&entry.path) => "not a file: a pipe, a socket or a device".into(),
        Some(ending) => format!("with the ending .{ending}, which is not read"),
        None => "without an ending".into(),
    }
}

/// All files of a folder and of the folders in it, with their depth; `above` are the folders on the way, links
/// resolved.
fn walk(folder: &Path, above: &mut Vec<PathBuf>, visit: &mut dyn FnMut(Entry, usize)) -> Result<()> {
    let real = fs::canonicalize(folder).map_err(|e| Error::file("read the folder", folder, &e))?;
    // A link back to where it lies has nothing that is not seen already.
    if above.contains(&real) {
        return Ok(());
    }
    above.push(real);
    if above.len() > DEPTH {
        return Err(Error::new(format!("{} lies more than {DEPTH} folders deep", folder.display())));
    }
    for entry in entries(folder)? {
        match (entry.folder, entry.hidden()) {
            (false, _) => visit(entry, above.len()),
            (true, None) => walk(&entry.path, above, visit)?,
            (true, Some(_)) => {
                let hidden = entry.name;
                walk(&entry.path, above, &mut |file, depth| visit(Entry { name: hidden.clone(), ..file }, depth))?;
            }
        }
    }
    above.pop();
    Ok(())
}
