//! A compiler for Network-In-Network style convolutional networks. `ARCHITECTURE.md` is the map.

pub mod graph;
pub mod kernel;
pub mod model;
pub mod ops;
pub mod passes;
pub mod types;
pub mod verified;
