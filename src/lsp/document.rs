//! An open text, and what is known of it, computed when it is first asked for.

use super::encoding::{Encoding, Lines};
use crate::front::analysis::{Analysis, analyse};
use crate::front::diag::Span;
use crate::front::outline::{Outline, Word, outline};
use crate::sizes::{self, Row};
use lsp_types::{Position, Range, TextDocumentContentChangeEvent};
use std::cell::OnceCell;

/// An open text.
pub struct Document {
    /// As the editor has it.
    pub text: String,
    /// The editor's number of this state.
    pub version: Option<i32>,
    /// Its name in messages.
    name: String,
    encoding: Encoding,
    lines: Lines,
    analysis: OnceCell<Analysis>,
    outline: OnceCell<Outline>,
    rows: OnceCell<Vec<Row>>,
}

impl Document {
    /// Opens a text.
    pub fn new(text: String, version: Option<i32>, name: String, encoding: Encoding) -> Document {
        let lines = Lines::new(&text, encoding);
        let (analysis, outline, rows) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Document { text, version, name, encoding, lines, analysis, outline, rows }
    }

    /// Takes over changes, one after the other: of a range, or of the whole text.
    pub fn change(&mut self, version: Option<i32>, changes: Vec<TextDocumentContentChangeEvent>) {
        let mut text = std::mem::take(&mut self.text);
        for change in changes {
            match change.range {
                Some(range) => {
                    let span = Lines::new(&text, self.encoding).span(&text, range);
                    text.replace_range(span.range(), &change.text);
                }
                None => text = change.text,
            }
        }
        *self = Document::new(text, version, std::mem::take(&mut self.name), self.encoding);
    }

    /// The same document with another text.
    pub fn with(&self, text: String) -> Document {
        Document::new(text, self.version, self.name.clone(), self.encoding)
    }

    /// What the front end says of it.
    pub fn analysis(&self) -> &Analysis {
        self.analysis.get_or_init(|| analyse(&self.text, &self.name))
    }

    /// Its words and items.
    pub fn outline(&self) -> &Outline {
        self.outline.get_or_init(|| outline(&self.text))
    }

    /// The figures of its layers.
    pub fn rows(&self) -> &[Row] {
        let analysis = self.analysis();
        self.rows.get_or_init(|| sizes::rows(&analysis.graph, &analysis.layers))
    }

    /// The word at an offset, or that ends there.
    pub fn word(&self, offset: usize) -> Option<&Word> {
        let words = &self.outline().words;
        let next = words.partition_point(|word| word.span.end < offset);
        words[next..].iter().take(2).rfind(|word| word.span.start <= offset && offset <= word.span.end)
    }

    /// The range of a span.
    pub fn range(&self, span: Span) -> Range {
        self.lines.range(&self.text, span)
    }

    /// The position of an offset.
    pub fn position(&self, offset: usize) -> Position {
        self.lines.position(&self.text, offset)
    }

    /// The span of a range.
    pub fn span(&self, range: Range) -> Span {
        self.lines.span(&self.text, range)
    }

    /// The offset of a position.
    pub fn offset(&self, position: Position) -> usize {
        self.lines.offset(&self.text, position)
    }

    /// The number of the line of an offset.
    pub fn line(&self, offset: usize) -> usize {
        self.lines.line(offset)
    }
}
