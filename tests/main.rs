//! All integration tests: one binary, one module per room.

// A test that panics says where.
#![allow(clippy::unwrap_used)]

mod accepted;
mod archives;
mod augment;
mod balance;
mod batch_norm;
mod built;
mod caffe;
mod checkpoint;
mod classes;
mod cli;
mod compared;
mod conv;
mod counts;
mod data;
mod drawing;
mod fast_recipe;
mod finite;
mod fitted;
mod fold;
mod folders;
mod freezing;
mod front;
mod golden;
mod imported;
mod inputs;
mod int8;
mod kernels;
#[cfg(unix)]
mod kill;
mod library;
mod lsp;
mod maps;
mod measured;
mod names;
mod nets;
mod odd;
mod onnx;
mod opencl;
mod ops;
mod options;
mod page;
mod pages;
mod passes;
mod photos;
mod pipeline;
#[cfg(unix)]
mod places;
mod plans;
mod precision;
mod prepare;
mod random;
mod ranks;
mod readme;
mod recipes;
mod resume;
mod saved;
mod serve;
mod shell;
#[cfg(unix)]
mod signals;
mod step;
mod support;
mod sweep;
mod tidy;
mod together;
mod torch;
mod trace;
mod trained;
mod trouble;
mod vectors;
mod wasm;
mod weights;
mod widths;
mod work;
#[cfg(target_arch = "x86_64")]
mod x86;
