//! The words of the language with what is known of them, from the tables that the checks read.

use ninc::front::ast::SectionKind;
use ninc::front::described::{self, Described, KEYWORDS, Key, Keyword, Takes};
use ninc::front::suggest;
use ninc::ops::params::{Kind, ParamSpec};

/// The words of the language with what is known of them. A word may have several meanings.
pub fn words() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = KEYWORDS.iter().map(|word| (word.name, keyword(word))).collect();
    all.extend(described::layers().iter().map(|f| (f.name, function(f, "a layer"))));
    for (section, name) in [(SectionKind::Data, "data"), (SectionKind::Train, "train")] {
        for key in described::keys(section) {
            all.push((key.name, about(key, &format!("a key of `{name}`"))));
            let what = format!("a value of `{}` in `{name}`", key.name);
            all.extend(key.functions().iter().map(|f| (f.name, function(f, &what))));
        }
    }
    for key in described::settings() {
        all.push((key.name, about(&key, "a setting of layers with weights, and of `defaults`")));
        let what = format!("a value of the setting `{}`", key.name);
        all.extend(key.functions().iter().map(|f| (f.name, function(f, &what))));
    }
    all.extend(arguments());
    all
}

fn keyword(word: &Keyword) -> String {
    format!("{}\n\na word of the language: {}\n", word.form, word.doc)
}

/// The arguments of functions, and the words that these or keys may be given; what has one meaning in several places
/// stands once.
fn arguments() -> Vec<(&'static str, String)> {
    let sections = [SectionKind::Data, SectionKind::Train].map(described::keys).concat();
    let keys: Vec<Key> = sections.into_iter().chain(described::settings()).collect();
    let functions = described::layers().into_iter().chain(keys.iter().flat_map(Key::functions));
    // A name, whether it is a word, what is known of it, and of what it is one.
    let mut found: Vec<(&str, bool, String, Vec<&str>)> = vec![];
    let mut add = |name: &'static str, word: bool, text: String, owner: &'static str| match found
        .iter_mut()
        .find(|known| (known.0, known.1, &known.2) == (name, word, &text))
    {
        Some(known) if known.3.contains(&owner) => {}
        Some(known) => known.3.push(owner),
        None => found.push((name, word, text, vec![owner])),
    };
    let words = |param: &ParamSpec| match param.kind {
        Kind::Word(words) => words,
        _ => &[],
    };
    for f in functions {
        for param in f.params {
            add(param.name, false, format!("{} ({})", param.doc, described::param(param)), f.name);
            for word in words(param) {
                add(word, true, format!("`{} = {word}`: {}", param.name, param.doc), f.name);
            }
        }
    }
    for key in keys {
        if let Takes::Constant(forms) = key.takes {
            for word in forms.iter().flat_map(words) {
                add(word, true, format!("`{} = {word}`: {}", key.name, key.doc), key.name);
            }
        }
    }
    let text = |(name, word, text, owners): (&'static str, bool, String, Vec<&str>)| match word {
        true => (name, format!("{name}\n\na word for {}: {text}\n", suggest::listed(&owners))),
        false => (name, format!("{name} = …\n\nan argument of {}: {text}\n", suggest::listed(&owners))),
    };
    found.into_iter().map(text).collect()
}

fn function(f: &Described, what: &str) -> String {
    let mut text = format!("{}\n\n{}: {}\n", f.signature(), what, f.doc);
    let width = f.params.iter().map(|p| p.name.len()).max().unwrap_or(0);
    for param in f.params {
        text += &format!("\n  {:width$}  {} ({})", param.name, param.doc, described::param(param));
    }
    if !f.params.is_empty() {
        text.push('\n');
    }
    if let Some(((least, most), weights)) = f.operands {
        if most > 1 {
            text += &format!(
                "\nIt works on {} values.\n",
                if least == most { least.to_string() } else { format!("{least} to {most}") }
            );
        }
        if weights {
            let names: Vec<&str> = described::settings().iter().map(|key| key.name).collect();
            text += &format!("\nIts weights take the settings {}.\n", names.join(", "));
        }
    }
    text
}

fn about(key: &Key, what: &str) -> String {
    let mut text = format!("{} = …\n\n{what}: {}\nIts value is {}.\n", key.name, key.doc, key.value());
    for f in key.functions() {
        text += &format!("\n  {}\n      {}", f.signature(), f.doc);
    }
    if !key.functions().is_empty() {
        text.push('\n');
    }
    text
}
