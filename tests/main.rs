//! All integration tests, one binary.

mod conv;
