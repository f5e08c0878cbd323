//! Constant tensors: every form in which a file holds numbers, checked against the shape that it states.

use super::super::error::ImportError;
use super::super::proto::tensor_proto::{DataLocation, DataType};
use super::super::proto::{StringStringEntryProto, TensorProto};
use super::external::Files;
use bytes::Bytes;
use half::{bf16, f16};

/// Most elements of a tensor.
pub const MOST: usize = crate::ops::check::MOST_ELEMENTS;

/// Most dimensions of a tensor.
pub const MOST_DIMENSIONS: usize = 16;

/// A tensor whose numbers are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Const {
    /// Its sizes; none for a scalar.
    pub dims: Vec<usize>,
    /// Its numbers.
    pub data: Data,
    /// Its type, as ONNX numbers types.
    pub kind: DataType,
}

/// Numbers, last dimension fastest.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Floats of any width.
    Float(Vec<f32>),
    /// Whole numbers of any width, and truth values.
    Int(Vec<i64>),
}

impl Const {
    /// Makes a tensor of floats.
    pub fn floats(dims: &[usize], data: Vec<f32>) -> Const {
        Const { dims: dims.to_vec(), data: Data::Float(data), kind: DataType::Float }
    }

    /// Makes a tensor of whole numbers.
    pub fn ints(dims: &[usize], data: Vec<i64>) -> Const {
        Const { dims: dims.to_vec(), data: Data::Int(data), kind: DataType::Int64 }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(data) => data.len(),
            Data::Int(data) => data.len(),
        }
    }

    /// Is it without elements?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns its numbers as floats.
    pub fn as_floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Float(data) => data.clone(),
            Data::Int(data) => data.iter().map(|&v| v as f32).collect(),
        }
    }

    /// Returns its whole numbers.
    pub fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Int(data) => Some(data),
            Data::Float(_) => None,
        }
    }

    /// Returns its only number.
    pub fn scalar(&self) -> Option<f32> {
        match &self.data {
            Data::Float(data) => <[f32; 1]>::try_from(&data[..]).ok().map(|[v]| v),
            Data::Int(data) => <[i64; 1]>::try_from(&data[..]).ok().map(|[v]| v as f32),
        }
    }

    /// Returns the same numbers under another shape of as many elements.
    pub fn reshaped(&self, dims: &[usize]) -> Const {
        Const { dims: dims.to_vec(), ..self.clone() }
    }
}

/// Reads a tensor.
pub fn read(tensor: &TensorProto, files: &mut Files) -> Result<Const, ImportError> {
    let name = tensor.name();
    let wrong = |what: String| ImportError::tensor(name, what);
    let kind = tensor.data_type();
    let sizes: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let dims = sizes.ok_or_else(|| wrong(format!("has the shape {:?}", tensor.dims)))?;
    if dims.len() > MOST_DIMENSIONS {
        return Err(wrong(format!("has {} dimensions", dims.len())));
    }
    // Sizes beside a 0 must not be absurd either.
    let most = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1))).filter(|n| *n <= MOST);
    most.ok_or_else(|| wrong(format!("has the shape {dims:?}, more than {MOST} elements")))?;
    let count = dims.iter().product();
    if tensor.segment.is_some() {
        return Err(wrong("is cut into segments, which no program writes today".into()));
    }
    let kind = DataType::try_from(kind).map_err(|_| wrong(format!("has numbers of the unknown type {kind}")))?;
    let size = width(kind).ok_or_else(|| wrong(format!("has numbers of the type {}", kind.as_str_name())))?;
    let external = tensor.data_location() == DataLocation::External || !tensor.external_data.is_empty();
    let bytes = match (external, &tensor.raw_data) {
        (true, _) => Some(outside(&tensor.external_data, (count, size), name, files)?),
        (false, raw) => raw.clone(),
    };
    let data = match bytes {
        Some(bytes) if bytes.len() as u128 == count as u128 * size as u128 => of_bytes(kind, &bytes),
        Some(bytes) => {
            return Err(wrong(format!("has {} bytes, but {dims:?} numbers of {size} bytes", bytes.len())));
        }
        None => of_fields(kind, tensor, count).map_err(wrong)?,
    };
    Ok(Const { dims, data, kind })
}

/// Bytes of a number; `None` for types that are not read.
fn width(kind: DataType) -> Option<usize> {
    Some(match kind {
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 2,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 1,
        _ => return None,
    })
}

/// Reads a tensor's bytes from the file that its entries name.
fn outside(
    entries: &[StringStringEntryProto],
    (count, size): (usize, usize),
    name: &str,
    files: &mut Files,
) -> Result<Bytes, ImportError> {
    let entry = |key: &str| entries.iter().find(|e| e.key() == key).map(|e| e.value());
    let location =
        entry("location").ok_or_else(|| ImportError::tensor(name, "lies outside of the file, nobody says where"))?;
    let number = |key: &str| {
        let wrong = || ImportError::external(location, format!("with `{key}` that is not a number"));
        entry(key).map(|text| text.trim().parse::<usize>().map_err(|_| wrong())).transpose()
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    files.part(location, offset, length.unwrap_or(count * size))
}

fn of_bytes(kind: DataType, bytes: &[u8]) -> Data {
    fn each<const N: usize, T>(bytes: &[u8], make: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|&b| make(b)).collect()
    }
    match kind {
        DataType::Float => Data::Float(each(bytes, f32::from_le_bytes)),
        DataType::Double => Data::Float(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        DataType::Float16 => Data::Float(each(bytes, |b| f16::from_le_bytes(b).to_f32())),
        DataType::Bfloat16 => Data::Float(each(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        DataType::Int64 => Data::Int(each(bytes, i64::from_le_bytes)),
        DataType::Uint64 => Data::Int(each(bytes, |b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX))),
        DataType::Int32 => Data::Int(each(bytes, |b| i32::from_le_bytes(b).into())),
        DataType::Uint32 => Data::Int(each(bytes, |b| u32::from_le_bytes(b).into())),
        DataType::Int16 => Data::Int(each(bytes, |b| i16::from_le_bytes(b).into())),
        DataType::Uint16 => Data::Int(each(bytes, |b| u16::from_le_bytes(b).into())),
        DataType::Int8 => Data::Int(each(bytes, |[b]| (b as i8).into())),
        _ => Data::Int(each(bytes, |[b]| b.into())),
    }
}

/// Reads the numbers of the fields for each type; narrow types lie in `int32_data`.
fn of_fields(kind: DataType, tensor: &TensorProto, count: usize) -> Result<Data, String> {
    let bits = || tensor.int32_data.iter().map(|&v| v as u16);
    let data = match kind {
        DataType::Float => Data::Float(tensor.float_data.clone()),
        DataType::Double => Data::Float(tensor.double_data.iter().map(|&v| v as f32).collect()),
        DataType::Float16 => Data::Float(bits().map(|v| f16::from_bits(v).to_f32()).collect()),
        DataType::Bfloat16 => Data::Float(bits().map(|v| bf16::from_bits(v).to_f32()).collect()),
        DataType::Int64 => Data::Int(tensor.int64_data.clone()),
        DataType::Uint64 | DataType::Uint32 => {
            Data::Int(tensor.uint64_data.iter().map(|&v| i64::try_from(v).unwrap_or(i64::MAX)).collect())
        }
        _ => Data::Int(tensor.int32_data.iter().map(|&v| v.into()).collect()),
    };
    let found = match &data {
        Data::Float(data) => data.len(),
        Data::Int(data) => data.len(),
    };
    match found == count {
        true => Ok(data),
        false => Err(format!("has {found} numbers, but the shape {:?}", tensor.dims)),
    }
}
