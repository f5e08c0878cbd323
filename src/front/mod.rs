//! The front end: text to a checked [`Model`], with all that is wrong with it in one run.
//!
//! Characters and brackets first (`lex`, `split`), so that nothing recursive sees unbounded nesting; then each item's
//! syntax (`parse`); then names, arguments and shapes while the graph is built (`expand`), for only an expansion knows
//! the shapes; then `data` and `train`, and what must hold between them and the network (`check`).

pub mod analysis;
mod argument;
pub mod ast;
mod bind;
mod check;
pub mod codes;
mod constant;
mod data;
pub mod described;
pub mod diag;
mod evaluate;
mod expand;
mod fit;
mod fmt;
mod function;
mod groups;
pub mod lex;
mod optimizer;
pub mod outline;
mod parse;
mod scope;
mod section;
mod settings;
mod sink;
pub mod split;
pub mod suggest;
pub mod syntax;
pub mod trace;
mod train;
mod visit;

pub use check::same_setting;
pub use data::{examples, source_name};

use crate::model::Model;
use ast::Item;
use diag::{Diagnostic, Severity, Span, has_errors};
use lex::Token;

/// The most bytes of a file: a thousand times what people write.
pub const MAX_BYTES: usize = 1 << 20;

/// Stack of the thread that parses and expands: recursion is bounded (brackets, blocks within blocks), and this holds
/// the bound whatever stack the caller runs on.
const STACK: usize = 64 << 20;

/// A file's items as written.
pub struct Parsed {
    /// Items without syntax errors.
    pub items: Vec<Item>,
    /// Names of blocks whose text has errors: calls of them are not mistakes.
    pub broken_blocks: Vec<String>,
    /// Something with the word `network` is there, even if it could not be parsed.
    pub has_network: bool,
    /// What is wrong with characters, brackets and syntax.
    pub diagnostics: Vec<Diagnostic>,
}

/// Runs `work` where the stack is deep enough.
fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    // The closure must outlive a failed spawn, to be run here after all.
    let cell = std::sync::Mutex::new(Some(work));
    let run = || cell.lock().ok().and_then(|mut cell| cell.take()).map(|work| work());
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("front".into()).stack_size(STACK);
        match thread.spawn_scoped(scope, run) {
            Ok(handle) => handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => run(),
        }
    });
    done.expect("the work is run once")
}

/// Reads a model file. `file` is its name in messages that have no place in the text; `set` overrides the network's
/// parameters (`--set name=value`). There is a model exactly if no diagnostic is an error.
pub fn load(text: &str, file: &str, set: &[(String, String)]) -> (Option<Model>, Vec<Diagnostic>) {
    with_stack(|| {
        let parsed = parse(text);
        let (model, mut diagnostics) = check::model(&parsed, file, set, &mut None);
        diagnostics.splice(0..0, parsed.diagnostics);
        let diagnostics = finish(diagnostics);
        let model = model.filter(|_| !has_errors(&diagnostics));
        (model, diagnostics)
    })
}

/// Sorts what is wrong, and leaves out what is said by more than one.
fn finish(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    // What nothing uses, beside an error, is most often what the error kept from being used.
    if has_errors(&diagnostics) {
        diagnostics.retain(|d| d.severity == Severity::Error);
    }
    diagnostics.sort_by_key(|d| (d.severity, d.span.start, d.span.end));
    diagnostics
}

/// The file in the one layout; comments stay where they are.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    with_stack(|| {
        let parsed = parse(text);
        if has_errors(&parsed.diagnostics) {
            return Err(parsed.diagnostics);
        }
        Ok(fmt::format(text, &parsed.items))
    })
}

/// The syntax tree, for `--emit ast`.
pub fn syntax_tree(text: &str) -> (Vec<Item>, Vec<Diagnostic>) {
    with_stack(|| {
        let parsed = parse(text);
        (parsed.items, parsed.diagnostics)
    })
}

fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed { items: vec![], broken_blocks: vec![], has_network: true, diagnostics: vec![] };
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than the {MAX_BYTES} a model file may have", text.len());
        parsed.diagnostics.push(Diagnostic::error(codes::TOO_LARGE, Span::new(0, 0), message));
        return parsed;
    }
    let tokens: Vec<Token> = lex::tokens(text);
    parsed.diagnostics = lex::check_characters(text, &tokens);
    // What cannot be read as tokens cannot be parsed either; more errors would be echoes.
    if !parsed.diagnostics.is_empty() {
        return parsed;
    }
    let split = split::split(text, &tokens);
    parsed.has_network = split.chunks.iter().any(|c| c.word == "network");
    parsed.diagnostics.extend(split.diagnostics);
    for chunk in &split.chunks {
        let item = if chunk.broken { None } else { Some(parse::item(text, &tokens, chunk)) };
        let good = match item {
            Some((item, diagnostics)) => {
                let good = item.is_some() && diagnostics.is_empty();
                parsed.items.extend(item.filter(|_| good));
                parsed.diagnostics.extend(diagnostics);
                good
            }
            None => false,
        };
        if !good && chunk.word == "block" {
            parsed.broken_blocks.extend(chunk.name.clone());
        }
    }
    parsed
}
