//! What an argument may be: one check for layers, settings, data and training, with one wording.

use super::codes;
use super::constant::Const;
use super::diag::{Diagnostic, Span};
use super::suggest;
use crate::ops::schema::{Arg, Kind};

/// Bounds of a number; open ends are left out themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub low: f64,
    pub high: f64,
    pub open_low: bool,
    pub open_high: bool,
}

/// Above 0, without end.
pub const POSITIVE: Bounds = Bounds { low: 0.0, high: f64::INFINITY, open_low: true, open_high: false };
/// 0 or more.
pub const NOT_NEGATIVE: Bounds = Bounds { low: 0.0, high: f64::INFINITY, open_low: false, open_high: false };
/// From 0 to below 1: momenta.
pub const BELOW_ONE: Bounds = Bounds { low: 0.0, high: 1.0, open_low: false, open_high: true };
/// Above 0, up to 1: factors that shrink.
pub const FRACTION: Bounds = Bounds { low: 0.0, high: 1.0, open_low: true, open_high: false };
/// From 0 to 1.
pub const UNIT: Bounds = Bounds { low: 0.0, high: 1.0, open_low: false, open_high: false };
pub const ANY: Bounds = Bounds { low: f64::NEG_INFINITY, high: f64::INFINITY, open_low: false, open_high: false };

impl Bounds {
    fn holds(&self, v: f64) -> bool {
        let low = if self.open_low { v > self.low } else { v >= self.low };
        let high = if self.open_high { v < self.high } else { v <= self.high };
        low && high
    }

    fn words(&self) -> String {
        let low = match (self.low == f64::NEG_INFINITY, self.open_low) {
            (true, _) => None,
            (_, true) => Some(format!("above {}", self.low)),
            _ => Some(format!("at least {}", self.low)),
        };
        let high = match (self.high == f64::INFINITY, self.open_high) {
            (true, _) => None,
            (_, true) => Some(format!("below {}", self.high)),
            _ => Some(format!("at most {}", self.high)),
        };
        match (low, high) {
            (Some(_), Some(_)) if !self.open_low && !self.open_high => format!("from {} to {}", self.low, self.high),
            (Some(l), Some(h)) => format!("{l} and {h}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "finite".into(),
        }
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Want {
    Int(i64, i64),
    Float(Bounds),
    Bool,
    Word(&'static [&'static str]),
    Pair(i64, i64),
    Ints(i64, i64),
    Floats(Bounds),
    Text,
}

/// What was given, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    Int(i64),
    Float(f64),
    Bool(bool),
    Word(&'static str),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Text(String),
}

impl From<Kind> for Want {
    fn from(kind: Kind) -> Want {
        match kind {
            Kind::Int(low, high) => Want::Int(low, high),
            Kind::Float(low, high) => Want::Float(Bounds { low, high, open_low: false, open_high: false }),
            Kind::Bool => Want::Bool,
            Kind::Word(words) => Want::Word(words),
            Kind::Pair(low, high) => Want::Pair(low, high),
            Kind::Ints(low, high) => Want::Ints(low, high),
        }
    }
}

impl From<Given> for Arg {
    fn from(given: Given) -> Arg {
        match given {
            Given::Int(v) => Arg::Int(v),
            Given::Float(v) => Arg::Float(v),
            Given::Bool(v) => Arg::Bool(v),
            Given::Word(v) => Arg::Word(v),
            Given::Ints(v) => Arg::List(v),
            // Layers take neither texts nor lists of fractions: `Kind` has no such kinds.
            Given::Floats(_) | Given::Text(_) => Arg::None,
        }
    }
}

impl Want {
    /// "must be …"
    pub fn words(&self) -> &'static str {
        match self {
            Want::Int(..) => "a whole number",
            Want::Float(_) => "a number",
            Want::Bool => "`true` or `false`",
            Want::Word(_) => "a word",
            Want::Pair(..) => "a whole number or a list of two, `[vertical, horizontal]`",
            Want::Ints(..) => "a list of whole numbers",
            Want::Floats(_) => "a list of numbers",
            Want::Text => "a string",
        }
    }

    /// Checks a constant. `what` names the argument in messages: "`rate` of `dropout`".
    pub fn check(self, value: &Const, span: Span, what: &str) -> Result<Given, Diagnostic> {
        let wrong = || {
            let message = format!("{what} must be {}, not {}", self.words(), value.describe());
            Diagnostic::error(codes::WRONG_KIND, span, message)
        };
        match (self, value) {
            (Want::Int(low, high), Const::Int(v)) => whole(*v, low, high, span, what).map(Given::Int),
            (Want::Int(..), Const::Float(_)) => Err(wrong().maybe_help(rounding(value))),
            (Want::Float(bounds), Const::Int(_) | Const::Float(_)) => {
                fraction(value, bounds, span, what).map(Given::Float)
            }
            (Want::Bool, Const::Bool(v)) => Ok(Given::Bool(*v)),
            (Want::Text, Const::Text(v)) => Ok(Given::Text(v.to_string())),
            (Want::Word(words), Const::Text(v)) => word(v, words, span, what).map(Given::Word),
            (Want::Pair(low, high), Const::Int(v)) => whole(*v, low, high, span, what).map(|v| Given::Ints(vec![v, v])),
            (Want::Pair(low, high), Const::List(items)) => match items.as_ref() {
                [Const::Int(v), Const::Int(h)] => {
                    let v = whole(*v, low, high, span, what)?;
                    Ok(Given::Ints(vec![v, whole(*h, low, high, span, what)?]))
                }
                _ => Err(wrong()),
            },
            (Want::Ints(low, high), Const::List(items)) if !items.is_empty() => {
                let mut out = Vec::new();
                for item in items.iter() {
                    let Const::Int(v) = item else { return Err(wrong().maybe_help(rounding(item))) };
                    out.push(whole(*v, low, high, span, what)?);
                }
                Ok(Given::Ints(out))
            }
            (Want::Floats(bounds), Const::List(items)) if !items.is_empty() => {
                let mut out = Vec::new();
                for item in items.iter() {
                    if item.number().is_none() {
                        return Err(wrong());
                    }
                    out.push(fraction(item, bounds, span, what)?);
                }
                Ok(Given::Floats(out))
            }
            (Want::Ints(..) | Want::Floats(_), Const::Int(_) | Const::Float(_)) => {
                Err(wrong().help(format!("a list of one is written `[{}]`", value.describe())))
            }
            (Want::Bool, Const::Int(0 | 1)) => Err(wrong().help("write `true` for 1 and `false` for 0")),
            _ => Err(wrong()),
        }
    }
}

fn rounding(value: &Const) -> Option<String> {
    let Const::Float(v) = value else { return None };
    let whole = v.fract() == 0.0;
    whole
        .then(|| format!("write `{v:.0}`"))
        .or_else(|| Some("`/` gives a fraction where it does not divide evenly".into()))
}

fn whole(v: i64, low: i64, high: i64, span: Span, what: &str) -> Result<i64, Diagnostic> {
    if (low..=high).contains(&v) {
        return Ok(v);
    }
    let bounds = match (low == i64::MIN, high == i64::MAX) {
        (false, true) => format!("at least {low}"),
        (true, false) => format!("at most {high}"),
        _ if v < low => format!("at least {low}"),
        _ => format!("at most {high}"),
    };
    Err(Diagnostic::error(codes::OUT_OF_RANGE, span, format!("{what} must be {bounds}, not {v}")))
}

fn fraction(value: &Const, bounds: Bounds, span: Span, what: &str) -> Result<f64, Diagnostic> {
    let v = value.number().unwrap_or(f64::NAN);
    if bounds.holds(v) && v.is_finite() {
        return Ok(v);
    }
    Err(Diagnostic::error(
        codes::OUT_OF_RANGE,
        span,
        format!("{what} must be {}, not {}", bounds.words(), value.describe()),
    ))
}

/// One of the words, or an error with the nearest.
pub fn word(v: &str, words: &'static [&'static str], span: Span, what: &str) -> Result<&'static str, Diagnostic> {
    words.iter().find(|w| **w == v).copied().ok_or_else(|| {
        let message = format!("{what} cannot be `{}`", super::split::shorten(v));
        Diagnostic::error(codes::UNKNOWN_WORD, span, message).maybe_help(suggest::help(v, words, "possible are"))
    })
}
