//! Batch normalisation (Ioffe & Szegedy, 2015).

use super::arithmetic::Mix;
use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::params::{Bounds, Param, ParamSpec};
use super::reduce::ChannelSum;
use super::reference;
use super::sample_variance::SampleVariance;
use super::schema::{LayerCx, LayerError, Schema};
use super::source::{Fill, Init};
use super::{Case, Draw, GradCx};
use super::{Operator, OperatorDef, TrainCx, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::kernel::ir::Unary;
use crate::lower::{Constant, LowerCx, Lowered};
use crate::recipes::{batch_norm, elementwise, reduce};
use crate::types::Type;

const EPSILON: Param<f64> = Param::float("epsilon", Bounds::closed(1e-12, 1.0), "Added to the variance.").or(1e-5);
const MOMENTUM: Param<f64> =
    Param::float("momentum", Bounds::UNIT, "Weight of a batch in the running statistics.").or(0.1);
const BATCH_NORM: &[ParamSpec] = &[EPSILON.spec, MOMENTUM.spec];

/// Parameters: `weight` (gamma), `bias` (beta), `running_mean`, `running_var`.
fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let channels = check::channels(&cx.operand_type(0))?;
    let op = BatchNorm { epsilon: cx.get(EPSILON), momentum: cx.get(MOMENTUM) };
    let operands = [
        cx.operands[0],
        cx.weight_from("weight", &[channels], Init::Constant { value: 1.0 })?,
        cx.bias("bias", &[channels])?,
        cx.statistic("running_mean", &[channels], 0.0)?,
        cx.statistic("running_var", &[channels], 1.0)?,
    ];
    Ok(cx.graph.add(op, &operands)?)
}

/// Image or vector first, then shared values per channel.
fn per_channel(x: &Type, others: &[&Type]) -> Result<usize, ShapeError> {
    let channels = check::channels(x)?;
    for other in others {
        check::weight(other, &[channels], "a value per channel")?;
    }
    Ok(channels)
}

fn check_epsilon(epsilon: f64) -> Result<(), ShapeError> {
    if epsilon > 0.0 && epsilon.is_finite() { Ok(()) } else { Err(format!("epsilon {epsilon} is not above 0").into()) }
}

/// Shared values as functions of the channel.
fn values<T: Real, const N: usize>(operands: [&Value<T>; N]) -> [impl Fn(usize) -> f64; N] {
    operands.map(|o| |c: usize| o.real().data[c].f64())
}

/// Types that tests try.
fn tried() -> [Type; 3] {
    [Type::batched(&[5, 3, 4]), Type::batched(&[17]), Type::batched(&[8, 1, 1])]
}

attributes! {
    /// `(x, gamma[C], beta[C], mean[C], variance[C]) -> gamma·(x - mean)/sqrt(variance + epsilon) + beta`. At inference
    /// with the running statistics (`Param`s), in training with those of the batch. `momentum`: weight of the batch in
    /// the running statistics.
    BatchNorm {
        epsilon: f64,
        momentum: f64,
    }
}

impl OperatorDef for BatchNorm {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "batch_norm",
            doc: "Batch normalisation with learned scale `NAME.weight` and shift `NAME.bias` per channel.",
            operands: (1, 1),
            params: BATCH_NORM,
            weights: true,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, gamma, beta, mean, variance] = check::exactly(operands)?;
        per_channel(x, &[gamma, beta, mean, variance])?;
        check_epsilon(self.epsilon)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, [gamma, beta, mean, variance]) =
            (operands[0].real(), values(operands[1..5].try_into().expect("five operands")));
        let mut y = vec![0.0; x.data.len()];
        reference::each_plane(reference::planes(&x.dims), |c, places| {
            let factor = gamma(c) / (variance(c) + self.epsilon).sqrt();
            for place in places {
                y[place] = (x.data[place].f64() - mean(c)) * factor + beta(c);
            }
        });
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let &[x, gamma, _, mean, variance] = cx.operands.as_slice() else {
            return Err(TrainingError::Operands("batch_norm without its five operands"));
        };
        let (epsilon, dy) = (self.epsilon, cx.grad);
        let dgamma = BatchNormGradGamma { epsilon };
        let statistics = [mean, variance].map(|id| cx.graph.op(id).clone());
        let of_x = cx.graph.operands(mean).first() == Some(&x) && cx.graph.operands(variance) == [x, mean];
        if of_x && matches!(statistics, [Operator::BatchMean(_), Operator::BatchVariance(_)]) {
            // One operator holds the whole path through the statistics, so they pass nothing on themselves.
            let dgamma = cx.graph.add(dgamma, &[x, mean, variance, dy])?;
            let dbeta = cx.graph.add(ChannelSum {}, &[dy])?;
            let operands = [x, gamma, mean, variance, dy, dgamma, dbeta];
            let dx = cx.wanted(0, BatchNormGradInput { epsilon }, &operands)?;
            return Ok(vec![dx, Some(dgamma), Some(dbeta), None, None]);
        }
        if cx.needs[3] || cx.needs[4] {
            return Err(TrainingError::NoDerivative(
                "batch_norm is not differentiated with respect to statistics that are not the batch's own".into(),
            ));
        }
        // With constant statistics the layer is affine: its slope is the layer itself without mean and shift.
        let dx = if cx.needs[0] {
            let dims = cx.operand_type(1).dims;
            let zero = cx.graph.add(Fill { value: 0.0, batched: false, dims }, &[])?;
            Some(cx.graph.add(self.clone(), &[dy, gamma, zero, zero, variance])?)
        } else {
            None
        };
        let dgamma = cx.wanted(1, dgamma, &[x, mean, variance, dy])?;
        Ok(vec![dx, dgamma, cx.wanted(2, ChannelSum {}, &[dy])?, None, None])
    }
    super::differentiable!(except 3, 4);

    /// Normalises by the batch's statistics and moves the running ones towards them, the variance towards the unbiased
    /// one (as in the paper's algorithm 2). A frozen layer, whose scale and
    /// shift do not learn, stays what it is at inference, statistics included.
    fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, TrainingError> {
        let &[x, gamma, beta, running_mean, running_variance] = cx.operands.as_slice() else {
            return Err(TrainingError::Operands("batch_norm without its five operands"));
        };
        let fixed = |id| matches!(cx.graph.op(id), Operator::Param(param) if !param.trainable);
        if fixed(gamma) && fixed(beta) {
            return Ok(None);
        }
        let mean = cx.graph.add(BatchMean {}, &[x])?;
        let variance = cx.graph.add(BatchVariance {}, &[x, mean])?;
        let result = cx.graph.add(self.clone(), &[x, gamma, beta, mean, variance])?;
        let positions = cx.graph.ty(x).dims[1..].iter().product();
        let sample = cx.graph.add(SampleVariance { positions }, &[variance])?;
        for (running, batch) in [(running_mean, mean), (running_variance, sample)] {
            if matches!(cx.graph.op(running), Operator::Param(_)) {
                let value = cx.graph.add(Mix { weight: self.momentum }, &[running, batch])?;
                cx.graph.updates.push((running, value));
            }
        }
        Ok(Some(result))
    }

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let epsilon = Constant::from(self.epsilon as f32);
        elementwise::map_with(cx, "batch_norm", epsilon, |epsilon, b, v, lanes| {
            let epsilon = b.f32(epsilon.get(), lanes);
            let variance = b.add(v[4], epsilon);
            let deviation = b.unary(Unary::Sqrt, variance);
            let factor = b.div(v[1], deviation);
            let centred = b.sub(v[0], v[3]);
            b.fma(centred, factor, v[2])
        })
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        result.elements() as u64
    }

    super::usual!(factors, elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let channel = |ty: &Type| Type::shared(&ty.dims[..1]);
        let op = |epsilon| BatchNorm { epsilon, momentum: 0.1 };
        let case = |ty: &Type| {
            let c = channel(ty);
            Case::new(op(1e-3), 3, &[ty.clone(), c.clone(), c.clone(), c.clone(), c]).drawn(Draw::Positive)
        };
        tried().iter().map(case).collect()
    }
}

attributes! {
    /// `x -> [C]` over batch and positions.
    BatchMean {}
}

impl OperatorDef for BatchMean {
    super::internal!();

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
    super::no_derivative!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        reduce::channels(cx, "mean", reduce::Mean::OverAll, |_, v, _| v[0])
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        tried().iter().map(|ty| Case::new(BatchMean {}, 3, std::slice::from_ref(ty))).collect()
    }
}

attributes! {
    /// `(x, mean) -> [C]`, biased.
    BatchVariance {}
}

impl OperatorDef for BatchVariance {
    super::internal!();

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
    super::no_derivative!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        batch_norm::variance(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        tried().iter().map(|ty| Case::new(BatchVariance {}, 3, &[ty.clone(), Type::shared(&ty.dims[..1])])).collect()
    }
}

attributes! {
    /// `(x, mean, variance, dy) -> dgamma[C]`
    BatchNormGradGamma {
        epsilon: f64,
    }
}

impl OperatorDef for BatchNormGradGamma {
    super::internal!();

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

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        batch_norm::grad_gamma(cx, self.epsilon as f32)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

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
    /// `(x, gamma, mean, variance, dy, dgamma, dbeta) -> dx`, through the batch's statistics.
    BatchNormGradInput {
        epsilon: f64,
    }
}

impl OperatorDef for BatchNormGradInput {
    super::internal!();

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
                dx[place] =
                    gamma(c) / deviation * (dy.data[place].f64() - dbeta(c) / count - normal * dgamma(c) / count);
            }
        });
        reference::result(cx, dx)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        batch_norm::grad_input(cx, self.epsilon as f32)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |ty: &Type| {
            let (x, c) = (ty.clone(), Type::shared(&ty.dims[..1]));
            let operands = [x.clone(), c.clone(), c.clone(), c.clone(), x, c.clone(), c];
            Case::new(BatchNormGradInput { epsilon: 1e-3 }, 3, &operands).drawn(Draw::Positive)
        };
        tried().iter().map(case).collect()
    }
}
