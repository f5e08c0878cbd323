//! What is known of the word under the cursor: figures of layers, what names stand for, documentation.

use super::document::Document;
use super::hints::{joined, shape};
use super::names;
use crate::front::described::{self, Described, Key, Keyword};
use crate::front::diag::Span;
use crate::front::outline::{Expects, ItemKind, Role, Word};
use crate::front::trace::Stands;
use crate::ops::params::ParamSpec;
use crate::sizes::{self, Row, Sums};
use lsp_types::{Hover, HoverContents, MarkupContent, MarkupKind};
use ninc_runtime::words::{counted, grouped};

/// The most rows of one place: a block or a repeat has one for each round.
const MOST: usize = 6;

/// Says what is known of the word at an offset.
pub fn hover(document: &Document, offset: usize) -> Option<Hover> {
    let word = document.word(offset)?;
    let value = text(document, word)?;
    let contents = HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value });
    Some(Hover { contents, range: Some(document.range(word.span)) })
}

fn text(document: &Document, word: &Word) -> Option<String> {
    let name = word.text(&document.text);
    match word.role {
        Role::Function => {
            let parts = [
                figures(document, word),
                function(document, word, name).map(|f| documentation(&f)),
                names::called_block(document, word).and_then(|_| block(document, name)),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join("\n\n---\n\n"))
        }
        Role::Argument => argument(document, word, name),
        Role::Key => key(word, name).map(|key| about_key(&key)),
        Role::Parameter | Role::Let | Role::Alias | Role::Input | Role::Output => {
            Some(named(name, stands(document, word.span)))
        }
        Role::Value => match names::definition(document, word) {
            Some(definition) => Some(named(name, stands(document, definition))),
            None => function(document, word, name).map(|f| documentation(&f)).or_else(|| argument_word(document, word)),
        },
        Role::ItemName => match document.outline().items[word.item?].kind {
            ItemKind::Network => Some(network(document, name)),
            _ => block(document, name),
        },
        Role::Item | Role::Keyword => described::KEYWORDS.iter().find(|word| word.name == name).map(about_keyword),
        Role::Stray => None,
    }
}

fn named(name: &str, stands: Option<String>) -> String {
    stands.map_or_else(|| format!("`{name}`"), |stands| format!("`{name}` = `{stands}`"))
}

/// What the name at a place stands for: a constant, a shape, or a few where it is given several times.
pub fn stands(document: &Document, place: Span) -> Option<String> {
    let mut all: Vec<String> = vec![];
    for (_, stands) in document.analysis().trace.names.iter().filter(|(span, _)| *span == place) {
        let one = match stands {
            Stands::Constant(value) => value.clone(),
            Stands::Value(id) => shape(document, *id),
        };
        if !all.contains(&one) {
            all.push(one);
        }
    }
    (!all.is_empty()).then(|| joined(&all))
}

/// The figures of the layers that a call makes.
fn figures(document: &Document, word: &Word) -> Option<String> {
    let analysis = document.analysis();
    let starts = |span: &Span| span.start == word.span.start;
    let layers = analysis.trace.layers.iter().zip(document.rows()).filter(|(span, _)| starts(span));
    let mut lines: Vec<String> = layers.map(|(_, row)| layer(row)).collect();
    for called in analysis.trace.blocks.iter().filter(|called| starts(&called.span)) {
        let within = called.layers.clone();
        let (layers, rows) = (analysis.layers.get(within.clone())?, document.rows().get(within)?);
        let sums = sizes::sums(&analysis.graph, layers.iter(), rows);
        let shape = called.value.map_or(String::new(), |value| format!(" `{}`", shape(document, value)));
        let count = counted(rows.len(), "layer");
        let field = rows.last().map_or(String::new(), |row| field(row.receptive_field));
        lines.push(format!("**{}**{shape}: {count}, {}{field}", called.name, costs(&sums)));
    }
    if lines.is_empty() {
        return None;
    }
    let more = lines.len().saturating_sub(MOST);
    lines.truncate(MOST);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Some(lines.join("  \n"))
}

fn layer(row: &Row) -> String {
    let sums = Sums { parameters: row.parameters, multiply_adds: row.multiply_adds, bytes: row.bytes };
    format!("**{}** `{:?}`: {}{}", row.name, row.shape, costs(&sums), field(row.receptive_field))
}

fn costs(sums: &Sums) -> String {
    format!("{}, {}", counted(sums.parameters, "parameter"), counted(sums.multiply_adds, "multiply-add"))
}

fn field([height, width]: [usize; 2]) -> String {
    format!(", receptive field {height}x{width}")
}

fn network(document: &Document, name: &str) -> String {
    let analysis = document.analysis();
    let sums = sizes::sums(&analysis.graph, analysis.layers.iter(), document.rows());
    let count = counted(analysis.layers.len(), "layer");
    format!("network **{name}**: {count}, {}, {} bytes of values an image", costs(&sums), grouped(sums.bytes))
}

/// The line that begins a block: its name and parameters.
fn block(document: &Document, name: &str) -> Option<String> {
    let item = &document.outline().items[names::block(document, name)?];
    let head = document.text[item.span.range()].split('{').next().unwrap_or("").trim();
    Some(format!("```nin\n{head}\n```"))
}

/// The function that a word of its place means.
pub fn function(document: &Document, word: &Word, name: &str) -> Option<Described> {
    let kind = word.item.map(|item| document.outline().items[item].kind);
    functions_at(kind, &word.expects, word.caller.is_some()).into_iter().find(|f| f.name == name)
}

/// All functions that can be called at a place.
pub fn functions_at(item: Option<ItemKind>, expects: &Expects, within_call: bool) -> Vec<Described> {
    match (item, expects) {
        (_, Expects::KeyValue(section, key)) => {
            let keys = described::keys(*section).iter().filter(|k| k.name == *key);
            keys.flat_map(Key::functions).collect()
        }
        (_, Expects::SettingValue(key))
        | (Some(ItemKind::Network | ItemKind::Block), Expects::ArgumentValue(_, key))
            if key == "init" =>
        {
            described::settings().iter().filter(|setting| setting.name == *key).flat_map(Key::functions).collect()
        }
        (Some(ItemKind::Section(section)), _) if within_call => {
            described::keys(section).iter().flat_map(Key::functions).collect()
        }
        _ => described::layers(),
    }
}

/// The function whose argument a word is.
fn called(document: &Document, word: &Word) -> Vec<Described> {
    let outline = document.outline();
    let caller = word.caller.and_then(|caller| outline.words.get(caller));
    let caller = caller.filter(|caller| names::called_block(document, caller).is_none());
    let kind = word.item.map(|item| outline.items[item].kind);
    caller.map_or(vec![], |caller| candidates(kind, caller.text(&document.text)))
}

/// The functions of a name in an item: layers and initialisations, or what the keys of a section take.
pub fn candidates(item: Option<ItemKind>, name: &str) -> Vec<Described> {
    let all: Vec<Described> = match item {
        Some(ItemKind::Section(section)) => described::keys(section).iter().flat_map(Key::functions).collect(),
        _ => described::layers().into_iter().chain(described::settings().iter().flat_map(Key::functions)).collect(),
    };
    all.into_iter().filter(|f| f.name == name).collect()
}

fn argument(document: &Document, word: &Word, name: &str) -> Option<String> {
    let functions = called(document, word);
    if let Some(param) = functions.iter().find_map(|f| f.param(name)) {
        return Some(about_param(param));
    }
    if functions.iter().any(Described::has_weights) {
        return described::settings().iter().find(|key| key.name == name).map(about_key);
    }
    let block = names::definition(document, word)?;
    Some(named(name, stands(document, block)))
}

/// What a bare word is given for.
fn argument_word(document: &Document, word: &Word) -> Option<String> {
    match &word.expects {
        Expects::ArgumentValue(_, param) => {
            let functions = called(document, word);
            functions.iter().find_map(|f| f.param(param)).map(about_param)
        }
        Expects::KeyValue(section, key) => described::keys(*section).iter().find(|k| k.name == *key).map(about_key),
        _ => None,
    }
}

/// The key or setting that a word names.
fn key(word: &Word, name: &str) -> Option<Key> {
    let find = |keys: &[Key]| keys.iter().find(|key| key.name == name).copied();
    match word.expects {
        Expects::Key(section) => find(described::keys(section)),
        Expects::Setting => find(&described::settings()),
        _ => None,
    }
}

/// A function with its parameters, as markdown.
pub fn documentation(f: &Described) -> String {
    let mut text = format!("```nin\n{}\n```\n\n{}", f.signature(), f.doc);
    for param in f.params {
        text += &format!("\n- `{}`: {} ({})", param.name, param.doc, described::param(param));
    }
    if f.has_weights() {
        let names: Vec<String> = described::settings().iter().map(|key| format!("`{}`", key.name)).collect();
        text += &format!("\n- settings of its weights: {}", names.join(", "));
    }
    text
}

/// A parameter, as markdown.
pub fn about_param(param: &ParamSpec) -> String {
    format!("`{}`: {}\n\n{}", param.name, param.doc, described::param(param))
}

/// A word of the language, as markdown.
fn about_keyword(word: &Keyword) -> String {
    format!("```nin\n{}\n```\n\n{}", word.form, word.doc)
}

/// A key or setting, as markdown.
pub fn about_key(key: &Key) -> String {
    let functions = key.functions();
    let mut text = format!("`{}`: {}\n\n{}", key.name, key.doc, key.value());
    for f in functions {
        text += &format!("\n- `{}`: {}", f.signature(), f.doc);
    }
    text
}
