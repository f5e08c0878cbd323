//! PReLU (He et al., 2015): a learned slope per channel for negative values.

use super::attr::attributes;
use super::schema::{LayerCx, LayerError, Schema};
use super::source::Init;
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::ir::Compare;
use crate::kernel::recipes::{elementwise, reduce};
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

/// The slope starts at 0.25 and has a bias's weight decay, that is none unless asked for: both as the paper says.
fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let channels = check::channels(&cx.operand_type(0))?;
    let multipliers = (cx.settings.rate, cx.settings.bias_decay);
    let slope = cx.param("weight", &[channels], Init::Constant { value: 0.25 }, multipliers, None)?;
    let x = cx.operands[0];
    Ok(cx.graph.add(Prelu {}, &[x, slope])?)
}

fn check_slope(x: &Type, slope: &Type) -> Result<(), String> {
    check::weight(slope, &[check::channels(x)?], "the slope")
}

attributes! {
    /// `(x, slope[C]) -> y`
    Prelu {}
}

impl OperatorDef for Prelu {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "prelu",
            doc: "x, or slope·x below 0, with a learned slope `NAME.weight` per channel.",
            operands: (1, 1),
            params: &[],
            weights: true,
            build: build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, slope] = check::exactly(operands)?;
        check_slope(x, slope)?;
        Ok(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        elementwise::map(site, "prelu", |b, v, lanes| {
            let zero = b.f32(0.0, lanes);
            let negative = b.compare(Compare::Lt, v[0], zero);
            let sloped = b.mul(v[0], v[1]);
            b.select(negative, sloped, v[0])
        })
    }

    super::no_products!();
}

attributes! {
    /// `(x, slope, dy) -> dx`
    PreluGradInput {}
}

impl OperatorDef for PreluGradInput {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, slope, dy] = check::exactly(operands)?;
        check_slope(x, slope)?;
        check::gradient(x, dy)?;
        Ok(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        elementwise::map(site, "prelu_grad", |b, v, lanes| {
            let zero = b.f32(0.0, lanes);
            let negative = b.compare(Compare::Lt, v[0], zero);
            let sloped = b.mul(v[2], v[1]);
            b.select(negative, sloped, v[2])
        })
    }

    super::no_products!();
}

attributes! {
    /// `(x, dy) -> dslope[C]`
    PreluGradSlope {}
}

impl OperatorDef for PreluGradSlope {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, dy] = check::exactly(operands)?;
        check::gradient(x, dy)?;
        check::sized(Type::shared(&[check::channels(x)?]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        reduce::channels(site, "prelu_slope", reduce::Mean::No, |b, v, lanes| {
            let zero = b.f32(0.0, lanes);
            let below = b.min(v[0], zero);
            b.mul(below, v[1])
        })
    }

    super::no_products!();
}
