//! All integration tests in one binary.

mod ops;
mod support;
mod vectors;
