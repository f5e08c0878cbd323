//! What an editor asks about a text that may be wrong in places: the diagnostics, and all that is known of the rest.

use super::ast::Item;
use super::diag::{Diagnostic, has_errors};
use super::parse::line_of;
use super::trace::Trace;
use super::{check, codes, finish, parse, with_stack};
use crate::graph::Graph;
use crate::model::Layer;

/// The most lines that are left out to read the others.
const MAX_BLANKED: usize = 24;

/// What is known of a text.
pub struct Analysis {
    /// The same as `check` says.
    pub diagnostics: Vec<Diagnostic>,
    /// The items, without the lines that cannot be read.
    pub items: Vec<Item>,
    /// Whether the network is all there, with nothing wrong with it.
    pub complete: bool,
    /// The network as far as it could be expanded.
    pub graph: Graph,
    /// Its layers.
    pub layers: Vec<Layer>,
    /// Where in the text they stand.
    pub trace: Trace,
}

/// Reads a text; `file` is its name in messages. Where syntax is wrong, the lines that are in the way count as blank
/// for everything but the diagnostics.
pub fn analyse(text: &str, file: &str) -> Analysis {
    with_stack(|| {
        let mut parsed = parse(text);
        let first = std::mem::take(&mut parsed.diagnostics);
        let readable = first.is_empty();
        let mut trace = Some(Trace::default());
        let (mut model, diagnostics) = match first.is_empty() {
            true => check::model(&parsed, file, &[], &mut trace),
            // What is beside a syntax error is checked as `check` does it, and then again without the line.
            false => {
                parsed.diagnostics = first;
                let (model, found) = check::model(&parsed, file, &[], &mut None);
                (model, [std::mem::take(&mut parsed.diagnostics), found].concat())
            }
        };
        if trace.as_ref().is_none_or(|trace| trace.names.is_empty())
            && let Some(repaired) = repaired(text)
        {
            parsed = parse(&repaired);
            trace = Some(Trace::default());
            model = check::model(&parsed, file, &[], &mut trace).0;
        }
        let (graph, layers) = model.map_or_else(|| (Graph::new(""), vec![]), |model| (model.graph, model.layers));
        let trace = trace.unwrap_or_default();
        let complete = readable && trace.complete;
        Analysis { diagnostics: finish(diagnostics), items: parsed.items, complete, graph, layers, trace }
    })
}

/// Returns the text with blanks in place of the lines that keep it from being parsed, so that all else stays where it
/// is; nothing if it can be parsed, or only at the price of too many lines.
fn repaired(text: &str) -> Option<String> {
    let mut text = text.to_string();
    for blanked in 0..=MAX_BLANKED {
        let parsed = parse(&text);
        if !has_errors(&parsed.diagnostics) {
            return (blanked > 0).then_some(text);
        }
        let wrong = parsed.diagnostics.iter().filter(|d| d.code != codes::TOO_LARGE);
        let line = wrong.map(|d| line_of(&text, d.span.start)).find(|line| !text[line.clone()].trim().is_empty());
        let line = line.filter(|_| blanked < MAX_BLANKED)?;
        let blank = " ".repeat(line.len());
        text.replace_range(line, &blank);
    }
    None
}
