//! Softmax and its logarithm over the channels of each position.

use super::attr::attributes;
use super::schema::{LayerCx, LayerError, Schema};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes::softmax;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

fn build_softmax(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let x = cx.operands[0];
    Ok(cx.graph.add(Softmax {}, &[x])?)
}

fn build_log_softmax(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let x = cx.operands[0];
    Ok(cx.graph.add(LogSoftmax {}, &[x])?)
}

fn of_channels(operands: &[Type]) -> Result<Type, String> {
    let [x] = check::exactly(operands)?;
    check::channels(x)?;
    Ok(x.clone())
}

fn of_gradient(operands: &[Type]) -> Result<Type, String> {
    let [y, dy] = check::exactly(operands)?;
    check::channels(y)?;
    check::gradient(y, dy)?;
    Ok(y.clone())
}

attributes! {
    /// `x -> exp(x - max) / Σ`
    Softmax {}
}

impl OperatorDef for Softmax {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "softmax",
            doc: "Probabilities over the channels of each position.",
            operands: (1, 1),
            params: &[],
            weights: false,
            build: build_softmax,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        of_channels(operands)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        softmax::softmax(site)
    }

    super::no_products!();
}

attributes! {
    /// `(y, dy) -> dx`
    SoftmaxGrad {}
}

impl OperatorDef for SoftmaxGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        of_gradient(operands)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        softmax::softmax_grad(site)
    }

    super::no_products!();
}

attributes! {
    /// `x -> x - max - ln Σ exp(x - max)`
    LogSoftmax {}
}

impl OperatorDef for LogSoftmax {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "log_softmax",
            doc: "Logarithms of the probabilities over the channels of each position.",
            operands: (1, 1),
            params: &[],
            weights: false,
            build: build_log_softmax,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        of_channels(operands)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        softmax::log_softmax(site)
    }

    super::no_products!();
}

attributes! {
    /// `(y, dy) -> dx`
    LogSoftmaxGrad {}
}

impl OperatorDef for LogSoftmaxGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        of_gradient(operands)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        softmax::log_softmax_grad(site)
    }

    super::no_products!();
}
