//! A small language for the code around the kernels of a library: creating, running, errors, threads, files.
//!
//! That code must work on every processor that kernels can be compiled for and must need no C compiler, so it is
//! compiled by Cranelift too. Written as a builder's calls it would be unreadable; as text it is a page per subject.
//!
//! Values are 64-bit integers (addresses too), `f32`, `f64` and `f32x4`. Memory is `u8[address]`, `i64[address]`, …
//! by byte address. `stack(n)` is the address of n bytes of the function's frame, `"text"` that of a text with a 0
//! behind it, `@name` that of data, `&name` that of a function. `call(f, …)` calls an address. `&&` and `||` give 1 or
//! 0 and evaluate the right side only where needed. `atomic_load(a)`, `atomic_store(a, v)`, `atomic_add(a, v)` and
//! `atomic_cas(a, expected, new)` work on a word of memory in one order for all threads; the last two give what was
//! there before. A function returns an integer, 0 where it ends without `return`.

mod ast;
mod emit;
mod error;
mod expr;
mod lex;
mod parse;

pub use emit::{Emitted, Names, emit};
pub use error::DriverError;
