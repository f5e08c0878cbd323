//! What a training remembers of its data, so that going on with other data is noticed.

use super::{Dataset, Pixels};
use crate::image::print::{self, Print};
use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What a checksum of pictures in files is made of. Of images in memory it is always their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// The files' contents.
    Contents,
    /// Their names and sizes, as former versions did: for checkpoints of theirs.
    Sizes,
}

/// Stands behind a checksum of files' contents.
const CONTENTS: &str = "-contents";

impl Hashed {
    /// Tells from a checksum how it was made.
    pub fn as_in(checksum: &str) -> Hashed {
        if checksum.ends_with(CONTENTS) { Hashed::Contents } else { Hashed::Sizes }
    }
}

impl Dataset {
    /// CRC-32 of the pixels, the labels, and which of them belong to this part.
    pub fn checksum(&self, by: Hashed) -> Result<String> {
        let mut hasher = crc32fast::Hasher::new();
        let mut mark = "";
        match &self.images.pixels {
            Pixels::Bytes(bytes) => hasher.update(bytes),
            Pixels::Floats(floats) => floats.chunks(4096).for_each(|some| {
                let bytes: Vec<u8> = some.iter().flat_map(|v| v.to_le_bytes()).collect();
                hasher.update(&bytes);
            }),
            Pixels::Files(files, _) if by == Hashed::Contents => {
                mark = CONTENTS;
                files.iter().try_for_each(|file| contents(file, &mut hasher))?;
            }
            Pixels::Files(files, _) => {
                for file in files {
                    let size = std::fs::metadata(file).map_err(|e| Error::file("read", file, &e))?.len();
                    hasher.update(format!("{:?} {size};", file.file_name()).as_bytes());
                }
            }
        }
        for words in [&self.labels, &self.rows] {
            words.iter().for_each(|w| hasher.update(&w.to_le_bytes()));
        }
        Ok(format!("{:08x}{mark}", hasher.finalize()))
    }
}

/// Adds a file's bytes and how many there are: what is remembered of them if they were read already.
fn contents(path: &Path, hasher: &mut crc32fast::Hasher) -> Result<()> {
    let failed = |e| Error::file("read", path, &e);
    if let Some(print) = Print::recall(path, print::state(path)?) {
        hasher.combine(&print.crc());
        hasher.update(&print.length.to_le_bytes());
        return Ok(());
    }
    let mut file = File::open(path).map_err(failed)?;
    let (mut block, mut length) = (vec![0; 1 << 16], 0u64);
    loop {
        let count = file.read(&mut block).map_err(failed)?;
        if count == 0 {
            break;
        }
        hasher.update(&block[..count]);
        length += count as u64;
    }
    hasher.update(&length.to_le_bytes());
    Ok(())
}
