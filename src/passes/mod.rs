//! Passes: graph to graph, one file each.

pub mod autodiff;
