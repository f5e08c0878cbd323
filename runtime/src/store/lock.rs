//! Files and folders that one process at a time writes: who comes second waits for the first. Locks are the system's,
//! so that a process that was killed holds nothing up.

use crate::{Error, Result};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long who comes second waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at a lock.
const POLL: Duration = Duration::from_millis(2);

/// A folder that this process alone writes into, for as long as this lives.
#[derive(Debug)]
pub struct Alone(#[allow(dead_code, reason = "the lock ends with the open file")] Option<File>);

/// Waits until no other process writes into a folder; an error if one does for ten seconds. Systems whose folders
/// cannot be locked let everybody write.
pub fn alone(folder: &Path) -> Result<Alone> {
    alone_within(folder, PATIENCE)
}

fn alone_within(folder: &Path, patience: Duration) -> Result<Alone> {
    // Only Unix opens folders as files.
    let Some(file) = cfg!(unix).then(|| File::open(folder).ok()).flatten() else { return Ok(Alone(None)) };
    match lock(&file, patience) {
        true => Ok(Alone(Some(file))),
        false => Err(Error::new(format!("another ninc writes into {}", folder.display()))
            .with_help("wait until it has ended, or take another folder")),
    }
}

/// Locks a file when nobody else holds it any more; `false` if somebody does for all of that time.
fn lock(file: &File, patience: Duration) -> bool {
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            // Some file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => return true,
            Err(TryLockError::WouldBlock) if begin.elapsed() >= patience => return false,
            Err(TryLockError::WouldBlock) => std::thread::sleep(POLL),
        }
    }
}

/// Makes an empty file for this process alone: what a dead process left at the path, or a link to something else, is
/// removed, and what a living one writes there is waited for. The file at the path belongs to who holds its lock.
pub fn create(path: &Path) -> io::Result<File> {
    create_within(path, PATIENCE)
}

fn create_within(path: &Path, patience: Duration) -> io::Result<File> {
    loop {
        match File::create_new(path) {
            Ok(file) => {
                // Between the two, another process may have taken it for a dead one's.
                wait(&file, patience)?;
                if is_at(&file, path)? {
                    return Ok(file);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => clear(path, patience)?,
            Err(e) => return Err(e),
        }
    }
}

fn wait(file: &File, patience: Duration) -> io::Result<()> {
    match lock(file, patience) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process is writing it")),
    }
}

/// Removes what lies at a path once nobody writes it.
fn clear(path: &Path, patience: Duration) -> io::Result<()> {
    let there = |e: io::Error| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) };
    let regular = match std::fs::symlink_metadata(path) {
        Ok(found) => found.is_file(),
        Err(e) => return there(e),
    };
    // Network file systems lock what is open for writing only. Who may not write it may remove it all the same.
    let left = regular.then(|| File::options().write(true).open(path).ok()).flatten();
    if let Some(left) = &left {
        wait(left, patience)?;
        if !is_at(left, path)? {
            return Ok(());
        }
    }
    std::fs::remove_file(path).or_else(there)
}

/// Does the path still name this file?
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let own = file.metadata()?;
        match std::fs::symlink_metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        Ok(true)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::store::{System, write_atomically};

    #[test]
    fn a_folder_is_one_writer_s_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = alone_within(folder.path(), Duration::ZERO).expect("free");
        let error = alone_within(folder.path(), Duration::ZERO).expect_err("taken");
        assert!(error.message.starts_with("another ninc writes into"), "{error}");
        drop(first);
        alone_within(folder.path(), Duration::ZERO).expect("free again");
    }

    #[test]
    fn a_file_is_one_writer_s_until_it_has_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let first = create_within(&path, Duration::ZERO).expect("free");
        let error = create_within(&path, Duration::ZERO).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(is_at(&first, &path).expect("there"), "the second writer takes nothing away from the first");
        // What a dead process left is taken over.
        drop(first);
        let second = create_within(&path, Duration::ZERO).expect("free again");
        // A file with another name is nobody's matter.
        std::fs::rename(&path, folder.path().join("named")).expect("renamed");
        let third = create_within(&path, Duration::ZERO).expect("free");
        assert!(!is_at(&second, &path).expect("there") && is_at(&third, &path).expect("there"));
    }

    /// With one name for what is not written yet, a writer renamed what another one had begun.
    #[test]
    fn writers_of_one_file_leave_it_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let contents: Vec<Vec<u8>> = (0..4_u8).map(|i| vec![i; 1 << 18]).collect();
        std::thread::scope(|scope| {
            for bytes in &contents {
                scope.spawn(|| (0..3).for_each(|_| write_atomically(&path, bytes, &System).expect("written")));
            }
        });
        assert!(contents.contains(&std::fs::read(&path).expect("there")));
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1, "no temporary files stay");
    }
}
