//! Files of data made by hand, byte by byte, as their formats say.

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder for temporary files")
}

pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is missing", path.display());
    }
    path.exists().then_some(path)
}

/// An IDX file of bytes.
pub fn idx_bytes(dims: &[u32], contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(contents);
    bytes
}

pub fn write_mnist(folder: &Path) {
    for (part, count) in [("train", 6u32), ("t10k", 3)] {
        let pixels: Vec<u8> = (0..count * 6).map(|v| v as u8).collect();
        let labels: Vec<u8> = (0..count).map(|v| (v % 10) as u8).collect();
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), idx_bytes(&[count, 2, 3], &pixels))
            .expect("written");
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), idx_bytes(&[count], &labels)).expect("written");
    }
}

/// A tar archive with these members, as GNU tar writes it.
pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    members.iter().for_each(|(name, contents)| member(&mut bytes, b'0', name, contents));
    bytes.extend([0; 1024]);
    bytes
}

/// A header of this kind and what lies behind it.
pub fn member(bytes: &mut Vec<u8>, kind: u8, name: &str, contents: &[u8]) {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar  \0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend(header);
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// A line of a PAX extension: its own length, counted with its digits, then the key and the value.
pub fn pax(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let digits = (1..4).find(|d| (rest.len() + d).to_string().len() == *d).expect("short");
    format!("{}{rest}", rest.len() + digits)
}

/// A data element of a MAT file: type, length, contents, padding to 8 bytes.
pub fn element(kind: u32, contents: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (contents.len() as u32).to_le_bytes()].concat();
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// A matrix of bytes as MATLAB 5 stores it (class 9: uint8).
pub fn matrix(name: &str, dims: &[u32], contents: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|d| d.to_le_bytes()).collect();
    let flags = [9u32.to_le_bytes(), [0; 4]].concat();
    element(14, &[element(6, &flags), element(5, &dims), element(1, name.as_bytes()), element(2, contents)].concat())
}

pub fn mat_file(labels: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b' '; 116];
    bytes[..19].copy_from_slice(b"MATLAB 5.0 MAT-file");
    bytes.extend([0; 8]);
    bytes.extend([0x00, 0x01, b'I', b'M']);
    // Column-major [row, column, channel, image]: each pixel says where it is.
    let pixel = |i: usize| ((i % 32) * 2 + (i / 32 % 32) * 3 + (i / 1024 % 3) * 5 + i / 3072) as u8;
    let pixels: Vec<u8> = (0..3072 * labels.len()).map(pixel).collect();
    bytes.extend(matrix("X", &[32, 32, 3, labels.len() as u32], &pixels));
    bytes.extend(matrix("y", &[labels.len() as u32, 1], labels));
    bytes
}

/// A zip archive without compression, as `numpy.savez` writes it.
pub fn zip_bytes(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut index) = (Vec::new(), Vec::new());
    for (name, contents) in members {
        let offset = bytes.len() as u32;
        let (size, sum) = ((contents.len() as u32).to_le_bytes(), crc(contents).to_le_bytes());
        let shared =
            [&[20, 0, 0, 0, 0, 0, 0, 0, 33, 0][..], &sum, &size, &size, &(name.len() as u16).to_le_bytes(), &[0, 0]];
        let shared = shared.concat();
        bytes.extend([b"PK\x03\x04", &shared[..], name.as_bytes(), contents].concat());
        let place = [&[0; 10][..], &offset.to_le_bytes()].concat();
        index.extend([b"PK\x01\x02\x14\x00", &shared[..], &place, name.as_bytes()].concat());
    }
    let (count, start) = ((members.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    let size = (index.len() as u32).to_le_bytes();
    bytes.extend(index);
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &start, &[0, 0]].concat());
    bytes
}

pub fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, &b| {
        (0..8).fold(sum ^ u32::from(b), |s, _| if s & 1 == 1 { s >> 1 ^ 0xEDB8_8320 } else { s >> 1 })
    })
}

/// An `.npy` array of bytes.
pub fn npy_bytes(descr: &str, shape: &str, contents: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), contents].concat()
}
