//! Reading files that nobody vouches for: sizes are bounded before memory is taken, and every failure names the file.

use crate::words::grouped;
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Opens a regular file.
pub fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|e| Error::file("open", path, &e))?;
    let kind = file.metadata().map_err(|e| Error::file("read", path, &e))?;
    match kind.is_file() {
        true => Ok(file),
        false => Err(Error::new(format!("{} is not a regular file", path.display()))),
    }
}

/// Reads the whole of a file of at most `cap` bytes.
pub fn read(path: &Path, cap: u64) -> Result<Vec<u8>> {
    rest(open(path)?, vec![], path, cap)
}

/// Reads the rest of a file of at most `cap` bytes; `bytes` are its first ones, which were read already.
pub fn rest(file: File, mut bytes: Vec<u8>, path: &Path, cap: u64) -> Result<Vec<u8>> {
    let length = file.metadata().map_err(|e| Error::file("read", path, &e))?.len();
    if length > cap {
        let (length, cap) = (grouped(length), grouped(cap));
        return Err(Error::new(format!("{} has {length} bytes, more than the {cap} that it may have", path.display())));
    }
    let read = bytes.len() as u64;
    bytes.reserve_exact(length.saturating_sub(read) as usize);
    // `take` holds the bound even if the file grows meanwhile.
    file.take((cap + 1).saturating_sub(read)).read_to_end(&mut bytes).map_err(|e| Error::file("read", path, &e))?;
    if bytes.len() as u64 > cap {
        return Err(Error::new(format!("{} grew while it was read", path.display())));
    }
    Ok(bytes)
}

/// Opens a file that may be gzipped, whatever its name says.
pub fn unzipped(path: &Path) -> Result<Box<dyn Read>> {
    let mut start = [0; 2];
    let mut file = open(path)?;
    let zipped = file.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
    let file = BufReader::with_capacity(1 << 16, open(path)?);
    Ok(if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Reads exactly `count` bytes; an error says that the file ends early. Memory grows with what is really there, so a
/// header that lies about a count costs nothing.
pub fn exactly(reader: &mut dyn Read, count: usize, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count.min(1 << 20));
    reader.take(count as u64).read_to_end(&mut bytes).map_err(|e| broken(path, &e))?;
    match bytes.len() == count {
        true => Ok(bytes),
        false => Err(cut(path, &format!("{count} bytes were expected where it has {}", bytes.len()))),
    }
}

/// Checks that nothing follows in the file.
pub fn ends(reader: &mut dyn Read, path: &Path) -> Result<()> {
    let mut rest = [0; 1];
    match reader.read(&mut rest) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::new(format!("{} has more bytes than its header says", path.display()))
            .with_help("the file is damaged, or it is not what it should be: get it again")),
        Err(e) => Err(broken(path, &e)),
    }
}

/// Describes a file that is damaged or cut short.
pub fn cut(path: &Path, detail: &str) -> Error {
    Error::new(format!("{} is damaged or cut short: {detail}", path.display())).with_help("get the file again")
}

/// Describes an error of a stream, which as a rule is one of its decompression.
pub fn broken(path: &Path, cause: &std::io::Error) -> Error {
    cut(path, &cause.to_string())
}

/// Finds the first of the candidates that is there.
pub fn find(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|n| folder.join(n)).find(|p| p.is_file())
}

/// Checks that a path exists; the error says it in the user's words.
pub fn exists(path: &Path) -> Result<()> {
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new(format!("there is no file or folder {}", path.display()))
            .with_help("give the data's place with `--data PATH`")),
        Err(e) => Err(Error::file("read", path, &e)),
    }
}
