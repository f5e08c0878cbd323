//! Helpers that several tests share.

pub mod compiled;
pub mod draw;
pub mod files;
#[cfg(unix)]
pub mod memory;
pub mod micro_kernels;
pub mod training;
pub mod vectors;
pub mod wasm;

/// The number of random cases: `usual`, or by hand `NINC_CASES` times as many.
pub fn cases(usual: usize) -> usize {
    let times = std::env::var("NINC_CASES").map_or(1, |n| n.parse().expect("NINC_CASES is a number"));
    usual * times
}
