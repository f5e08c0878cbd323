//! What each word of a text is by its place among the tokens, whether or not the text is right: for completion, names
//! and symbols while somebody types.

mod walk;

use super::ast::SectionKind;
use super::diag::Span;
use super::lex::{self, Token, TokenKind};
use walk::Walker;

/// Kinds of top-level items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// `network … { … }`
    Network,
    /// `block … { … }`
    Block,
    /// `data { … }` or `train { … }`
    Section(SectionKind),
}

/// A top-level item.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its first word.
    pub word: Span,
    /// Its name, if it has one.
    pub name: Option<Span>,
    /// From its word to its closing brace, or to where the next item begins.
    pub span: Span,
}

/// What can stand at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Expects {
    /// A top-level item.
    Item,
    /// A new name.
    Name,
    /// A key of a section.
    Key(SectionKind),
    /// A setting, in `defaults`.
    Setting,
    /// The value of a key, or an item of its list.
    KeyValue(SectionKind, String),
    /// The value of a setting, in `defaults`.
    SettingValue(String),
    /// A statement of a network or block.
    Statement,
    /// A step of a pipeline.
    Step,
    /// An argument of a call, with or without its name.
    Argument(String),
    /// The value of an argument: the function and the parameter.
    ArgumentValue(String, String),
    /// A value or a constant.
    Value,
    /// A sign, or nothing that could be proposed.
    Nothing,
}

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first word of an item.
    Item,
    /// Another word of the language.
    Keyword,
    /// The name of a network or block.
    ItemName,
    /// A parameter of a network or block, where it is declared.
    Parameter,
    /// The name behind `let`.
    Let,
    /// The name behind `as`.
    Alias,
    /// The name behind `input`.
    Input,
    /// The name behind `output`.
    Output,
    /// What is called.
    Function,
    /// The name of an argument.
    Argument,
    /// A key of a section, or a setting in `defaults`.
    Key,
    /// A name that stands for something, or a word.
    Value,
    /// A word where none can stand.
    Stray,
}

impl Role {
    /// Does it give a variable its name?
    pub fn defines(self) -> bool {
        matches!(self, Role::Parameter | Role::Let | Role::Alias | Role::Input)
    }
}

/// A word of the text.
#[derive(Clone, Debug)]
pub struct Word {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub role: Role,
    /// What its place expected.
    pub expects: Expects,
    /// The item around it, by its number.
    pub item: Option<usize>,
    /// The call around it: the innermost function's word, by its number.
    pub caller: Option<usize>,
}

impl Word {
    /// Its letters.
    pub fn text<'t>(&self, source: &'t str) -> &'t str {
        &source[self.span.range()]
    }
}

/// The words, items and brackets of a text.
#[derive(Debug, Default)]
pub struct Outline {
    /// All words in order.
    pub words: Vec<Word>,
    /// The top-level items in order.
    pub items: Vec<Item>,
    /// Brackets that match: the opening and the closing one.
    pub brackets: Vec<(Span, Span)>,
    /// All tokens in order, comments included.
    pub tokens: Vec<Token>,
}

/// What stands before a place where somebody types.
#[derive(Debug)]
pub struct Before {
    /// What can stand there.
    pub expects: Expects,
    /// The item around it, by its number.
    pub item: Option<usize>,
    /// The function of the innermost call around it.
    pub caller: Option<Word>,
    /// Arguments that the call has already by name, or keys of the section.
    pub given: Vec<String>,
    /// The part of a word before the place.
    pub word: Span,
}

/// Reads a text.
pub fn outline(text: &str) -> Outline {
    let tokens = lex::tokens(text);
    let mut walker = Walker::new(text, code(&tokens));
    walker.run(usize::MAX);
    Outline { tokens, ..walker.out }
}

/// Says what can stand at an offset; nothing within comments, strings and numbers.
pub fn before(text: &str, offset: usize) -> Option<Before> {
    let tokens = lex::tokens(text);
    let around = tokens.iter().find(|t| t.span.start < offset && offset <= t.span.end);
    let word = match around {
        Some(t) if t.kind == TokenKind::Word => Span::new(t.span.start, offset),
        Some(t) if t.kind == TokenKind::Sign => Span::new(offset, offset),
        Some(t) if t.kind == TokenKind::Text && offset == t.span.end => Span::new(offset, offset),
        Some(_) => return None,
        None => Span::new(offset, offset),
    };
    let code = code(&tokens);
    let count = code.partition_point(|t| t.span.end <= word.start);
    let mut walker = Walker::new(text, code);
    walker.run(count);
    Some(walker.place(word))
}

fn code(tokens: &[Token]) -> Vec<Token> {
    tokens.iter().filter(|t| t.kind != TokenKind::Comment).copied().collect()
}
