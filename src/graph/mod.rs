//! The graph IR, its text, checks and meaning.

pub mod engine;
pub mod error;
pub mod identity;
pub mod interp;
pub mod ir;
pub mod text;
pub mod verify;

pub use ir::{Graph, Node, NodeId};
