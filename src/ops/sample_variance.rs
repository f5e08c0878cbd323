//! The variance that running statistics keep.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::{Case, GradCx, OperatorDef, check, reference};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::batch_norm;
use crate::types::Type;

attributes! {
    /// `variance[C] -> variance·n/(n - 1)`, n = images · positions: what a batch's variance says of that of all images
    /// (Bessel's correction). A batch of one value, which says nothing of it, stays as it is.
    SampleVariance {
        positions: usize,
    }
}

impl OperatorDef for SampleVariance {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [variance] = check::exactly(operands)?;
        check::weight(variance, &[variance.elements()], "a value per channel")?;
        match self.positions {
            0 => Err("a channel without positions".into()),
            _ => Ok(variance.clone()),
        }
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let count = (cx.total * self.positions) as f64;
        reference::map(cx, [operands[0]], |[variance]| variance * count / (count - 1.0).max(1.0))
    }

    fn gradient(&self, _cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        Err(TrainingError::NoDerivative("running statistics are not differentiated".into()))
    }
    super::no_derivative!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        batch_norm::sample_variance(cx, self.positions)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |positions, channels| Case::new(SampleVariance { positions }, 3, &[Type::shared(&[channels])]);
        vec![case(1, 5), case(12, 17)]
    }
}
