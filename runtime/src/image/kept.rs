//! Pictures that were read once: a training reads each in every epoch, and decoding takes longer than anything else.
//!
//! What is kept are the bytes behind the resizing, up to a bound, and none of them makes place for another: in an epoch
//! each picture comes once, so those that came first are as good as any. A file that changed is read again. Behind the
//! memory there may be a folder for later runs.

use super::disk::{self, Cache};
use super::print::{self, Print, State};
use super::{contents, of_contents};
use crate::Result;
use crate::spec::Pictures;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes that are kept.
const BOUND: usize = 192 << 20;
/// What an entry takes besides its bytes, about.
const ENTRY: usize = 256;

struct Kept {
    dims: [usize; 3],
    pictures: Pictures,
    /// The state of the file.
    state: State,
    bytes: Box<[u8]>,
}

#[derive(Default)]
struct All {
    entries: HashMap<PathBuf, Kept>,
    bytes: usize,
}

static ALL: Mutex<Option<All>> = Mutex::new(None);
static DISK: Mutex<Option<Arc<Cache>>> = Mutex::new(None);

/// Has decoded pictures kept in a folder too, or no longer.
pub fn on_disk(cache: Option<Cache>) {
    *DISK.lock().unwrap_or_else(PoisonError::into_inner) = cache.map(Arc::new);
}

/// Like [`super::picture`], into `target`.
pub fn copy(path: &Path, dims: [usize; 3], pictures: &Pictures, target: &mut [u8]) -> Result<()> {
    let state = print::state(path)?;
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let found = all.as_ref().and_then(|all| all.entries.get(path));
    if let Some(kept) = found.filter(|k| k.dims == dims && k.pictures == *pictures && k.state == state) {
        target.copy_from_slice(&kept.bytes);
        return Ok(());
    }
    // Other threads may look while this one decodes.
    drop(all);
    fill(path, state, dims, pictures, target)?;
    all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let all = all.get_or_insert_default();
    let size = target.len() + ENTRY + path.as_os_str().len();
    if all.bytes + size <= BOUND {
        all.bytes += size;
        let bytes = target.to_vec().into_boxed_slice();
        if let Some(old) = all.entries.insert(path.to_path_buf(), Kept { dims, pictures: *pictures, state, bytes }) {
            all.bytes -= old.bytes.len() + ENTRY + path.as_os_str().len();
        }
    }
    Ok(())
}

/// From the folder, or from the picture itself.
fn fill(path: &Path, state: State, dims: [usize; 3], pictures: &Pictures, target: &mut [u8]) -> Result<()> {
    let disk = DISK.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|_| state.0 >= disk::WORTH);
    let Some(disk) = disk else {
        target.copy_from_slice(&of_contents(&contents(path)?, path, dims, pictures)?);
        return Ok(());
    };
    let mut bytes = None;
    let print = match Print::recall(path, state) {
        Some(print) => print,
        None => Print::remember(path, state, bytes.insert(contents(path)?)),
    };
    let key = disk::key(&print, dims, pictures);
    if disk.read(&key, target) {
        return Ok(());
    }
    let bytes = bytes.map_or_else(|| contents(path), Ok)?;
    let pixels = of_contents(&bytes, path, dims, pictures)?;
    target.copy_from_slice(&pixels);
    // The key is that of other contents where the file changed after it was looked at.
    if Print::remember(path, state, &bytes) == print {
        disk.write(&key, &pixels);
    }
    Ok(())
}
