//! Arithmetic on kernel index expressions: operators that fold constants, and evaluation.

use super::ir::{Expr, ExprOp, KVar, KVars};
use std::ops;

impl From<i64> for Expr {
    fn from(value: i64) -> Expr {
        Expr::Const(value)
    }
}

impl From<usize> for Expr {
    fn from(value: usize) -> Expr {
        Expr::Const(value as i64)
    }
}

impl From<i32> for Expr {
    fn from(value: i32) -> Expr {
        Expr::Const(value.into())
    }
}

impl From<KVar> for Expr {
    fn from(var: KVar) -> Expr {
        Expr::Var(var)
    }
}

impl From<&Expr> for Expr {
    fn from(e: &Expr) -> Expr {
        e.clone()
    }
}

/// The value of `left op right`.
pub fn apply(op: ExprOp, left: i64, right: i64) -> i64 {
    match op {
        ExprOp::Add => left + right,
        ExprOp::Sub => left - right,
        ExprOp::Mul => left * right,
        ExprOp::Div => left.div_euclid(right),
        ExprOp::Rem => left.rem_euclid(right),
        ExprOp::Min => left.min(right),
        ExprOp::Max => left.max(right),
        ExprOp::Lt => (left < right).into(),
        ExprOp::Eq => (left == right).into(),
    }
}

impl Expr {
    pub const BATCH: Expr = Expr::Var(KVar::BATCH);
    pub const FIRST: Expr = Expr::Var(KVar::FIRST);
    pub const TOTAL: Expr = Expr::Var(KVar::TOTAL);

    /// `left op right`, folded where both are constants or one is neutral.
    pub fn new(op: ExprOp, left: impl Into<Expr>, right: impl Into<Expr>) -> Expr {
        use ExprOp::*;
        match (op, left.into(), right.into()) {
            (Div | Rem, l, Expr::Const(0)) => Expr::Binary(op, Box::new(l), Box::new(Expr::Const(0))),
            (_, Expr::Const(l), Expr::Const(r)) => Expr::Const(apply(op, l, r)),
            (Add, Expr::Const(0), e) | (Add | Sub, e, Expr::Const(0)) | (Mul, Expr::Const(1), e) => e,
            (Mul | Div, e, Expr::Const(1)) => e,
            (Mul, Expr::Const(0), _) | (Mul, _, Expr::Const(0)) | (Rem, _, Expr::Const(1)) => Expr::Const(0),
            (_, l, r) => Expr::Binary(op, Box::new(l), Box::new(r)),
        }
    }

    pub fn div(&self, by: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Div, self, by)
    }

    pub fn ceil_div(&self, by: i64) -> Expr {
        Expr::new(ExprOp::Div, self.clone() + (by - 1), by)
    }

    pub fn rem(&self, by: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Rem, self, by)
    }

    pub fn min(&self, other: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Min, self, other)
    }

    pub fn max(&self, other: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Max, self, other)
    }

    pub fn lt(&self, other: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Lt, self, other)
    }

    pub fn equals(&self, other: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Eq, self, other)
    }

    /// Does one of the variables occur?
    pub fn mentions(&self, vars: &[KVar]) -> bool {
        match self {
            Expr::Const(_) => false,
            Expr::Var(v) => vars.contains(v),
            Expr::Binary(_, l, r) => l.mentions(vars) || r.mentions(vars),
        }
    }

    /// The value where the variables have these values.
    pub fn eval(&self, vars: &KVars) -> i64 {
        match self {
            Expr::Const(value) => *value,
            Expr::Var(v) => vars[*v],
            Expr::Binary(op, l, r) => apply(*op, l.eval(vars), r.eval(vars)),
        }
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident) => {
        impl<R: Into<Expr>> ops::$trait<R> for Expr {
            type Output = Expr;
            fn $method(self, right: R) -> Expr {
                Expr::new(ExprOp::$trait, self, right)
            }
        }
        impl<R: Into<Expr>> ops::$trait<R> for &Expr {
            type Output = Expr;
            fn $method(self, right: R) -> Expr {
                Expr::new(ExprOp::$trait, self, right)
            }
        }
        impl<R: Into<Expr>> ops::$trait<R> for KVar {
            type Output = Expr;
            fn $method(self, right: R) -> Expr {
                Expr::new(ExprOp::$trait, self, right)
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
