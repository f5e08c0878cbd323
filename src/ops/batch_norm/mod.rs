//! Batch normalisation (Ioffe & Szegedy, 2015).

mod gradient;
mod statistics;

pub use gradient::{BatchNormGradGamma, BatchNormGradInput};
pub use statistics::{BatchMean, BatchVariance};

use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::ops::activation::Function;
use crate::ops::arithmetic::Mix;
use crate::ops::attr::attributes;
use crate::ops::error::{ShapeError, TrainingError};
use crate::ops::facts::{Derivative, Reader};
use crate::ops::params::{Bounds, Param, ParamSpec};
use crate::ops::reduce::ChannelSum;
use crate::ops::reference;
use crate::ops::sample_variance::SampleVariance;
use crate::ops::schema::{LayerCx, LayerError, Schema};
use crate::ops::source::{Fill, Init};
use crate::ops::{Case, Draw, GradCx};
use crate::ops::{Operator, OperatorDef, TrainCx, check};
use crate::recipes::{Epilogue, batch_norm, elementwise};
use crate::types::{Format, Type};

const EPSILON: Param<f64> = Param::float("epsilon", Bounds::closed(1e-12, 1.0), "Added to the variance.").or(1e-5);
const MOMENTUM: Param<f64> =
    Param::float("momentum", Bounds::UNIT, "Weight of a batch in the running statistics.").or(0.1);
const SCALE: Param<bool> = Param::bool("scale", "Learns the scale; `false` keeps it at 1.").or(true);
const BATCH_NORM: &[ParamSpec] = &[EPSILON.spec, MOMENTUM.spec, SCALE.spec];

/// Parameters: `weight` (gamma), `bias` (beta), `running_mean`, `running_var`.
fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let channels = check::channels(&cx.operand_type(0))?;
    let op = BatchNorm::plain(cx.get(EPSILON), cx.get(MOMENTUM));
    // Kept with the weights either way, as PyTorch does.
    let scale = match cx.get(SCALE) {
        true => cx.weight_from("weight", &[channels], Init::Constant { value: 1.0 })?,
        false => cx.statistic("weight", &[channels], 1.0)?,
    };
    let operands = [
        cx.operands[0],
        scale,
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
    /// the running statistics. Training applies the activation behind it, if there is one, and rounds to `round`.
    BatchNorm {
        epsilon: f64,
        momentum: f64,
        activation: Option<Function> = None,
        round: Option<Format> = None,
    }
}

impl BatchNorm {
    /// Makes the layer as the language has it.
    pub fn plain(epsilon: f64, momentum: f64) -> BatchNorm {
        BatchNorm { epsilon, momentum, activation: None, round: None }
    }

    /// What happens to the normalised values.
    fn epilogue(&self) -> Epilogue {
        Epilogue { activation: self.activation.map(Function::recipe), round: self.round }
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
                let value = (x.data[place].f64() - mean(c)) * factor + beta(c);
                let value = self.activation.map_or(value, |function| function.value(value));
                y[place] = self.round.map_or(value, |format| format.round(value));
            }
        });
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let &[x, gamma, _, mean, variance] = cx.operands.as_slice() else {
            return Err(TrainingError::Operands("batch_norm without its five operands"));
        };
        if self.activation.is_some() || self.round.is_some() {
            return Err(TrainingError::NoDerivative("batch_norm is differentiated before it is fused".into()));
        }
        let (epsilon, dy) = (self.epsilon, cx.grad);
        let dgamma = BatchNormGradGamma { epsilon };
        let statistics = [mean, variance].map(|id| cx.graph.op(id).clone());
        let of_x = cx.graph.operands(mean).first() == Some(&x) && cx.graph.operands(variance) == [x, mean];
        if of_x && matches!(statistics, [Operator::BatchMean(_), Operator::BatchVariance(_)]) {
            // One operator holds the whole path through the statistics, so they pass nothing on themselves.
            let dgamma = cx.graph.add(dgamma, &[x, mean, variance, dy])?;
            let dbeta = cx.graph.add(ChannelSum {}, &[dy])?;
            let operands = [x, gamma, mean, variance, dy, dgamma, dbeta];
            let dx = cx.wanted(0, BatchNormGradInput { epsilon, round: None }, &operands)?;
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

    fn derivative(&self) -> Derivative {
        match (self.activation, self.round) {
            (None, None) => Derivative::Except(&[3, 4]),
            // It is fused when gradients are there.
            _ => Derivative::None,
        }
    }

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
        let end = self.epilogue().stored_as(cx.elem(cx.result.buffer));
        let what = format!("batch_norm{}", end.name());
        // Gamma's place takes the whole factor, and the variance is done with.
        cx.operands[1] = batch_norm::scale(cx, self.epsilon as f32, [1, 4]);
        cx.operands.truncate(4);
        elementwise::map_with(cx, &what, end, |end, b, v, _| {
            let centred = b.sub(v[0], v[3]);
            let value = b.fma(centred, v[1], v[2]);
            end.apply(b, value)
        })
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        result.elements() as u64
    }

    crate::ops::usual!(rounds, factors, receptive, memory, folding);

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        operand == 0 && by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        let channel = |ty: &Type| Type::shared(&ty.dims[..1]);
        let plain = BatchNorm::plain(1e-3, 0.1);
        let fused = BatchNorm { activation: Some(Function::Relu), round: Some(Format::Bf16), ..plain.clone() };
        let case = |ty: &Type| {
            let c = channel(ty);
            let operands = [ty.clone(), c.clone(), c.clone(), c.clone(), c];
            [&plain, &fused].map(|op| Case::new(op.clone(), 3, &operands).drawn(Draw::Positive))
        };
        tried().iter().flat_map(case).collect()
    }
}
