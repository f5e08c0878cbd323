//! Back ends: they read kernel IR and nothing else.

pub mod x86;
