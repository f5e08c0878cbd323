//! What `ninc tune` measured of a device, on the disk: words by the name of what they are about.

use crate::init::fnv;
use crate::store::{System, write_atomically};
use crate::{Error, Result, cache_folder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

/// Measurements of one device.
#[derive(Serialize, Deserialize)]
struct Kept {
    device: String,
    tiles: BTreeMap<String, String>,
}

/// The file of a device's measurements.
pub struct Tuned {
    path: Option<PathBuf>,
    device: String,
}

impl Tuned {
    /// In this folder of the user's cache folder, of the device with this identity.
    pub fn new(folder: &str, device: String) -> Tuned {
        let path = cache_folder::folder();
        let path = path.map(|path| path.join(folder).join(format!("tuned-{:016x}.json", fnv(device.as_bytes()))));
        Tuned { path, device }
    }

    /// Reads the file of [`Tuned::keep`]. Empty if there is none; an error if it is damaged or another device's.
    pub fn read(&self) -> Result<BTreeMap<String, String>> {
        let Some(path) = self.path.as_ref().filter(|path| path.exists()) else { return Ok(BTreeMap::new()) };
        let wrong = |what: String| {
            let error = Error::new(format!("the measured tiles in {} are not used: {what}", path.display()));
            error.with_help("measure them anew with `ninc tune`, or remove the file")
        };
        // A pipe would never end.
        if !path.is_file() {
            return Err(wrong("it is not a file".into()));
        }
        let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("the file is damaged ({e})")))?;
        if kept.device == self.device { Ok(kept.tiles) } else { Err(wrong("they are another device's".into())) }
    }

    /// Returns the file's path, in a folder that is there: what takes long to measure can be kept.
    pub fn place(&self) -> Result<PathBuf> {
        let path = self.path.clone().ok_or_else(|| {
            let help = "set HOME, or NINC_CACHE to a folder by its whole path";
            Error::new("there is no folder to keep the tiles in").with_help(help)
        })?;
        let parent = path.parent().expect("a file in a folder");
        cache_folder::make(parent).map_err(|e| Error::file("make the folder", parent, &e))?;
        Ok(path)
    }

    /// Keeps the words that were best, beside those of other names, and drops those of names that have none. Returns
    /// the file's path.
    pub fn keep(&self, tiles: BTreeMap<String, Option<String>>) -> Result<PathBuf> {
        let path = self.place()?;
        // A file that cannot be used is replaced.
        let mut all = self.read().unwrap_or_default();
        for (name, word) in tiles {
            match word {
                Some(word) => all.insert(name, word),
                None => all.remove(&name),
            };
        }
        let text = serde_json::to_string_pretty(&Kept { device: self.device.clone(), tiles: all });
        let text = text.map_err(|e| Error::new(e.to_string()))?;
        write_atomically(&path, text.as_bytes(), &System)?;
        Ok(path)
    }
}

/// Names this machine's processor, as Linux does: by vendor, family, model and stepping, or by implementer and part.
/// Elsewhere by its architecture alone.
pub fn processor() -> String {
    let tells = ["vendor_id", "cpu family", "model", "model name", "stepping", "CPU implementer", "CPU part"];
    // The first processor's lines alone: with many processors the whole list takes the system milliseconds.
    let file = File::open("/proc/cpuinfo").ok().map(BufReader::new);
    let lines = file.into_iter().flat_map(|file| file.lines().map_while(|line| line.ok().filter(|l| !l.is_empty())));
    let own = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        tells.contains(&name.trim()).then(|| value.trim().to_string())
    });
    std::iter::once(std::env::consts::ARCH.to_string()).chain(own).collect::<Vec<_>>().join(" ")
}
