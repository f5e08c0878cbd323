//! Dropout (Hinton et al., 2012).

use super::arithmetic::bits;
use super::attr::attributes;
use super::layer::{self, blame};
use super::schema::{Arg, Kind, LayerCx, LayerError, ParamSchema, Schema};
use super::{OperatorDef, TrainCx, check};
use crate::graph::NodeId;
use crate::kernel::recipes::{elementwise, random};
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

/// The probability of dropping.
pub const RATE: ParamSchema =
    layer::positional(layer::required("rate", Kind::Float(0.0, 1.0), "Probability of dropping, in [0, 1)."));

const DROPOUT: &[ParamSchema] = &[
    RATE,
    layer::optional(
        "inverted",
        Kind::Bool,
        Arg::Bool(true),
        "Training divides by 1 - rate; else inference multiplies by it, as in the paper's code.",
    ),
];

/// Argument `rate`, below 1.
pub fn checked_rate(cx: &LayerCx) -> Result<f64, LayerError> {
    let rate = cx.float("rate");
    check::rate(rate).map_err(|m| blame("rate", m, Some("a rate of 0.5 drops every other value".to_string())))?;
    Ok(rate)
}

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (rate, inverted, stream, x) = (checked_rate(cx)?, cx.bool("inverted"), cx.stream, cx.operands[0]);
    Ok(cx.graph.add(Dropout { rate, inverted, stream }, &[x])?)
}

attributes! {
    /// Inference. `inverted`: identity (training divides by 1 - rate). Else, as in the paper's code: `(1 - rate)·x`.
    Dropout {
        rate: f64,
        inverted: bool,
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
            build: build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check::rate(self.rate)?;
        let [x] = check::exactly(operands)?;
        check::per_image(x)?;
        Ok(x.clone())
    }

    super::rest!();

    fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, String> {
        let &Dropout { rate, inverted, stream } = self;
        Ok(Some(cx.graph.add(DropoutTrain { rate, inverted, stream }, &[cx.operands[0], cx.key])?))
    }

    fn lower(&self, site: &mut Site) -> Lowered {
        let factor = if self.inverted { 1.0 } else { 1.0 - self.rate };
        elementwise::map(site, &format!("scale_{}", bits(factor)), |b, v, lanes| {
            let factor = b.f32(factor as f32, lanes);
            b.mul(v[0], factor)
        })
    }

    super::no_products!();
}

attributes! {
    /// `(x, key) -> mask·x` (divided by 1 - rate if `inverted`). Its own gradient.
    DropoutTrain {
        rate: f64,
        inverted: bool,
        stream: u32,
    }
}

impl OperatorDef for DropoutTrain {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check::rate(self.rate)?;
        let [x, key] = check::exactly(operands)?;
        check::per_image(x)?;
        check::key(key)?;
        Ok(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let scale = if self.inverted { 1.0 / (1.0 - self.rate) } else { 1.0 };
        random::dropout(site, self.rate as f32, scale as f32, self.stream)
    }

    super::no_products!();
}
