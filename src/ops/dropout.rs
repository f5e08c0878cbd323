//! Dropout (Hinton et al., 2012).

use super::arithmetic::Scale;
use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::layer::blame;
use super::params::{Bounds, Param, ParamSpec};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, GradCx};
use super::{OperatorDef, TrainCx, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{Constant, LowerCx, Lowered};
use crate::recipes::{elementwise, random};
use crate::types::Type;
use ninc_runtime::philox;

/// The probability of dropping.
pub const RATE: Param<f64> = Param::float("rate", Bounds::UNIT, "Probability of dropping, in [0, 1).").positional();

const INVERTED: Param<bool> =
    Param::bool("inverted", "Training divides by 1 - rate; else inference multiplies by it, as in the paper's code.")
        .or(true);
const DROPOUT: &[ParamSpec] = &[RATE.spec, INVERTED.spec];

/// Argument `rate`, below 1.
pub fn checked_rate(cx: &LayerCx) -> Result<f64, LayerError> {
    let rate = cx.get(RATE);
    check::rate(rate).map_err(|e| blame(RATE, e.0, Some("a rate of 0.5 drops every other value".to_string())))?;
    Ok(rate)
}

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (rate, inverted, stream, x) = (checked_rate(cx)?, cx.get(INVERTED), cx.stream, cx.operands[0]);
    Ok(cx.graph.add(Dropout { rate, inverted, stream }, &[x])?)
}

attributes! {
    /// Inference. `inverted`: identity (training divides by 1 - rate). Else, as in the paper's code: `(1 - rate)·x`.
    Dropout {
        rate: f64,
        inverted: bool = true,
        stream: u32,
    }
}

impl OperatorDef for Dropout {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "dropout",
            doc: "Training sets values to 0 at random.",
            operands: (1, 1),
            params: DROPOUT,
            weights: false,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::rate(self.rate)?;
        let [x] = check::exactly(operands)?;
        check::per_image(x)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let factor = if self.inverted { 1.0 } else { 1.0 - self.rate };
        reference::map(cx, [operands[0]], |[x]| factor * x)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        if self.inverted {
            return Ok(vec![Some(cx.grad)]);
        }
        let (op, dy) = (Scale { factor: 1.0 - self.rate }, cx.grad);
        Ok(vec![cx.wanted(0, op, &[dy])?])
    }
    super::differentiable!();

    fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, TrainingError> {
        let &Dropout { rate, inverted, stream } = self;
        if rate == 0.0 {
            return Ok(Some(cx.operands[0]));
        }
        Ok(Some(cx.graph.add(DropoutTrain { rate, inverted, stream }, &[cx.operands[0], cx.key])?))
    }

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let factor = if self.inverted { 1.0 } else { 1.0 - self.rate };
        elementwise::map_with(cx, "scale", Constant::from(factor as f32), |factor, b, v, lanes| {
            let factor = b.f32(factor.get(), lanes);
            b.mul(v[0], factor)
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |rate, inverted| Case::new(Dropout { rate, inverted, stream: 1 }, 2, &[Type::batched(&[5, 3, 4])]);
        vec![case(0.5, true), case(0.3, false), case(0.0, false)]
    }
}

attributes! {
    /// `(x, key) -> mask·x` (divided by 1 - rate if `inverted`). Its own gradient.
    DropoutTrain {
        rate: f64,
        inverted: bool = true,
        stream: u32,
    }
}

impl OperatorDef for DropoutTrain {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::rate(self.rate)?;
        let [x, key] = check::exactly(operands)?;
        check::per_image(x)?;
        check::key(key)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, key) = (operands[0].real(), operands[1].int());
        let scale = if self.inverted { 1.0 / (1.0 - self.rate) } else { 1.0 };
        let key = [0, 1, 2, 3].map(|i| key.data[i] as u32);
        let mut y = vec![0.0; x.data.len()];
        let (each, places) = (cx.ty.elements(), reference::memory_places(cx.ty));
        for n in 0..cx.batch {
            let mut index = ((cx.first + n) * each) as u64;
            for &place in &places {
                // Compared in f32, as kernels do.
                let kept = philox::unit(philox::element(key, self.stream, index)) >= self.rate as f32;
                y[n * each + place] = if kept { scale * x.data[n * each + place].f64() } else { 0.0 };
                index += 1;
            }
        }
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (key, dy) = (cx.operands[1], cx.grad);
        Ok(vec![cx.wanted(0, self.clone(), &[dy, key])?, None])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let scale = if self.inverted { 1.0 / (1.0 - self.rate) } else { 1.0 };
        random::dropout(cx, self.rate as f32, scale as f32, self.stream)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |rate, inverted, stream, x: &[usize]| {
            Case::new(DropoutTrain { rate, inverted, stream }, 3, &[Type::batched(x), Type::ints(false, &[4])])
        };
        vec![
            case(0.5, true, 0, &[10, 3, 4]),
            case(0.3, false, 7, &[3, 5, 5]),
            case(0.9, true, 1, &[130]),
            case(0.0, true, 2, &[4, 2, 2]),
        ]
    }
}
