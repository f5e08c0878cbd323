//! How a convolution's rows are dealt out to parallel iterations.

/// Prefers an even number of iterations for small batches, so that two threads finish together, or at least 16, where
/// one more is little. Returns the rows of an iteration.
pub fn rows_for_small_batch(rows: usize, fits: impl Fn(usize) -> bool) -> usize {
    let even = |iterations: usize| iterations >= 16 || iterations >= 8 && iterations.is_multiple_of(2);
    (1..=rows).rev().find(|&r| rows.is_multiple_of(r) && (r == 1 || even(rows / r) && fits(r))).unwrap_or(1)
}

/// Returns the most rows of an iteration that fit, a divisor of `rows`: for batches whose images keep all threads busy.
pub fn rows_for_large_batch(rows: usize, fits: impl Fn(usize) -> bool) -> usize {
    (1..=rows).rev().find(|&r| rows.is_multiple_of(r) && (r == 1 || fits(r))).unwrap_or(1)
}

/// Returns the most rows of an iteration: a divisor of `rows`, so that all iterations are alike; at least about eight
/// iterations an image, so that a single image keeps several threads busy; as long as the scratch memory of an
/// iteration fits.
pub fn rows_per_iteration(rows: usize, fits: impl Fn(usize) -> bool) -> usize {
    (1..=rows).rev().find(|&r| rows.is_multiple_of(r) && (r == 1 || rows / r >= 8.min(rows) && fits(r))).unwrap_or(1)
}
