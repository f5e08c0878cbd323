//! MAT v5 files: just the numeric arrays that data sets use, with every size checked against what is there.

use super::files;
use crate::{Error, Result};
use std::io::Read;
use std::path::Path;

/// The most bytes that all arrays of a file have together: SVHN's extra part has 1.6 GB.
const CAP: u64 = 4 << 30;
/// The most dimensions of an array, and the most bytes of its name.
const DIMS: usize = 32;
const NAME: usize = 4096;
const MI_INT8: u32 = 1;
const MI_UINT32: u32 = 6;
const MI_INT32: u32 = 5;
const MI_UINT8: u32 = 2;
const MI_MATRIX: u32 = 14;
const MI_COMPRESSED: u32 = 15;
const MI_DOUBLE: u32 = 9;

/// An array in column-major order, as MATLAB keeps it.
#[derive(Debug)]
pub struct Matrix {
    /// Name of the variable.
    pub name: String,
    /// Sizes of its dimensions, first fastest.
    pub dims: Vec<usize>,
    /// Its values.
    pub values: Values,
}

/// `uint8`.
#[derive(Debug)]
pub enum Values {
    /// `double`.
    Bytes(Vec<u8>),
    /// `double`
    Doubles(Vec<f64>),
}

/// Reads all arrays of bytes and doubles in a file.
pub fn read(path: &Path) -> Result<Vec<Matrix>> {
    let mut reader: Box<dyn Read> = Box::new(std::io::BufReader::with_capacity(1 << 16, files::open(path)?));
    let header = files::exactly(&mut reader, 128, path)?;
    if &header[126..128] != b"IM" {
        return Err(Error::new(format!("{} is not a little-endian MAT file of version 5", path.display())));
    }
    let (mut matrices, mut left) = (Vec::new(), CAP);
    while let Some((kind, size)) = tag(&mut reader, path)? {
        let mut body = (&mut reader).take(size);
        match kind {
            MI_COMPRESSED => {
                let mut inner: Box<dyn Read> = Box::new(flate2::read::ZlibDecoder::new(&mut body).take(CAP + 4096));
                match tag(&mut inner, path)? {
                    Some((MI_MATRIX, _)) => matrices.extend(matrix(&mut inner, path, &mut left)?),
                    _ => return Err(files::cut(path, "a packed element that is not an array")),
                }
            }
            MI_MATRIX => matrices.extend(matrix(&mut body, path, &mut left)?),
            other => return Err(files::cut(path, &format!("an element of type {other}"))),
        }
        // What an array leaves unread (padding, arrays of other types) is passed over.
        std::io::copy(&mut body, &mut std::io::sink()).map_err(|e| files::broken(path, &e))?;
        if body.limit() > 0 {
            return Err(files::cut(path, "it ends within an element"));
        }
    }
    Ok(matrices)
}

/// An element's type and size; `None` at the end of the file.
fn tag(reader: &mut dyn Read, path: &Path) -> Result<Option<(u32, u64)>> {
    let mut bytes = Vec::new();
    reader.take(8).read_to_end(&mut bytes).map_err(|e| files::broken(path, &e))?;
    match bytes.len() {
        0 => Ok(None),
        8 => Ok(Some((word(&bytes, 0), u64::from(word(&bytes, 4))))),
        _ => Err(files::cut(path, "it ends within a tag")),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A part of an array: small ones lie within their tag, others behind it, padded to 8 bytes.
struct Part {
    kind: u32,
    size: usize,
    within: Option<[u8; 4]>,
}

impl Part {
    /// Reads a part's tag.
    fn open(reader: &mut dyn Read, path: &Path) -> Result<Part> {
        let tag = files::exactly(reader, 8, path)?;
        let (kind, small) = (word(&tag, 0) & 0xffff, (word(&tag, 0) >> 16) as usize);
        match small {
            0 => Ok(Part { kind, size: word(&tag, 4) as usize, within: None }),
            1..=4 => Ok(Part { kind, size: small, within: Some([tag[4], tag[5], tag[6], tag[7]]) }),
            _ => Err(files::cut(path, "a small element of more than 4 bytes")),
        }
    }

    /// Reads its bytes, at most `most`.
    fn bytes(self, reader: &mut dyn Read, path: &Path, most: usize) -> Result<Vec<u8>> {
        if self.size > most {
            return Err(files::cut(path, &format!("{} bytes where there are at most {most}", self.size)));
        }
        if let Some(within) = self.within {
            return Ok(within[..self.size].to_vec());
        }
        let bytes = files::exactly(reader, self.size, path)?;
        // The padding of the last part may be missing at the end of a packed element.
        let padding = (self.size.next_multiple_of(8) - self.size) as u64;
        reader.take(padding).read_to_end(&mut Vec::new()).map_err(|e| files::broken(path, &e))?;
        Ok(bytes)
    }
}

/// The next part's type and bytes.
fn part(reader: &mut dyn Read, path: &Path, most: usize) -> Result<(u32, Vec<u8>)> {
    let part = Part::open(reader, path)?;
    Ok((part.kind, part.bytes(reader, path, most)?))
}

/// Reads an array, whose bytes are taken from those that are `left`; `None` for one of a type that is not needed.
fn matrix(reader: &mut dyn Read, path: &Path, left: &mut u64) -> Result<Option<Matrix>> {
    let (_, flags) = part(reader, path, 8)?;
    let (dims_kind, dims) = part(reader, path, 4 * DIMS)?;
    let (name_kind, name) = part(reader, path, NAME)?;
    if flags.len() != 8 || dims_kind != MI_INT32 || !dims.len().is_multiple_of(4) || name_kind != MI_INT8 {
        return Err(files::cut(path, "an array's header"));
    }
    let complex = word(&flags, 0) & 0x800 != 0;
    let class = word(&flags, 0) & 0xff;
    // Classes 6 (double) to 13 (uint32) are numeric arrays.
    if complex || !(6..=13).contains(&class) {
        return Ok(None);
    }
    let dims: Vec<usize> = (0..dims.len() / 4).map(|i| word(&dims, 4 * i) as usize).collect();
    let values = Part::open(reader, path)?;
    // Bytes of a value in the file, and in memory.
    let (width, wide) = match values.kind {
        MI_UINT8 => (1, 1),
        MI_DOUBLE => (8, 8),
        MI_UINT32 | MI_INT32 => (4, 8),
        _ => return Ok(None),
    };
    let elements = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
    let elements = elements.filter(|&n| n <= *left / wide);
    let elements = elements.ok_or_else(|| Error::new(format!("{}: the size {dims:?} is too large", path.display())))?;
    *left -= elements * wide;
    if values.size as u64 != elements * width {
        return Err(files::cut(path, &format!("{} values for the size {dims:?}", values.size as u64 / width)));
    }
    let size = values.size;
    let bytes = values.bytes(reader, path, size)?;
    let values = match width {
        1 => Values::Bytes(bytes),
        8 => Values::Doubles(bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
        _ => Values::Doubles(bytes.as_chunks::<4>().0.iter().map(|&b| f64::from(u32::from_le_bytes(b))).collect()),
    };
    Ok(Some(Matrix { name: String::from_utf8_lossy(&name).into_owned(), dims, values }))
}
