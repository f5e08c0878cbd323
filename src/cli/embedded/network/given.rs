//! Numbers of images that lie in a caller's memory.

use crate::cli::numbers::Reader;
use crate::cli::output::Done;
use ninc::types::DType;
use ninc_runtime::data::{Values, range};
use ninc_runtime::{Feed, npy};
use std::borrow::Cow;
use std::path::Path;

/// An array's numbers in C order.
pub enum Given<'a> {
    /// Float numbers.
    Floats(&'a [f32]),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A file of NumPy, with numbers of any type.
    Npy(Vec<u8>),
}

/// The numbers as a program takes them.
pub enum Fed<'a> {
    Floats(Cow<'a, [f32]>),
    Bytes(&'a [u8]),
}

impl<'a> Fed<'a> {
    /// Finds out what the numbers of an array of the shape `dims` mean, as `ninc run` does of a file; those that the
    /// program takes as they are stay where they lie.
    pub fn new(reader: &Reader, takes_bytes: bool, shown: &str, dims: &[usize], given: Given<'a>) -> Done<Fed<'a>> {
        let count = reader.count(shown, dims)?;
        Ok(match given {
            // Bytes that are all 0 or 1 are no shades of a picture, but numbers.
            Given::Bytes(bytes) if bytes.iter().any(|&v| v > 1) => {
                let divisor = reader.meaning(shown, count, &[], true)?;
                match takes_bytes && reader.prepares() && divisor == 1.0 {
                    true => Fed::Bytes(bytes),
                    false => Fed::Floats(bytes.iter().map(|&v| f32::from(v) / divisor).collect()),
                }
            }
            Given::Bytes(bytes) => {
                let floats: Vec<f32> = bytes.iter().map(|&v| f32::from(v)).collect();
                Fed::Floats(divided(reader, shown, count, Cow::Owned(floats))?)
            }
            Given::Floats(floats) => Fed::Floats(divided(reader, shown, count, Cow::Borrowed(floats))?),
            Given::Npy(file) => {
                let array = npy::parse(file, Path::new(shown))?;
                let dims = array.dims.clone();
                let values: Values = range::numbers(array);
                Fed::Floats(Cow::Owned(reader.numbers(shown, &dims, values)?.1))
            }
        })
    }

    /// The type that the program takes.
    pub fn dtype(&self) -> DType {
        match self {
            Fed::Floats(_) => DType::F32,
            Fed::Bytes(_) => DType::U8,
        }
    }

    /// Each image's numbers, of `size`.
    pub fn images(&self, size: usize) -> impl Iterator<Item = Cow<'_, [f32]>> {
        let count = match self {
            Fed::Floats(all) => all.len() / size,
            Fed::Bytes(all) => all.len() / size,
        };
        (0..count).map(move |i| match self {
            Fed::Floats(all) => Cow::Borrowed(&all[i * size..][..size]),
            Fed::Bytes(all) => all[i * size..][..size].iter().map(|&v| f32::from(v)).collect(),
        })
    }

    /// Parts of `numbers` numbers each, the last one with what is left.
    pub fn feeds(&self, numbers: usize) -> Vec<Feed<'_>> {
        match self {
            Fed::Floats(all) => all.chunks(numbers).map(Feed::F32).collect(),
            Fed::Bytes(all) => all.chunks(numbers).map(Feed::U8).collect(),
        }
    }
}

fn divided<'a>(reader: &Reader, shown: &str, count: usize, floats: Cow<'a, [f32]>) -> Done<Cow<'a, [f32]>> {
    let divisor = reader.meaning(shown, count, &floats, false)?;
    Ok(match divisor == 1.0 {
        true => floats,
        false => floats.iter().map(|v| v / divisor).collect(),
    })
}
