//! The number of iterations of a kernel's parallel loop as a formula that the runtime can evaluate.

use super::error::IterationsError;
use crate::kernel::ir::{Expr, KVars};
use ninc_runtime::plan::Iterations;

/// Batches at which the formula is compared with the expression: all small ones, and some large ones.
const SMALL: i64 = 300;
const LARGE: [i64; 5] = [511, 1000, 4097, 65_536, 1_000_003];

/// Finds `fixed + each·ceil(batch/images)`, or says that the expression has another form.
pub fn fit(end: &Expr) -> Result<Iterations, IterationsError> {
    let count = |batch: i64| end.eval(&KVars::from_iter([batch, 0, batch]));
    let fixed = count(0);
    let each = count(1) - fixed;
    if fixed < 0 || each < 0 {
        return Err(IterationsError::Negative);
    }
    let images = match each {
        0 => 1,
        // As long as the count stays the same, the images are still those of the first step.
        _ => (1..=LARGE[3]).take_while(|&b| count(b) == fixed + each).last().unwrap_or(1),
    };
    let iterations = Iterations { fixed: fixed as usize, each: each as usize, images: images as usize };
    for batch in (0..=SMALL).chain(LARGE) {
        let shifted = end.eval(&KVars::from_iter([batch, 7, batch + 19]));
        if iterations.count(batch as usize) as i64 != count(batch) || shifted != count(batch) {
            return Err(IterationsError::Form(batch));
        }
    }
    Ok(iterations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_found() {
        let iterations = |fixed, each, images| Ok(Iterations { fixed, each, images });
        assert_eq!(fit(&Expr::Const(5)), iterations(5, 0, 1));
        assert_eq!(fit(&(Expr::BATCH * 7)), iterations(0, 7, 1));
        assert_eq!(fit(&(Expr::BATCH.ceil_div(8) * 3 + 2)), iterations(2, 3, 8));
        assert_eq!(fit(&Expr::BATCH.ceil_div(1000)), iterations(0, 1, 1000));
        assert!(fit(&Expr::TOTAL).is_err());
        assert!(fit(&(Expr::BATCH * 3).ceil_div(2)).is_err());
        assert!(fit(&Expr::BATCH.div(2)).is_err());
        assert!(fit(&(Expr::BATCH - 1)).is_err());
    }
}
