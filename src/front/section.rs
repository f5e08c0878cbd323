//! What `data` and `train` share: keys, each given at most once, with constants or functions as values.

use super::ast::{Entry, Section};
use super::bind::given_twice;
use super::codes;
use super::described::Key;
use super::diag::Diagnostic;
use super::evaluate::{ConstEvaluator, Consts, Evaluator as _};
use super::function::Table;
use super::sink::Diagnostics;
use super::split::shorten;
use super::suggest;
use crate::ops::params::{Args, FromArg, Param};
use std::collections::HashMap;

/// Reads a section's entries.
pub struct Reader<'e> {
    entries: HashMap<&'static str, &'e Entry>,
    evaluator: ConstEvaluator<'e>,
}

impl<'e> Reader<'e> {
    /// Sorts the entries of the section `word`; unknown keys and keys given twice are errors. `elsewhere` says of a key
    /// that is not of this section where it belongs.
    pub fn new(
        section: &'e Section,
        word: &str,
        known: &'static [Key],
        elsewhere: fn(&str) -> Option<String>,
        consts: &'e Consts<'e>,
        sink: &'e mut Diagnostics,
    ) -> Reader<'e> {
        let mut entries: HashMap<&'static str, &Entry> = HashMap::new();
        let names: Vec<&'static str> = known.iter().map(|key| key.name).collect();
        for entry in &section.entries {
            let text = entry.key.text.as_str();
            let Some(key) = names.iter().find(|name| **name == text) else {
                let message = format!("`{word}` has no key `{}`", shorten(text));
                let d = Diagnostic::error(codes::UNKNOWN_KEY, entry.key.span, message);
                let elsewhere = elsewhere(text).map(suggest::sentence);
                sink.report(d.suggest(elsewhere.or_else(|| suggest::help(text, &names, "its keys are"))));
                continue;
            };
            match entries.get(key) {
                Some(first) => sink.report(given_twice(&entry.key, first.key.span)),
                None => {
                    entries.insert(key, entry);
                }
            }
        }
        Reader { entries, evaluator: ConstEvaluator { consts, sink } }
    }

    /// The entry of a key, if it is given.
    pub fn entry(&self, key: &str) -> Option<&'e Entry> {
        self.entries.get(key).copied()
    }

    /// The entry of a key that holds a constant, if it is given.
    pub fn entry_of<T>(&self, key: Param<T>) -> Option<&'e Entry> {
        self.entry(key.spec.name)
    }

    /// A constant; its default if it is left out or wrong, which is then reported.
    pub fn constant<T: FromArg>(&mut self, key: Param<T>) -> T {
        let mut args = Args::default();
        if let Some(entry) = self.entry_of(key) {
            let what = format!("`{}`", key.spec.name);
            if let Some(arg) = self.evaluator.argument(key.spec.kind, &entry.value, &what) {
                args.set(&key.spec, arg);
            }
        }
        args.get(key)
    }

    /// A key whose value is a call of one of the functions: `None` if it is left out, `Some(None)` if it is wrong.
    pub fn function<T>(&mut self, key: &str, table: &Table<T>) -> Option<Option<T>> {
        let entry = self.entry(key)?;
        Some(table.value(&entry.value, &mut self.evaluator))
    }

    /// A key with a list of calls: `[gcn(scale = 55), zca]`; empty if it is left out.
    pub fn functions<T>(&mut self, key: &str, table: &Table<T>) -> Vec<T> {
        self.entry(key).map_or(vec![], |entry| table.values(&entry.value, &mut self.evaluator))
    }

    /// Reports an error.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.evaluator.sink.report(diagnostic);
    }
}
