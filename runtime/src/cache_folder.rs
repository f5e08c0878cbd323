//! The folder where programs keep what they can make again: fitted preparations, machine code, programs of devices.
//!
//! It is the user's own and closed to others: code that is read from it runs with the user's rights.

use std::io;
use std::path::{Path, PathBuf};

/// `NINC_CACHE`, or `ninc` in `XDG_CACHE_HOME`, `~/.cache` or `LOCALAPPDATA`; `None` without any of them.
pub fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || Some(set("HOME")?.join(".cache"));
    let shared = || set("XDG_CACHE_HOME").or_else(home).or_else(|| set("LOCALAPPDATA"));
    let folder = set("NINC_CACHE").or_else(|| Some(shared()?.join("ninc")))?;
    // A relative path would leave files wherever the program is started, and find those of others there.
    folder.is_absolute().then_some(folder)
}

/// Makes a folder with those above it. Nobody else needs to look into it.
pub fn make(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Returns the folder, made if it was missing, if nobody but the user can have written to it.
pub fn private() -> Option<PathBuf> {
    let folder = folder()?;
    // An error shows below: then the folder is not there, or not ours.
    let _ = make(&folder);
    is_private(&folder).then_some(folder)
}

/// Is it the user's, and can nobody else write to it?
#[cfg(target_os = "linux")]
pub fn is_private(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(found), Ok(own)) = (std::fs::symlink_metadata(folder), std::fs::metadata("/proc/self")) else {
        return false;
    };
    found.is_dir() && found.uid() == own.uid() && found.mode() & 0o022 == 0
}

/// Elsewhere nobody has checked how to tell whose a folder is.
#[cfg(not(target_os = "linux"))]
pub fn is_private(_folder: &Path) -> bool {
    false
}
