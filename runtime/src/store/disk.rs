//! How files are written: whole or not at all, at the place that a path means.

use super::lock;
use crate::{Error, Result};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file operations of a save, so that tests can let any of them fail.
pub trait Disk {
    /// Makes an empty file, which no other process writes or removes while it has this name and is open.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Writes all bytes.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// Waits until a file is on the disk.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Gives a file another name; a file that has this name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Waits until a folder's entries are on the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Gives a file a second name; a file that has this name is replaced.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Disk for System {
    fn create(&self, path: &Path) -> io::Result<File> {
        lock::create(path)
    }
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Only Unix lets a folder be opened and synced.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match std::fs::remove_file(to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        // Some file systems know no second names.
        std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(|_| ()))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// Bytes per write: small enough that a full disk shows early.
const CHUNK: usize = 1 << 20;
/// Links that are followed, as Linux does.
const LINKS: usize = 40;

/// What a path means for who writes there.
enum Place {
    /// A file to be made, or to be replaced.
    File(PathBuf, Option<Metadata>),
    /// A device, a pipe, an open file: it is written to, and stays.
    Stream(PathBuf),
}

impl Place {
    /// Follows links to what they mean, also where that is not there yet.
    fn of(path: &Path) -> io::Result<Place> {
        let mut path = path.to_path_buf();
        for _ in 0..LINKS {
            if ["/proc", "/dev/fd"].iter().any(|open| path.starts_with(open)) {
                return Ok(Place::Stream(path));
            }
            match std::fs::symlink_metadata(&path) {
                Ok(there) if there.is_symlink() => {
                    let target = std::fs::read_link(&path)?;
                    path = path.parent().unwrap_or(Path::new("")).join(target);
                }
                Ok(there) if there.is_file() => return Ok(Place::File(path, Some(there))),
                Ok(_) => return Ok(Place::Stream(path)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Place::File(path, None)),
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::other("it is a link to a link, and so on without end"))
    }
}

/// A file whose contents are written, under a name of its own beside the target; without the target's name in the end
/// it is removed.
struct Begun {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    folder: PathBuf,
    named: bool,
}

impl Begun {
    /// Gives the file the target's name.
    fn name(&mut self, disk: &dyn Disk) -> io::Result<()> {
        disk.rename(&self.temporary, &self.target)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.named {
            // Best effort: the save has failed already, and that is what the user must hear.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes beside the target, syncs, renames, syncs the folder: whatever fails, the old file or the new one is there,
/// whole. Two writers of one file take turns. A link stays and its target is written, with the owner and permissions
/// that it had; a write-protected file is an error. A path that does not name a regular file (a pipe, `/dev/stdout`, a
/// device) is written to in place.
pub fn write_atomically(path: &Path, bytes: &[u8], disk: &dyn Disk) -> Result<()> {
    let Some(mut begun) = begin(path, bytes, disk)? else { return Ok(()) };
    disk.sync(&begun.file).and_then(|()| begun.name(disk)).map_err(|e| failed(path, e))?;
    disk.sync_folder(&begun.folder).map_err(|e| Error::file("make sure of", path, &e))
}

/// Like [`write_atomically`] for several files: all of them are on the disk before the first one gets its name, and the
/// disk is waited for once.
pub fn write_together(files: &[(PathBuf, &[u8])], disk: &(dyn Disk + Sync)) -> Result<()> {
    let mut begun: Vec<(&Path, Begun)> = Vec::new();
    for (path, bytes) in files {
        begun.extend(begin(path, bytes, disk)?.map(|begun| (path.as_path(), begun)));
    }
    let synced = together(&begun, |begun| disk.sync(&begun.file));
    for ((path, _), synced) in begun.iter().zip(synced) {
        synced.map_err(|e| failed(path, e))?;
    }
    for (path, begun) in &mut begun {
        begun.name(disk).map_err(|e| failed(path, e))?;
    }
    let mut folders: Vec<(&Path, &Path)> = begun.iter().map(|(path, begun)| (&*begun.folder, *path)).collect();
    folders.sort();
    folders.dedup_by_key(|(folder, _)| *folder);
    let sync =
        |(folder, path): (&Path, &Path)| disk.sync_folder(folder).map_err(|e| Error::file("make sure of", path, &e));
    folders.into_iter().try_for_each(sync)
}

/// Does something with all files at once, each on a thread: a disk is faster with several requests.
fn together(begun: &[(&Path, Begun)], work: impl Fn(&Begun) -> io::Result<()> + Sync) -> Vec<io::Result<()>> {
    let work = &work;
    std::thread::scope(|scope| {
        let all: Vec<_> = begun.iter().map(|(_, begun)| scope.spawn(move || work(begun))).collect();
        let panicked = |_| Err(io::Error::other("a thread panicked"));
        all.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    })
}

/// Writes the contents under a temporary name. `None` where the path does not name a regular file: it is written by
/// then.
fn begin(path: &Path, bytes: &[u8], disk: &dyn Disk) -> Result<Option<Begun>> {
    let refused = |e: io::Error| Error::file("write", path, &e);
    let (target, old) = match Place::of(path).map_err(refused)? {
        Place::Stream(place) => return stream(&place, bytes).map(|()| None).map_err(refused),
        Place::File(target, old) => (target, old),
    };
    let name = target.file_name().ok_or_else(|| Error::new(format!("{} names no file", path.display())))?;
    if old.as_ref().is_some_and(|old| old.permissions().readonly()) {
        return Err(Error::new(format!("{} is write-protected", path.display()))
            .with_help("give another name, or let it be replaced: `chmod u+w`"));
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    // A fixed name: what a killed process left is overwritten by the next save, and nothing piles up.
    let temporary = folder.join(format!(".{}.tmp", name.to_string_lossy()));
    let file = disk.create(&temporary).map_err(|e| failed(path, e))?;
    let mut begun = Begun { file, temporary, target, folder, named: false };
    let write = || {
        old.map_or(Ok(()), |old| become_like(&begun.file, &old))?;
        bytes.chunks(CHUNK).try_for_each(|chunk| disk.write(&mut begun.file, chunk))
    };
    write().map_err(|e| failed(path, e))?;
    Ok(Some(begun))
}

/// Says why a save failed.
fn failed(path: &Path, e: io::Error) -> Error {
    let error = Error::file("write", path, &e);
    match e.kind() {
        io::ErrorKind::ResourceBusy => error.with_help("wait until it has ended, or give another name"),
        // The path itself is at fault.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if error.help.is_some() => error,
        _ => error.with_help(
            "is the disk full, or the folder gone or read-only? the old file, if there was one, is untouched",
        ),
    }
}

/// Gives a new file the permissions of the one that it replaces, and its owner where that is allowed.
fn become_like(file: &File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            // Only the administrator may give files away.
            let _ = fchown(file, Some(old.uid()), Some(old.gid()));
        }
    }
    if new.permissions() == old.permissions() { Ok(()) } else { file.set_permissions(old.permissions()) }
}

/// Writes to a pipe or a device. This program's own standard output goes through its buffer, so that texts and these
/// bytes come out in the order in which they were written.
fn stream(place: &Path, bytes: &[u8]) -> io::Result<()> {
    if ["/proc/self/fd/1", "/dev/fd/1"].iter().any(|own| place == Path::new(own)) {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        return out.flush();
    }
    let mut file = OpenOptions::new().write(true).open(place)?;
    file.write_all(bytes)?;
    file.flush()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// Of files that are written together all are there, or none.
    #[test]
    fn together_is_all_or_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("in")).expect("made");
        let old: Vec<(PathBuf, &[u8])> = vec![(path("a"), b"old a"), (path("in/b"), b"old b"), (path("c"), b"")];
        write_together(&old, &System).expect("written");
        let are = |files: &[(PathBuf, &[u8])]| files.iter().all(|(path, bytes)| std::fs::read(path).unwrap() == *bytes);
        assert!(are(&old));
        std::fs::set_permissions(path("c"), PermissionsExt::from_mode(0o440)).expect("set");
        let new: Vec<(PathBuf, &[u8])> = vec![(path("a"), b"a"), (path("in/b"), b"b"), (path("c"), b"c")];
        let error = write_together(&new, &System).expect_err("protected");
        assert!(error.message.ends_with("c is write-protected"), "{error}");
        assert!(are(&old));
        let error = write_together(&[(path("a"), b"a"), (path("none/b"), b"b")], &System).expect_err("no folder");
        assert!(error.message.contains("none/b"), "{error}");
        assert!(are(&old));
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 3, "no temporary files stay");
        write_together(&new[..2], &System).expect("written");
        assert!(are(&new[..2]) && are(&old[2..]));
        write_together(&[], &System).expect("nothing to do");
    }

    #[test]
    fn links_and_permissions_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        std::fs::create_dir(folder.join("far")).expect("made");
        let [link, second, target] = ["link", "second", "far/target"].map(|name| folder.join(name));
        symlink("second", &link).expect("linked");
        symlink("far/target", &second).expect("linked");
        // The target is not there yet.
        write_atomically(&link, b"one", &System).expect("written");
        std::fs::set_permissions(&target, PermissionsExt::from_mode(0o640)).expect("set");
        write_atomically(&link, b"two", &System).expect("written");
        assert!([&link, &second].iter().all(|link| link.is_symlink()));
        assert_eq!(std::fs::read(&target).expect("there"), b"two");
        assert_eq!(target.metadata().expect("there").permissions().mode() & 0o777, 0o640);
        std::fs::set_permissions(&target, PermissionsExt::from_mode(0o440)).expect("set");
        let error = write_atomically(&link, b"three", &System).expect_err("protected");
        assert!(error.message.ends_with("link is write-protected"), "{error}");
        assert_eq!(std::fs::read(&target).expect("there"), b"two");

        // What a temporary file of another program's choice points at is not touched.
        symlink(&target, folder.join(".new.tmp")).expect("linked");
        write_atomically(&folder.join("new"), b"new", &System).expect("written");
        assert_eq!(std::fs::read(folder.join("new")).expect("there"), b"new");
        assert_eq!(std::fs::read(&target).expect("there"), b"two");

        symlink("around", folder.join("around")).expect("linked");
        let error = write_atomically(&folder.join("around"), b"", &System).expect_err("endless");
        assert!(error.message.contains("without end"), "{error}");
        write_atomically(Path::new("/dev/null"), b"gone", &System).expect("written");
        assert!(!Path::new("/dev/null").metadata().expect("there").is_file());
    }
}
