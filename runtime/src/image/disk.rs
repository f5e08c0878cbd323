//! Decoded pictures on disk, for later runs: a folder of files, each named by the contents of a picture's file and by
//! how it was read, so that nothing else can be taken for it.
//!
//! An entry is written beside its name and renamed, so that there is none by halves, whoever else reads and writes. It
//! is read with its checksum, and counts for nothing where anything is wrong with it. A failed write
//! is not an error: the picture is decoded again.

use super::print::Print;
use crate::cache_folder;
use crate::init::fnv;
use crate::spec::Pictures;
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Bytes that a cache has at most, about: processes do not see what others add meanwhile.
pub const BOUND: u64 = 4 << 30;
/// Files below this size are decoded in about the time in which an entry is read.
pub const WORTH: u64 = 16 << 10;
/// What an entry takes on disk is a multiple of this.
const BLOCK: u64 = 4096;
/// Changes whenever a picture of the same bytes becomes other pixels.
const READING: u32 = 1;
const ENDING: &str = "picture";
/// A temporary file that is older than this belongs to nobody who is still at work.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A folder of decoded pictures.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    bound: u64,
    /// Known from the first write on.
    room: Mutex<Option<Room>>,
}

/// What is in the folder.
#[derive(Debug, Default)]
struct Room {
    bytes: u64,
    /// Entries from before, the one that was used longest ago first.
    old: VecDeque<(SystemTime, u64, PathBuf)>,
    /// A write failed: the disk is full, or not for us.
    closed: bool,
}

/// Writes down what decides a picture's pixels.
pub fn key(print: &Print, dims: [usize; 3], pictures: &Pictures) -> String {
    let Print { length, crc, hash } = print;
    let version = env!("CARGO_PKG_VERSION");
    format!("{length} {crc:08x} {hash:016x} {dims:?} {pictures:?} {version} {READING}")
}

impl Cache {
    /// Makes a cache in a folder, which need not be there yet; it holds about `bound` bytes at most.
    pub fn new(folder: PathBuf, bound: u64) -> Cache {
        Cache { folder, bound, room: Mutex::new(None) }
    }

    fn path(&self, key: &str) -> PathBuf {
        let name = format!("{:016x}", fnv(key.as_bytes()));
        self.folder.join(&name[..2]).join(name).with_extension(ENDING)
    }

    /// Copies an entry's pixels to `target`, if it is there and whole.
    pub fn read(&self, key: &str, target: &mut [u8]) -> bool {
        let mut found = || {
            let mut file = File::open(self.path(key)).ok()?;
            let mut bytes = Vec::with_capacity(key.len() + 10 + target.len());
            (&mut file).take((key.len() + 11 + target.len()) as u64).read_to_end(&mut bytes).ok()?;
            let at = bytes.len().checked_sub(target.len())?;
            let (head, pixels) = bytes.split_at(at);
            let whole = head == head_of(key, pixels).as_bytes();
            // Who is used last goes last.
            let _ = file.set_modified(SystemTime::now());
            whole.then(|| target.copy_from_slice(pixels))
        };
        found().is_some()
    }

    /// Keeps pixels, if there is room or what was used longest ago can make some.
    pub fn write(&self, key: &str, pixels: &[u8]) {
        let path = self.path(key);
        let head = head_of(key, pixels);
        let size = ((head.len() + pixels.len()) as u64).next_multiple_of(BLOCK);
        if !self.reserve(size) {
            return;
        }
        let temporary = path.with_extension(format!("{}.tmp", unique()));
        let create = || {
            cache_folder::make(path.parent().unwrap_or(&self.folder))?;
            OpenOptions::new().write(true).create_new(true).open(&temporary)
        };
        let written = create().and_then(|mut file| {
            let written = file.write_all(head.as_bytes()).and_then(|()| file.write_all(pixels));
            drop(file);
            let written = written.and_then(|()| fs::rename(&temporary, &path));
            written.inspect_err(|_| drop(fs::remove_file(&temporary)))
        });
        if written.is_err() {
            let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            room.iter_mut().for_each(|room| (room.closed, room.bytes) = (true, room.bytes - size));
        }
    }

    /// Reserves room for an entry, if there is any.
    fn reserve(&self, size: u64) -> bool {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let room = room.get_or_insert_with(|| Room::of(&self.folder));
        while !room.closed && room.bytes + size > self.bound {
            let Some((then, old, path)) = room.old.pop_front() else { return false };
            // One that was used since is among the newest.
            if fs::metadata(&path).and_then(|about| about.modified()).is_ok_and(|now| now == then)
                && fs::remove_file(&path).is_ok()
            {
                room.bytes -= old;
            }
        }
        if !room.closed {
            room.bytes += size;
        }
        !room.closed
    }
}

/// A name that no other temporary file has: numbers of processes repeat in containers that share a folder.
fn unique() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}-{}", *PROCESS, WRITTEN.fetch_add(1, Ordering::Relaxed))
}

/// What stands in front of the pixels.
fn head_of(key: &str, pixels: &[u8]) -> String {
    format!("{key} {:08x}\n", crc32fast::hash(pixels))
}

impl Room {
    /// Looks at all entries, and takes away what writers that died have left.
    fn of(folder: &Path) -> Room {
        let mut room = Room::default();
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries(folder).flat_map(|part| entries(&part.path())) {
            let path = entry.path();
            let about = || -> io::Result<_> {
                let about = entry.metadata()?;
                Ok((about.modified()?, about.len().next_multiple_of(BLOCK)))
            };
            let Ok((then, size)) = about() else { continue };
            if path.extension().is_some_and(|ending| ending == ENDING) {
                room.bytes += size;
                room.old.push_back((then, size, path));
            } else if then.elapsed().is_ok_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(path);
            }
        }
        room.old.make_contiguous().sort_unstable();
        room
    }
}
