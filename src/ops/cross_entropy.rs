//! The loss.

use super::attr::attributes;
use super::schema::{LayerCx, LayerError, Schema};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes::softmax;
use crate::kernel::site::{Lowered, Site};
use crate::types::{DType, Type};

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    cx.features()?;
    Ok(cx.graph.add(CrossEntropy {}, &cx.operands)?)
}

attributes! {
    /// `(logits[C], target[C]) -> [] per image`: `-Σ target·log_softmax(logits)`. Not differentiated with respect to the target.
    CrossEntropy {}
}

impl OperatorDef for CrossEntropy {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "cross_entropy",
            doc: "Loss of each image: -Σ target·log_softmax(logits). The target is a distribution over the classes.",
            operands: (2, 2),
            params: &[],
            weights: false,
            build: build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [logits, target] = check::exactly(operands)?;
        check::features(logits)?;
        check::same(logits, target)?;
        Ok(Type::batched(&[]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        softmax::cross_entropy(site)
    }

    super::no_products!();
}

attributes! {
    /// `(logits, target, dy) -> dlogits`
    CrossEntropyGrad {}
}

impl OperatorDef for CrossEntropyGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [logits, target, dy] = check::exactly(operands)?;
        check::features(logits)?;
        check::same(logits, target)?;
        check::gradient(&Type::batched(&[]), dy)?;
        Ok(logits.clone())
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        softmax::cross_entropy_grad(site)
    }

    super::no_products!();
}

attributes! {
    /// `labels -> [classes]`: `1 - smoothing + smoothing/classes` at the label, `smoothing/classes` elsewhere.
    OneHot {
        classes: usize,
        smoothing: f64,
    }
}

impl OperatorDef for OneHot {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [labels] = check::exactly(operands)?;
        if labels.dtype != DType::I32 || !labels.batched || !labels.dims.is_empty() {
            return Err(format!("labels are one whole number per image, but this is {labels}"));
        }
        if !(0.0..=1.0).contains(&self.smoothing) {
            return Err(format!("a smoothing of {} is not in [0, 1]", self.smoothing));
        }
        check::sized(Type::batched(&[self.classes]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        softmax::one_hot(site, self.smoothing as f32)
    }

    super::no_products!();
}
