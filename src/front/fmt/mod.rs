//! The formatter: prints a file's own tokens, comments included, in one layout. The syntax tree only says where
//! statements, keys and pipelines are; nothing is printed from it, so nothing can be lost.

mod marks;
mod printer;

use super::ast::Item;
use super::lex::{Token, TokenKind, tokens};
use marks::Marks;
use printer::{Break, Line, Printer};
use std::collections::{HashMap, HashSet};

/// Longer lines are broken where a pipeline or a brace allows it.
const WIDTH: usize = 100;

/// Lays out the text; `items` is what it parses to.
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
    // Each pass breaks at least one thing more, and their number is finite; then nothing is too long that can be
    // shorter.
    loop {
        let mut printer = Printer::new(text, &tokens, &next_code, &marks, &broken);
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
