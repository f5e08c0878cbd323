//! Index expressions of kernels: operators that fold constants, and evaluation.

use super::{KVar, KVars, PrimaryMap};
use std::ops;

/// Integer expression of a kernel, 64-bit. Division rounds down; divisors are positive constants in practice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// A number.
    Const(i64),
    /// The value of a variable.
    Var(KVar),
    /// `left op right`
    Binary(ExprOp, Box<Expr>, Box<Expr>),
}

/// An operator of index expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExprOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient, rounded towards minus infinity.
    Div,
    /// Remainder, with the divisor's sign.
    Rem,
    /// The smaller one.
    Min,
    /// The larger one.
    Max,
    /// 1 if `left < right`, else 0.
    Lt,
    /// 1 if both are equal, else 0.
    Eq,
}

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
fn apply(op: ExprOp, left: i64, right: i64) -> i64 {
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
    /// Images in this run of the plan.
    pub const BATCH: Expr = Expr::Var(KVar::BATCH);
    /// Index of the first of them in the whole batch.
    pub const FIRST: Expr = Expr::Var(KVar::FIRST);
    /// Images in the whole batch.
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

    /// `self / by`, rounded down.
    pub fn div(&self, by: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Div, self, by)
    }

    /// `self / by`, rounded up.
    pub fn ceil_div(&self, by: i64) -> Expr {
        Expr::new(ExprOp::Div, self.clone() + (by - 1), by)
    }

    /// `self` modulo `by`.
    pub fn rem(&self, by: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Rem, self, by)
    }

    /// The smaller one.
    pub fn min(&self, other: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Min, self, other)
    }

    /// The larger one.
    pub fn max(&self, other: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Max, self, other)
    }

    /// 1 if `self < other`, else 0.
    pub fn lt(&self, other: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Lt, self, other)
    }

    /// 1 if both are equal, else 0.
    pub fn equals(&self, other: impl Into<Expr>) -> Expr {
        Expr::new(ExprOp::Eq, self, other)
    }

    /// Does the test hold for a part of the expression that has no parts (a constant or a variable)?
    pub fn any(&self, test: &mut dyn FnMut(&Expr) -> bool) -> bool {
        match self {
            Expr::Const(_) | Expr::Var(_) => test(self),
            Expr::Binary(_, l, r) => l.any(test) || r.any(test),
        }
    }

    /// Does one of the variables occur?
    pub fn mentions(&self, vars: &[KVar]) -> bool {
        self.any(&mut |e| matches!(e, Expr::Var(v) if vars.contains(v)))
    }

    /// Is it certainly not negative, where these variables are not?
    pub fn is_natural(&self, natural: &PrimaryMap<KVar, bool>) -> bool {
        match self {
            Expr::Const(value) => *value >= 0,
            Expr::Var(v) => natural[*v],
            Expr::Binary(ExprOp::Sub, ..) => false,
            Expr::Binary(ExprOp::Rem | ExprOp::Lt | ExprOp::Eq, ..) => true,
            Expr::Binary(ExprOp::Max, l, r) => l.is_natural(natural) || r.is_natural(natural),
            Expr::Binary(_, l, r) => l.is_natural(natural) && r.is_natural(natural),
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
