//! The file that this code was loaded from, which tells builds of one version apart.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Says which file holds this code, where that is a library that another program has loaded. The first word counts.
pub fn is_in(file: &Path) {
    let _ = FILE.set(file.to_path_buf());
}

/// Returns the file, where the system knows it.
pub fn file() -> Option<PathBuf> {
    FILE.get().cloned().or_else(|| std::env::current_exe().ok())
}
