//! Built programs on the disk. An entry is used only if everything about it matches: the device, its driver, the
//! options, the whole text, the checksum. Anything else counts as absent, and is written anew.

use super::Info;
use crate::init::fnv;
use crate::store::{System, write_atomically};
use crate::{Error, Result, cache_folder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

const MAGIC: &[u8] = b"ninc-opencl-1\n";

/// Returns the folder of built programs within the user's cache folder; `None` without a home.
fn folder() -> Option<PathBuf> {
    Some(cache_folder::folder()?.join("opencl"))
}

/// Tiles measured on one device, by product.
#[derive(Serialize, Deserialize)]
struct Tuned {
    device: String,
    tiles: BTreeMap<String, String>,
}

fn tuned_path(info: &Info) -> Option<PathBuf> {
    Some(folder()?.join(format!("tuned-{:016x}.json", fnv(info.identity().as_bytes()))))
}

/// Reads what [`keep_tuned`] kept for this device and driver: the names of tiles, by product. Empty if there is no
/// file; an error if the file is damaged or another device's.
pub fn tuned(info: &Info) -> Result<BTreeMap<String, String>> {
    let Some(path) = tuned_path(info).filter(|path| path.exists()) else { return Ok(BTreeMap::new()) };
    let wrong = |what: String| {
        let error = Error::new(format!("the measured tiles in {} are not used: {what}", path.display()));
        error.with_help("measure them anew with `ninc tune`, or remove the file")
    };
    let bytes = std::fs::read(&path).map_err(|e| wrong(e.to_string()))?;
    let tuned: Tuned = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("the file is damaged ({e})")))?;
    if tuned.device == info.identity() { Ok(tuned.tiles) } else { Err(wrong("they are another device's".into())) }
}

/// Keeps the names of the best tiles, beside those of other products. Returns the file's path.
pub fn keep_tuned(info: &Info, tiles: BTreeMap<String, String>) -> Result<PathBuf> {
    let path = tuned_path(info).ok_or_else(|| {
        Error::new("there is no folder to keep the tiles in").with_help("set HOME, or NINC_CACHE to a folder")
    })?;
    // A file that cannot be used is replaced.
    let mut all = tuned(info).unwrap_or_default();
    all.extend(tiles);
    let text = serde_json::to_string_pretty(&Tuned { device: info.identity(), tiles: all });
    let text = text.map_err(|e| Error::new(e.to_string()))?;
    let parent = path.parent().expect("a file in a folder");
    cache_folder::make(parent).map_err(|e| Error::file("make the folder", parent, &e))?;
    write_atomically(&path, text.as_bytes(), &System)?;
    Ok(path)
}

/// What a program depends on.
pub struct Key {
    identity: String,
}

impl Key {
    /// Makes the key of a text that is built for this device with these options.
    pub fn new(info: &Info, options: &str, text: &str) -> Key {
        let version = env!("CARGO_PKG_VERSION");
        Key { identity: format!("{version}\n{}\n{options}\n{text}", info.identity()) }
    }

    fn path(&self) -> Option<PathBuf> {
        Some(folder()?.join(format!("{:016x}.bin", fnv(self.identity.as_bytes()))))
    }

    /// Reads the binary, if there is one for exactly this key.
    pub fn read(&self) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.path()?).ok()?;
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if crc32fast::hash(body).to_le_bytes() != sum {
            return None;
        }
        let rest = body.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_at_checked(8)?;
        let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        let (identity, binary) = rest.split_at_checked(length)?;
        (identity == self.identity.as_bytes()).then(|| binary.to_vec())
    }

    /// Keeps a binary. Failing to write a cache is not an error.
    pub fn write(&self, binary: &[u8]) {
        let Some(path) = self.path() else { return };
        let length = (self.identity.len() as u64).to_le_bytes();
        let mut bytes = [MAGIC, &length, self.identity.as_bytes(), binary].concat();
        let sum = crc32fast::hash(&bytes).to_le_bytes();
        bytes.extend(sum);
        let made = path.parent().is_some_and(|folder| cache_folder::make(folder).is_ok());
        if made {
            let _ = write_atomically(&path, &bytes, &System);
        }
    }
}
