//! Cuts a file into its top-level items before anything is parsed: an error in one item then hides none in the others.
//! Brackets are matched here too, because "this `(` is never closed" says more than where the parser gave up, and
//! nesting is bounded here, because a recursive parser must not see it unbounded.

use super::codes;
use super::diag::{Diagnostic, Span};
use super::lex::{Token, TokenKind};
use super::suggest;

/// The most brackets within brackets; what people write stays below ten.
pub const MAX_NESTING: usize = 128;

/// Words that start a top-level item.
pub const ITEM_WORDS: [&str; 4] = ["network", "block", "data", "train"];

/// The text of one item.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The item, from its word to its closing brace.
    pub span: Span,
    /// The word that starts it: `network`.
    pub word: String,
    /// What follows the word, if that is a name.
    pub name: Option<String>,
    /// Its brackets do not match: said already, and not worth parsing.
    pub broken: bool,
}

/// A file cut into items.
pub struct Split {
    /// The items in order.
    pub chunks: Vec<Chunk>,
    /// What is wrong with brackets and with text outside of items.
    pub diagnostics: Vec<Diagnostic>,
}

struct Splitter<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    out: Split,
}

/// Cuts a file into its items.
pub fn split(text: &str, tokens: &[Token]) -> Split {
    let tokens: Vec<Token> = tokens.iter().filter(|t| t.kind != TokenKind::Comment).copied().collect();
    let mut splitter = Splitter { text, tokens, at: 0, out: Split { chunks: vec![], diagnostics: vec![] } };
    splitter.version();
    while splitter.at < splitter.tokens.len() {
        if ITEM_WORDS.contains(&splitter.word(splitter.at)) {
            splitter.item();
        } else {
            splitter.junk();
        }
    }
    splitter.out
}

fn closer(open: &str) -> &'static str {
    match open {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

impl Splitter<'_> {
    fn word(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |t| t.text(self.text))
    }

    fn kind(&self, i: usize) -> Option<TokenKind> {
        self.tokens.get(i).map(|t| t.kind)
    }

    /// `nin 1`, the first thing in a file if it is there.
    fn version(&mut self) {
        if self.word(0) != "nin" {
            return;
        }
        let word = self.tokens[0].span;
        if self.kind(1) != Some(TokenKind::Number) || self.tokens[1].newlines > 0 {
            let d = Diagnostic::error(codes::VERSION, word, "`nin` needs the number of the language version after it");
            self.out.diagnostics.push(d.help("write `nin 1`, or leave the line out"));
            self.at = 1;
            return;
        }
        if self.word(1) != "1" {
            let message = format!("this compiler does not know version {} of the language", self.word(1));
            let d = Diagnostic::error(codes::VERSION, self.tokens[1].span, message);
            self.out.diagnostics.push(d.help("the only version so far is `nin 1`"));
        }
        self.at = 2;
    }

    /// Does the token begin a line without indentation, and an item? Then it does so even if brackets are still open.
    fn starts_item(&self, i: usize) -> bool {
        let start = self.tokens[i].span.start;
        let first = start == 0 || matches!(self.text.as_bytes()[start - 1], b'\n' | b'\r');
        let next = self.kind(i + 1);
        first
            && match self.word(i) {
                "network" | "block" => next == Some(TokenKind::Word),
                "data" | "train" => self.word(i + 1) == "{",
                _ => false,
            }
    }

    fn item(&mut self) {
        let first = self.at;
        let mut stack: Vec<usize> = Vec::new();
        let mut problem: Option<Diagnostic> = None;
        self.at += 1;
        while self.at < self.tokens.len() {
            if self.starts_item(self.at) {
                break;
            }
            let i = self.at;
            self.at += 1;
            match self.word(i) {
                "(" | "[" | "{" => {
                    stack.push(i);
                    if stack.len() > MAX_NESTING && problem.is_none() {
                        problem = Some(self.too_deep(i));
                    }
                }
                ")" | "]" | "}" => {
                    if let Some(d) = self.close(&mut stack, i) {
                        problem = problem.or(Some(d));
                    }
                    if stack.is_empty() && self.word(i) == "}" {
                        break;
                    }
                }
                _ => {}
            }
        }
        if let Some(&open) = stack.last() {
            problem = problem.or_else(|| Some(self.never_closed(open)));
        }
        let span = self.tokens[first].span.to(self.tokens[self.at - 1].span);
        let name = (self.kind(first + 1) == Some(TokenKind::Word)).then(|| self.word(first + 1).to_string());
        let word = self.word(first).to_string();
        self.out.chunks.push(Chunk { span, word, name, broken: problem.is_some() });
        self.out.diagnostics.extend(problem);
    }

    /// Takes a closing bracket; says what is wrong with it.
    fn close(&self, stack: &mut Vec<usize>, i: usize) -> Option<Diagnostic> {
        let sign = self.word(i);
        let Some(&open) = stack.last() else {
            return Some(self.closes_nothing(i));
        };
        if closer(self.word(open)) == sign {
            stack.pop();
            return None;
        }
        let own = stack.iter().rposition(|&o| closer(self.word(o)) == sign);
        match own {
            // An opener further out fits: those inside it are the ones left open.
            Some(position) => {
                let message = format!("this `{}` is not closed before the `{sign}`", self.word(open));
                stack.truncate(position);
                let d = Diagnostic::error(codes::UNCLOSED, self.tokens[open].span, message);
                let help = format!("put `{}` where it ends", closer(self.word(open)));
                Some(d.label(self.tokens[i].span, "closes something further out").help(help))
            }
            None => Some(self.closes_nothing(i)),
        }
    }

    fn closes_nothing(&self, i: usize) -> Diagnostic {
        let message = format!("this `{}` closes nothing", self.word(i));
        Diagnostic::error(codes::UNCLOSED, self.tokens[i].span, message)
            .help("remove it, or put in what it should close")
    }

    fn never_closed(&self, open: usize) -> Diagnostic {
        let sign = self.word(open);
        let message = format!("this `{sign}` is never closed");
        Diagnostic::error(codes::UNCLOSED, self.tokens[open].span, message)
            .help(format!("put `{}` where it ends", closer(sign)))
    }

    fn too_deep(&self, i: usize) -> Diagnostic {
        let message = format!("brackets are nested more than {MAX_NESTING} deep here");
        Diagnostic::error(codes::TOO_DEEP, self.tokens[i].span, message).help("give inner parts a name with `let`")
    }

    /// Skips what is not an item, with one error for all of it up to the next item.
    fn junk(&mut self) {
        let first = self.at;
        let word = self.word(first).to_string();
        let span = self.tokens[first].span;
        let mut depth = 0usize;
        while self.at < self.tokens.len() && !self.starts_item(self.at) {
            let sign = self.word(self.at);
            let item = depth == 0 && ITEM_WORDS.contains(&sign) && self.tokens[self.at].newlines > 0;
            if item && self.at > first {
                break;
            }
            let was = depth;
            match sign {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            let ends = sign == "}" && depth == 0 && was == 1;
            self.at += 1;
            if ends {
                break;
            }
        }
        let diagnostic = match word.as_str() {
            ")" | "]" | "}" => self.closes_nothing(first),
            "nin" => {
                Diagnostic::error(codes::VERSION, span, "`nin` with the language version stands first in the file")
                    .help("move the line to the top")
            }
            _ => {
                let message = format!("`{}` does not start an item of a model file", shorten(&word));
                let items = || suggest::sentence(format!("a file consists of {} items", suggest::listed(&ITEM_WORDS)));
                let near = suggest::nearest(&word, ITEM_WORDS).map_or_else(items, suggest::meant);
                Diagnostic::error(codes::UNKNOWN_ITEM, span, message).suggest(Some(near))
            }
        };
        self.out.diagnostics.push(diagnostic);
    }
}

/// Cuts words of a file for messages: not more than a line of them.
pub fn shorten(word: &str) -> String {
    if word.chars().count() <= 40 {
        return word.to_string();
    }
    let start: String = word.chars().take(37).collect();
    format!("{start}…")
}
