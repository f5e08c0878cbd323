//! Many images at once: files are decoded by as many threads as there are processors.

use super::{Dataset, Pixels, Values};
use crate::Result;
use crate::image::kept;
use std::thread;

impl Dataset {
    /// Copies an item's values, `[channels, height, width]`, as floats.
    pub fn copy(&self, item: usize, target: &mut [f32]) -> Result<()> {
        target.copy_from_slice(&self.values(item..item + 1)?.into_floats());
        Ok(())
    }

    /// Values of these items, `[items, channels, height, width]`. Of several errors that of the first image counts.
    pub fn values(&self, items: impl ExactSizeIterator<Item = usize>) -> Result<Values> {
        self.values_of(items, self.images.dims)
    }

    /// Like `values`, with pictures in files brought to another size; what lies in memory has its own.
    pub(super) fn values_of(&self, items: impl ExactSizeIterator<Item = usize>, dims: [usize; 3]) -> Result<Values> {
        let rows: Vec<usize> = items.map(|item| self.rows[item] as usize).collect();
        let size = dims.iter().product();
        Ok(match &self.images.pixels {
            Pixels::Bytes(bytes) => Values::Bytes(gather(bytes, &rows, size)),
            Pixels::Floats(floats) => Values::Floats(gather(floats, &rows, size)),
            Pixels::Files(files, pictures) => {
                let mut values = vec![0; rows.len() * size];
                let read = |row: usize, image: &mut [u8]| kept::copy(&files[row], dims, pictures, image);
                decode(&rows, size.max(1), &mut values, &read)?;
                Values::Bytes(values)
            }
        })
    }
}

/// Rows of `size` values each, one after the other.
fn gather<T: Copy>(values: &[T], rows: &[usize], size: usize) -> Vec<T> {
    rows.iter().map(|&row| &values[row * size..][..size]).collect::<Vec<_>>().concat()
}

/// Reads pictures of `size` bytes each by all processors.
fn decode(
    rows: &[usize],
    size: usize,
    target: &mut [u8],
    read: &(dyn Fn(usize, &mut [u8]) -> Result<()> + Sync),
) -> Result<()> {
    let some = |rows: &[usize], target: &mut [u8]| {
        let mut pairs = rows.iter().zip(target.chunks_exact_mut(size));
        pairs.try_for_each(|(&row, image)| read(row, image))
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(rows.len());
    if threads < 2 {
        return some(rows, target);
    }
    let each = rows.len().div_ceil(threads);
    thread::scope(|scope| {
        let parts = rows.chunks(each).zip(target.chunks_mut(each * size));
        let started: Vec<_> = parts.map(|(rows, target)| scope.spawn(move || some(rows, target))).collect();
        let mut ended = started.into_iter().map(|part| part.join());
        ended.try_for_each(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
