//! NumPy's `.npy` format: numbers in, float32 out. The header is parsed by hand, because sizes in it must be checked
//! against the bytes that are there before anything is believed.

use crate::data::files;
use crate::{Error, Result, Tensor};
use std::path::Path;

/// How such a file begins.
pub const MAGIC: &[u8] = b"\x93NUMPY";
const RANKS: usize = 8;

/// An array of any numeric type, with its numbers still as bytes.
#[derive(Debug)]
pub struct Array {
    /// Sizes of its dimensions.
    pub dims: Vec<usize>,
    /// `f`, `i`, `u` or `b` and the bytes of an element.
    pub kind: (char, usize),
    big_endian: bool,
    fortran: bool,
    bytes: Vec<u8>,
}

/// Parses a whole file; `path` is for messages.
pub fn parse(mut bytes: Vec<u8>, path: &Path) -> Result<Array> {
    let wrong = |detail: &str| Error::new(format!("{} is not a valid .npy array: {detail}", path.display()));
    if bytes.len() < 10 || !bytes.starts_with(MAGIC) {
        return Err(wrong("it does not start as one").with_help("write it with `numpy.save`"));
    }
    let (start, length): (usize, usize) = match bytes[6] {
        1 => (10, usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))),
        2 | 3 if bytes.len() >= 12 => (12, u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize),
        version => return Err(wrong(&format!("version {version}"))),
    };
    let end =
        start.checked_add(length).filter(|&e| e <= bytes.len()).ok_or_else(|| wrong("its header is cut short"))?;
    let header = std::str::from_utf8(&bytes[start..end]).map_err(|_| wrong("its header is not text"))?;
    let descr = value(header, "descr").ok_or_else(|| wrong("no `descr`"))?;
    let descr = descr.strip_prefix(['\'', '"']).and_then(|d| d.split(['\'', '"']).next());
    let descr = descr.ok_or_else(|| wrong("a structured type").with_help("save plain numbers"))?;
    let (big_endian, kind) = element(descr).ok_or_else(|| {
        wrong(&format!("its elements are `{descr}`")).with_help(match descr.trim_start_matches(['<', '>', '|', '=']) {
            d if d.starts_with(['U', 'S']) => "they are texts: `numpy.unique(y, return_inverse=True)[1]` numbers them",
            d if d.starts_with('O') => {
                "they are Python objects: `numpy.stack` or `astype` makes an array of numbers of them"
            }
            _ => "floats of 16, 32 and 64 bits, integers and truth values are understood",
        })
    })?;
    let fortran = match value(header, "fortran_order") {
        Some(v) if v.starts_with("True") => true,
        Some(v) if v.starts_with("False") => false,
        _ => return Err(wrong("no `fortran_order`")),
    };
    let dims = shape(header).ok_or_else(|| wrong("no readable `shape`"))?;
    let expected = dims.iter().try_fold(kind.1, |n, &d| n.checked_mul(d));
    if dims.len() > RANKS || expected != Some(bytes.len() - end) {
        return Err(wrong(&format!("{} bytes do not fill the shape {dims:?} of `{descr}`", bytes.len() - end)));
    }
    bytes.drain(..end);
    Ok(Array { dims, kind, big_endian, fortran, bytes })
}

/// Returns the text after `'key':` in the header's dictionary.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let at = header.find(&format!("'{key}'"))? + key.len() + 2;
    Some(header[at..].trim_start().strip_prefix(':')?.trim_start())
}

fn shape(header: &str) -> Option<Vec<usize>> {
    // Python 2 wrote whole numbers as `28L`.
    let inside = value(header, "shape")?.strip_prefix('(')?.split_once(')')?.0;
    inside.split(',').map(str::trim).filter(|p| !p.is_empty()).map(|p| p.trim_end_matches('L').parse().ok()).collect()
}

fn element(descr: &str) -> Option<(bool, (char, usize))> {
    let mut chars = descr.chars();
    let order = chars.next()?;
    let kind = chars.next()?;
    let size: usize = chars.as_str().parse().ok()?;
    let known = matches!((kind, size), ('f', 2 | 4 | 8) | ('i' | 'u', 1 | 2 | 4 | 8) | ('b', 1));
    (known && matches!(order, '<' | '>' | '|' | '=')).then_some((order == '>', (kind, size)))
}

impl Array {
    /// Converts it to float32 in C order.
    pub fn floats(&self) -> Vec<f32> {
        match self.kind {
            ('f', 2) => self.numbers(|b: [u8; 2]| half(u16::from_le_bytes(b))),
            ('f', 4) => self.numbers(|b: [u8; 4]| f32::from_le_bytes(b)),
            ('f', _) => self.numbers(|b: [u8; 8]| f64::from_le_bytes(b) as f32),
            ('u', 8) => self.numbers(|b: [u8; 8]| u64::from_le_bytes(b) as f32),
            _ => self.whole(|v| v as f32),
        }
    }

    /// Converts it to integers in C order; empty for arrays of floats. `uint64` beyond `i64` wraps to negative.
    pub fn integers(&self) -> Vec<i64> {
        self.whole(|v| v)
    }

    /// Whole numbers, each through `to`.
    fn whole<T: Copy>(&self, to: impl Fn(i64) -> T) -> Vec<T> {
        match self.kind {
            ('u' | 'b', 1) => self.numbers(|b: [u8; 1]| to(i64::from(b[0]))),
            ('i', 1) => self.numbers(|b: [u8; 1]| to(i64::from(b[0] as i8))),
            ('u', 2) => self.numbers(|b: [u8; 2]| to(i64::from(u16::from_le_bytes(b)))),
            ('i', 2) => self.numbers(|b: [u8; 2]| to(i64::from(i16::from_le_bytes(b)))),
            ('u', 4) => self.numbers(|b: [u8; 4]| to(i64::from(u32::from_le_bytes(b)))),
            ('i', 4) => self.numbers(|b: [u8; 4]| to(i64::from(i32::from_le_bytes(b)))),
            ('u' | 'i', 8) => self.numbers(|b: [u8; 8]| to(i64::from_le_bytes(b))),
            _ => vec![],
        }
    }

    /// Returns its bytes in C order, for `uint8`.
    pub fn bytes(self) -> Vec<u8> {
        if self.fortran { self.numbers(|b: [u8; 1]| b[0]) } else { self.bytes }
    }

    fn numbers<T: Copy, const N: usize>(&self, read: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (elements, _) = self.bytes.as_chunks::<N>();
        let numbers: Vec<T> = elements
            .iter()
            .map(|&e| {
                let mut e = e;
                if self.big_endian {
                    e.reverse();
                }
                read(e)
            })
            .collect();
        if !self.fortran || numbers.is_empty() {
            return numbers;
        }
        let order: Vec<usize> = (0..self.dims.len()).rev().collect();
        let mut turned = numbers.clone();
        crate::tensor::from_memory(&self.dims, &order, &numbers, &mut turned);
        turned
    }
}

/// Converts a number of 16 bits: a sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f32::from(bits & 0x3ff);
    match bits >> 10 & 0x1f {
        0 => sign * fraction / 16_777_216.0,
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        exponent => sign * (1.0 + fraction / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    }
}

/// Reads a `.npy` file of at most 4 GiB.
pub fn array(path: &Path) -> Result<Array> {
    parse(files::read(path, 4 << 30)?, path)
}

/// Reads a `.npy` file as float32. At most 4 GiB.
pub fn read(path: &Path) -> Result<Tensor> {
    let array = array(path)?;
    Tensor::new(&array.dims, array.floats())
}

/// Makes the bytes of a `.npy` file (version 1.0, little endian, C order).
pub fn to_bytes(tensor: &Tensor) -> Vec<u8> {
    let dims: String = tensor.dims.iter().map(|d| format!("{d}, ")).collect();
    let dims =
        if tensor.dims.len() > 1 { dims.trim_end_matches(", ").to_string() } else { dims.trim_end().to_string() };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    // Magic, version, length, header and the line's end fill a multiple of 64 bytes.
    let padded = (10 + header.len() + 1).next_multiple_of(64);
    header.extend(std::iter::repeat_n(' ', padded - 11 - header.len()));
    header.push('\n');
    let mut bytes = Vec::with_capacity(padded + tensor.data.len() * 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(tensor.data.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_comes_back() {
        for dims in [vec![], vec![3], vec![2, 3]] {
            let count: usize = dims.iter().product();
            let tensor = Tensor::new(&dims, (0..count).map(|i| i as f32 - 0.5).collect()).expect("fits");
            let bytes = to_bytes(&tensor);
            let array = parse(bytes.clone(), Path::new("t.npy")).expect("valid");
            assert_eq!((array.dims.clone(), array.floats()), (tensor.dims, tensor.data));
            for cut in 0..bytes.len() {
                assert!(parse(bytes[..cut].to_vec(), Path::new("t.npy")).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn column_major_and_big_endian_arrays_are_turned() {
        let header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend([0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6]);
        let array = parse(bytes, Path::new("t.npy")).expect("valid");
        assert_eq!(array.integers(), [1, 2, 3, 4, 5, 6]);
    }
}
