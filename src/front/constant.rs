//! Constants of the language: numbers, truth values, strings and lists of them, and their arithmetic.

use super::ast::BinOp;
use std::rc::Rc;

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Const {
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A string.
    Text(Rc<str>),
    /// A list, shared because values are passed around by copy. Lists hold no lists.
    List(Rc<[Const]>),
}

impl Const {
    /// Is it the same value? A whole number is the same as one with a fraction of zero.
    pub fn same(&self, other: &Const) -> bool {
        match (self, other) {
            (Const::Int(a), Const::Float(b)) | (Const::Float(b), Const::Int(a)) => *a as f64 == *b,
            (Const::List(a), Const::List(b)) => a.len() == b.len() && a.iter().zip(&**b).all(|(a, b)| a.same(b)),
            (a, b) => a == b,
        }
    }

    /// Says what it is, for "must be …, not …".
    pub fn describe(&self) -> String {
        match self {
            Const::Int(v) => format!("{v}"),
            Const::Float(v) => format!("{v:?}"),
            Const::Bool(v) => format!("`{v}`"),
            Const::Text(v) => format!("the string {:?}", super::split::shorten(v)),
            Const::List(items) => {
                let shown: Vec<String> = items.iter().take(4).map(Const::describe).collect();
                let more = if items.len() > 4 { ", …" } else { "" };
                format!("the list [{}{more}]", shown.join(", "))
            }
        }
    }

    /// Writes it as the language does.
    pub fn written(&self) -> String {
        match self {
            Const::Text(v) => format!("\"{}\"", v.escape_debug()),
            Const::List(items) => {
                format!("[{}]", items.iter().map(Const::written).collect::<Vec<_>>().join(", "))
            }
            other => other.describe().trim_matches('`').to_string(),
        }
    }

    /// Returns the number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Const::Int(v) => Some(*v as f64),
            Const::Float(v) => Some(*v),
            _ => None,
        }
    }
}

/// Why arithmetic gave nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// The operand that is not a number (0 left, 1 right).
    NotANumber(usize),
    /// Arithmetic without a result: one sentence.
    NoResult(String),
}

fn overflow() -> Problem {
    Problem::NoResult("the result is too large".into())
}

/// Computes `a op b`. Whole numbers stay whole; `/` gives a whole number where it is exact and a fraction where it is
/// not.
pub fn arithmetic(op: BinOp, a: &Const, b: &Const) -> Result<Const, Problem> {
    let (x, y) = match (a.number(), b.number()) {
        (None, _) => return Err(Problem::NotANumber(0)),
        (_, None) => return Err(Problem::NotANumber(1)),
        (Some(x), Some(y)) => (x, y),
    };
    let zero = y == 0.0;
    if zero && matches!(op, BinOp::Div | BinOp::Rem) {
        return Err(Problem::NoResult("this divides by zero".into()));
    }
    if let (Const::Int(m), Const::Int(n)) = (a, b) {
        let whole = match op {
            BinOp::Add => m.checked_add(*n),
            BinOp::Sub => m.checked_sub(*n),
            BinOp::Mul => m.checked_mul(*n),
            BinOp::Rem => m.checked_rem(*n),
            BinOp::Div if m.checked_rem(*n) == Some(0) => m.checked_div(*n),
            BinOp::Div => return Ok(Const::Float(x / y)),
        };
        return whole.map(Const::Int).ok_or_else(overflow);
    }
    let result = match op {
        BinOp::Add => x + y,
        BinOp::Sub => x - y,
        BinOp::Mul => x * y,
        BinOp::Div => x / y,
        BinOp::Rem => x % y,
    };
    if result.is_finite() { Ok(Const::Float(result)) } else { Err(overflow()) }
}

/// Computes `-a`.
pub fn negate(a: &Const) -> Result<Const, Problem> {
    match a {
        Const::Int(v) => v.checked_neg().map(Const::Int).ok_or_else(overflow),
        Const::Float(v) => Ok(Const::Float(-v)),
        _ => Err(Problem::NotANumber(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::{BinOp, Const, Problem, arithmetic};

    #[test]
    fn whole_numbers_stay_whole() {
        let int = Const::Int;
        assert_eq!(arithmetic(BinOp::Div, &int(6), &int(3)), Ok(int(2)));
        assert_eq!(arithmetic(BinOp::Div, &int(1), &int(4)), Ok(Const::Float(0.25)));
        assert_eq!(arithmetic(BinOp::Rem, &int(7), &int(4)), Ok(int(3)));
        assert_eq!(arithmetic(BinOp::Mul, &int(2), &Const::Float(0.5)), Ok(Const::Float(1.0)));
    }

    #[test]
    fn no_result_is_an_error() {
        let huge = Const::Int(i64::MAX);
        assert!(matches!(arithmetic(BinOp::Add, &huge, &Const::Int(1)), Err(Problem::NoResult(_))));
        assert!(matches!(arithmetic(BinOp::Div, &Const::Int(1), &Const::Int(0)), Err(Problem::NoResult(_))));
        assert!(matches!(arithmetic(BinOp::Rem, &Const::Int(i64::MIN), &Const::Int(-1)), Err(Problem::NoResult(_))));
        assert_eq!(arithmetic(BinOp::Add, &Const::Bool(true), &huge), Err(Problem::NotANumber(0)));
    }
}
