//! A compiler for Network-In-Network style convolutional networks. `ARCHITECTURE.md` is the map.

#![warn(missing_docs)]

// The command line names the rooms as other programs do.
extern crate self as ninc;

pub mod back;
pub mod cli;
pub mod drawing;
pub mod fold;
pub mod front;
pub mod graph;
pub mod io;
pub mod kernel;
pub mod library;
pub mod lower;
pub mod lsp;
pub mod model;
pub mod ops;
pub mod passes;
pub mod pipeline;
pub mod plan;
pub mod prepare;
pub mod quantize;
pub mod recipes;
pub mod schedule;
pub mod serve;
pub mod sizes;
pub mod translate;
pub mod types;
pub mod verified;
