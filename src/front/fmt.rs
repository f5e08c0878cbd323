//! The formatter: prints a file's own tokens, comments included, in one layout. The syntax tree only says where statements,
//! keys and pipelines are; nothing is printed from it, so nothing can be lost.

use super::ast::{Entry, Expr, ExprKind, Item, Step, StepKind, Stmt, StmtKind};
use super::lex::{Token, TokenKind, tokens};
use super::syntax::KEYWORDS;
use std::collections::{HashMap, HashSet};

/// Longer lines are broken where a pipeline or a brace allows it.
const WIDTH: usize = 100;
const INDENT: usize = 4;

/// What the tree says of places in the text (all are offsets of tokens' first bytes).
#[derive(Default)]
struct Marks {
    /// Top-level items.
    items: HashSet<usize>,
    /// Statements and keys: each begins a line, unless its brace stays on one line.
    starts: HashSet<usize>,
    /// Keys of `data` and `train`, whose `=` are aligned.
    aligned: HashSet<usize>,
    /// `|>` to its pipeline; name after `as` to its pipeline.
    pipes: HashMap<usize, usize>,
    aliases: HashMap<usize, usize>,
    /// The pipelines whose first value starts at an offset, and how many there are in all.
    pipelines: HashMap<usize, Vec<usize>>,
    count: usize,
    /// Last statement's or key's words before braces that may stay on one line: `defaults`, `repeat`.
    short: HashSet<usize>,
}

impl Marks {
    fn item(&mut self, item: &Item) {
        match item {
            Item::Network(network) => {
                self.items.insert(network.span.start);
                self.parameters(&network.parameters);
                self.body(&network.body);
            }
            Item::Block(block) => {
                self.items.insert(block.span.start);
                self.parameters(&block.parameters);
                self.body(&block.body);
            }
            Item::Section(section) => {
                self.items.insert(section.span.start);
                self.aligned.extend(section.entries.iter().map(|e| e.key.span.start));
                self.entries(&section.entries);
            }
        }
    }

    fn parameters(&mut self, parameters: &[super::ast::Parameter]) {
        parameters.iter().filter_map(|p| p.default.as_ref()).for_each(|e| self.expr(e));
    }

    fn entries(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.starts.insert(entry.key.span.start);
            self.expr(&entry.value);
        }
    }

    fn body(&mut self, body: &[Stmt]) {
        for statement in body {
            self.starts.insert(statement.span.start);
            match &statement.kind {
                StmtKind::Defaults(entries) => {
                    self.short.insert(statement.span.start);
                    self.entries(entries);
                }
                StmtKind::Input { dims, .. } => self.expr(dims),
                StmtKind::Let { value, .. } | StmtKind::Output { value, .. } => self.expr(value),
                StmtKind::Return(value) | StmtKind::Expr(value) => self.expr(value),
                StmtKind::Repeat { count, body } => {
                    if body.len() <= 1 {
                        self.short.insert(statement.span.start);
                    }
                    self.expr(count);
                    self.body(body);
                }
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Pipe { source, alias, steps } => {
                self.expr(source);
                let group = self.steps(steps, expr.span.start);
                self.aliases.extend(alias.iter().map(|a| (a.span.start, group)));
            }
            ExprKind::Chain(first, rest) => {
                self.expr(first);
                rest.iter().for_each(|(_, e)| self.expr(e));
            }
            ExprKind::List(items) => items.iter().for_each(|e| self.expr(e)),
            ExprKind::Call(call) => call.arguments.iter().for_each(|a| self.expr(&a.value)),
            ExprKind::Neg(inner) => self.expr(inner),
            _ => {}
        }
    }

    fn steps(&mut self, steps: &[Step], start: usize) -> usize {
        let group = self.count;
        self.count += 1;
        self.pipelines.entry(start).or_default().push(group);
        for step in steps {
            self.pipes.insert(step.pipe.start, group);
            self.aliases.extend(step.alias.iter().map(|a| (a.span.start, group)));
            match &step.kind {
                StepKind::Call(call) => call.arguments.iter().for_each(|a| self.expr(&a.value)),
                StepKind::Repeat { count, steps } => {
                    self.short.insert(step.span.start);
                    self.expr(count);
                    self.steps(steps, steps.first().map_or(step.span.start, |s| s.span.start));
                }
            }
        }
        group
    }
}

#[derive(Default)]
struct Line {
    indent: usize,
    text: String,
    /// Empty lines before it: 0 or 1.
    blank: bool,
    /// Where ` as` stands, and in which pipeline.
    alias: Option<(usize, usize)>,
    /// Where the `=` of a section's key stands.
    equals: Option<usize>,
    /// The outermost unbroken pipeline or brace on it, with the brackets around it: what can be broken to make it shorter.
    breakable: Option<(usize, Break)>,
    comment: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Break {
    Pipeline(usize),
    /// By the offset of its `{`.
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

struct Printer<'a> {
    text: &'a str,
    tokens: &'a [Token],
    /// For each token the next that is no comment.
    next_code: &'a [Option<usize>],
    marks: &'a Marks,
    broken: &'a HashSet<Break>,
    lines: Vec<Line>,
    stack: Vec<Open>,
    /// Indentation of the line on which each pipeline starts.
    pipeline_indent: HashMap<usize, usize>,
}

pub fn format(text: &str, items: &[Item]) -> String {
    let tokens = tokens(text);
    let mut marks = Marks::default();
    items.iter().for_each(|item| marks.item(item));
    let mut broken = written_breaks(&tokens, &marks, text);
    let mut next_code = vec![None; tokens.len()];
    let mut next = None;
    for (i, token) in tokens.iter().enumerate().rev() {
        next_code[i] = next;
        if token.kind != TokenKind::Comment {
            next = Some(i);
        }
    }
    // Each round breaks at least one thing more, of which there are finitely many; then nothing is too long that can be shorter.
    loop {
        let mut printer = Printer {
            text,
            tokens: &tokens,
            next_code: &next_code,
            marks: &marks,
            broken: &broken,
            lines: vec![],
            stack: vec![],
            pipeline_indent: HashMap::new(),
        };
        printer.run();
        let lines = printer.lines;
        let long: Vec<Break> = lines
            .iter()
            .filter(|l| l.indent + l.text.chars().count() > WIDTH)
            .filter_map(|l| l.breakable.map(|(_, b)| b))
            .collect();
        if long.is_empty() {
            return finish(lines);
        }
        broken.extend(long);
    }
}

/// What the author has broken: a pipeline with any step on a new line has all of them so.
fn written_breaks(tokens: &[Token], marks: &Marks, text: &str) -> HashSet<Break> {
    let mut broken = HashSet::new();
    let mut stack: Vec<usize> = Vec::new();
    let mut previous_comment = false;
    for (i, token) in tokens.iter().enumerate() {
        let starts_line = token.newlines > 0 || previous_comment;
        if let Some(group) = marks.pipes.get(&token.span.start).filter(|_| starts_line) {
            broken.insert(Break::Pipeline(*group));
        }
        previous_comment = token.kind == TokenKind::Comment;
        match token.text(text) {
            "{" => stack.push(i),
            "}" => {
                let Some(open) = stack.pop() else { continue };
                let inside = &tokens[open + 1..=i];
                let spread = inside.iter().any(|t| t.newlines > 0 || t.kind == TokenKind::Comment);
                if spread || !may_be_short(tokens, open, marks) {
                    broken.insert(Break::Brace(tokens[open].span.start));
                }
            }
            _ => {}
        }
    }
    broken
}

/// Does the brace belong to `defaults` or `repeat`? Between the word and the brace stands at most a count.
fn may_be_short(tokens: &[Token], open: usize, marks: &Marks) -> bool {
    for token in tokens[..open].iter().rev() {
        if marks.short.contains(&token.span.start) {
            return true;
        }
        let other = marks.starts.contains(&token.span.start) || marks.items.contains(&token.span.start);
        if other || marks.pipes.contains_key(&token.span.start) {
            return false;
        }
    }
    false
}

impl Printer<'_> {
    fn run(&mut self) {
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

/// Aligns `as` within a pipeline and `=` within a section's neighbouring lines, and joins the lines.
fn finish(mut lines: Vec<Line>) -> String {
    let mut widest: HashMap<usize, usize> = HashMap::new();
    for line in &lines {
        if let Some((at, group)) = line.alias {
            let end = line.indent + line.text[..at].chars().count();
            let most = widest.entry(group).or_insert(0);
            *most = (*most).max(end);
        }
    }
    for line in &mut lines {
        if let Some((at, group)) = line.alias {
            let end = line.indent + line.text[..at].chars().count();
            line.text.insert_str(at, &" ".repeat(widest[&group] - end));
        }
    }
    let mut at = 0;
    while at < lines.len() {
        let run =
            lines[at..].iter().enumerate().take_while(|(i, l)| l.equals.is_some() && (*i == 0 || !l.blank)).count();
        let most = lines[at..at + run].iter().filter_map(|l| l.equals).max().unwrap_or(0);
        for line in &mut lines[at..at + run] {
            if let Some(equals) = line.equals {
                line.text.insert_str(equals, &" ".repeat(most - equals));
            }
        }
        at += run.max(1);
    }
    let mut out = String::new();
    for line in &lines {
        if line.blank {
            out.push('\n');
        }
        out.push_str(&" ".repeat(line.indent));
        out.push_str(line.text.trim_end());
        out.push('\n');
    }
    out
}
