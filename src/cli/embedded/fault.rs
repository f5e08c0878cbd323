//! Why a call failed.

use crate::cli::output::{self, Failure};
use ninc::front::diag::{Diagnostic, Severity, to_json};
use ninc_runtime::Error;
use serde_json::{Value, json};

/// Why a call failed.
#[derive(Debug)]
pub struct Fault {
    /// Was it called wrongly?
    pub usage: bool,
    /// One sentence.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// What is wrong with a model's text: the JSON of `ninc check`, with offsets in characters.
    pub diagnostics: String,
}

impl Fault {
    pub(super) fn new(usage: bool, error: Error) -> Fault {
        Fault { usage, message: error.message, help: error.help, diagnostics: "[]".into() }
    }

    /// Describes a text that is wrong.
    pub(super) fn of_text(diagnostics: &[Diagnostic], text: &str, file: &str) -> Fault {
        let first = diagnostics.iter().find(|d| d.severity == Severity::Error);
        Fault {
            usage: false,
            message: first.map_or_else(|| format!("{file} holds no network"), |d| d.message.clone()),
            help: first.and_then(|d| d.help.clone()),
            diagnostics: in_characters(to_json(diagnostics, text, file), text).to_string(),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        match failure {
            Failure::Error(e) => Fault::new(false, e),
            Failure::Usage(e) => Fault::new(true, e),
            Failure::Shown => {
                let said: Vec<String> = output::heard();
                let message = match said.is_empty() {
                    true => "it failed, and nothing was said of why".into(),
                    false => said.join("\n").trim_start_matches("error: ").to_string(),
                };
                Fault::new(false, Error::new(message))
            }
            Failure::Interrupted => Fault::new(false, Error::new("it was interrupted")),
            Failure::Closed => Fault::new(false, Error::new("nobody reads the result any more")),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::new(false, error)
    }
}

/// Describes words that are no options, or not these.
pub(super) fn of_clap(error: &clap::Error) -> Fault {
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or(&text);
    let text = text.split("\n\nFor more information").next().unwrap_or(text);
    let mut parts = text.trim_start_matches("error: ").splitn(2, "\n\n");
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = one_line(parts.next().unwrap_or_default());
    // What clap says of words behind `--` is for shells.
    let help = parts.next().map(|help| one_line(help.trim().trim_start_matches("tip: ")));
    let help = help.filter(|help| !help.contains("use '-- "));
    Fault::new(true, Error { message, help })
}

/// Counts the offsets of diagnostics in characters, as strings of other languages do, not in bytes.
pub(super) fn in_characters(mut diagnostics: Value, text: &str) -> Value {
    fn walk(value: &mut Value, text: &str) {
        match value {
            Value::Object(fields) => {
                for name in ["start", "end"] {
                    if let Some(at) = fields.get(name).and_then(Value::as_u64) {
                        let before = text.char_indices().take_while(|(byte, _)| (*byte as u64) < at).count();
                        fields.insert(name.into(), json!(before));
                    }
                }
                fields.values_mut().for_each(|value| walk(value, text));
            }
            Value::Array(values) => values.iter_mut().for_each(|value| walk(value, text)),
            _ => {}
        }
    }
    walk(&mut diagnostics, text);
    diagnostics
}
