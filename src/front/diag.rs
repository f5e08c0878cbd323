//! Diagnostics: what is wrong with a model file, where, and the way out. One type feeds terminal, JSON and editors.

use super::suggest::Suggestion;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};
use std::ops::Range;

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be compiled.
    Error,
    /// The file can be compiled, but something in it is odd.
    Warning,
}

/// A place in a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl Span {
    /// Makes a span from one offset to another.
    pub fn new(start: usize, end: usize) -> Span {
        Span { start, end }
    }

    /// Returns it as a range of bytes.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// Returns the span from the start of this to the end of the other.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end.max(self.end) }
    }
}

/// Something that is wrong with a file, or odd.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// `unknown-function`, `shape`: stable, listed in the language reference.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// One sentence without its full stop.
    pub message: String,
    /// The place that it is about.
    pub span: Span,
    /// Further places with their notes; one at `span` itself is written beside the marked place.
    pub labels: Vec<(Span, String)>,
    /// The way out: "did you mean `max_pool`?"
    pub help: Option<String>,
    /// The help as an editor can carry it out: this text in the place of what stands there.
    pub fix: Option<Box<(Span, String)>>,
}

impl Diagnostic {
    /// Makes an error at a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        let (severity, message) = (Severity::Error, message.into());
        Diagnostic { code, severity, message, span, labels: vec![], help: None, fix: None }
    }

    /// Makes a warning at a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// Sets the way out.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Sets a text that puts it right in the place of what stands at `span`.
    pub fn fix(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.fix = Some(Box::new((span, text.into())));
        self
    }

    /// Adds what is suggested, if anything is; a nearest name can take the marked place.
    pub fn suggest(self, suggestion: Option<Suggestion>) -> Diagnostic {
        let Some(Suggestion { help, near }) = suggestion else { return self };
        let span = self.span;
        let diagnostic = self.help(help);
        match near {
            Some(near) => diagnostic.fix(span, near),
            None => diagnostic,
        }
    }

    /// Adds the help if there is any.
    pub fn maybe_help(mut self, help: Option<String>) -> Diagnostic {
        self.help = help.or(self.help);
        self
    }

    /// Adds a note at another place.
    pub fn label(mut self, span: Span, note: impl Into<String>) -> Diagnostic {
        self.labels.push((span, note.into()));
        self
    }
}

/// Does any of them keep the file from being compiled?
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Error)
}

/// Returns a span that lies in the text and on its character boundaries, whatever it was.
fn clamp(text: &str, span: Span) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// Renders them as a terminal shows them, one after the other.
pub fn render(diagnostics: &[Diagnostic], text: &str, file: &str, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.term_width(120);
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let own = diagnostic.labels.iter().find(|(span, _)| *span == diagnostic.span);
        let mut main = AnnotationKind::Primary.span(clamp(text, diagnostic.span));
        if let Some((_, note)) = own {
            main = main.label(note.as_str());
        }
        let mut snippet = Snippet::source(text).path(file).annotation(main);
        for (span, note) in diagnostic.labels.iter().filter(|(span, _)| *span != diagnostic.span) {
            snippet = snippet.annotation(AnnotationKind::Context.span(clamp(text, *span)).label(note.as_str()));
        }
        let mut group: Group = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code).element(snippet);
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push('\n');
    }
    out
}

/// Returns line and column, both from 1; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let offset = clamp(text, Span::new(offset, offset)).start;
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Renders them as a list of objects: code, severity, message, file, place (bytes, lines and columns from 1), labels,
/// help.
pub fn to_json(diagnostics: &[Diagnostic], text: &str, file: &str) -> Value {
    let place = |span: Span| {
        let (line, column) = position(text, span.start);
        let (end_line, end_column) = position(text, span.end);
        json!({ "start": span.start, "end": span.end, "line": line, "column": column,
                "end_line": end_line, "end_column": end_column })
    };
    let one = |d: &Diagnostic| {
        let labels: Vec<Value> =
            d.labels.iter().map(|(span, note)| json!({ "span": place(*span), "message": note })).collect();
        let severity = if d.severity == Severity::Error { "error" } else { "warning" };
        json!({ "code": d.code, "severity": severity, "message": d.message, "file": file,
                "span": place(d.span), "labels": labels, "help": d.help })
    };
    Value::Array(diagnostics.iter().map(one).collect())
}
