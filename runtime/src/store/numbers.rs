//! Numbers as they lie in files.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

/// How numbers lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Float32, unchanged.
    F32,
    /// IEEE half precision: 11 significant bits, up to 65,504.
    F16,
    /// 8 significant bits, the range of float32.
    Bf16,
    /// Whole numbers from -128 to 127.
    I8,
    /// Whole numbers of 32 bits.
    I32,
}

impl Numbers {
    /// The format's word.
    pub fn name(self) -> &'static str {
        match self {
            Numbers::F32 => "F32",
            Numbers::F16 => "F16",
            Numbers::Bf16 => "BF16",
            Numbers::I8 => "I8",
            Numbers::I32 => "I32",
        }
    }

    /// Each number, rounded to the nearest one of the type.
    pub(super) fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Numbers::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Numbers::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            Numbers::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
            Numbers::I8 => values.iter().map(|&v| v as i8 as u8).collect(),
            Numbers::I32 => values.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect(),
        }
    }
}

/// Whole numbers of 8 or 32 bits as float32, which holds those of quantised weights; `None` for other types.
pub(super) fn whole(dtype: Dtype, bytes: &[u8]) -> Option<(Numbers, Vec<f32>)> {
    match dtype {
        Dtype::I8 => Some((Numbers::I8, bytes.iter().map(|&b| f32::from(b as i8)).collect())),
        Dtype::I32 => {
            let words = bytes.as_chunks::<4>().0.iter();
            Some((Numbers::I32, words.map(|&b| i32::from_le_bytes(b) as f32).collect()))
        }
        _ => None,
    }
}

/// Numbers of a floating type as float32; `None` for other types.
pub(super) fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::BF16 => bytes.as_chunks::<2>().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F16 => halves(bytes.as_chunks::<2>().0),
        _ => return None,
    })
}

/// Numbers of half precision as float32, many at once.
fn halves(words: &[[u8; 2]]) -> Vec<f32> {
    let mut wide = vec![0.0; words.len()];
    let mut piece = [f16::ZERO; 1024];
    for (words, wide) in words.chunks(piece.len()).zip(wide.chunks_mut(piece.len())) {
        let piece = &mut piece[..words.len()];
        piece.iter_mut().zip(words).for_each(|(number, &word)| *number = f16::from_le_bytes(word));
        piece.convert_to_f32_slice(wide);
    }
    wide
}

/// Is one of these float64 numbers finite, but beyond float32? `None` for other types.
pub(super) fn beyond(dtype: Dtype, bytes: &[u8]) -> Option<bool> {
    let mut numbers = bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b));
    (dtype == Dtype::F64).then(|| numbers.any(|v| v.is_finite() && (v as f32).is_infinite()))
}
