//! What programs that hold this one as a library call: its commands as functions, with options as they are typed and
//! failures as values. What is said besides is kept for [`heard`].

mod fault;
mod network;
mod training;

pub use fault::Fault;
pub use network::{Answer, Given, Guess, Map, Network, Picture};
pub use training::train;

use super::output;
use fault::of_clap;
use ninc::front;
use ninc::front::diag::to_json;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;

/// Takes what was said since the last call: notes start with `note: `.
pub fn heard() -> Vec<String> {
    output::heard()
}

/// Says all that is wrong with a model's text, as the JSON of `ninc check`, but with offsets in characters; `set` gives
/// values to the network's parameters.
pub fn check(text: &str, set: &[(String, String)]) -> String {
    let (_, diagnostics) = front::load(text, "the text", set);
    fault::in_characters(to_json(&diagnostics, text, "the text"), text).to_string()
}

/// Reads options as they are typed.
fn parsed<T: clap::Parser>(words: &[OsString]) -> Result<T, Fault> {
    T::try_parse_from(words).map_err(|e| of_clap(&e))
}

/// A path as JSON: its text, or its bytes where it is none.
fn path(path: &Path) -> Value {
    #[cfg(unix)]
    if path.to_str().is_none() {
        use std::os::unix::ffi::OsStrExt;
        return json!(path.as_os_str().as_bytes());
    }
    json!(path.to_string_lossy())
}

/// Begins a call that reads files, which may have changed since the last one, and keeps what it says.
fn begin() {
    output::listen();
    super::foreign::forget();
}
