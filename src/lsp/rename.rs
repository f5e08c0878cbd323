//! New names for what the file names: only where nothing but names changes.

use super::document::Document;
use super::names::{Symbol, calls_layers, defines, in_section, is_network, name, occurrences, symbol};
use crate::front::described;
use crate::front::diag::{Severity, Span};
use crate::front::lex::TokenKind;
use crate::front::outline::{Role, Word};
use crate::front::syntax::KEYWORDS;
use crate::ops::Operator;
use ninc_runtime::pattern::fits_parameter;

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
    let mut text = document.text.clone();
    for span in spans.iter().rev() {
        text.replace_range(span.range(), new);
    }
    let after = document.with(text);
    let names = [name(document, &symbol).unwrap_or_default(), new.to_string()];
    // What says more comes first.
    let refused = regroups(document, &after, &symbol).or_else(|| breaks(document, &after));
    let refused = refused.or_else(|| renumbers(document, &after, &names));
    refused.map_or(Ok(spans), Err)
}

/// Says where the new name is in use already, if it is.
fn taken(document: &Document, symbol: &Symbol, new: &str) -> Option<String> {
    let outline = document.outline();
    let same = |word: &&Word| word.text(&document.text) == new;
    let clash = || Some(format!("the name `{new}` is in use"));
    match symbol {
        Symbol::Variable(item, _) | Symbol::Output(item, _) => {
            // A bare word of an argument would become the variable.
            let here =
                |word: &&Word| word.item == Some(*item) || is_network(outline, *item) && in_section(outline, word);
            let name = |word: &&Word| word.role == Role::Value || word.role.defines() || word.role == Role::Output;
            outline.words.iter().filter(same).filter(here).find(name).and_then(|_| clash())
        }
        Symbol::Block(_) if described::layers().iter().any(|layer| layer.name == new) => {
            Some(format!("`{new}` is a layer of the language"))
        }
        Symbol::Block(_) => {
            let name = |word: &&Word| match word.role {
                Role::Function => calls_layers(document, word),
                role => role == Role::ItemName,
            };
            outline.words.iter().filter(same).find(name).and_then(|_| clash())
        }
        Symbol::Network(_) => None,
    }
}

/// The patterns of `groups`, without their quotes.
fn groups(document: &Document) -> Vec<Span> {
    let outline = document.outline();
    let calls = outline.words.iter().filter(|word| word.role == Role::Function && in_section(outline, word));
    let mut found = vec![];
    for group in calls.filter(|word| word.text(&document.text) == "group") {
        let rest = outline.tokens.partition_point(|token| token.span.start < group.span.end);
        let inside = outline.tokens[rest..].iter().take_while(|token| token.text(&document.text) != ")");
        let texts = inside.filter(|token| token.kind == TokenKind::Text);
        found.extend(texts.map(|token| Span::new(token.span.start + 1, token.span.end - 1)));
    }
    found
}

/// Names of layers in the patterns of `groups`: what stands before the first point.
fn patterns(document: &Document, symbol: &Symbol) -> Vec<Span> {
    let Symbol::Variable(item, name) = symbol else { return vec![] };
    if !is_network(document.outline(), *item) || !defines(document, *item, name, |role| role == Role::Alias) {
        return vec![];
    }
    let first = |pattern: Span| {
        let text = &document.text[pattern.range()];
        Span::new(pattern.start, pattern.start + text.find('.').unwrap_or(text.len()))
    };
    groups(document).into_iter().map(first).filter(|span| document.text[span.range()] == **name).collect()
}

/// Says what would be wrong with the text after the change that is right with it now.
fn breaks(document: &Document, after: &Document) -> Option<String> {
    let errors = |document: &Document| -> Vec<String> {
        let all = document.analysis().diagnostics.iter().filter(|d| d.severity == Severity::Error);
        all.map(|d| d.message.clone()).collect()
    };
    let (before, after) = (errors(document), errors(after));
    let first = after.iter().find(|message| !before.contains(message)).filter(|_| after.len() > before.len())?;
    Some(format!("the file would be wrong then: {first}"))
}

/// Says which layer without a name of its own would get another number: its weights go by its name.
fn renumbers(document: &Document, after: &Document, names: &[String; 2]) -> Option<String> {
    let (layers, renamed) = (&document.analysis().layers, &after.analysis().layers);
    if layers.len() != renamed.len() {
        return Some("the network would be another then".into());
    }
    let number = |part: &str, name: &str| {
        let rest = part.strip_prefix(name)?;
        rest.bytes().all(|b| b.is_ascii_digit()).then(|| rest.to_string())
    };
    // The new name in place of the old one, with the number that a repeat or a block adds.
    let follows = |(old, new): (&str, &str)| {
        old == new || number(old, &names[0]).is_some_and(|n| number(new, &names[1]) == Some(n))
    };
    let same = |old: &str, new: &str| {
        old.split('.').count() == new.split('.').count() && old.split('.').zip(new.split('.')).all(follows)
    };
    let mut pairs = layers.iter().zip(renamed).map(|(old, new)| (&old.name, &new.name));
    let (old, new) = pairs.find(|(old, new)| !same(old, new))?;
    Some(format!("the layer `{old}` would be `{new}` then, and its weights too: give it a name with `as` first"))
}

/// Says which group of `groups` would be of other parameters.
fn regroups(document: &Document, after: &Document, symbol: &Symbol) -> Option<String> {
    let texts = |document: &Document| -> Vec<String> {
        groups(document).into_iter().map(|span| document.text[span.range()].to_string()).collect()
    };
    let patterns = [document, after].map(texts);
    // Of blocks and of layers, by whose names parameters go.
    let names_layers = match symbol {
        Symbol::Variable(item, name) => defines(document, *item, name, |role| role == Role::Alias),
        Symbol::Block(_) => true,
        _ => false,
    };
    if !patterns[0].is_empty() && names_layers && !document.analysis().complete {
        return Some("the file has errors, so nobody knows what its `groups` would be of then: mend it first".into());
    }
    let parameters = |document: &Document| -> Vec<String> {
        let graph = &document.analysis().graph;
        let name = |id| match graph.op(id) {
            Operator::Param(param) if param.trainable => Some(param.name.clone()),
            _ => None,
        };
        graph.ids().into_iter().filter_map(name).collect()
    };
    let parameters = [document, after].map(parameters);
    if parameters[0].len() != parameters[1].len() {
        return None;
    }
    for (old, new) in patterns[0].iter().zip(&patterns[1]) {
        for (was, is) in parameters[0].iter().zip(&parameters[1]) {
            match (fits_parameter(old, was), fits_parameter(new, is)) {
                (true, false) => {
                    return Some(format!("the group `{new}` would leave out `{is}` then: change its pattern first"));
                }
                (false, true) => {
                    return Some(format!("the group `{new}` would take in `{is}` then: change its pattern first"));
                }
                _ => {}
            }
        }
    }
    None
}
