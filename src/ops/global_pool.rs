//! Pooling over the whole map; the result is a feature vector `[C]`.

use super::attr::attributes;
use super::schema::{LayerCx, LayerError, Schema};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes::global;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

fn build_avg(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    cx.image()?;
    let x = cx.operands[0];
    Ok(cx.graph.add(GlobalAvgPool {}, &[x])?)
}

fn build_max(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    cx.image()?;
    let x = cx.operands[0];
    Ok(cx.graph.add(GlobalMaxPool {}, &[x])?)
}

attributes! {
    /// `x[C, H, W] -> y[C]`
    GlobalAvgPool {}
}

impl OperatorDef for GlobalAvgPool {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "global_avg_pool",
            doc: "Mean of each channel's whole map: a feature vector.",
            operands: (1, 1),
            params: &[],
            weights: false,
            build: build_avg,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        let [channels, _, _] = check::image(x)?;
        check::sized(Type::batched(&[channels]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        global::avg(site)
    }

    super::no_products!();
}

attributes! {
    /// `dy[C] -> dx[C, height, width]`
    GlobalAvgPoolGrad {
        height: usize,
        width: usize,
    }
}

impl OperatorDef for GlobalAvgPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [dy] = check::exactly(operands)?;
        check::sized(Type::batched(&[check::features(dy)?, self.height, self.width]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        global::avg_grad(site)
    }

    super::no_products!();
}

attributes! {
    /// `x[C, H, W] -> y[C]`
    GlobalMaxPool {}
}

impl OperatorDef for GlobalMaxPool {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "global_max_pool",
            doc: "Maximum of each channel's whole map: a feature vector.",
            operands: (1, 1),
            params: &[],
            weights: false,
            build: build_max,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        let [channels, _, _] = check::image(x)?;
        check::sized(Type::batched(&[channels]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        global::max(site)
    }

    super::no_products!();
}

attributes! {
    /// `(x, dy) -> dx`, to the first maximum.
    GlobalMaxPoolGrad {}
}

impl OperatorDef for GlobalMaxPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, dy] = check::exactly(operands)?;
        let [channels, _, _] = check::image(x)?;
        check::gradient(&Type::batched(&[channels]), dy)?;
        check::sized(x.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        global::max_grad(site)
    }

    super::no_products!();
}
