//! Batch normalisation (Ioffe & Szegedy, 2015).

use super::arithmetic::{Mix, bits};
use super::attr::attributes;
use super::layer;
use super::schema::{Arg, Kind, LayerCx, LayerError, ParamSchema, Schema};
use super::source::{Init, Param};
use super::{Operator, OperatorDef, TrainCx, check};
use crate::graph::NodeId;
use crate::kernel::ir::Unary;
use crate::kernel::recipes::{batch_norm, elementwise, reduce};
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

const BATCH_NORM: &[ParamSchema] = &[
    layer::optional("epsilon", Kind::Float(1e-12, 1.0), Arg::Float(1e-5), "Added to the variance."),
    layer::optional("momentum", Kind::Float(0.0, 1.0), Arg::Float(0.1), "Weight of a batch in the running statistics."),
];

/// Parameters: `weight` (gamma), `bias` (beta), `running_mean`, `running_var`.
fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let channels = check::channels(&cx.operand_type(0))?;
    let op = BatchNorm { epsilon: cx.float("epsilon"), momentum: cx.float("momentum") };
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
fn per_channel(x: &Type, others: &[&Type]) -> Result<usize, String> {
    let channels = check::channels(x)?;
    for other in others {
        check::weight(other, &[channels], "a value per channel")?;
    }
    Ok(channels)
}

fn check_epsilon(epsilon: f64) -> Result<(), String> {
    if epsilon > 0.0 && epsilon.is_finite() { Ok(()) } else { Err(format!("epsilon {epsilon} is not above 0")) }
}

attributes! {
    /// `(x, gamma[C], beta[C], mean[C], variance[C]) -> gamma·(x - mean)/sqrt(variance + epsilon) + beta`. At inference with the running
    /// statistics (`Param`s), in training with those of the batch. `momentum`: weight of the batch in the running statistics.
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
            build: build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, gamma, beta, mean, variance] = check::exactly(operands)?;
        per_channel(x, &[gamma, beta, mean, variance])?;
        check_epsilon(self.epsilon)?;
        Ok(x.clone())
    }

    super::rest!();

    /// Normalises by the batch's statistics and moves the running ones towards them.
    fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, String> {
        let &[x, gamma, beta, running_mean, running_variance] = cx.operands.as_slice() else {
            return Err("batch_norm without its five operands".into());
        };
        let mean = cx.graph.add(BatchMean {}, &[x])?;
        let variance = cx.graph.add(BatchVariance {}, &[x, mean])?;
        let result = cx.graph.add(self.clone(), &[x, gamma, beta, mean, variance])?;
        for (running, batch) in [(running_mean, mean), (running_variance, variance)] {
            if matches!(cx.graph.op(running), Operator::Param(Param { .. })) {
                let value = cx.graph.add(Mix { weight: self.momentum }, &[running, batch])?;
                cx.graph.updates.push((running, value));
            }
        }
        Ok(Some(result))
    }

    fn lower(&self, site: &mut Site) -> Lowered {
        let epsilon = self.epsilon as f32;
        elementwise::map(site, &format!("batch_norm_{}", bits(self.epsilon)), |b, v, lanes| {
            let epsilon = b.f32(epsilon, lanes);
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
}

attributes! {
    /// `x -> [C]` over batch and positions.
    BatchMean {}
}

impl OperatorDef for BatchMean {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        check::sized(Type::shared(&[check::channels(x)?]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        reduce::channels(site, "mean", reduce::Mean::OverAll, |_, v, _| v[0])
    }

    super::no_products!();
}

attributes! {
    /// `(x, mean) -> [C]`, biased.
    BatchVariance {}
}

impl OperatorDef for BatchVariance {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, mean] = check::exactly(operands)?;
        check::sized(Type::shared(&[per_channel(x, &[mean])?]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        batch_norm::variance(site)
    }

    super::no_products!();
}

attributes! {
    /// `(x, mean, variance, dy) -> dgamma[C]`
    BatchNormGradGamma {
        epsilon: f64,
    }
}

impl OperatorDef for BatchNormGradGamma {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, mean, variance, dy] = check::exactly(operands)?;
        check_epsilon(self.epsilon)?;
        check::gradient(x, dy)?;
        check::sized(Type::shared(&[per_channel(x, &[mean, variance])?]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        batch_norm::grad_gamma(site, self.epsilon as f32)
    }

    super::no_products!();
}

attributes! {
    /// `(x, gamma, mean, variance, dy, dgamma, dbeta) -> dx`, through the batch's statistics.
    BatchNormGradInput {
        epsilon: f64,
    }
}

impl OperatorDef for BatchNormGradInput {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, gamma, mean, variance, dy, dgamma, dbeta] = check::exactly(operands)?;
        check_epsilon(self.epsilon)?;
        per_channel(x, &[gamma, mean, variance, dgamma, dbeta])?;
        check::gradient(x, dy)?;
        Ok(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        batch_norm::grad_input(site, self.epsilon as f32)
    }

    super::no_products!();
}
