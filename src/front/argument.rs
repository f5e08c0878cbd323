//! Checks what an argument may be: one check for layers, settings, data and training, with one wording.

use super::codes;
use super::constant::Const;
use super::diag::{Diagnostic, Span};
use super::suggest::{self, Suggestion};
use crate::ops::params::{Arg, Bounds, Kind};

/// Writes bounds: "at least 0 and below 1".
pub fn words(bounds: &Bounds) -> String {
    let low = match (bounds.low == f64::NEG_INFINITY, bounds.open_low) {
        (true, _) => None,
        (_, true) => Some(format!("above {}", number(bounds.low))),
        _ => Some(format!("at least {}", number(bounds.low))),
    };
    let high = match (bounds.high == f64::INFINITY, bounds.open_high) {
        (true, _) => None,
        (_, true) => Some(format!("below {}", number(bounds.high))),
        _ => Some(format!("at most {}", number(bounds.high))),
    };
    match (low, high) {
        (Some(_), Some(_)) if !bounds.open_low && !bounds.open_high => {
            format!("from {} to {}", number(bounds.low), number(bounds.high))
        }
        (Some(l), Some(h)) => format!("{l} and {h}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "finite".into(),
    }
}

/// Writes a bound; one of many digits by its power of ten.
fn number(v: f64) -> String {
    if v.abs() < 1e15 { v.to_string() } else { format!("{v:e}") }
}

/// Returns the end of "must be …".
pub fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Int(..) => "a whole number",
        Kind::Float(_) => "a number",
        Kind::Bool => "`true` or `false`",
        Kind::Word(_) => "a word",
        Kind::Pair(..) => "a whole number or a list of two, `[vertical, horizontal]`",
        Kind::Ints(..) => "a list of whole numbers",
        Kind::Floats(_) => "a list of numbers",
        Kind::Text => "a string",
    }
}

/// Checks a constant. `what` names the argument in messages: "`rate` of `dropout`".
pub fn check(kind: Kind, value: &Const, span: Span, what: &str) -> Result<Arg, Diagnostic> {
    let wrong = || {
        let message = format!("{what} must be {}, not {}", described(kind), value.describe());
        Diagnostic::error(codes::WRONG_KIND, span, message)
    };
    match (kind, value) {
        (Kind::Int(low, high), Const::Int(v)) => whole(*v, low, high, span, what).map(Arg::Int),
        (Kind::Int(..), Const::Float(_)) => Err(wrong().suggest(rounding(value))),
        (Kind::Float(bounds), Const::Int(_) | Const::Float(_)) => fraction(value, bounds, span, what).map(Arg::Float),
        (Kind::Bool, Const::Bool(v)) => Ok(Arg::Bool(*v)),
        (Kind::Text, Const::Text(v)) => Ok(Arg::Text(v.to_string())),
        (Kind::Word(words), Const::Text(v)) => word(v, words, span, what).map(Arg::Word),
        (Kind::Pair(low, high), Const::Int(v)) => whole(*v, low, high, span, what).map(|v| Arg::Ints(vec![v, v])),
        (Kind::Pair(low, high), Const::List(items)) => match items.as_ref() {
            [Const::Int(v), Const::Int(h)] => {
                let v = whole(*v, low, high, span, what)?;
                Ok(Arg::Ints(vec![v, whole(*h, low, high, span, what)?]))
            }
            _ => Err(wrong()),
        },
        (Kind::Ints(low, high), Const::List(items)) if !items.is_empty() => {
            let mut out = Vec::new();
            for item in items.iter() {
                let Const::Int(v) = item else { return Err(wrong().maybe_help(rounding(item).map(|s| s.help))) };
                out.push(whole(*v, low, high, span, what)?);
            }
            Ok(Arg::Ints(out))
        }
        (Kind::Floats(bounds), Const::List(items)) if !items.is_empty() => {
            let mut out = Vec::new();
            for item in items.iter() {
                if item.number().is_none() {
                    return Err(wrong());
                }
                out.push(fraction(item, bounds, span, what)?);
            }
            Ok(Arg::Floats(out))
        }
        (Kind::Ints(..) | Kind::Floats(_), Const::Int(_) | Const::Float(_)) => {
            let list = format!("[{}]", value.describe());
            Err(wrong().help(format!("a list of one is written `{list}`")).fix(span, list))
        }
        (Kind::Bool, Const::Int(v @ (0 | 1))) => {
            Err(wrong().help("write `true` for 1 and `false` for 0").fix(span, (*v == 1).to_string()))
        }
        _ => Err(wrong()),
    }
}

fn rounding(value: &Const) -> Option<Suggestion> {
    let Const::Float(v) = value else { return None };
    Some(match v.fract() == 0.0 {
        true => Suggestion { help: format!("write `{v:.0}`"), near: Some(format!("{v:.0}")) },
        false => suggest::sentence("`/` gives a fraction where it does not divide evenly".into()),
    })
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
    if bounds.contains(v) {
        if v == 0.0 || (v as f32).is_normal() {
            return Ok(v);
        }
        let message = format!("{what} cannot be {}: float32 has numbers from 1.2e-38 to 3.4e38", value.describe());
        return Err(Diagnostic::error(codes::OUT_OF_RANGE, span, message));
    }
    Err(Diagnostic::error(
        codes::OUT_OF_RANGE,
        span,
        format!("{what} must be {}, not {}", words(&bounds), value.describe()),
    ))
}

/// Finds one of the words; the error names the nearest.
pub fn word(v: &str, words: &'static [&'static str], span: Span, what: &str) -> Result<&'static str, Diagnostic> {
    words.iter().find(|w| **w == v).copied().ok_or_else(|| {
        let message = format!("{what} cannot be `{}`", super::split::shorten(v));
        Diagnostic::error(codes::UNKNOWN_WORD, span, message).suggest(suggest::help(v, words, "possible are"))
    })
}
