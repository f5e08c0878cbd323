//! The folder of a build: what lies there already, and how the new files come to it.

use crate::cli::output::{self, Done};
use ninc::library::files::Library;
use ninc::library::header::identifier;
use ninc::model::Model;
use ninc::pipeline::Dump;
use ninc_runtime::store::{System, alone, crc32, write_together};
use ninc_runtime::{Error, Result};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::path::Path;

/// Where a description states the checksums of the library's own files.
const OWN: &str = "crc32";
/// Where it states those of files beside it that builds wrote too: dumps, and the same network's for other targets.
const BESIDE: &str = "crc32_beside";
/// What tells Node that scripts are modules.
const PACKAGE: &str = "package.json";

/// Writes the dumps and the library's files, all of them or none. What no build wrote as it is stays, unless
/// `overwrite` is given.
pub fn fill(folder: &Path, model: &Model, library: &Library, overwrite: bool) -> Done {
    std::fs::create_dir_all(folder).map_err(|e| Error::file("make the folder", folder, &e))?;
    // Another build may write there: what is looked at here is what will be replaced.
    let _alone = alone(folder)?;
    let described = descriptions(folder);
    let dumps: Vec<New> = library.kernels.dumps.iter().map(|dump| new_dump(model, dump)).collect();
    let mut files: Vec<New> =
        library.files.iter().map(|(name, bytes)| (name.clone(), Cow::Borrowed(bytes.as_slice()))).collect();
    files.retain(|file| file.0 != PACKAGE || !has_package(folder, file));
    if !overwrite {
        spare(folder, &described, dumps.iter().chain(&files), &description_of(model))?;
    }
    describe(folder, &described, &dumps, &mut files, &description_of(model));
    let files: Vec<_> = dumps.iter().chain(&files).map(|(name, bytes)| (folder.join(name), &**bytes)).collect();
    Ok(write_together(&files, &System)?)
}

/// Name and contents of a file to be written.
type New<'a> = (String, Cow<'a, [u8]>);
/// Name of a description, and the checksums of files that it states.
type Described = (String, Map<String, Value>);

fn new_dump<'a>(model: &Model, dump: &'a Dump) -> New<'a> {
    let name = format!("{}.{}", model.name, dump.what.to_string().replace(':', "-"));
    (name, Cow::Borrowed(dump.text.as_bytes()))
}

fn description_of(model: &Model) -> String {
    format!("{}.json", identifier(&model.name))
}

fn sum(bytes: &[u8]) -> Value {
    format!("{:08x}", crc32(bytes)).into()
}

/// Does the folder belong to a package already? Its file is nobody's to replace.
fn has_package(folder: &Path, (name, new): &New) -> bool {
    let path = folder.join(name);
    let Ok(old) = std::fs::read(&path) else { return false };
    let module = serde_json::from_slice(&old).is_ok_and(|old: Value| old["type"] == "module");
    if !module {
        output::note(&format!(
            "note: {} stays as it is: for Node the script is a module only where that file says `\"type\": \"module\"`",
            path.display()
        ));
    }
    old != **new
}

/// Refuses to replace files that hold work: those which no earlier build wrote, by the checksums that it left, such as
/// weights that were trained into the same folder, and those that were changed since; and the page of another network.
fn spare<'n>(
    folder: &Path,
    described: &[Described],
    mut files: impl Iterator<Item = &'n New<'n>>,
    description: &str,
) -> Result<()> {
    let refused = |(name, new): &New| {
        let old = std::fs::read(folder.join(name)).ok().filter(|old| *old != **new)?;
        let writers: Vec<&str> = described
            .iter()
            .filter(|(own, sums)| own == name || sums.get(name).is_some_and(|known| *known == sum(&old)))
            .map(|(own, _)| own.as_str())
            .collect();
        let shown = folder.join(name).display().to_string();
        match writers.first() {
            None => Some(format!("{shown} would be replaced, and no build wrote it as it is")),
            // Libraries share files such as examples; a page is of one network.
            Some(other) if name == "index.html" && !writers.contains(&description) => {
                Some(format!("{shown} is the page of `{}`, and would be replaced", other.trim_end_matches(".json")))
            }
            Some(_) => None,
        }
    };
    match files.find_map(refused) {
        Some(message) => {
            Err(Error::new(message).with_help("build into another folder, or let it be replaced: --overwrite"))
        }
        None => Ok(()),
    }
}

/// Completes the description by the checksums of what lies beside the library and is a build's: by them the next build
/// knows it.
fn describe(folder: &Path, described: &[Described], dumps: &[New], files: &mut Vec<New>, description: &str) {
    let there = |name: &str| files.iter().chain(dumps).any(|(own, _)| own == name);
    let earlier = described.iter().filter(|(own, _)| own == description).flat_map(|(_, sums)| sums);
    let unchanged = |(name, known): &(&String, &Value)| {
        !there(name) && std::fs::read(folder.join(name)).is_ok_and(|bytes| sum(&bytes) == **known)
    };
    let mut beside: Map<String, Value> =
        earlier.filter(unchanged).map(|(name, known)| (name.clone(), known.clone())).collect();
    beside.extend(dumps.iter().map(|(name, bytes)| (name.clone(), sum(bytes))));
    beside.sort_keys();
    let left_out = |name: &String| !files.iter().any(|(own, _)| own == name);
    let Some(at) = files.iter().position(|(name, _)| name == description) else { return };
    let Ok(mut value) = serde_json::from_slice::<Value>(&files[at].1) else { return };
    let others = value[OWN].as_object().is_some_and(|own| own.keys().any(left_out));
    if beside.is_empty() && !others {
        return;
    }
    if let Some(own) = value[OWN].as_object_mut() {
        own.retain(|name, _| files.iter().any(|(file, _)| file == name));
    }
    if !beside.is_empty() {
        value[BESIDE] = Value::Object(beside);
    }
    let text = serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
    files[at].1 = Cow::Owned(text.into_bytes());
}

/// A folder's descriptions of libraries. Libraries in one folder share files.
fn descriptions(folder: &Path) -> Vec<Described> {
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|name| name.ends_with(".json"))?;
        let value: Value = serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok()?;
        let mut sums = value[OWN].as_object().filter(|_| value["ninc"].is_string())?.clone();
        sums.extend(value[BESIDE].as_object().cloned().unwrap_or_default());
        Some((name, sums))
    };
    let mut all: Vec<Described> = std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(read).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}
