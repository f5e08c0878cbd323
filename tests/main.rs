//! The integration tests, one binary.

mod kernels;
mod plans;
mod support;
