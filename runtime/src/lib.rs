//! Runs programs compiled by `ninc`: plans, threads, data, training, weights. Knows nothing of how they were compiled.

#![warn(missing_docs)]

pub mod buffer;
pub mod cache_folder;
pub mod checkpoint;
pub mod classes;
pub mod data;
pub mod engine;
pub mod error;
pub mod exec;
pub mod finite;
pub mod foreign;
pub mod formats;
pub mod image;
pub mod init;
#[cfg(unix)]
pub mod mpi;
pub mod npy;
pub mod opencl;
pub mod pattern;
pub mod philox;
pub mod plan;
pub mod program;
pub mod ranks;
pub mod shares;
pub mod spec;
pub mod store;
pub mod tensor;
pub mod threads;
pub mod tiles;
pub mod train;
pub mod tuned;
pub mod weights;
pub mod words;

pub use engine::{Engine, Feed, Prefetch};
pub use error::{Error, Result};
pub use exec::Executor;
pub use tensor::Tensor;
pub use threads::Pool;
