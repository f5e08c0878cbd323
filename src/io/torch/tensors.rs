//! Tensors in a pickle: views of storages that lie beside it.

use super::error::TorchError;
use super::pickle::{Pickle, Value};
use half::{bf16, f16};
use std::collections::HashMap;

/// Keys under which checkpoints of trainings keep the tensors.
const INNER: [&str; 4] = ["state_dict", "model_state_dict", "model", "model_ema"];

/// Types of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    F32,
    F64,
    F16,
    Bf16,
    /// Whole numbers and truth values, which are not read.
    Whole(&'static str),
}

impl Kind {
    /// Finds the type of a storage's class or of a `torch.dtype`.
    fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "torch.FloatStorage" | "torch.float32" => Kind::F32,
            "torch.DoubleStorage" | "torch.float64" => Kind::F64,
            "torch.HalfStorage" | "torch.float16" => Kind::F16,
            "torch.BFloat16Storage" | "torch.bfloat16" => Kind::Bf16,
            "torch.LongStorage" | "torch.int64" => Kind::Whole("I64"),
            "torch.IntStorage" | "torch.int32" => Kind::Whole("I32"),
            "torch.ShortStorage" | "torch.int16" => Kind::Whole("I16"),
            "torch.CharStorage" | "torch.int8" => Kind::Whole("I8"),
            "torch.ByteStorage" | "torch.uint8" => Kind::Whole("U8"),
            "torch.BoolStorage" | "torch.bool" => Kind::Whole("BOOL"),
            "torch.uint16" => Kind::Whole("U16"),
            "torch.uint32" => Kind::Whole("U32"),
            "torch.uint64" => Kind::Whole("U64"),
            _ if name.starts_with("torch.float8") => Kind::Whole("F8"),
            _ => return None,
        })
    }

    /// Returns the name that safetensors gives it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::F32 => "F32",
            Kind::F64 => "F64",
            Kind::F16 => "F16",
            Kind::Bf16 => "BF16",
            Kind::Whole(name) => name,
        }
    }

    /// Are they floats that are read?
    pub fn is_float(self) -> bool {
        !matches!(self, Kind::Whole(_))
    }

    fn width(self) -> usize {
        match self {
            Kind::F32 => 4,
            Kind::F64 => 8,
            _ => 2,
        }
    }
}

/// A part of a storage as a tensor.
#[derive(Clone, Debug)]
pub struct View {
    /// The storage's name.
    pub key: String,
    /// Its numbers.
    pub kind: Kind,
    /// Sizes.
    pub size: Vec<usize>,
    stride: Vec<usize>,
    offset: usize,
}

impl View {
    /// Returns the number of elements.
    pub fn elements(&self) -> Option<usize> {
        // Sizes beside a 0 must not be absurd either.
        self.size.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)))?;
        Some(self.size.iter().product())
    }

    /// Reads its elements, last dimension fastest.
    pub(super) fn numbers(&self, storage: &[u8]) -> Result<Vec<f32>, String> {
        let width = self.kind.width();
        let count = self.elements().ok_or("is too large")?;
        let steps = self.size.iter().zip(&self.stride);
        let last = steps
            .clone()
            .try_fold(self.offset, |at, (&size, &stride)| at.checked_add(size.saturating_sub(1).checked_mul(stride)?));
        if count > 0 && last.is_none_or(|last| last >= storage.len() / width) {
            return Err(format!("reads beyond its storage, which has {} bytes", storage.len()));
        }
        let mut index = vec![0; self.size.len()];
        let mut data = Vec::with_capacity(count);
        for _ in 0..count {
            let at = index.iter().zip(&self.stride).fold(self.offset, |at, (i, stride)| at + i * stride);
            data.push(number(self.kind, &storage[at * width..(at + 1) * width]));
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.size[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(data)
    }
}

fn number(kind: Kind, bytes: &[u8]) -> f32 {
    let two = || [bytes[0], bytes[1]];
    match kind {
        Kind::F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        Kind::F64 => f64::from_le_bytes(std::array::from_fn(|i| bytes[i])) as f32,
        Kind::F16 => f16::from_le_bytes(two()).to_f32(),
        Kind::Bf16 | Kind::Whole(_) => bf16::from_le_bytes(two()).to_f32(),
    }
}

/// Finds the tensors with their names, in order: those of the dictionary itself, or of the one in it that a training's
/// checkpoint has.
pub fn named(pickle: &Pickle) -> Result<Vec<(String, View)>, TorchError> {
    let Some(entries) = entries(pickle, &pickle.value) else {
        return Err(TorchError::Contents(match &pickle.value {
            Value::Call(name, _) if name.starts_with("torch.nn.") || !name.starts_with("torch.") => "a whole module",
            Value::Call(..) => "a single tensor",
            _ => "something else",
        }));
    };
    let own = views(&entries)?;
    if !own.is_empty() {
        return Ok(own);
    }
    for key in INNER {
        let inner = entries.iter().find(|(name, _)| name == key).and_then(|(_, value)| self::entries(pickle, value));
        if let Some(inner) = inner {
            let found = views(&inner)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    Err(TorchError::Contents("a dictionary without tensors"))
}

/// Returns a dictionary's entries whose keys are texts.
fn entries<'p>(pickle: &'p Pickle, value: &Value) -> Option<Vec<(String, &'p Value)>> {
    let Value::Grown(at) = value else { return None };
    let grown = pickle.grown.get(*at).filter(|grown| grown.dictionary)?;
    let entry = |pair: &'p [Value]| match pair {
        [Value::Text(key), value] => Some((key.to_string(), value)),
        _ => None,
    };
    Some(grown.items.chunks_exact(2).filter_map(entry).collect())
}

fn views(entries: &[(String, &Value)]) -> Result<Vec<(String, View)>, TorchError> {
    let mut views: Vec<(String, View)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (name, value) in entries {
        if let Some(view) = view(value, 0) {
            let view = view.map_err(|what| TorchError::Tensor(name.clone(), what.into()))?;
            // As in Python, a key that comes again keeps its place and has the last value.
            let at = *places.entry(name).or_insert(views.len());
            match views.get_mut(at) {
                Some(earlier) => earlier.1 = view,
                None => views.push((name.clone(), view)),
            }
        }
    }
    Ok(views)
}

/// Reads a value as a tensor; `None` where it is none.
fn view(value: &Value, depth: usize) -> Option<Result<View, &'static str>> {
    let Value::Call(function, arguments) = value else { return None };
    match (&**function, &arguments[..]) {
        ("torch._utils._rebuild_parameter", [inner, ..]) if depth == 0 => view(inner, 1),
        ("torch._utils._rebuild_tensor_v2", [storage, offset, size, stride, ..]) => {
            Some(tensor(storage, offset, size, stride, None))
        }
        ("torch._utils._rebuild_tensor_v3", [storage, offset, size, stride, _, _, dtype, ..]) => {
            Some(tensor(storage, offset, size, stride, Some(dtype)))
        }
        _ => None,
    }
}

fn tensor(
    storage: &Value,
    offset: &Value,
    size: &Value,
    stride: &Value,
    dtype: Option<&Value>,
) -> Result<View, &'static str> {
    let Value::Outside(parts) = storage else { return Err("has no storage") };
    let [_, Value::Global(class), Value::Text(key), ..] = &parts[..] else { return Err("has a storage of no kind") };
    let class = match dtype {
        Some(Value::Global(name)) => name,
        Some(_) => return Err("has numbers of no type"),
        None => class,
    };
    let kind = Kind::named(class).ok_or("has numbers of a type that is not read")?;
    let list = |value: &Value| match value {
        Value::Tuple(items) if items.len() <= 16 => items.iter().map(whole).collect::<Option<Vec<usize>>>(),
        _ => None,
    };
    let (size, stride) = list(size).zip(list(stride)).ok_or("has a shape that is none")?;
    let offset = whole(offset).ok_or("begins nowhere")?;
    match size.len() == stride.len() && !key.contains(['/', '\\']) {
        true => Ok(View { key: key.to_string(), kind, size, stride, offset }),
        false => Err("has a shape that is none"),
    }
}

fn whole(value: &Value) -> Option<usize> {
    match value {
        Value::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    }
}
