//! What names stand for: definitions, uses, and new names for both.

use super::document::Document;
use crate::front::analysis::analyse;
use crate::front::described;
use crate::front::diag::{Severity, Span};
use crate::front::lex::TokenKind;
use crate::front::outline::{ItemKind, Outline, Role, Word};
use crate::front::syntax::KEYWORDS;

/// What a name stands for. Items go by their numbers in the outline.
#[derive(Clone, Debug, PartialEq)]
pub enum Symbol {
    /// A parameter, input, value or named layer of a network or block: one scope for each.
    Variable(usize, String),
    /// An output of the network.
    Output(usize, String),
    /// A block.
    Block(String),
    /// The network itself.
    Network(usize),
}

fn is_network(outline: &Outline, item: usize) -> bool {
    outline.items[item].kind == ItemKind::Network
}

/// The first block of that name, by its number.
pub fn block(document: &Document, name: &str) -> Option<usize> {
    let named = |span: Span| &document.text[span.range()] == name;
    let items = &document.outline().items;
    items.iter().position(|item| item.kind == ItemKind::Block && item.name.is_some_and(named))
}

fn network(outline: &Outline) -> Option<usize> {
    outline.items.iter().position(|item| item.kind == ItemKind::Network)
}

/// Does an item define a variable of that name?
fn defines(document: &Document, item: usize, name: &str, roles: fn(Role) -> bool) -> bool {
    let words = &document.outline().words;
    words.iter().any(|word| word.item == Some(item) && roles(word.role) && word.text(&document.text) == name)
}

/// What a word stands for.
pub fn symbol(document: &Document, word: &Word) -> Option<Symbol> {
    let (outline, text) = (document.outline(), word.text(&document.text));
    let item = word.item?;
    match word.role {
        Role::Parameter | Role::Let | Role::Alias | Role::Input => Some(Symbol::Variable(item, text.into())),
        Role::Output => Some(Symbol::Output(item, text.into())),
        Role::ItemName if is_network(outline, item) => Some(Symbol::Network(item)),
        Role::ItemName => Some(Symbol::Block(text.into())),
        Role::Function => block(document, text).map(|_| Symbol::Block(text.into())),
        Role::Argument => {
            let block = block(document, word.call.as_deref()?)?;
            defines(document, block, text, |role| role == Role::Parameter).then(|| Symbol::Variable(block, text.into()))
        }
        Role::Value => match outline.items[item].kind {
            // Sections know the network's parameters, and nothing else.
            ItemKind::Section(_) => {
                let network = network(outline)?;
                let parameter = defines(document, network, text, |role| role == Role::Parameter);
                parameter.then(|| Symbol::Variable(network, text.into()))
            }
            _ => defines(document, item, text, Role::defines).then(|| Symbol::Variable(item, text.into())),
        },
        Role::Item | Role::Keyword | Role::Key | Role::Stray => None,
    }
}

/// All words that stand for the symbol, in the order of the text.
pub fn occurrences<'d>(document: &'d Document, symbol: &Symbol) -> Vec<&'d Word> {
    let name = name(document, symbol);
    let words = document.outline().words.iter();
    words
        .filter(|word| Some(word.text(&document.text)) == name.as_deref())
        .filter(|word| self::symbol(document, word).as_ref() == Some(symbol))
        .collect()
}

/// The symbol's name.
pub fn name(document: &Document, symbol: &Symbol) -> Option<String> {
    match symbol {
        Symbol::Variable(_, name) | Symbol::Output(_, name) | Symbol::Block(name) => Some(name.clone()),
        Symbol::Network(item) => document.outline().items[*item].name.map(|span| document.text[span.range()].into()),
    }
}

/// Where what a word stands for is defined: a value that is given again, where it was given last before the word.
pub fn definition(document: &Document, word: &Word) -> Option<Span> {
    let symbol = symbol(document, word)?;
    let definition = |word: &&&Word| word.role.defines() || matches!(word.role, Role::ItemName | Role::Output);
    let all = occurrences(document, &symbol);
    let before = all.iter().rev().filter(definition).find(|found| found.span.start <= word.span.start);
    before.or_else(|| all.iter().find(definition)).map(|found| found.span)
}

/// The places that a new name changes, or one sentence that says why there can be none.
pub fn rename(document: &Document, word: &Word, new: &str) -> Result<Vec<Span>, String> {
    let symbol = symbol(document, word).ok_or_else(|| "this is not a name that the file gives".to_string())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !new.chars().all(plain) || !new.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return Err("names consist of the letters a to z and A to Z, digits and `_`".into());
    }
    if KEYWORDS.contains(&new) {
        return Err(format!("`{new}` is a word of the language"));
    }
    if name(document, &symbol).as_deref() == Some(new) {
        return Ok(vec![]);
    }
    if let Some(taken) = taken(document, &symbol, new) {
        return Err(taken);
    }
    let mut spans: Vec<Span> = occurrences(document, &symbol).iter().map(|word| word.span).collect();
    spans.extend(patterns(document, &symbol));
    spans.sort_by_key(|span| span.start);
    breaks(document, &spans, new).map_or(Ok(spans), Err)
}

/// Says where the new name is in use already, if it is.
fn taken(document: &Document, symbol: &Symbol, new: &str) -> Option<String> {
    let outline = document.outline();
    let same = |word: &&Word| word.text(&document.text) == new;
    let clash = || Some(format!("the name `{new}` is in use"));
    match symbol {
        Symbol::Variable(item, _) | Symbol::Output(item, _) => {
            // A bare word of an argument would become the variable.
            let here = |word: &&Word| {
                let section = word.item.is_some_and(|i| matches!(outline.items[i].kind, ItemKind::Section(_)));
                word.item == Some(*item) || is_network(outline, *item) && section
            };
            let name = |word: &&Word| word.role == Role::Value || word.role.defines() || word.role == Role::Output;
            outline.words.iter().filter(same).filter(here).find(name).and_then(|_| clash())
        }
        Symbol::Block(_) if described::layers().iter().any(|layer| layer.name == new) => {
            Some(format!("`{new}` is a layer of the language"))
        }
        Symbol::Block(_) => {
            let name = |word: &&Word| matches!(word.role, Role::Function | Role::ItemName);
            outline.words.iter().filter(same).find(name).and_then(|_| clash())
        }
        Symbol::Network(_) => None,
    }
}

/// Names of layers in the patterns of `groups`: the part before the first point of strings in a call of `group`.
fn patterns(document: &Document, symbol: &Symbol) -> Vec<Span> {
    let outline = document.outline();
    let Symbol::Variable(item, name) = symbol else { return vec![] };
    if !is_network(outline, *item) || !defines(document, *item, name, |role| role == Role::Alias) {
        return vec![];
    }
    let groups: Vec<&Word> = outline
        .words
        .iter()
        .filter(|word| word.role == Role::Function && word.text(&document.text) == "group")
        .filter(|word| word.item.is_some_and(|i| matches!(outline.items[i].kind, ItemKind::Section(_))))
        .collect();
    let mut found = vec![];
    for group in groups {
        let rest = outline.tokens.partition_point(|token| token.span.start < group.span.end);
        let inside = outline.tokens[rest..].iter().take_while(|token| token.text(&document.text) != ")");
        for token in inside.filter(|token| token.kind == TokenKind::Text) {
            let start = token.span.start + 1;
            let pattern = token.text(&document.text).trim_matches('"');
            let first = pattern.split('.').next().unwrap_or("");
            if first == name {
                found.push(Span::new(start, start + first.len()));
            }
        }
    }
    found
}

/// Says what would be wrong with the text after the change that is right with it now.
fn breaks(document: &Document, spans: &[Span], new: &str) -> Option<String> {
    let mut text = document.text.clone();
    for span in spans.iter().rev() {
        text.replace_range(span.range(), new);
    }
    let errors = |diagnostics: &[crate::front::diag::Diagnostic]| {
        diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    };
    let before = errors(&document.analysis().diagnostics);
    let after = analyse(&text, document.name());
    let more = errors(&after.diagnostics) > before;
    let first = after.diagnostics.iter().find(|d| d.severity == Severity::Error).filter(|_| more)?;
    Some(format!("the file would be wrong then: {}", first.message))
}
