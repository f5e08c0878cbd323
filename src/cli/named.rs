//! Values of options that are named: the core's own enums, by the words of the command line.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ninc::lower::target::{Algorithm, Isa};
use ninc::types::Format;

/// A value and the word that it was given by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Named<T> {
    pub name: &'static str,
    pub value: T,
}

/// Returns the last of what was given: options have a default, so there is one.
pub fn last<T: Clone>(given: &[T]) -> T {
    given.last().expect("an option with a default has a value").clone()
}

/// Takes one of these words, whose help is shown where there is any.
fn one_of<T: Copy + Send + Sync + 'static>(
    all: Vec<(Named<T>, &'static str)>,
) -> impl TypedValueParser<Value = Named<T>> {
    let words = all.iter().map(|(named, help)| {
        let word = PossibleValue::new(named.name);
        if help.is_empty() { word } else { word.help(*help) }
    });
    PossibleValuesParser::new(words.collect::<Vec<_>>()).map(move |word: String| {
        let found = all.iter().map(|(named, _)| *named).find(|named| named.name == word);
        found.expect("clap gives one of the words")
    })
}

/// Takes instruction sets; `auto` is the widest that this machine has.
pub fn isa() -> impl TypedValueParser<Value = Named<Option<Isa>>> {
    let mut all = vec![(Named { name: "auto", value: None }, "")];
    all.extend(Isa::ALL.map(|isa| {
        let help = if isa == Isa::Portable { "128 bits, on any processor" } else { "" };
        (Named { name: isa.name(), value: Some(isa) }, help)
    }));
    one_of(all)
}

/// Takes algorithms of convolutions.
pub fn algorithm() -> impl TypedValueParser<Value = Named<Algorithm>> {
    let few = "Fewer multiplications for square windows with stride 1, at a small loss of accuracy";
    let parts = "Inference multiplies float32 in three parts of bf16 on matrix units (AMX); training is as with auto";
    one_of(vec![
        (Named { name: "auto", value: Algorithm::Auto }, ""),
        (Named { name: "direct", value: Algorithm::Direct }, ""),
        (Named { name: "winograd", value: Algorithm::Winograd }, few),
        (Named { name: "split", value: Algorithm::Split }, parts),
    ])
}

/// What `--precision` asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Precision {
    /// What the weights state, float32 where they state nothing.
    Auto,
    /// Products of float32.
    F32,
    /// Products of numbers rounded to a format.
    Rounded(Format),
    /// Products of bytes.
    Int8,
}

impl Named<Precision> {
    /// The precision of this name, of those that a training can have.
    pub fn of_training(name: &str) -> Option<Named<Precision>> {
        let learns = |precision| matches!(precision, Precision::F32 | Precision::Rounded(_));
        precisions().into_iter().map(|(named, _)| named).find(|named| named.name == name && learns(named.value))
    }
}

/// Takes what products multiply.
pub fn precision() -> impl TypedValueParser<Value = Named<Precision>> {
    one_of(precisions())
}

/// Every precision, with what it means.
fn precisions() -> Vec<(Named<Precision>, &'static str)> {
    let auto = "What the weights state (files of `ninc quantize`); float32 where they state nothing";
    let mut all = vec![
        (Named { name: "auto", value: Precision::Auto }, auto),
        (Named { name: "f32", value: Precision::F32 }, "Products of float32"),
    ];
    all.extend(Format::ALL.map(|format| {
        let help = match format {
            Format::Tf32 => {
                "Products of numbers rounded to tf32 (11 significant bits), sums in float32: for matrix units of GPUs"
            }
            Format::Bf16 => "Products of numbers rounded to bf16 (8 significant bits), sums in float32",
        };
        (Named { name: format.name(), value: Precision::Rounded(format) }, help)
    }));
    let int8 = "Products of bytes, summed exactly; for `bench`, elsewhere `ninc quantize` makes weights that state it";
    all.push((Named { name: "int8", value: Precision::Int8 }, int8));
    all
}
