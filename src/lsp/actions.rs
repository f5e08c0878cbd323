//! Diagnostics as the protocol has them, and changes of the text.

use super::document::Document;
use super::server::Client;
use crate::front::codes;
use crate::front::diag::{self, Severity, Span};
use lsp_types::*;
use std::collections::HashMap;

/// The diagnostics of a text: the same as `ninc check` prints.
pub fn diagnostics(document: &Document, uri: &Uri, client: Client) -> Vec<Diagnostic> {
    document.analysis().diagnostics.iter().map(|d| diagnostic(document, uri, d, client)).collect()
}

fn diagnostic(document: &Document, uri: &Uri, d: &diag::Diagnostic, client: Client) -> Diagnostic {
    let severity = match d.severity {
        Severity::Error => DiagnosticSeverity::ERROR,
        Severity::Warning => DiagnosticSeverity::WARNING,
    };
    let related = |(span, note): &(Span, String)| DiagnosticRelatedInformation {
        location: Location::new(uri.clone(), document.range(*span)),
        message: note.clone(),
    };
    let help = d.help.as_ref().map_or(String::new(), |help| format!("\nhelp: {help}"));
    Diagnostic {
        range: document.range(d.span),
        severity: Some(severity),
        code: Some(NumberOrString::String(d.code.into())),
        source: Some("ninc".into()),
        message: format!("{}{help}", d.message),
        related_information: client.related.then(|| d.labels.iter().map(related).collect()),
        tags: (d.code == codes::UNUSED).then(|| vec![DiagnosticTag::UNNECESSARY]),
        ..Diagnostic::default()
    }
}

/// What puts the diagnostics within a span right.
pub fn actions(document: &Document, uri: &Uri, span: Span, client: Client) -> Vec<CodeActionOrCommand> {
    let touches = |d: &&diag::Diagnostic| d.span.start <= span.end && span.start <= d.span.end;
    let action = |d: &diag::Diagnostic| {
        let (place, text) = d.fix.as_deref()?;
        let title = match text.trim().is_empty() {
            true => "Remove it".to_string(),
            false => format!("Change to `{text}`"),
        };
        let edit = edit(uri.clone(), vec![TextEdit::new(document.range(*place), text.clone())]);
        Some(CodeActionOrCommand::CodeAction(CodeAction {
            title,
            kind: Some(CodeActionKind::QUICKFIX),
            diagnostics: Some(vec![diagnostic(document, uri, d, client)]),
            edit: Some(edit),
            is_preferred: Some(true),
            ..CodeAction::default()
        }))
    };
    document.analysis().diagnostics.iter().filter(touches).filter_map(action).collect()
}

/// Changes of one text.
// The protocol's type goes by addresses; they are not changed here.
#[allow(clippy::mutable_key_type)]
pub fn edit(uri: Uri, edits: Vec<TextEdit>) -> WorkspaceEdit {
    WorkspaceEdit { changes: Some(HashMap::from([(uri, edits)])), ..WorkspaceEdit::default() }
}

/// The change that makes the text another one: of the lines that differ, so that cursors elsewhere stay.
pub fn replace(document: &Document, new: &str) -> Vec<TextEdit> {
    let old = document.text.as_str();
    if old == new {
        return vec![];
    }
    let starts = |text: &str| -> usize {
        let same = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
        text.as_bytes()[..same].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1)
    };
    let start = starts(old);
    let (rest, other) = (&old.as_bytes()[start..], &new.as_bytes()[start..]);
    let same = rest.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    // From the start of a line on, which the same bytes begin in both.
    let tail = &rest[rest.len() - same..];
    let kept = tail.iter().position(|b| *b == b'\n').map_or(0, |i| same - i - 1);
    let span = Span::new(start, old.len() - kept);
    vec![TextEdit::new(document.range(span), new[start..new.len() - kept].to_string())]
}
