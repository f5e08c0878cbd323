//! Proposals for the place where somebody types, with their documentation.

use super::document::Document;
use super::hover::{about_key, about_param, candidates, documentation};
use super::names;
use super::server::Client;
use crate::front::described::{self, Described, Key, Takes};
use crate::front::diag::Span;
use crate::front::outline::{Before, Expects, ItemKind, Role, before};
use crate::front::split::ITEM_WORDS;
use crate::ops::params::{Fallback, Kind, ParamSpec};
use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionTextEdit, Documentation, InsertTextFormat, MarkupContent, MarkupKind,
    Range, TextEdit,
};

/// A proposal before it is put into the protocol's form.
struct Proposal {
    label: String,
    kind: CompletionItemKind,
    detail: Option<String>,
    documentation: Option<String>,
    /// What is put in, with `$1` for places to fill in; the label if it is not said.
    snippet: Option<String>,
}

fn plain(label: &str, kind: CompletionItemKind) -> Proposal {
    Proposal { label: label.into(), kind, detail: None, documentation: None, snippet: None }
}

/// The proposals for an offset.
pub fn complete(document: &Document, offset: usize, client: Client) -> Vec<CompletionItem> {
    let Some(before) = before(&document.text, offset) else { return vec![] };
    let place = document.range(Span::new(before.word.start, offset));
    let proposals = Place { document, before, offset }.proposals();
    proposals.into_iter().enumerate().map(|(i, p)| item(p, i, place, client)).collect()
}

fn item(p: Proposal, number: usize, place: Range, client: Client) -> CompletionItem {
    let snippet = p.snippet.filter(|_| client.snippets);
    let format = snippet.is_some().then_some(InsertTextFormat::SNIPPET);
    let text = snippet.unwrap_or_else(|| p.label.trim_end_matches(" =").to_string());
    let value = |value| Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value });
    CompletionItem {
        label: p.label,
        kind: Some(p.kind),
        detail: p.detail,
        documentation: p.documentation.map(value),
        sort_text: Some(format!("{number:04}")),
        insert_text_format: format,
        text_edit: Some(CompletionTextEdit::Edit(TextEdit::new(place, text))),
        ..CompletionItem::default()
    }
}

fn keyword(label: &str, snippet: &str) -> Proposal {
    Proposal { snippet: Some(snippet.into()), ..plain(label, CompletionItemKind::KEYWORD) }
}

/// A call: with what must be given, each a place to fill in.
fn function(f: &Described) -> Proposal {
    let required: Vec<&ParamSpec> = f.params.iter().filter(|p| p.default == Fallback::Required).collect();
    let filled = |(i, p): (usize, &&ParamSpec)| format!("{} = ${}", p.name, i + 1);
    let arguments: Vec<String> = required.iter().enumerate().map(filled).collect();
    let snippet = (!arguments.is_empty()).then(|| format!("{}({})$0", f.name, arguments.join(", ")));
    Proposal {
        label: f.name.into(),
        kind: CompletionItemKind::FUNCTION,
        detail: Some(f.signature()),
        documentation: Some(documentation(f)),
        snippet,
    }
}

/// A name with `=` behind it.
fn assigned(name: &str, kind: CompletionItemKind, documentation: String) -> Proposal {
    let (label, snippet) = (format!("{name} ="), Some(format!("{name} = $0")));
    Proposal { label, kind, detail: None, documentation: Some(documentation), snippet }
}

fn words(kind: &Kind) -> Vec<Proposal> {
    match kind {
        Kind::Word(words) => words.iter().map(|word| plain(word, CompletionItemKind::ENUM_MEMBER)).collect(),
        Kind::Bool => ["true", "false"].map(|word| plain(word, CompletionItemKind::KEYWORD)).into(),
        _ => vec![],
    }
}

/// What the value of a key or setting may be.
fn values(key: &Key) -> Vec<Proposal> {
    match key.takes {
        Takes::Constant(forms) => forms.iter().flat_map(|form| words(&form.kind)).collect(),
        Takes::Function(functions) | Takes::Functions(functions) => functions().iter().map(function).collect(),
    }
}

struct Place<'d> {
    document: &'d Document,
    before: Before,
    offset: usize,
}

impl Place<'_> {
    fn kind(&self) -> Option<ItemKind> {
        self.before.item.and_then(|item| self.document.outline().items.get(item)).map(|item| item.kind)
    }

    fn proposals(&self) -> Vec<Proposal> {
        match &self.before.expects {
            Expects::Item => self.items(),
            Expects::Name | Expects::Nothing => vec![],
            Expects::Key(section) => self.keys(described::keys(*section)),
            Expects::Setting => self.keys(&described::settings()),
            Expects::KeyValue(section, key) => {
                let key = described::keys(*section).iter().find(|k| k.name == *key);
                key.map_or(vec![], values).into_iter().chain(self.variables()).collect()
            }
            Expects::SettingValue(key) => self.setting(key).into_iter().chain(self.variables()).collect(),
            Expects::Statement => self.statement(),
            Expects::Step => {
                let repeat = keyword("repeat", "repeat ${1:2} { $0 }");
                self.functions().into_iter().chain([repeat]).collect()
            }
            Expects::Argument(function) => self.arguments(function),
            Expects::ArgumentValue(function, param) => self.argument_value(function, param),
            Expects::Value => self.variables().into_iter().chain(self.value_functions()).collect(),
        }
    }

    /// The words that begin items; the version comes before all of them.
    fn items(&self) -> Vec<Proposal> {
        let words = &self.document.outline().words;
        let first = words.first().is_none_or(|word| self.before.word.start <= word.span.start);
        let version = first.then(|| keyword("nin", "nin ${1:1}"));
        let items = ITEM_WORDS.map(|word| plain(word, CompletionItemKind::KEYWORD));
        items.into_iter().chain(version).collect()
    }

    fn setting(&self, name: &str) -> Vec<Proposal> {
        described::settings().iter().find(|key| key.name == name).map_or(vec![], values)
    }

    /// Keys that the section does not have yet.
    fn keys(&self, keys: &[Key]) -> Vec<Proposal> {
        let new = |key: &&Key| !self.before.given.iter().any(|given| given == key.name);
        keys.iter().filter(new).map(|key| assigned(key.name, CompletionItemKind::PROPERTY, about_key(key))).collect()
    }

    fn statement(&self) -> Vec<Proposal> {
        let network = self.kind() == Some(ItemKind::Network);
        let mut all = vec![keyword("let", "let ${1:name} = $0")];
        match network {
            true => {
                all.push(keyword("input", "input ${1:image}: [${2:3, 32, 32}]"));
                all.push(keyword("output", "output ${1:name} = $0"));
            }
            false => all.push(keyword("return", "return $0")),
        }
        all.push(keyword("repeat", "repeat ${1:2} {\n\t$0\n}"));
        all.push(keyword("defaults", "defaults { $0 }"));
        // Behind a value or a step, which may get a name.
        if !self.document.text[..self.before.word.start].trim_end().ends_with(['{', '}']) {
            all.push(keyword("as", "as ${1:name}"));
        }
        self.variables().into_iter().chain(all).chain(self.value_functions()).collect()
    }

    /// Layers, and the blocks of the file.
    fn functions(&self) -> Vec<Proposal> {
        let document = self.document;
        let blocks = document.outline().items.iter().filter(|item| item.kind == ItemKind::Block);
        let block = |name: Span| Proposal {
            detail: Some("block".into()),
            ..plain(&document.text[name.range()], CompletionItemKind::CLASS)
        };
        let blocks = blocks.filter_map(|item| item.name).map(block);
        blocks.chain(described::layers().iter().map(function)).collect()
    }

    /// Functions that can begin an expression: those of several values.
    fn value_functions(&self) -> Vec<Proposal> {
        match self.kind() {
            Some(ItemKind::Section(_)) => vec![],
            _ => described::layers()
                .iter()
                .filter(|f| f.operands.is_some_and(|((least, _), _)| least > 1))
                .map(function)
                .collect(),
        }
    }

    /// Names with values that the place can use, the nearest first.
    fn variables(&self) -> Vec<Proposal> {
        let (outline, text) = (self.document.outline(), &self.document.text);
        let section = matches!(self.kind(), Some(ItemKind::Section(_)));
        let visible = |role: Role| if section { role == Role::Parameter } else { role.defines() };
        let item = match section {
            true => outline.items.iter().position(|item| item.kind == ItemKind::Network),
            false => self.before.item,
        };
        let mut names: Vec<&str> = vec![];
        let words =
            outline.words.iter().rev().filter(|word| word.item.is_some() && word.item == item && visible(word.role));
        for word in words.filter(|word| section || word.span.end < self.offset) {
            if !names.contains(&word.text(text)) {
                names.push(word.text(text));
            }
        }
        names.into_iter().map(|name| plain(name, CompletionItemKind::VARIABLE)).collect()
    }

    /// The block whose argument stands here, by its number.
    fn block(&self) -> Option<usize> {
        names::called_block(self.document, self.before.caller.as_ref()?)
    }

    /// The functions of the language whose argument may stand here.
    fn called(&self, function: &str) -> Vec<Described> {
        if self.block().is_some() { vec![] } else { candidates(self.kind(), function) }
    }

    fn arguments(&self, function: &str) -> Vec<Proposal> {
        let new = |name: &str| !self.before.given.iter().any(|given| given == name);
        let (functions, block) = (self.called(function), self.block());
        let mut all: Vec<Proposal> = vec![];
        if let Some(f) = functions.first() {
            let params = f.params.iter().filter(|p| new(p.name));
            all.extend(params.map(|p| assigned(p.name, CompletionItemKind::FIELD, about_param(p))));
            // The only word that stands without a name.
            all.extend(f.params.iter().filter(|p| p.positional).flat_map(|p| words(&p.kind)));
        }
        if let Some(block) = block {
            let outline = self.document.outline();
            let parameters =
                outline.words.iter().filter(|word| word.item == Some(block) && word.role == Role::Parameter);
            let names = parameters.map(|word| word.text(&self.document.text)).filter(|name| new(name));
            all.extend(
                names.map(|name| assigned(name, CompletionItemKind::FIELD, format!("a parameter of `{function}`"))),
            );
        }
        all.extend(self.variables());
        if functions.iter().any(Described::has_weights) {
            let settings = described::settings().into_iter().filter(|key| new(key.name));
            all.extend(settings.map(|key| assigned(key.name, CompletionItemKind::PROPERTY, about_key(&key))));
        }
        all
    }

    fn argument_value(&self, function: &str, param: &str) -> Vec<Proposal> {
        let functions = self.called(function);
        let spec = functions.iter().find_map(|f| f.param(param));
        let mut all = match spec {
            Some(spec) => words(&spec.kind),
            None if functions.iter().any(Described::has_weights) => self.setting(param),
            None => vec![],
        };
        all.extend(self.variables());
        if functions.is_empty() {
            all.extend(self.value_functions());
        }
        all
    }
}
