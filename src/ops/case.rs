//! Test cases of operators: drive the tests of value, gradient, support and speed.

use super::Operator;
use crate::types::Type;

/// One test case of an operator.
#[derive(Clone, Debug)]
pub struct Case {
    /// The operator.
    pub op: Operator,
    /// Types of its operands.
    pub operands: Vec<Type>,
    /// Images in the batch.
    pub batch: usize,
    /// How random operands are drawn.
    pub draw: Draw,
}

impl Case {
    /// Makes a case with normal operands.
    pub fn new(op: impl Into<Operator>, batch: usize, operands: &[Type]) -> Case {
        Case { op: op.into(), operands: operands.to_vec(), batch, draw: Draw::Normal }
    }

    /// Returns the case with operands drawn in another way.
    pub fn drawn(self, draw: Draw) -> Case {
        Case { draw, ..self }
    }
}

/// How the operands of a test case are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// Standard normal numbers.
    Normal,
    /// Normal numbers, no two elements closer than finite differences need: for maxima and kinks.
    Distinct,
    /// Numbers in (0.1, 1.1).
    Positive,
    /// Whole numbers: labels below this.
    Labels(usize),
}
