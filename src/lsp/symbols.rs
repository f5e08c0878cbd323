//! What a text holds, as an outline; what of it can be folded; where a name is used.

use super::document::Document;
use super::hover;
use super::names;
use crate::front::ast::SectionKind;
use crate::front::diag::Span;
use crate::front::lex::TokenKind;
use crate::front::outline::{Expects, ItemKind, Role, Word};
use lsp_types::{DocumentSymbol, FoldingRange, FoldingRangeKind, Range, SymbolKind};

/// The items of the text with what they name.
pub fn symbols(document: &Document) -> Vec<DocumentSymbol> {
    let outline = document.outline();
    let mut children: Vec<Vec<DocumentSymbol>> = outline.items.iter().map(|_| vec![]).collect();
    for word in &outline.words {
        if let (Some(item), Some(symbol)) = (word.item, child(document, word)) {
            children[item].push(symbol);
        }
    }
    let whole = outline.items.iter().zip(children).map(|(item, children)| {
        let kind = match item.kind {
            ItemKind::Network => SymbolKind::MODULE,
            ItemKind::Block => SymbolKind::FUNCTION,
            ItemKind::Section(_) => SymbolKind::NAMESPACE,
        };
        let (word, name) = (item.word, item.name.unwrap_or(item.word));
        let detail = item.name.map(|_| document.text[word.range()].to_string());
        DocumentSymbol { children: Some(children), ..symbol(document, kind, name, item.span, detail) }
    });
    whole.collect()
}

fn child(document: &Document, word: &Word) -> Option<DocumentSymbol> {
    let kind = match word.role {
        Role::Parameter => SymbolKind::CONSTANT,
        Role::Input => SymbolKind::INTERFACE,
        Role::Let => SymbolKind::VARIABLE,
        Role::Alias => SymbolKind::FIELD,
        Role::Output => SymbolKind::EVENT,
        Role::Key if matches!(word.expects, Expects::Key(SectionKind::Data | SectionKind::Train)) => {
            SymbolKind::PROPERTY
        }
        _ => return None,
    };
    let stands = hover::stands(document, word.span);
    Some(symbol(document, kind, word.span, word.span, stands))
}

// The protocol's type has a field that must be given and must not be used.
#[allow(deprecated)]
fn symbol(document: &Document, kind: SymbolKind, name: Span, whole: Span, detail: Option<String>) -> DocumentSymbol {
    DocumentSymbol {
        name: document.text[name.range()].into(),
        detail,
        kind,
        tags: None,
        deprecated: None,
        range: document.range(whole.to(name)),
        selection_range: document.range(name),
        children: None,
    }
}

/// Brackets and comments of more than one line.
pub fn folds(document: &Document) -> Vec<FoldingRange> {
    let outline = document.outline();
    let fold = |start: usize, end: usize, kind| FoldingRange {
        start_line: start as u32,
        end_line: end as u32,
        kind,
        ..FoldingRange::default()
    };
    let mut folds: Vec<FoldingRange> = vec![];
    for (open, close) in &outline.brackets {
        // The line of the closing bracket stays in sight.
        let (start, end) = (document.line(open.start), document.line(close.start).saturating_sub(1));
        if end > start {
            folds.push(fold(start, end, None));
        }
    }
    let mut run: Option<(usize, usize)> = None;
    let comments = outline.tokens.iter().filter(|token| token.kind == TokenKind::Comment);
    let lines = comments.map(|token| document.line(token.span.start));
    for line in lines.map(Some).chain([None]) {
        run = match (run, line) {
            (Some((start, end)), Some(line)) if line <= end + 1 => Some((start, line)),
            (before, line) => {
                folds.extend(
                    before
                        .filter(|(start, end)| end > start)
                        .map(|(start, end)| fold(start, end, Some(FoldingRangeKind::Comment))),
                );
                line.map(|line| (line, line))
            }
        };
    }
    folds.sort_by_key(|fold| (fold.start_line, std::cmp::Reverse(fold.end_line)));
    folds.dedup_by_key(|fold| fold.start_line);
    folds
}

/// The places of all words that stand for what the word stands for, with or without those that define it.
pub fn uses(document: &Document, word: Option<&Word>, definitions: bool) -> Vec<Range> {
    let symbol = word.and_then(|word| names::symbol(document, word));
    let spans = symbol.map_or(vec![], |symbol| names::occurrences(document, &symbol));
    spans
        .into_iter()
        .filter(|word| definitions || !names::defining(word))
        .map(|word| document.range(word.span))
        .collect()
}
