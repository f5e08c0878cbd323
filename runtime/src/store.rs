//! Files of named tensors: safetensors with checksums, written so that a crash leaves the old file or the new one.
//!
//! The bytes depend on the contents alone (names in order, no time, no hash map), so equal training gives equal files.
//! Each tensor has a CRC-32 in the metadata, and the header has one of itself, computed with eight zeros in its place.

use crate::data::files;
use crate::formats::Formats;
use crate::{Error, Result, Tensor, foreign};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

mod disk;
mod lock;
mod numbers;

pub use disk::{Disk, System, write_atomically, write_together};
pub use lock::alone;
pub use numbers::Numbers;
use numbers::{floats, whole};

/// Where the header's own checksum stands: always first.
pub const CHECKSUM: &[u8] = br#"{"__metadata__":{"checksum":""#;
const ZEROS: &[u8] = b"00000000";
/// The text that states the formats of quantised weights.
pub const FORMATS: &str = "formats";

/// Is this the name of a preparation's number, `prepare.0.mean`? A layer called `prepare` has others.
pub fn of_preparation(name: &str) -> bool {
    name.strip_prefix("prepare.").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The largest file that is read.
pub const CAP: u64 = 16 << 30;
/// The most bytes that a header has.
const LARGEST_HEADER: u64 = 100_000_000;

/// Tensors and texts by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    /// Tensors by name, in PyTorch's layouts.
    pub tensors: BTreeMap<String, Tensor>,
    /// Texts by name.
    pub metadata: BTreeMap<String, String>,
    /// Types of tensors that are not of floats, which are not read.
    pub others: BTreeMap<String, String>,
    /// Tensors of whole numbers, which quantised weights have, and how these lie in the file.
    pub whole: BTreeMap<String, Numbers>,
    /// Tensors of float64, which were rounded to float32, and for each whether a number is beyond float32.
    pub wide: BTreeMap<String, bool>,
}

/// A file's header: what is in the file, without the numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// Shapes of the tensors by name.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Texts by name.
    pub metadata: BTreeMap<String, String>,
}

impl Header {
    /// Reads the header of an open file, and puts the bytes that it read into `bytes`. `None` if the header's checksum
    /// is missing or wrong, or the file has another length than the header says; [`Store::read_rest`] then says what is
    /// wrong, if anything is.
    pub fn read(file: &mut File, bytes: &mut Vec<u8>) -> Option<Header> {
        file.take(8).read_to_end(bytes).ok()?;
        let count = u64::from_le_bytes(*bytes.first_chunk()?);
        file.take(count.min(LARGEST_HEADER)).read_to_end(bytes).ok()?;
        let (length, header) = bytes.split_at(8);
        if header.len() as u64 != count || !header.starts_with(CHECKSUM) || !is_whole(length, header) {
            return None;
        }
        let info: Metadata = serde_json::from_slice(header).ok()?;
        let end = info.tensors().values().map(|tensor| tensor.data_offsets.1).max().unwrap_or(0);
        if file.metadata().ok()?.len() != 8 + count + end as u64 {
            return None;
        }
        let shapes = info.tensors().into_iter().map(|(name, tensor)| (name, tensor.shape.clone())).collect();
        Some(Header { shapes, metadata: texts(&info) })
    }
}

fn texts(info: &Metadata) -> BTreeMap<String, String> {
    info.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect()
}

impl Store {
    /// Returns the file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes_of(Numbers::F32)
    }

    /// Returns the file's bytes with its tensors as `numbers`; those of a preparation, which are few, stay float32, and
    /// whole numbers stay what they are.
    pub fn to_bytes_of(&self, numbers: Numbers) -> Vec<u8> {
        let mut header = CHECKSUM.to_vec();
        header.extend_from_slice(ZEROS);
        header.push(b'"');
        let mut sums = BTreeMap::new();
        let mut data = Vec::with_capacity(self.tensors.values().map(|t| t.data.len() * 4).sum());
        let mut entries = String::new();
        for (name, tensor) in &self.tensors {
            let start = data.len();
            let numbers = if of_preparation(name) { Numbers::F32 } else { numbers };
            let numbers = self.whole.get(name).copied().unwrap_or(numbers);
            data.extend(numbers.bytes(&tensor.data));
            sums.insert(name, format!("{:08x}", crc32fast::hash(&data[start..])));
            let (entry, shape) = (entry(name), shape_entry(&tensor.dims));
            entries += &format!("{entry}{}{shape}{start},{}]}}", numbers.name(), data.len());
        }
        let sums = serde_json::to_string(&sums).expect("texts are valid JSON");
        for (key, value) in self.metadata.iter().chain([(&"crc32".to_string(), &sums)]) {
            header.extend_from_slice(metadata_entry(key, value).as_bytes());
        }
        header.push(b'}');
        header.extend_from_slice(entries.as_bytes());
        header.push(b'}');
        header.resize(header.len().next_multiple_of(8), b' ');
        let length = (header.len() as u64).to_le_bytes();
        let sum = header_sum(&length, &header);
        header[CHECKSUM.len()..CHECKSUM.len() + ZEROS.len()].copy_from_slice(sum.as_bytes());
        [&length[..], &header, &data].concat()
    }

    /// Reads a file of ours, or any other safetensors file of floats unless `ours` demands the checksums.
    pub fn read(path: &Path, ours: bool) -> Result<Store> {
        Store::read_rest(files::open(path)?, vec![], path, ours)
    }

    /// Like [`Store::read`], from an open file; `bytes` are its first ones, which were read already.
    pub fn read_rest(file: File, bytes: Vec<u8>, path: &Path, ours: bool) -> Result<Store> {
        Store::from_bytes(&files::rest(file, bytes, path, CAP)?, path, ours)
    }

    /// Reads a file's bytes; `path` is for messages, `ours` demands our own formats.
    pub fn from_bytes(bytes: &[u8], path: &Path, ours: bool) -> Result<Store> {
        let damaged = |detail: String| {
            Error::new(format!("{} is damaged or not a safetensors file: {detail}", path.display()))
                .with_help("take another copy, or an older checkpoint")
        };
        let read = SafeTensors::read_metadata(bytes);
        let (count, info) =
            read.map_err(|e| foreign::recognise(path, bytes).unwrap_or_else(|| damaged(e.to_string())))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let (length, header) = (&bytes[..8], &bytes[8..8 + count]);
        let metadata = texts(&info);
        // Other programs may have kept our texts when they wrote a file: those are not checksums of theirs.
        let ours = ours || is_in_our_order(header, &metadata);
        let checked = ours && header.starts_with(CHECKSUM);
        if !checked && ours {
            return Err(damaged("it has no checksum where ninc writes one".into()));
        }
        let mut sums: BTreeMap<String, String> = BTreeMap::new();
        if checked {
            if !is_whole(length, header) {
                return Err(damaged("the header's checksum is wrong".into()));
            }
            let text = metadata.get("crc32").ok_or_else(|| damaged("no checksums of the tensors".into()))?;
            sums = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        }
        let mut store = Store { metadata, ..Store::default() };
        let quantised = store.metadata.contains_key(FORMATS);
        for (name, view) in tensors.tensors() {
            let sum = format!("{:08x}", crc32fast::hash(view.data()));
            if checked && sums.get(&name) != Some(&sum) {
                return Err(damaged(format!("the checksum of `{name}` is wrong")));
            }
            // PyTorch counts batches in 64-bit integers next to the running statistics; nothing here needs them.
            let whole = if quantised { whole(view.dtype(), view.data()) } else { None };
            store.whole.extend(whole.as_ref().map(|(numbers, _)| (name.clone(), *numbers)));
            store.wide.extend(numbers::beyond(view.dtype(), view.data()).map(|beyond| (name.clone(), beyond)));
            match whole.map(|(_, data)| data).or_else(|| floats(view.dtype(), view.data())) {
                Some(data) => {
                    let tensor = Tensor::new(view.shape(), data).map_err(|e| damaged(e.message))?;
                    store.tensors.insert(name, tensor);
                }
                None => _ = store.others.insert(name, view.dtype().to_string()),
            }
        }
        store.metadata.remove("checksum");
        store.metadata.remove("crc32");
        Ok(store)
    }

    /// Writes the file; at any instant it is the old one or the new one.
    pub fn write(&self, path: &Path, disk: &dyn Disk) -> Result<()> {
        write_atomically(path, &self.to_bytes(), disk)
    }
}

/// Reads types and shapes of all tensors of a safetensors file.
pub fn types(bytes: &[u8]) -> BTreeMap<String, (String, Vec<usize>)> {
    let info = SafeTensors::read_metadata(bytes).map(|(_, info)| info);
    let tensors = info.iter().flat_map(Metadata::tensors);
    tensors.map(|(name, tensor)| (name, (tensor.dtype.to_string(), tensor.shape.clone()))).collect()
}

/// Computes the CRC-32 of a file, as 8 digits.
pub fn checksum(path: &Path) -> Result<String> {
    Ok(format!("{:08x}", crc32fast::hash(&files::read(path, CAP)?)))
}

/// Computes the checksum used here and by compiled libraries.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes a tensor as in the header, up to its type. Compiled libraries look for these texts.
pub fn entry(name: &str) -> String {
    format!(r#",{}:{{"dtype":""#, quote(name))
}

/// Writes what follows on a tensor's type in the header, up to its two offsets.
pub fn shape_entry(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(|d| d.to_string()).collect();
    format!(r#"","shape":[{}],"data_offsets":["#, dims.join(","))
}

/// Writes what stands in the header in front of the eight digits of a tensor's checksum.
pub fn sum_entry(name: &str) -> String {
    quote(&format!("{}:\"", quote(name))).trim_matches('"').to_string() + "\""
}

/// Writes a text of the metadata as in the header.
pub fn metadata_entry(key: &str, value: &str) -> String {
    format!(",{}:{}", quote(key), quote(value))
}

/// Writes what the header says of formats of layers, or how it begins to where nothing is given.
pub fn formats_entry(formats: Option<&Formats>) -> String {
    match formats {
        Some(formats) => metadata_entry(FORMATS, &formats.to_text()),
        None => format!(",{}:\"", quote(FORMATS)),
    }
}

/// Are our checksums in the texts, and the texts in the order in which they are written here, but for one that damage
/// may have renamed? Programs that keep what they do not know write it in another order: they hash or sort the names.
fn is_in_our_order(header: &[u8], metadata: &BTreeMap<String, String>) -> bool {
    if !metadata.contains_key("checksum") && !metadata.contains_key("crc32") {
        return false;
    }
    let place = |key: &str| {
        let text = format!("{}:", quote(key)).into_bytes();
        header.windows(text.len()).position(|found| found == text)
    };
    let (first, last) = ("checksum", "crc32");
    let sums = [first, last].map(|key| metadata.contains_key(key).then(|| place(key)).flatten());
    let others: Vec<usize> = metadata.keys().filter(|k| *k != first && *k != last).filter_map(|k| place(k)).collect();
    let backwards = others.windows(2).filter(|pair| pair[0] > pair[1]).count();
    backwards <= 1
        && sums[0].is_none_or(|at| others.iter().all(|&other| at < other))
        && sums[1].is_none_or(|at| others.iter().all(|&other| at > other))
}

/// Is the header's own checksum right? There must be one.
fn is_whole(length: &[u8], header: &[u8]) -> bool {
    let place = CHECKSUM.len()..CHECKSUM.len() + ZEROS.len();
    let Some(stated) = header.get(place.clone()) else { return false };
    let mut zeroed = header.to_vec();
    zeroed[place].copy_from_slice(ZEROS);
    header_sum(length, &zeroed).as_bytes() == stated
}

fn header_sum(length: &[u8], header: &[u8]) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(header);
    format!("{:08x}", hasher.finalize())
}
