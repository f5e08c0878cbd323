//! Looks at the pictures of a data set before they are used, so that broken ones are found together.

use super::together::listed;
use super::{Dataset, Pixels};
use crate::image;
use crate::{Error, Result};
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How closely pictures are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Their heads, and whether they end as they should.
    Heads,
    /// The same, while they are read as a whole, because their contents will be asked for.
    Contents,
    /// They are decoded.
    Whole,
}

/// The files of some parts, in order.
pub fn files<'a>(parts: impl IntoIterator<Item = &'a Dataset>) -> Vec<&'a Path> {
    let mut files: Vec<&Path> = Vec::new();
    for set in parts {
        if let Pixels::Files(paths, _) = &set.images.pixels {
            files.extend(set.rows.iter().map(|&row| paths[row as usize].as_path()));
        }
    }
    files.sort_unstable();
    files
}

/// Returns a number that processes have in common where these files are the same ones, in one folder that they share.
pub fn seen(files: &[&Path]) -> u64 {
    let mut hash = DefaultHasher::new();
    for file in files {
        let about = std::fs::metadata(file).ok();
        let number = about.as_ref().map(number);
        (file, number, about.map(|about| (about.len(), about.modified().ok()))).hash(&mut hash);
    }
    hash.finish()
}

/// The system's number of a file, which a copy has not.
#[cfg(unix)]
fn number(about: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(about)
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> u64 {
    0
}

/// Looks at files with `threads` threads and names all that are broken in one error. `each` hears of every file.
pub fn look(files: &[&Path], how: Look, threads: usize, each: &(dyn Fn() + Sync)) -> Result<()> {
    let (next, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(e) = image::look(file, how) {
                broken.lock().unwrap_or_else(PoisonError::into_inner).push((file.to_path_buf(), e.message));
            }
            each();
        }
    };
    std::thread::scope(|scope| {
        (1..threads.min(files.len())).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
    let mut broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    if broken.is_empty() {
        return Ok(());
    }
    broken.sort_unstable();
    let messages: Vec<&str> = broken.iter().map(|(_, message)| message.as_str()).collect();
    Err(match messages[..] {
        [one] => Error::new(one).with_help("get the file again, or take it away"),
        _ => listed(&messages, &format!("{} of {} pictures", messages.len(), files.len()))
            .with_help("get the files again, or take them away"),
    })
}
