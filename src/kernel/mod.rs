//! Kernel IR, its text, checks and meaning, and the recipes that write it.

pub mod build;
pub mod cost;
pub mod count;
pub mod expr;
pub mod interp;
pub mod ir;
pub mod math;
pub mod recipes;
pub mod site;
pub mod target;
pub mod text;
pub mod verify;
