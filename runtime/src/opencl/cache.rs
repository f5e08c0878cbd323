//! Built programs on the disk. An entry is used only if everything about it matches: the device, its driver, the
//! options, the whole text, the checksum. Anything else counts as absent, and is written anew.

use super::Info;
use crate::cache_folder;
use crate::init::fnv;
use crate::store::{System, write_atomically};
use crate::tuned::Tuned;
use std::path::PathBuf;

const MAGIC: &[u8] = b"ninc-opencl-1\n";

/// Returns the folder of built programs within the user's cache folder; `None` without a home.
fn folder() -> Option<PathBuf> {
    Some(cache_folder::folder()?.join("opencl"))
}

/// Returns the file of what was measured on this device with this driver.
pub fn tuned(info: &Info) -> Tuned {
    Tuned::new("opencl", info.identity())
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
