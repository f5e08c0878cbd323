//! The integration tests, one binary.

mod kernels;
mod support;
