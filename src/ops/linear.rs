//! Fully connected layers.

use super::attr::attributes;
use super::layer;
use super::schema::{LayerCx, LayerError, ParamSchema, Schema};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes::{self, Stage};
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

const LINEAR: &[ParamSchema] =
    &[layer::positional(layer::required("features", layer::CHANNELS, "Features of the result.")), layer::bias()];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (inputs, outputs) = (cx.features()?, cx.int("features"));
    let mut operands = vec![cx.operands[0]];
    operands.push(cx.weight("weight", &[outputs, inputs])?);
    if cx.bool("bias") {
        operands.push(cx.bias("bias", &[outputs])?);
    }
    Ok(cx.graph.add(Linear {}, &operands)?)
}

/// `[out, in]` of a linear layer's weight.
pub fn weight_dims(ty: &Type) -> Result<[usize; 2], String> {
    check::shared(ty, "a linear layer's weight")?;
    ty.dims.as_slice().try_into().map_err(|_| format!("a weight [out, in] is needed, but this is {ty}"))
}

attributes! {
    /// `(x[F], w[O, F], [b[O]]) -> y[O]`
    Linear {}
}

impl OperatorDef for Linear {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "linear",
            doc: "Fully connected layer with learned weights `NAME.weight` [out, in] and `NAME.bias`.",
            operands: (1, 1),
            params: LINEAR,
            weights: true,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let ([x, w], bias) = check::with_optional(operands)?;
        let (features, [outputs, inputs]) = (check::features(x)?, weight_dims(w)?);
        if inputs != features {
            return Err(format!("the weight takes {inputs} features, but there are {features}"));
        }
        if let Some(bias) = bias {
            check::weight(bias, &[outputs], "the bias")?;
        }
        check::sized(Type::batched(&[outputs]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let stage = Stage { bias: site.operands.len() == 3, activation: None };
        recipes::linear::forward(site, stage)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[1].elements() as u64
    }
}

attributes! {
    /// `(w, dy) -> dx`
    LinearGradInput {}
}

impl OperatorDef for LinearGradInput {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [w, dy] = check::exactly(operands)?;
        let [outputs, inputs] = weight_dims(w)?;
        check::gradient(&Type::batched(&[outputs]), dy)?;
        check::sized(Type::batched(&[inputs]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::linear::grad_input(site)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[0].elements() as u64
    }
}

attributes! {
    /// `(x, dy) -> dw`
    LinearGradWeight {}
}

impl OperatorDef for LinearGradWeight {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, dy] = check::exactly(operands)?;
        check::sized(Type::shared(&[check::features(dy)?, check::features(x)?]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::linear::grad_weight(site)
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        result.elements() as u64
    }
}
