//! The walk over the tokens, with a stack of the brackets that are open.

use super::{Before, Expects, Item, ItemKind, Outline, Role, Word};
use crate::front::ast::SectionKind;
use crate::front::diag::Span;
use crate::front::lex::{Token, TokenKind};
use crate::front::split::ITEM_WORDS;
use crate::front::syntax::KEYWORDS;

/// What a bracket encloses.
#[derive(Clone, Debug, PartialEq)]
enum Frame {
    /// Parameters of an item.
    Parameters,
    /// Statements.
    Body,
    /// Entries of a section.
    Section(SectionKind),
    /// Entries of `defaults`.
    Defaults,
    /// Steps of a repeat within a pipeline.
    Steps,
    /// Arguments of a call.
    Call(String),
    /// An expression in parentheses.
    Group,
    /// A list, and what its items are.
    List(Expects),
}

struct Open {
    frame: Frame,
    span: Span,
    /// The number of the word that is called.
    caller: Option<usize>,
    /// Names of arguments or keys so far.
    given: Vec<String>,
    /// The key or argument whose value is being read.
    key: Option<String>,
}

pub(super) struct Walker<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    stack: Vec<Open>,
    /// A word `repeat` or `defaults` whose brace is to come, and whether the repeat is a step.
    pending: Option<Frame>,
    pub(super) out: Outline,
    /// The number of the item that is being read.
    item: Option<usize>,
}

impl<'t> Walker<'t> {
    pub(super) fn new(text: &'t str, tokens: Vec<Token>) -> Walker<'t> {
        Walker { text, tokens, at: 0, stack: vec![], pending: None, out: Outline::default(), item: None }
    }

    fn word(&self, i: usize) -> &'t str {
        self.tokens.get(i).map_or("", |t| t.text(self.text))
    }

    /// The token before the current one.
    fn previous(&self) -> &'t str {
        if self.at == 0 { "" } else { self.word(self.at - 1) }
    }

    fn frame(&self) -> Option<&Frame> {
        self.stack.last().map(|open| &open.frame)
    }

    /// Reads tokens up to the number `end`.
    pub(super) fn run(&mut self, end: usize) {
        while self.at < self.tokens.len().min(end) {
            if self.starts_item() {
                self.stack.clear();
                self.item = None;
            }
            let token = self.tokens[self.at];
            match token.kind {
                TokenKind::Word => self.take_word(token),
                TokenKind::Sign => self.take_sign(token),
                _ => {}
            }
            if let Some(item) = self.item {
                let span = &mut self.out.items[item].span;
                *span = Span::new(span.start, token.span.end);
            }
            if self.stack.is_empty() && self.word(self.at) == "}" {
                self.item = None;
            }
            self.at += 1;
        }
    }

    /// Says what can stand where the walk has come to.
    pub(super) fn place(&self, word: Span) -> Before {
        let given = self.stack.last().map_or(vec![], |open| open.given.clone());
        let caller = self.caller().map(|caller| self.out.words[caller].clone());
        Before { expects: self.expects(), item: self.item, caller, given, word }
    }

    /// The word that the innermost open call is of, by its number.
    fn caller(&self) -> Option<usize> {
        self.stack.iter().rev().find_map(|open| open.caller)
    }

    /// Does the token begin an item at the start of a line, even if brackets are still open?
    fn starts_item(&self) -> bool {
        let start = self.tokens[self.at].span.start;
        let first = start == 0 || matches!(self.text.as_bytes()[start - 1], b'\n' | b'\r');
        let next = self.tokens.get(self.at + 1).map(|t| t.kind);
        first
            && match self.word(self.at) {
                "network" | "block" => next == Some(TokenKind::Word),
                "data" | "train" => self.word(self.at + 1) == "{",
                _ => false,
            }
    }

    fn expects(&self) -> Expects {
        let previous = self.previous();
        let operator = matches!(previous, "+" | "-" | "*" | "/" | "%");
        let Some(open) = self.stack.last() else {
            return match previous {
                "network" | "block" => Expects::Name,
                "data" | "train" | "nin" => Expects::Nothing,
                _ if self.item.is_some() => Expects::Nothing,
                _ => Expects::Item,
            };
        };
        match (&open.frame, previous) {
            (_, "as") => Expects::Name,
            (Frame::Parameters, "(" | ",") => Expects::Name,
            (Frame::Parameters, "=") => Expects::Value,
            (Frame::Section(kind), "=") => self.value_of_key(*kind, open),
            (Frame::Section(_) | Frame::Defaults, _) if operator => Expects::Value,
            (Frame::Section(kind), _) => Expects::Key(*kind),
            (Frame::Defaults, "=") => Expects::SettingValue(open.key.clone().unwrap_or_default()),
            (Frame::Defaults, _) => Expects::Setting,
            (Frame::Steps, "{" | "|>") => Expects::Step,
            (_, "|>") => Expects::Step,
            (Frame::Steps, _) => Expects::Nothing,
            (Frame::Body, "let" | "input" | "output") => Expects::Name,
            (Frame::Body, "return" | "repeat" | "=") => Expects::Value,
            (Frame::Body, ":" | "defaults") => Expects::Nothing,
            (_, _) if operator => Expects::Value,
            (Frame::Body, _) => Expects::Statement,
            (Frame::Call(function), "(" | ",") => Expects::Argument(function.clone()),
            (Frame::Call(function), "=") => {
                Expects::ArgumentValue(function.clone(), open.key.clone().unwrap_or_default())
            }
            (Frame::List(expects), "[" | ",") => expects.clone(),
            (Frame::Group, "(") => Expects::Value,
            _ => Expects::Nothing,
        }
    }

    fn value_of_key(&self, kind: SectionKind, open: &Open) -> Expects {
        Expects::KeyValue(kind, open.key.clone().unwrap_or_default())
    }

    fn take_word(&mut self, token: Token) {
        let expects = self.expects();
        let text = token.text(self.text);
        let next = self.word(self.at + 1);
        let assigned = next == "=" && self.word(self.at + 2) != "=";
        let called = next == "(" && self.tokens.get(self.at + 1).is_some_and(|t| t.newlines == 0);
        let value = if called { Role::Function } else { Role::Value };
        let role = match &expects {
            Expects::Item if ITEM_WORDS.contains(&text) || text == "nin" => Role::Item,
            Expects::Item => Role::Stray,
            _ if KEYWORDS.contains(&text) => Role::Keyword,
            Expects::Name => self.name_role(),
            Expects::Key(_) | Expects::Setting => Role::Key,
            Expects::Argument(_) if assigned => Role::Argument,
            Expects::Step => Role::Function,
            Expects::Nothing => Role::Stray,
            _ => value,
        };
        match role {
            Role::Item if text != "nin" => self.begin(token, text),
            Role::ItemName => {
                if let Some(item) = self.item {
                    self.out.items[item].name = Some(token.span);
                }
            }
            Role::Key | Role::Argument => {
                if let Some(open) = self.stack.last_mut() {
                    open.given.push(text.into());
                    open.key = Some(text.into());
                }
            }
            Role::Keyword if text == "repeat" => {
                self.pending = Some(if expects == Expects::Step { Frame::Steps } else { Frame::Body });
            }
            Role::Keyword if text == "defaults" => self.pending = Some(Frame::Defaults),
            _ => {}
        }
        self.out.words.push(Word { span: token.span, role, expects, item: self.item, caller: self.caller() });
    }

    fn name_role(&self) -> Role {
        match self.previous() {
            "let" => Role::Let,
            "as" => Role::Alias,
            "input" => Role::Input,
            "output" => Role::Output,
            "network" | "block" => Role::ItemName,
            _ => Role::Parameter,
        }
    }

    fn begin(&mut self, token: Token, text: &str) {
        let kind = match text {
            "network" => ItemKind::Network,
            "block" => ItemKind::Block,
            "data" => ItemKind::Section(SectionKind::Data),
            _ => ItemKind::Section(SectionKind::Train),
        };
        self.item = Some(self.out.items.len());
        self.out.items.push(Item { kind, word: token.span, name: None, span: token.span });
    }

    fn take_sign(&mut self, token: Token) {
        match token.text(self.text) {
            "(" | "[" | "{" => {
                let frame = self.opened(token);
                // A call's function is the last word.
                let caller = matches!(frame, Frame::Call(_)).then(|| self.out.words.len().checked_sub(1)).flatten();
                self.stack.push(Open { frame, span: token.span, caller, given: vec![], key: None });
            }
            sign @ (")" | "]" | "}") => {
                let own = self.stack.iter().rposition(|open| closer(&self.text[open.span.range()]) == sign);
                if let Some(own) = own {
                    let open = &self.stack[own];
                    self.out.brackets.push((open.span, token.span));
                    self.stack.truncate(own);
                }
            }
            "," => {
                if let Some(open) = self.stack.last_mut() {
                    open.key = None;
                }
            }
            _ => {}
        }
    }

    /// What the bracket encloses.
    fn opened(&mut self, token: Token) -> Frame {
        let previous = self.at.checked_sub(1).map(|i| self.tokens[i]);
        match token.text(self.text) {
            "(" => {
                let word = previous.filter(|t| t.kind == TokenKind::Word && token.newlines == 0);
                match word.map(|t| t.text(self.text)) {
                    Some(_) if self.stack.is_empty() => Frame::Parameters,
                    Some(word) if !KEYWORDS.contains(&word) => Frame::Call(word.into()),
                    None if self.stack.is_empty() => Frame::Parameters,
                    _ => Frame::Group,
                }
            }
            "[" => Frame::List(match self.expects() {
                expects @ (Expects::KeyValue(..) | Expects::ArgumentValue(..) | Expects::SettingValue(_)) => expects,
                _ => Expects::Value,
            }),
            _ => match (self.pending.take(), self.frame()) {
                (Some(frame), Some(_)) => frame,
                _ if self.stack.is_empty() => match self.item.map(|item| self.out.items[item].kind) {
                    Some(ItemKind::Section(kind)) => Frame::Section(kind),
                    _ => Frame::Body,
                },
                _ => Frame::Body,
            },
        }
    }
}

fn closer(open: &str) -> &'static str {
    match open {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}
