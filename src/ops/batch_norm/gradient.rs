//! Gradients of batch normalisation through the batch's statistics.

use super::{check_epsilon, per_channel, tried, values};
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::ops::attr::attributes;
use crate::ops::error::ShapeError;
use crate::ops::facts::Reader;
use crate::ops::{Case, Draw, OperatorDef, check, reference};
use crate::recipes::{Epilogue, batch_norm};
use crate::types::{Format, Type};

attributes! {
    /// `(x, mean, variance, dy) -> dgamma[C]`
    BatchNormGradGamma {
        epsilon: f64,
    }
}

impl OperatorDef for BatchNormGradGamma {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, mean, variance, dy] = check::exactly(operands)?;
        check_epsilon(self.epsilon)?;
        check::gradient(x, dy)?;
        check::sized(Type::shared(&[per_channel(x, &[mean, variance])?]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[3].real());
        let [mean, variance] = values([operands[1], operands[2]]);
        let mut sums = vec![0.0; cx.ty.elements()];
        reference::each_plane(reference::planes(&x.dims), |c, places| {
            let deviation = (variance(c) + self.epsilon).sqrt();
            for place in places {
                sums[c] += dy.data[place].f64() * (x.data[place].f64() - mean(c)) / deviation;
            }
        });
        reference::result(cx, sums)
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        batch_norm::grad_gamma(cx, self.epsilon as f32)
    }

    crate::ops::no_products!();

    crate::ops::usual!(elements, storage, receptive, memory, folding);

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        [0, 3].contains(&operand) && by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        let case = |ty: &Type| {
            let c = Type::shared(&ty.dims[..1]);
            Case::new(BatchNormGradGamma { epsilon: 1e-3 }, 3, &[ty.clone(), c.clone(), c, ty.clone()])
                .drawn(Draw::Positive)
        };
        tried().iter().map(case).collect()
    }
}

attributes! {
    /// `(x, gamma, mean, variance, dy, dgamma, dbeta) -> dx`, through the batch's statistics, rounded to `round`, if
    /// there is one.
    BatchNormGradInput {
        epsilon: f64,
        round: Option<Format> = None,
    }
}

impl BatchNormGradInput {
    /// The operand that is the gradient of the layer's result.
    pub const GRADIENT: usize = 4;
}

impl OperatorDef for BatchNormGradInput {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, gamma, mean, variance, dy, dgamma, dbeta] = check::exactly(operands)?;
        check_epsilon(self.epsilon)?;
        per_channel(x, &[gamma, mean, variance, dgamma, dbeta])?;
        check::gradient(x, dy)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[4].real());
        let [gamma, mean, variance, dgamma, dbeta] = values([1, 2, 3, 5, 6].map(|i| operands[i]));
        let planes = reference::planes(&x.dims);
        let count = (cx.total * planes[2]) as f64;
        let mut dx = vec![0.0; x.data.len()];
        reference::each_plane(planes, |c, places| {
            let deviation = (variance(c) + self.epsilon).sqrt();
            for place in places {
                let normal = (x.data[place].f64() - mean(c)) / deviation;
                let value =
                    gamma(c) / deviation * (dy.data[place].f64() - dbeta(c) / count - normal * dgamma(c) / count);
                dx[place] = self.round.map_or(value, |format| format.round(value));
            }
        });
        reference::result(cx, dx)
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        batch_norm::grad_input(cx, self.epsilon as f32, Epilogue::rounding(self.round))
    }

    crate::ops::no_products!();

    crate::ops::usual!(rounds, receptive, memory, folding);

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        [0, Self::GRADIENT].contains(&operand) && by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        let case = |ty: &Type| {
            let (x, c) = (ty.clone(), Type::shared(&ty.dims[..1]));
            let operands = [x.clone(), c.clone(), c.clone(), c.clone(), x, c.clone(), c];
            [None, Some(Format::Bf16)]
                .map(|round| Case::new(BatchNormGradInput { epsilon: 1e-3, round }, 3, &operands).drawn(Draw::Positive))
        };
        tried().iter().flat_map(case).collect()
    }
}
