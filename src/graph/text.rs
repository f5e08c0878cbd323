//! The text form of a graph, both ways: what is printed parses to an equal graph, which prints the same.
//!
//! ```text
//! graph "tiny"
//! %0 = input() {name = "image", role = "image", dims = [3, 8, 8]} : f32[N, 3, 8, 8]
//! %1 = param() {name = "c.weight", dims = [4, 3, 1, 1], init = he} : f32[4, 3, 1, 1]
//! %2 "c" = conv2d(%0, %1) {kernel = [1, 1]} : f32[N, 4, 8, 8]
//! output "c" = %2
//! ```
//!
//! Attributes that have their default are not printed (`stride = [1, 1]`); the parser fills them in.
//! Values are numbered in the order of computation, so the numbers do not show what passes have removed. An `update`
//! line gives a parameter its new value at the end of a step.

use super::error::{LineError, ParseError};
use super::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::attr::Attr;
use std::collections::HashMap;
use std::fmt::Write;

/// The graph as text, a line per value.
pub fn print(graph: &Graph) -> String {
    let order = graph.order();
    let number: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut out = format!("graph {:?}\n", graph.name);
    for (i, &id) in order.iter().enumerate() {
        let node = graph.node(id);
        let name = node.name.as_ref().map_or(String::new(), |name| format!(" {name:?}"));
        let operands: Vec<String> = node.operands().iter().map(|o| format!("%{}", number[o])).collect();
        let attrs = node.op.attrs().into_iter().filter(|a| !a.is_default);
        let attrs: Vec<String> = attrs.map(|a| format!("{} = {}", a.name, a.value)).collect();
        let attrs = if attrs.is_empty() { String::new() } else { format!(" {{{}}}", attrs.join(", ")) };
        line(&mut out, format_args!("%{i}{name} = {}({}){attrs} : {}", node.op.name(), operands.join(", "), node.ty));
    }
    for (name, id) in &graph.outputs {
        line(&mut out, format_args!("output {name:?} = %{}", number[id]));
    }
    for (param, value) in &graph.updates {
        line(&mut out, format_args!("update %{} = %{}", number[param], number[value]));
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

/// The graph that a text describes, or the first fault with its line. Types are inferred and must be those of the text.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    let mut graph = Graph::default();
    let mut values = Vec::new();
    let mut named = false;
    for (i, text) in text.lines().enumerate() {
        let mut cursor = Cursor { rest: text.trim() };
        if cursor.rest.is_empty() || cursor.rest.starts_with("//") {
            continue;
        }
        let at = |what| ParseError { line: i + 1, what };
        if !named {
            graph.name = header(&mut cursor).map_err(at)?;
            named = true;
            continue;
        }
        statement(&mut cursor, &mut graph, &mut values).map_err(at)?;
    }
    if named { Ok(graph) } else { Err(ParseError { line: 1, what: "`graph \"name\"` is missing".into() }) }
}

fn header(cursor: &mut Cursor) -> Result<String, LineError> {
    cursor.expect("graph")?;
    let name = cursor.string()?;
    cursor.end()?;
    Ok(name)
}

fn statement(cursor: &mut Cursor, graph: &mut Graph, values: &mut Vec<NodeId>) -> Result<(), LineError> {
    if cursor.accept("output") {
        let name = cursor.string()?;
        cursor.expect("=")?;
        graph.outputs.push((name, cursor.value(values)?));
        return cursor.end();
    }
    if cursor.accept("update") {
        let param = cursor.value(values)?;
        cursor.expect("=")?;
        graph.updates.push((param, cursor.value(values)?));
        return cursor.end();
    }
    cursor.expect("%")?;
    let number = cursor.number()?;
    if number != values.len() {
        return Err(LineError::Syntax(format!("%{number} where %{} follows", values.len())));
    }
    let name = if cursor.rest.starts_with('"') { Some(cursor.string()?) } else { None };
    cursor.expect("=")?;
    let kind = cursor.word()?.to_string();
    cursor.expect("(")?;
    let mut operands = Vec::new();
    cursor.list(")", |cursor| {
        operands.push(cursor.value(values)?);
        Ok(())
    })?;
    let mut attrs = Vec::new();
    if cursor.accept("{") {
        cursor.list("}", |cursor| {
            let name = cursor.word()?.to_string();
            cursor.expect("=")?;
            attrs.push((name, cursor.attr(0)?));
            Ok(())
        })?;
    }
    cursor.expect(":")?;
    let id = graph.add(Operator::parse(&kind, &attrs)?, &operands)?;
    let (written, inferred) = (cursor.rest.trim(), graph.ty(id).to_string());
    if written != inferred {
        return Err(LineError::Syntax(format!("type {written} where {inferred} follows from the operands")));
    }
    if let Some(name) = name {
        graph.set_name(id, name);
    }
    values.push(id);
    Ok(())
}

/// Lists in lists that an attribute may have; a deeper one is an error instead of a full stack.
const DEEPEST: usize = 16;

/// The rest of a line.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn accept(&mut self, token: &str) -> bool {
        // A word must end where the token does.
        let next = self.rest.strip_prefix(token);
        let whole = |rest: &str| !token.ends_with(is_word) || !rest.starts_with(is_word);
        let found = next.is_some_and(whole);
        if found {
            self.skip(token.len());
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), LineError> {
        if self.accept(token) {
            Ok(())
        } else {
            Err(LineError::Syntax(format!("`{token}` expected at `{}`", self.shown())))
        }
    }

    fn end(&self) -> Result<(), LineError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(LineError::Syntax(format!("nothing expected at `{}`", self.shown())))
        }
    }

    /// The beginning of the rest, for messages.
    fn shown(&self) -> String {
        if self.rest.is_empty() { "end of line".into() } else { self.rest.chars().take(24).collect() }
    }

    fn word(&mut self) -> Result<&'a str, LineError> {
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(LineError::Syntax(format!("a word expected at `{}`", self.shown())));
        }
        let word = &self.rest[..end];
        self.skip(end);
        Ok(word)
    }

    fn number(&mut self) -> Result<usize, LineError> {
        let word = self.word()?;
        word.parse().map_err(|_| LineError::Syntax(format!("`{word}` is not the number of a value")))
    }

    fn value(&mut self, values: &[NodeId]) -> Result<NodeId, LineError> {
        self.expect("%")?;
        let number = self.number()?;
        values.get(number).copied().ok_or_else(|| LineError::Syntax(format!("%{number} is not there yet")))
    }

    /// `item, item, …` up to `close`.
    fn list(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Result<(), LineError>) -> Result<(), LineError> {
        if self.accept(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.accept(close) {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    /// A text in quotes with the escapes that Rust's debug form writes.
    fn string(&mut self) -> Result<String, LineError> {
        let inner =
            self.rest.strip_prefix('"').ok_or_else(|| format!("a text in quotes expected at `{}`", self.shown()))?;
        let (mut text, mut chars) = (String::new(), inner.char_indices());
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.skip(i + 2);
                    return Ok(text);
                }
                '\\' => text.push(escape(&mut chars)?),
                _ => text.push(c),
            }
        }
        Err("a text without its closing quote".into())
    }

    fn attr(&mut self, depth: usize) -> Result<Attr, LineError> {
        if depth > DEEPEST {
            return Err("lists are too deep".into());
        }
        let mut items = Vec::new();
        if self.rest.starts_with('"') {
            return Ok(Attr::Text(self.string()?));
        }
        if self.accept("[") {
            self.list("]", |cursor| {
                items.push(cursor.attr(depth + 1)?);
                Ok(())
            })?;
            return Ok(Attr::List(items));
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return self.numeral();
        }
        let word = self.word()?;
        match word {
            "true" => Ok(Attr::Bool(true)),
            "false" => Ok(Attr::Bool(false)),
            "inf" => Ok(Attr::Float(f64::INFINITY)),
            "NaN" => Ok(Attr::Float(f64::NAN)),
            _ => {
                if self.accept("(") {
                    self.list(")", |cursor| {
                        items.push(cursor.attr(depth + 1)?);
                        Ok(())
                    })?;
                }
                Ok(Attr::Call(word.into(), items))
            }
        }
    }

    /// A whole number, or a float: that has a point, an exponent or is `-inf`.
    fn numeral(&mut self) -> Result<Attr, LineError> {
        let end = self.rest.find(|c: char| !(is_word(c) || "+-.".contains(c))).unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        self.skip(end);
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.chars().all(|c| c.is_ascii_digit()) {
            return text
                .parse()
                .map(Attr::Int)
                .map_err(|_| LineError::Syntax(format!("`{text}` is not a whole number that fits")));
        }
        text.parse().map(Attr::Float).map_err(|_| LineError::Syntax(format!("`{text}` is not a number")))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The character that a backslash and what follows it stand for.
fn escape(chars: &mut std::str::CharIndices) -> Result<char, LineError> {
    match chars.next().map(|(_, c)| c) {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some('0') => Ok('\0'),
        Some(c @ ('\\' | '"' | '\'')) => Ok(c),
        Some('u') => {
            let digits: String = chars.map(|(_, c)| c).skip_while(|c| *c == '{').take_while(|c| *c != '}').collect();
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            code.ok_or_else(|| LineError::Syntax(format!("`\\u{{{digits}}}` is not a character")))
        }
        _ => Err("an unknown escape in a text".into()),
    }
}
