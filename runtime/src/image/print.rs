//! Which contents a picture's file has: read once, remembered as long as the file looks unchanged.

use crate::{Error, Result};
use crc32fast::Hasher as Crc;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

/// What a file looks like from outside: its length and when it was written.
pub type State = (u64, Option<SystemTime>);

/// Looks at a file from outside.
pub fn state(path: &Path) -> Result<State> {
    let about = std::fs::metadata(path).map_err(|e| Error::file("open", path, &e))?;
    Ok((about.len(), about.modified().ok()))
}

/// What tells contents from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// Bytes.
    pub length: u64,
    /// CRC-32.
    pub crc: u32,
    /// Another sum, because 32 bits are few for a million files.
    pub hash: u64,
}

static SEEN: LazyLock<Mutex<HashMap<PathBuf, (State, Print)>>> = LazyLock::new(Mutex::default);

impl Print {
    /// Makes that of these contents, and remembers it for a file that had this state before they were read.
    pub fn remember(path: &Path, state: State, bytes: &[u8]) -> Print {
        let mut hash = DefaultHasher::new();
        hash.write(bytes);
        let print = Print { length: bytes.len() as u64, crc: crc32fast::hash(bytes), hash: hash.finish() };
        print.learn(path, state);
        print
    }

    /// Remembers what another process found in a file that has this state.
    pub fn learn(self, path: &Path, state: State) {
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_path_buf(), (state, self));
    }

    /// Returns what was remembered, if the file has this state still.
    pub fn recall(path: &Path, state: State) -> Option<Print> {
        let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(path).filter(|(then, _)| *then == state).map(|(_, print)| *print)
    }

    /// Returns the CRC-32 as one to which more can be added.
    pub fn crc(&self) -> Crc {
        Crc::new_with_initial_len(self.crc, self.length)
    }
}
