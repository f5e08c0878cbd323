//! The language server: a client that asks for everything, on every model and on broken texts.

mod broken;
mod client;
mod features;
mod pipes;
mod renames;
