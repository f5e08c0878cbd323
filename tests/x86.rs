//! The wide-vector emitter against the interpreter: natively where the host has the instructions, and always in an
//! emulator that reads the encodings back through the decoder. All buffers end at guards.

// A failed expectation is the message here.
#![allow(clippy::unwrap_used)]

mod contraction;
mod emulator;
mod generate;
mod narrow;
mod operations;
mod parts;
mod random;
mod support;
mod tiles;
