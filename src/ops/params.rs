//! Parameters of the language's functions with their bounds and defaults, and the arguments given for them. Layers,
//! settings, `data` and `train` declare theirs with the same types.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

/// Declaration of one parameter of a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its name in the language.
    pub name: &'static str,
    /// What an argument may be.
    pub kind: Kind,
    /// What holds where no argument is given.
    pub default: Fallback,
    /// One sentence for the reference.
    pub doc: &'static str,
    /// Whether it may be given without its name, as the first (second, …) argument: `dropout(0.5)`.
    pub positional: bool,
}

/// Kinds of arguments. Bounds of whole numbers are both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number.
    Int(i64, i64),
    /// A number.
    Float(Bounds),
    /// `true` or `false`.
    Bool,
    /// One of these words, as a string or a bare name.
    Word(&'static [&'static str]),
    /// One whole number for both directions or `[vertical, horizontal]`. Always arrives as a list of two.
    Pair(i64, i64),
    /// A list of whole numbers, of any length but 0.
    Ints(i64, i64),
    /// A list of numbers, of any length but 0.
    Floats(Bounds),
    /// A string.
    Text,
}

/// Bounds of a number. An open end excludes the bound itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
    /// Whether the lower bound itself is excluded.
    pub open_low: bool,
    /// Whether the upper bound itself is excluded.
    pub open_high: bool,
}

impl Bounds {
    /// Any finite number.
    pub const ANY: Bounds = Bounds::closed(f64::NEG_INFINITY, f64::INFINITY);
    /// Above 0.
    pub const POSITIVE: Bounds = Bounds { open_low: true, ..Bounds::NOT_NEGATIVE };
    /// 0 or more.
    pub const NOT_NEGATIVE: Bounds = Bounds::closed(0.0, f64::INFINITY);
    /// From 0 to 1.
    pub const UNIT: Bounds = Bounds::closed(0.0, 1.0);
    /// From 0 to below 1: momenta.
    pub const BELOW_ONE: Bounds = Bounds { open_high: true, ..Bounds::UNIT };
    /// Above 0, up to 1: factors that shrink.
    pub const FRACTION: Bounds = Bounds { open_low: true, ..Bounds::UNIT };
    /// Above 0 and below 1.
    pub const INSIDE_UNIT: Bounds = Bounds { open_low: true, ..Bounds::BELOW_ONE };

    /// From `low` to `high`, both included.
    pub const fn closed(low: f64, high: f64) -> Bounds {
        Bounds { low, high, open_low: false, open_high: false }
    }

    /// Does the number lie within? Infinities and NaN never do.
    pub fn contains(&self, v: f64) -> bool {
        let low = if self.open_low { v > self.low } else { v >= self.low };
        let high = if self.open_high { v < self.high } else { v <= self.high };
        low && high && v.is_finite()
    }
}

/// An argument after checking.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// One of the kind's words.
    Word(&'static str),
    /// A list of whole numbers, or a pair.
    Ints(Vec<i64>),
    /// A list of numbers.
    Floats(Vec<f64>),
    /// A string.
    Text(String),
}

/// What holds for a parameter where no argument is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// An argument must be given.
    Required,
    /// The function does without the argument.
    Absent,
    /// This whole number.
    Int(i64),
    /// This number.
    Float(f64),
    /// This truth value.
    Bool(bool),
    /// This word.
    Word(&'static str),
    /// This `[vertical, horizontal]`.
    Pair([i64; 2]),
}

impl Fallback {
    /// The argument that it stands for, if it stands for one.
    pub fn arg(self) -> Option<Arg> {
        Some(match self {
            Fallback::Required | Fallback::Absent => return None,
            Fallback::Int(v) => Arg::Int(v),
            Fallback::Float(v) => Arg::Float(v),
            Fallback::Bool(v) => Arg::Bool(v),
            Fallback::Word(v) => Arg::Word(v),
            Fallback::Pair(v) => Arg::Ints(v.to_vec()),
        })
    }
}

/// Shows it as the reference does; empty for a required argument.
impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Fallback::Required => Ok(()),
            Fallback::Absent => f.write_str("none"),
            Fallback::Int(v) => write!(f, "{v}"),
            Fallback::Float(v) => write!(f, "{v:?}"),
            Fallback::Bool(v) => write!(f, "{v}"),
            Fallback::Word(v) => f.write_str(v),
            Fallback::Pair(v) => write!(f, "{v:?}"),
        }
    }
}

/// A parameter whose argument is read as a `T`: the constant is what code names it by, so that no name can be misspelt
/// and no argument be read as another kind.
#[derive(Debug)]
pub struct Param<T> {
    /// What the language is told.
    pub spec: ParamSpec,
    read: PhantomData<fn() -> T>,
}

impl<T> Clone for Param<T> {
    fn clone(&self) -> Param<T> {
        *self
    }
}

impl<T> Copy for Param<T> {}

impl<T> Param<T> {
    const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Param<T> {
        let spec = ParamSpec { name, kind, default: Fallback::Required, doc, positional: false };
        Param { spec, read: PhantomData }
    }

    const fn with_default(self, default: Fallback) -> Param<T> {
        Param { spec: ParamSpec { default, ..self.spec }, read: PhantomData }
    }

    /// Lets it be given without its name.
    pub const fn positional(self) -> Param<T> {
        Param { spec: ParamSpec { positional: true, ..self.spec }, read: PhantomData }
    }

    /// Lets it be left out; it is then read as `None`.
    pub const fn optional(self) -> Param<Option<T>> {
        Param { spec: ParamSpec { default: Fallback::Absent, ..self.spec }, read: PhantomData }
    }
}

impl Param<usize> {
    /// A whole number from `low` (at least 0) to `high`.
    pub const fn int(name: &'static str, low: i64, high: i64, doc: &'static str) -> Param<usize> {
        Param::new(name, Kind::Int(low, high), doc)
    }

    /// Lets it be left out; it is then `default`.
    pub const fn or(self, default: i64) -> Param<usize> {
        self.with_default(Fallback::Int(default))
    }
}

impl Param<f64> {
    /// A number within bounds.
    pub const fn float(name: &'static str, bounds: Bounds, doc: &'static str) -> Param<f64> {
        Param::new(name, Kind::Float(bounds), doc)
    }

    /// Lets it be left out; it is then `default`.
    pub const fn or(self, default: f64) -> Param<f64> {
        self.with_default(Fallback::Float(default))
    }
}

impl Param<bool> {
    /// `true` or `false`.
    pub const fn bool(name: &'static str, doc: &'static str) -> Param<bool> {
        Param::new(name, Kind::Bool, doc)
    }

    /// Lets it be left out; it is then `default`.
    pub const fn or(self, default: bool) -> Param<bool> {
        self.with_default(Fallback::Bool(default))
    }
}

impl<W: Word> Param<W> {
    /// One of the words of `W`.
    pub const fn word(name: &'static str, doc: &'static str) -> Param<W> {
        Param::new(name, Kind::Word(W::WORDS), doc)
    }

    /// Lets it be left out; it is then the value that `default` stands for.
    pub const fn or_word(self, default: &'static str) -> Param<W> {
        self.with_default(Fallback::Word(default))
    }
}

impl Param<&'static str> {
    /// One of these words.
    pub const fn one_of(name: &'static str, words: &'static [&'static str], doc: &'static str) -> Param<&'static str> {
        Param::new(name, Kind::Word(words), doc)
    }

    /// Lets it be left out; it is then `default`.
    pub const fn or(self, default: &'static str) -> Param<&'static str> {
        self.with_default(Fallback::Word(default))
    }
}

impl Param<[usize; 2]> {
    /// `[vertical, horizontal]`, or one whole number for both.
    pub const fn pair(name: &'static str, low: i64, high: i64, doc: &'static str) -> Param<[usize; 2]> {
        Param::new(name, Kind::Pair(low, high), doc)
    }

    /// Lets it be left out; it is then `default`.
    pub const fn or(self, default: [i64; 2]) -> Param<[usize; 2]> {
        self.with_default(Fallback::Pair(default))
    }
}

impl Param<Vec<usize>> {
    /// A list of whole numbers, each from `low` (at least 0) to `high`.
    pub const fn ints(name: &'static str, low: i64, high: i64, doc: &'static str) -> Param<Vec<usize>> {
        Param::new(name, Kind::Ints(low, high), doc)
    }
}

impl Param<Vec<f64>> {
    /// A list of numbers, each within bounds.
    pub const fn floats(name: &'static str, bounds: Bounds, doc: &'static str) -> Param<Vec<f64>> {
        Param::new(name, Kind::Floats(bounds), doc)
    }
}

impl Param<String> {
    /// A string.
    pub const fn text(name: &'static str, doc: &'static str) -> Param<String> {
        Param::new(name, Kind::Text, doc)
    }
}

/// An enum whose values the language writes as words.
pub trait Word: Copy + 'static {
    /// The words, in the order of the reference.
    const WORDS: &'static [&'static str];

    /// The value of one of them.
    fn from_word(word: &str) -> Option<Self>;
}

/// A type that a checked argument is read as.
pub trait FromArg: Sized {
    /// Reads it; `None` if the argument is of another kind, or absent where it may not be.
    fn from_arg(arg: Option<&Arg>) -> Option<Self>;
}

impl<W: Word> FromArg for W {
    fn from_arg(arg: Option<&Arg>) -> Option<W> {
        if let Arg::Word(v) = arg? { W::from_word(v) } else { None }
    }
}

impl FromArg for &'static str {
    fn from_arg(arg: Option<&Arg>) -> Option<&'static str> {
        if let Arg::Word(v) = arg? { Some(*v) } else { None }
    }
}

impl FromArg for usize {
    fn from_arg(arg: Option<&Arg>) -> Option<usize> {
        if let Arg::Int(v) = arg? { usize::try_from(*v).ok() } else { None }
    }
}

impl FromArg for f64 {
    fn from_arg(arg: Option<&Arg>) -> Option<f64> {
        if let Arg::Float(v) = arg? { Some(*v) } else { None }
    }
}

impl FromArg for bool {
    fn from_arg(arg: Option<&Arg>) -> Option<bool> {
        if let Arg::Bool(v) = arg? { Some(*v) } else { None }
    }
}

impl FromArg for Vec<usize> {
    fn from_arg(arg: Option<&Arg>) -> Option<Vec<usize>> {
        let Arg::Ints(list) = arg? else { return None };
        list.iter().map(|v| usize::try_from(*v).ok()).collect()
    }
}

impl FromArg for [usize; 2] {
    fn from_arg(arg: Option<&Arg>) -> Option<[usize; 2]> {
        Vec::from_arg(arg)?.try_into().ok()
    }
}

impl FromArg for Vec<f64> {
    fn from_arg(arg: Option<&Arg>) -> Option<Vec<f64>> {
        if let Arg::Floats(list) = arg? { Some(list.clone()) } else { None }
    }
}

impl FromArg for String {
    fn from_arg(arg: Option<&Arg>) -> Option<String> {
        if let Arg::Text(v) = arg? { Some(v.clone()) } else { None }
    }
}

impl<T: FromArg> FromArg for Option<T> {
    fn from_arg(arg: Option<&Arg>) -> Option<Option<T>> {
        match arg {
            Some(arg) => T::from_arg(Some(arg)).map(Some),
            None => Some(None),
        }
    }
}

/// The checked arguments of one call, by the names of the parameters.
#[derive(Clone, Debug, Default)]
pub struct Args {
    values: HashMap<&'static str, Arg>,
}

impl Args {
    /// The defaults of a function's parameters.
    pub fn defaults(params: &[ParamSpec]) -> Args {
        Args { values: params.iter().filter_map(|p| Some((p.name, p.default.arg()?))).collect() }
    }

    /// Sets the argument of a parameter.
    pub fn set(&mut self, param: &ParamSpec, arg: Arg) {
        self.values.insert(param.name, arg);
    }

    /// The argument of a parameter, or its default. The parameter must be one of the function's own if it is required:
    /// every call is complete before anything reads it, and `tests/front.rs` calls every function.
    pub fn get<T: FromArg>(&self, param: Param<T>) -> T {
        let default = param.spec.default.arg();
        let arg = self.values.get(param.spec.name).or(default.as_ref());
        T::from_arg(arg).expect("a required parameter is one of the function's own")
    }
}
