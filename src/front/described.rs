//! What the language offers, as editors and `ninc help` show it: functions, keys and settings with their documentation,
//! from the tables that the checks read.

use super::argument;
use super::ast::SectionKind;
use super::{data, settings::Setting, train};
use crate::ops::params::{Bounds, Fallback, Kind, ParamSpec};
use crate::ops::schema::Schema;
use std::fmt::Write;

/// A function of the language.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Its own parameters.
    pub params: &'static [ParamSpec],
    /// Of a layer: the values that flow in, `(least, most)`, and whether it takes the settings of weights.
    pub operands: Option<((usize, usize), bool)>,
}

/// A key of a section, or a setting of weights.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// What stands behind its `=`.
    pub takes: Takes,
}

/// A word of the language itself.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    /// The word.
    pub name: &'static str,
    /// How it is written, with what belongs to it.
    pub form: &'static str,
    /// One sentence.
    pub doc: &'static str,
}

/// The words of items, statements and pipelines, and those that are values.
pub const KEYWORDS: &[Keyword] = &[
    word("nin", "nin 1", "The version of the language, in the first line of a file; it may be left out."),
    word("network", "network name(width = 8) { … }", "The network of the file: its inputs, its layers, its results."),
    word("block", "block name(x, channels = 8) { … return … }", "Steps under a name, expanded where it is called."),
    word("data", "data { source = … }", "What the network is trained and tested on."),
    word("train", "train { optimizer = …  epochs = … }", "How the network is trained."),
    word("input", "input image: [3, 32, 32]", "An input of the network, without the batch: channels, height, width."),
    word("let", "let name = …", "Gives a value or a constant a name."),
    word("output", "output name = …", "A result of the network; without one its last value is the result."),
    word("return", "return …", "The value of a block, at its end."),
    word("repeat", "repeat 3 { … }", "Repeats statements or the steps of a pipeline a known number of times."),
    word("defaults", "defaults { init = he }", "Settings of the weights of all layers that follow in its body."),
    word("as", "x |> conv(…) as name", "Names a value and the parameters of the layer that makes it."),
    word("true", "bias = true", "The value that says yes."),
    word("false", "bias = false", "The value that says no."),
    word("none", "stride = none", "In signatures: what holds where an argument is left out, which is then not there."),
];

const fn word(name: &'static str, form: &'static str, doc: &'static str) -> Keyword {
    Keyword { name, form, doc }
}

/// What the value of a key may be.
#[derive(Clone, Copy)]
pub enum Takes {
    /// A constant, of one of these forms.
    Constant(&'static [ParamSpec]),
    /// One of these functions.
    Function(fn() -> Vec<Described>),
    /// A list of these functions.
    Functions(fn() -> Vec<Described>),
}

impl Key {
    /// A key whose value is a constant of one of these forms; the first has its name and documentation.
    pub(super) const fn constant(forms: &'static [ParamSpec]) -> Key {
        Key { name: forms[0].name, doc: forms[0].doc, takes: Takes::Constant(forms) }
    }

    /// The functions that its value may call.
    pub fn functions(&self) -> Vec<Described> {
        match self.takes {
            Takes::Constant(_) => vec![],
            Takes::Function(functions) | Takes::Functions(functions) => functions(),
        }
    }

    /// Describes what the value may be: "a number above 0", "a list of functions".
    pub fn value(&self) -> String {
        match self.takes {
            Takes::Constant(forms) => forms.iter().map(|form| value(&form.kind)).collect::<Vec<_>>().join(", or "),
            Takes::Function(_) => "a function".into(),
            Takes::Functions(_) => "a list of functions".into(),
        }
    }
}

impl Described {
    fn layer(schema: &Schema) -> Described {
        let Schema { name, doc, operands, params, weights, .. } = *schema;
        Described { name, doc, params, operands: Some((operands, weights)) }
    }

    /// Does it take the settings of weights?
    pub fn has_weights(&self) -> bool {
        self.operands.is_some_and(|(_, weights)| weights)
    }

    /// The parameter of that name, settings excluded.
    pub fn param(&self, name: &str) -> Option<&'static ParamSpec> {
        self.params.iter().find(|param| param.name == name)
    }

    /// Writes it with its parameters and their defaults: `max_pool(kernel, stride = none)`.
    pub fn signature(&self) -> String {
        let one = |param: &ParamSpec| match param.default {
            Fallback::Required => param.name.to_string(),
            default => format!("{} = {default}", param.name),
        };
        let params: Vec<String> = self.params.iter().map(one).collect();
        match params.is_empty() {
            true => self.name.to_string(),
            false => format!("{}({})", self.name, params.join(", ")),
        }
    }
}

/// Describes a parameter: what it may be, and what holds where it is left out.
pub fn param(param: &ParamSpec) -> String {
    let mut text = value(&param.kind);
    match param.default {
        Fallback::Required => text += "; required",
        Fallback::Absent => {}
        default => _ = write!(text, "; {default} unless said"),
    }
    text
}

/// Describes what a value of this kind may be, with its bounds.
fn value(kind: &Kind) -> String {
    let whole = |low: i64, high: i64| match (low == i64::MIN, high == i64::MAX) {
        (true, true) => String::new(),
        (false, true) => format!(" of at least {low}"),
        (true, false) => format!(" of at most {high}"),
        (false, false) => format!(" from {low} to {high}"),
    };
    let bounded = |bounds: &Bounds| match argument::words(bounds) {
        words if words == "finite" => String::new(),
        words => format!(" {words}"),
    };
    match kind {
        Kind::Int(low, high) => format!("a whole number{}", whole(*low, *high)),
        Kind::Pair(low, high) => {
            format!("a whole number{}, or a list of two, `[vertical, horizontal]`", whole(*low, *high))
        }
        Kind::Ints(low, high) => format!("a list of whole numbers{}", whole(*low, *high)),
        Kind::Float(bounds) => format!("a number{}", bounded(bounds)),
        Kind::Floats(bounds) => format!("a list of numbers{}", bounded(bounds)),
        Kind::Word(words) => super::suggest::listed(words).replace(" and ", " or "),
        Kind::Bool | Kind::Text => argument::described(*kind).into(),
    }
}

/// The layers, in the order of the reference.
pub fn layers() -> Vec<Described> {
    crate::ops::schemas().iter().map(Described::layer).collect()
}

/// The settings that layers with weights take.
pub fn settings() -> Vec<Key> {
    Setting::ALL.map(Setting::described).to_vec()
}

/// The keys of a section.
pub fn keys(section: SectionKind) -> &'static [Key] {
    match section {
        SectionKind::Data => data::KEYS,
        SectionKind::Train => train::KEYS,
    }
}
