//! Kernel IR: its builders, text, checks and meaning. It uses no other room.

pub mod build;
pub mod count;
pub mod error;
pub mod interp;
pub mod ir;
pub mod text;
pub mod verify;
