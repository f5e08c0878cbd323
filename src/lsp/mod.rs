//! A language server: what editors ask about a model file while somebody writes it, over the Language Server Protocol.

mod actions;
mod address;
mod complete;
mod document;
mod encoding;
mod hints;
mod hover;
mod names;
mod rename;
mod server;
mod symbols;
mod tokens;

pub use server::{End, serve};
