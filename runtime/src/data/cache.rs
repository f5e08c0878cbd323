//! Fitted preparations between trainings: whitening CIFAR-10 takes a minute to fit and a moment to read.
//!
//! A file in the user's cache folder is named by what it was fitted to. It is read with its checksums, must say the
//! same of itself, and counts for nothing where anything is wrong with it: then the preparation is fitted again.

use super::prepare::{Form, Preparation};
use super::preparer::Compile;
use super::{Dataset, Pixels};
use crate::init::{FNV, fnv, fnv_more};
use crate::spec::Prepare;
use crate::store::{Disk, Store};
use crate::{Error, Result, cache_folder};
use std::collections::BTreeMap;
use std::path::Path;

const FORMAT: &str = "ninc-preparation-1";

/// Fits a preparation, or takes it from `folder` if it is there. Says whether it was.
pub fn fit(
    spec: &[Prepare],
    train: &Dataset,
    folder: Option<&Path>,
    disk: &dyn Disk,
    compile: &Compile,
) -> Result<(Preparation, bool)> {
    let whitens = spec.iter().any(|p| matches!(p, Prepare::Zca { .. }));
    let Some(folder) = folder.filter(|_| whitens) else { return Ok((Preparation::fit(spec, train, compile)?, false)) };
    let key = key(spec, train)?;
    let path = folder.join(format!("{:016x}.safetensors", fnv(key.as_bytes())));
    if let Some(preparation) = read(&path, &key, spec, train.images.dims) {
        return Ok((preparation, true));
    }
    let preparation = Preparation::fit(spec, train, compile)?;
    // A cache that cannot be written costs time, not results.
    let _ = write(&path, &key, &preparation, disk);
    Ok((preparation, false))
}

/// All that a fit depends on.
fn key(spec: &[Prepare], train: &Dataset) -> Result<String> {
    let spec = serde_json::to_string(spec).map_err(|e| Error::new(e.to_string()))?;
    let (mut hash, mut sum) = (FNV, crc32fast::Hasher::new());
    let mut add = |bytes: &[u8]| {
        hash = fnv_more(hash, bytes);
        sum.update(bytes);
    };
    match &train.images.pixels {
        Pixels::Bytes(bytes) => add(bytes),
        Pixels::Floats(floats) => floats.iter().for_each(|v| add(&v.to_le_bytes())),
        Pixels::Files(files, pictures) => {
            for file in files {
                let about = std::fs::metadata(file).map_err(|e| Error::file("read", file, &e))?;
                let (length, changed) = (about.len(), about.modified().ok());
                add(format!("{} {length} {changed:?} {pictures:?}\n", file.display()).as_bytes());
            }
        }
    }
    train.rows.iter().for_each(|row| add(&row.to_le_bytes()));
    let version = env!("CARGO_PKG_VERSION");
    let dims = train.images.dims;
    Ok(format!("{version} {spec} {dims:?} {} {hash:016x} {:08x}", train.len(), sum.finalize()))
}

fn read(path: &Path, key: &str, spec: &[Prepare], dims: [usize; 3]) -> Option<Preparation> {
    let store = Store::read(path, true).ok()?;
    let says = |name: &str, value: &str| store.metadata.get(name).is_some_and(|v| v == value);
    if !says("format", FORMAT) || !says("key", key) {
        return None;
    }
    if store.tensors.values().any(|t| t.data.iter().any(|v| !v.is_finite())) {
        return None;
    }
    let form = Form::new(spec.to_vec(), dims).ok()?;
    Preparation::from_tensors(form, |name| store.tensors.get(name).cloned()).ok()
}

fn write(path: &Path, key: &str, preparation: &Preparation, disk: &dyn Disk) -> Result<()> {
    if let Some(folder) = path.parent() {
        cache_folder::make(folder).map_err(|e| Error::file("make the folder", folder, &e))?;
    }
    let metadata = BTreeMap::from([("format", FORMAT), ("key", key)].map(|(k, v)| (k.to_string(), v.to_string())));
    Store { tensors: preparation.tensors().into_iter().collect(), metadata, ..Store::default() }.write(path, disk)
}
