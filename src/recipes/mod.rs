//! Recipes: write the loop nest and the micro-kernels of a node, for a target.
//!
//! `cpu` and `gpu` hold what only one of the machines is given, and use nothing but `common`. The modules here choose
//! between them, a function for each operator, where there is a choice; what runs the same on both is `common`'s.
//!
//! Conventions. Images are `[N][H][W][C]`, vectors run along channels. A recipe reads shapes from `cx.operands` and
//! `cx.result`, adds micro-kernels by their specifications (equal ones are shared) and appends launches. Every kernel
//! is one `parallel` loop whose iterations are independent, each output element has one owner that reduces in a fixed
//! order, and nothing depends on the number of threads.

pub mod batch_norm;
pub mod common;
pub mod conv;
pub mod cpu;
pub mod drop_connect;
pub mod global;
mod gpu;
pub mod int8;
pub mod linear;
pub mod reduce;
pub mod softmax;

pub use common::{Epilogue, Function, Reduction, Stage, Window};
pub use common::{activation, elementwise, fold, gates, lrn, math, maxout, movement, pool, prepare, random, spread};
pub use cpu::{contraction, local, matrix, peak};
