//! The integration tests, one binary.

mod kernels;
mod recipes;
mod support;
