//! PyTorch's files of weights: a zip archive of a pickle that describes tensors, and their numbers. The pickle is read
//! by an interpreter that knows what tensors need, and runs nothing.

mod error;
pub mod order;
mod pickle;
mod tensors;

pub use error::TorchError;

use ninc_runtime::Tensor;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use zip::{CompressionMethod, ZipArchive};

/// Numbers that views of a small storage may stand for, beyond three times the file's.
const SPARE: usize = 1 << 23;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    /// The names of all tensors, in the file's order.
    pub order: Vec<String>,
    /// Tensors of floats, by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Types of the other tensors, which are not read.
    pub others: BTreeMap<String, String>,
    /// The type and shape of each tensor.
    pub types: BTreeMap<String, (String, Vec<usize>)>,
}

type Archive<'b> = ZipArchive<Cursor<&'b [u8]>>;

/// Is it an archive with a pickle of tensors, or the beginning of one?
pub fn is_torch(bytes: &[u8]) -> bool {
    if !bytes.starts_with(b"PK\x03\x04") {
        return false;
    }
    match ZipArchive::new(Cursor::new(bytes)) {
        Ok(archive) => folder(&archive).is_some(),
        // A file that was cut off has lost its list of members, but PyTorch writes the pickle first.
        Err(_) => first(bytes).is_some_and(|name| name.ends_with(b"data.pkl")),
    }
}

/// The name of an archive's first member.
fn first(bytes: &[u8]) -> Option<&[u8]> {
    let length = u16::from_le_bytes(bytes.get(26..28)?.try_into().ok()?);
    bytes.get(30..)?.get(..usize::from(length))
}

/// The folder in which the pickle lies: it is named after the file that was written first.
fn folder(archive: &Archive) -> Option<String> {
    archive.file_names().flatten().find_map(|name| Some(name.strip_suffix("data.pkl")?.to_string()))
}

/// Reads the tensors of a file's bytes.
pub fn read(bytes: &[u8]) -> Result<StateDict, TorchError> {
    let damaged = |e| TorchError::Archive(format!("the archive is damaged or cut off ({e})"));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let folder = folder(&archive).ok_or_else(|| TorchError::Archive("it holds no data.pkl".into()))?;
    let order = member(&mut archive, &format!("{folder}byteorder"), bytes.len()).unwrap_or_default();
    if order.trim_ascii() == b"big" {
        return Err(TorchError::Archive("its numbers are big-endian".into()));
    }
    let pickle = member(&mut archive, &format!("{folder}data.pkl"), bytes.len())?;
    let found = tensors::named(&pickle::read(&pickle)?)?;
    let all = found.iter().try_fold(0usize, |n, (_, view)| n.checked_add(view.elements()?));
    // Views may repeat what is stored once.
    if all.is_none_or(|n| n > SPARE + 3 * bytes.len() / 4) {
        return Err(TorchError::Tensor("the tensors together".into(), "are larger than the file explains".into()));
    }
    let mut state = StateDict::default();
    // Tensors of one storage often follow each other, as views of it.
    let mut last: Option<(String, Vec<u8>)> = None;
    for (name, view) in found {
        state.order.push(name.clone());
        state.types.insert(name.clone(), (view.kind.name().into(), view.size.clone()));
        if !view.kind.is_float() {
            state.others.insert(name, view.kind.name().into());
            continue;
        }
        let storage = match last.take() {
            Some((key, bytes)) if key == view.key => bytes,
            _ => member(&mut archive, &format!("{folder}data/{}", view.key), bytes.len())?,
        };
        let data = view.numbers(&storage).map_err(|what| TorchError::Tensor(name.clone(), what))?;
        state.tensors.insert(name, Tensor { dims: view.size, data });
        last = Some((view.key, storage));
    }
    Ok(state)
}

/// Reads a member, which is stored as it is.
fn member(archive: &mut Archive, name: &str, most: usize) -> Result<Vec<u8>, TorchError> {
    let wrong = |what: String| TorchError::Archive(format!("its part `{name}` {what}"));
    let file = archive.by_name(name).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    if file.compression() != CompressionMethod::Stored || file.size() > most as u64 {
        return Err(wrong("is compressed, as PyTorch never writes it".into()));
    }
    let mut bytes = Vec::with_capacity(file.size() as usize);
    file.take(most as u64).read_to_end(&mut bytes).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    Ok(bytes)
}
