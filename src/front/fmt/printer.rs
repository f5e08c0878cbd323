//! Puts tokens on lines, with their indentation and the spaces between them.

use super::marks::Marks;
use crate::front::lex::{Token, TokenKind};
use crate::front::syntax::KEYWORDS;
use std::collections::{HashMap, HashSet};

const INDENT: usize = 4;

/// One line of the result.
#[derive(Default)]
pub struct Line {
    /// Spaces before its text.
    pub indent: usize,
    /// What stands on it.
    pub text: String,
    /// Empty lines before it: 0 or 1.
    pub blank: bool,
    /// Where ` as` stands, and in which pipeline.
    pub alias: Option<(usize, usize)>,
    /// Where the `=` of a section's key stands.
    pub equals: Option<usize>,
    /// The outermost unbroken pipeline or brace on it, with the brackets around it: what can be broken to make it
    /// shorter.
    pub breakable: Option<(usize, Break)>,
    /// It holds a comment alone.
    pub comment: bool,
}

/// What can stand on several lines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Break {
    /// A pipeline, by its number.
    Pipeline(usize),
    /// A brace, by the offset of its `{`.
    Brace(usize),
}

/// An open bracket.
struct Open {
    brace: bool,
    /// A brace whose content stands on lines of its own.
    multi: bool,
    line_indent: usize,
    at: usize,
    first: bool,
}

/// Puts tokens on lines.
pub struct Printer<'a> {
    /// The file.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: &'a [Token],
    /// For each token the next one that is not a comment.
    pub next_code: &'a [Option<usize>],
    /// What its tree says of them.
    pub marks: &'a Marks,
    /// Pipelines and braces that are broken over several lines.
    pub broken: &'a HashSet<Break>,
    /// The result so far.
    pub lines: Vec<Line>,
    /// Open brackets, the innermost last.
    stack: Vec<Open>,
    /// Indentation of the line on which each pipeline starts.
    pipeline_indent: HashMap<usize, usize>,
}

impl<'a> Printer<'a> {
    /// A printer that has printed nothing.
    pub fn new(
        text: &'a str,
        tokens: &'a [Token],
        next_code: &'a [Option<usize>],
        marks: &'a Marks,
        broken: &'a HashSet<Break>,
    ) -> Printer<'a> {
        let (lines, stack, pipeline_indent) = (vec![], vec![], HashMap::new());
        Printer { text, tokens, next_code, marks, broken, lines, stack, pipeline_indent }
    }
}

impl Printer<'_> {
    /// Prints all tokens.
    pub fn run(&mut self) {
        let mut previous: Option<usize> = None;
        for i in 0..self.tokens.len() {
            if self.drops(i) {
                continue;
            }
            self.token(i, previous);
            previous = Some(i);
        }
    }

    fn sign(&self, i: usize) -> &str {
        self.tokens[i].text(self.text)
    }

    fn next_code(&self, i: usize) -> Option<usize> {
        self.next_code[i]
    }

    /// Commas that the layout makes needless: between keys, and before a closing bracket on the same line.
    fn drops(&self, i: usize) -> bool {
        if self.sign(i) != "," {
            return false;
        }
        if self.stack.last().is_some_and(|o| o.brace) {
            return true;
        }
        let next = self.tokens.get(i + 1);
        next.is_some_and(|t| t.newlines == 0 && matches!(t.text(self.text), ")" | "]"))
    }

    fn token(&mut self, i: usize, previous: Option<usize>) {
        let token = self.tokens[i];
        let start = token.span.start;
        let sign = self.sign(i).to_string();
        let closing = matches!(sign.as_str(), ")" | "]" | "}");
        let closed = if closing { self.stack.pop() } else { None };
        let key = self.marks.starts.contains(&start);
        let separate = key && self.stack.last().is_some_and(|o| o.brace && !o.multi && !o.first);
        if self.breaks(i, previous, closed.as_ref()) {
            let indent = self.indent(i, closed.as_ref());
            let first_inside = previous.is_some_and(|p| self.sign(p) == "{");
            let item = self.marks.items.contains(&start) || token.kind == TokenKind::Comment && self.stack.is_empty();
            let attached = previous.is_some_and(|p| self.tokens[p].kind == TokenKind::Comment) && token.newlines == 1;
            let forced = item && self.stack.is_empty() && !attached && previous.is_some_and(|p| self.sign(p) == "}");
            let blank = (token.newlines > 1 || forced) && !first_inside && sign != "}" && previous.is_some();
            self.lines.push(Line { indent, blank, ..Line::default() });
        } else if let Some(p) = previous {
            let line = self.lines.last().map_or(0, |l| l.text.len());
            let comma = if separate && self.bare_defaults(i) { "," } else { "" };
            let space = if line > 0 && self.spaced(p, i) { " " } else { "" };
            let wide = if token.kind == TokenKind::Comment { " " } else { "" };
            if let Some(l) = self.lines.last_mut() {
                l.text.push_str(comma);
                l.text.push_str(space);
                l.text.push_str(wide);
            }
        }
        if let Some(open) = self.stack.last_mut().filter(|_| key) {
            open.first = false;
        }
        self.note(i, &sign);
        let comment = token.kind == TokenKind::Comment;
        if let Some(line) = self.lines.last_mut() {
            line.comment |= comment && line.text.is_empty();
            line.text.push_str(if comment { sign.trim_end() } else { &sign });
        }
        if matches!(sign.as_str(), "(" | "[" | "{") {
            let line_indent = self.lines.last().map_or(0, |l| l.indent);
            let multi = sign == "{" && self.broken.contains(&Break::Brace(start));
            self.stack.push(Open { brace: sign == "{", multi, line_indent, at: i, first: true });
        }
    }

    /// Is the key one of `defaults`? Statements in a short `repeat` are alone.
    fn bare_defaults(&self, i: usize) -> bool {
        self.next_code(i).is_some_and(|j| self.sign(j) == "=")
    }

    /// Remembers what alignment and breaking need of this token, which the last line is about to get.
    fn note(&mut self, i: usize, sign: &str) {
        let start = self.tokens[i].span.start;
        let indent = self.lines.last().map_or(0, |l| l.indent);
        for group in self.marks.pipelines.get(&start).into_iter().flatten() {
            self.pipeline_indent.entry(*group).or_insert(indent);
        }
        let key = i > 0 && self.marks.aligned.contains(&self.tokens[i - 1].span.start);
        let alias = self.tokens.get(i + 1).and_then(|t| self.marks.aliases.get(&t.span.start)).filter(|_| sign == "as");
        let pipe = self.marks.pipes.get(&start).filter(|_| sign == "|>");
        let broken = self.broken;
        let depth = self.stack.len();
        let Some(line) = self.lines.last_mut() else { return };
        if sign == "=" && key {
            line.equals = Some(line.text.trim_end().len());
        }
        if let Some(group) = alias.filter(|g| broken.contains(&Break::Pipeline(**g))) {
            line.alias = Some((line.text.trim_end().len(), *group));
        }
        let found = pipe.map(|g| Break::Pipeline(*g)).or((sign == "{").then_some(Break::Brace(start)));
        let outermost = line.breakable.is_none_or(|(outer, _)| depth < outer);
        if let Some(found) = found.filter(|b| outermost && !broken.contains(b)) {
            line.breakable = Some((depth, found));
        }
    }

    fn breaks(&self, i: usize, previous: Option<usize>, closed: Option<&Open>) -> bool {
        let Some(previous) = previous else { return true };
        let token = &self.tokens[i];
        if self.tokens[previous].kind == TokenKind::Comment {
            return true;
        }
        if token.kind == TokenKind::Comment {
            return token.newlines > 0;
        }
        if let Some(open) = closed {
            let empty = open.at == previous;
            return if open.brace { open.multi && !empty } else { token.newlines > 0 };
        }
        let start = token.span.start;
        if let Some(group) = self.marks.pipes.get(&start).filter(|_| self.sign(i) == "|>") {
            let leads = self.stack.last().is_some_and(|o| o.at == previous);
            return if leads {
                self.stack.last().is_some_and(|o| o.multi)
            } else {
                self.broken.contains(&Break::Pipeline(*group))
            };
        }
        match self.stack.last() {
            None => {
                self.marks.items.contains(&start)
                    || token.newlines > 0 && self.sign(previous) != "nin" && self.is_start(previous)
            }
            Some(open) if open.brace => open.multi && (open.at == previous || self.marks.starts.contains(&start)),
            // Within parentheses the author's lines stay.
            Some(_) => token.newlines > 0,
        }
    }

    /// Outside all brackets only `nin 1` and heads of items stand; a head stays on its line.
    fn is_start(&self, previous: usize) -> bool {
        self.tokens[previous].kind == TokenKind::Number
    }

    fn indent(&self, i: usize, closed: Option<&Open>) -> usize {
        if let Some(open) = closed {
            return open.line_indent;
        }
        let inside = self.stack.last().map_or(0, |o| o.line_indent + INDENT);
        let token = &self.tokens[i];
        let subject = if token.kind == TokenKind::Comment { self.next_code(i) } else { Some(i) };
        let Some(subject) = subject else { return inside };
        let start = self.tokens[subject].span.start;
        let pipe = self.marks.pipes.get(&start).filter(|_| self.sign(subject) == "|>");
        if let Some(indent) = pipe.and_then(|group| self.pipeline_indent.get(group)) {
            return indent + INDENT;
        }
        let starts = self.marks.starts.contains(&start) || self.marks.items.contains(&start);
        let closer = matches!(self.sign(subject), ")" | "]" | "}");
        let first = self.stack.last().is_some_and(|o| i > 0 && o.at == i - 1);
        match self.stack.last() {
            Some(open) if open.brace && !starts && !closer && !first && token.kind != TokenKind::Comment => {
                inside + INDENT
            }
            _ => inside,
        }
    }

    /// Is there a space between two tokens of a line?
    fn spaced(&self, p: usize, i: usize) -> bool {
        let (before, after) = (self.sign(p), self.sign(i));
        if self.tokens[i].kind == TokenKind::Comment {
            return true;
        }
        match (before, after) {
            ("(" | "[", _) | (_, ")" | "]" | "," | ":") | ("{", "}") => false,
            ("-", _) if self.unary(p) => false,
            (_, "(") => self.tokens[p].kind != TokenKind::Word || KEYWORDS.contains(&before),
            _ => true,
        }
    }

    fn unary(&self, minus: usize) -> bool {
        let before = (0..minus).rev().find(|j| self.tokens[*j].kind != TokenKind::Comment);
        let Some(before) = before else { return true };
        let sign = self.sign(before);
        matches!(sign, "(" | "[" | "{" | "," | "=" | ":" | "|>" | "+" | "-" | "*" | "/" | "%" | "return" | "repeat")
    }
}
