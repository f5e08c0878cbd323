//! Pictures that were read once: a training reads each in every epoch, and decoding takes longer than anything else.
//!
//! What is kept are the bytes behind the resizing, up to a bound, and none of them makes place for another: in an epoch
//! each picture comes once, so those that came first are as good as any. A file that changed is read again.

use super::picture;
use crate::spec::Pictures;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The most bytes that are kept.
const BOUND: usize = 192 << 20;
/// What an entry takes besides its bytes, about.
const ENTRY: usize = 256;

struct Kept {
    dims: [usize; 3],
    pictures: Pictures,
    /// The file's length and when it was written.
    state: (u64, Option<SystemTime>),
    bytes: Box<[u8]>,
}

#[derive(Default)]
struct All {
    entries: HashMap<PathBuf, Kept>,
    bytes: usize,
}

static ALL: Mutex<Option<All>> = Mutex::new(None);

/// Like [`picture`], into `target`.
pub fn copy(path: &Path, dims: [usize; 3], pictures: &Pictures, target: &mut [u8]) -> Result<()> {
    let about = std::fs::metadata(path).map_err(|e| Error::file("open", path, &e))?;
    let state = (about.len(), about.modified().ok());
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let found = all.as_ref().and_then(|all| all.entries.get(path));
    if let Some(kept) = found.filter(|k| k.dims == dims && k.pictures == *pictures && k.state == state) {
        target.copy_from_slice(&kept.bytes);
        return Ok(());
    }
    // Other threads may look while this one decodes.
    drop(all);
    let pixels = picture(path, dims, pictures)?;
    target.copy_from_slice(&pixels);
    all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let all = all.get_or_insert_default();
    let size = pixels.len() + ENTRY + path.as_os_str().len();
    if all.bytes + size <= BOUND {
        all.bytes += size;
        let bytes = pixels.into_boxed_slice();
        if let Some(old) = all.entries.insert(path.to_path_buf(), Kept { dims, pictures: *pictures, state, bytes }) {
            all.bytes -= old.bytes.len() + ENTRY + path.as_os_str().len();
        }
    }
    Ok(())
}
