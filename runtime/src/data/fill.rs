//! Many images at once: files are decoded by as many threads as there are processors.

use super::{Dataset, Pixels};
use crate::Result;
use std::thread;

impl Dataset {
    /// Copies images one after the other. Of several errors that of the first image counts.
    pub fn fill(&self, items: &[usize], target: &mut [f32]) -> Result<()> {
        let size = self.images.size().max(1);
        let some = |items: &[usize], target: &mut [f32]| {
            let mut pairs = items.iter().zip(target.chunks_exact_mut(size));
            pairs.try_for_each(|(&item, image)| self.copy(item, image))
        };
        let threads = match &self.images.pixels {
            Pixels::Files(..) => thread::available_parallelism().map_or(1, usize::from).min(items.len()),
            _ => 1,
        };
        if threads < 2 {
            return some(items, target);
        }
        let each = items.len().div_ceil(threads);
        thread::scope(|scope| {
            let parts = items.chunks(each).zip(target.chunks_mut(each * size));
            let started: Vec<_> = parts.map(|(items, target)| scope.spawn(move || some(items, target))).collect();
            let ended = started.into_iter().map(|part| part.join());
            ended.map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }
}
