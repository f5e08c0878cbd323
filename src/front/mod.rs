//! The front end: text to a checked [`Model`](crate::model::Model), with all that is wrong with it in one run.
//!
//! Characters and brackets first (`lex`, `split`), so that nothing recursive sees unbounded nesting; then each item's syntax
//! (`parse`); then names, arguments and shapes while the graph is built (`lower` and its helpers), for only an expansion
//! knows the shapes.

pub mod ast;
pub mod codes;
pub mod diag;
mod lex;
pub mod parse;
mod split;
mod suggest;
mod syntax;
