//! The batch's own statistics, per channel.

use super::{per_channel, tried};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::ops::attr::attributes;
use crate::ops::error::{ShapeError, TrainingError};
use crate::ops::facts::Reader;
use crate::ops::{Case, GradCx, OperatorDef, check, reference};
use crate::recipes::{batch_norm, reduce};
use crate::types::Type;

attributes! {
    /// `x -> [C]` over batch and positions.
    BatchMean {}
}

impl OperatorDef for BatchMean {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        check::sized(Type::shared(&[check::channels(x)?]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        let [_, channels, positions] = reference::planes(&x.dims);
        let mut sums = vec![0.0; channels];
        reference::each_plane(reference::planes(&x.dims), |c, places| {
            sums[c] += x.data[places].iter().map(|v| v.f64()).sum::<f64>();
        });
        let count = (cx.total * positions) as f64;
        reference::result(cx, sums.into_iter().map(|sum| sum / count).collect())
    }

    fn gradient(&self, _cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        Err(TrainingError::NoDerivative("the batch's mean is differentiated together with its batch_norm only".into()))
    }
    crate::ops::no_derivative!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        reduce::channels(cx, "mean", reduce::Mean::OverAll, |_, v, _| v[0])
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, receptive, memory, folding);

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        operand == 0 && by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        tried().iter().map(|ty| Case::new(BatchMean {}, 3, std::slice::from_ref(ty))).collect()
    }
}

attributes! {
    /// `(x, mean) -> [C]`, biased.
    BatchVariance {}
}

impl OperatorDef for BatchVariance {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, mean] = check::exactly(operands)?;
        check::sized(Type::shared(&[per_channel(x, &[mean])?]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, mean) = (operands[0].real(), operands[1].real());
        let [_, channels, positions] = reference::planes(&x.dims);
        let mut sums = vec![0.0; channels];
        reference::each_plane(reference::planes(&x.dims), |c, places| {
            sums[c] += x.data[places].iter().map(|v| (v.f64() - mean.data[c].f64()).powi(2)).sum::<f64>();
        });
        let count = (cx.total * positions) as f64;
        reference::result(cx, sums.into_iter().map(|sum| sum / count).collect())
    }

    fn gradient(&self, _cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        Err(TrainingError::NoDerivative(
            "the batch's variance is differentiated together with its batch_norm only".into(),
        ))
    }
    crate::ops::no_derivative!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        batch_norm::variance(cx)
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, receptive, memory, folding);

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        operand == 0 && by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        tried().iter().map(|ty| Case::new(BatchVariance {}, 3, &[ty.clone(), Type::shared(&ty.dims[..1])])).collect()
    }
}
