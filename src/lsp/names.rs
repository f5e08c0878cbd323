//! What names stand for: definitions and uses.

use super::document::Document;
use crate::front::described::{self, Key};
use crate::front::diag::Span;
use crate::front::outline::{Expects, ItemKind, Outline, Role, Word};

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

pub(super) fn is_network(outline: &Outline, item: usize) -> bool {
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

/// Does a word stand in a `data` or `train` section?
pub(super) fn in_section(outline: &Outline, word: &Word) -> bool {
    word.item.is_some_and(|item| matches!(outline.items[item].kind, ItemKind::Section(_)))
}

/// Does an item define a variable of that name?
pub(super) fn defines(document: &Document, item: usize, name: &str, roles: fn(Role) -> bool) -> bool {
    let words = &document.outline().words;
    words.iter().any(|word| word.item == Some(item) && roles(word.role) && word.text(&document.text) == name)
}

/// Is a word the value of `init` or of a key that takes functions? It has a name of the language then, whatever else
/// has the same.
fn of_the_language(document: &Document, word: &Word) -> bool {
    match &word.expects {
        Expects::SettingValue(setting) => setting == "init",
        // A block may have a parameter of that name.
        Expects::ArgumentValue(function, name) => name == "init" && block(document, function).is_none(),
        Expects::KeyValue(section, key) => {
            let functions = |key: &Key| !key.functions().is_empty();
            described::keys(*section).iter().find(|known| known.name == *key).is_some_and(functions)
        }
        _ => false,
    }
}

/// Does a word that is called mean a layer or a block?
pub(super) fn calls_layers(document: &Document, word: &Word) -> bool {
    !in_section(document.outline(), word) && !of_the_language(document, word)
}

/// The block that is called around a word, by its number.
pub fn block_around(document: &Document, word: &Word) -> Option<usize> {
    called_block(document, document.outline().words.get(word.caller?)?)
}

/// The block that a word calls, by its number.
pub fn called_block(document: &Document, word: &Word) -> Option<usize> {
    let calls = word.role == Role::Function && calls_layers(document, word);
    block(document, word.text(&document.text)).filter(|_| calls)
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
        Role::Function => called_block(document, word).map(|_| Symbol::Block(text.into())),
        Role::Argument => {
            let block = block_around(document, word)?;
            defines(document, block, text, |role| role == Role::Parameter).then(|| Symbol::Variable(block, text.into()))
        }
        Role::Value if of_the_language(document, word) => None,
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

/// Does the word define what it stands for?
pub fn defining(word: &Word) -> bool {
    word.role.defines() || matches!(word.role, Role::ItemName | Role::Output)
}

/// Where what a word stands for is defined: a value that is given again, where it was given last before the word.
pub fn definition(document: &Document, word: &Word) -> Option<Span> {
    let symbol = symbol(document, word)?;
    let definition = |word: &&&Word| defining(word);
    let all = occurrences(document, &symbol);
    let before = all.iter().rev().filter(definition).find(|found| found.span.start <= word.span.start);
    before.or_else(|| all.iter().find(definition)).map(|found| found.span)
}
