//! Softmax and its logarithm over the channels of each position.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::reference;
use super::reshape::without_reshape;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, Draw, GradCx};
use super::{Operator, OperatorDef, check};
use crate::graph::interp::{EvalCx, Real, Value};
use crate::graph::{Graph, NodeId};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::softmax;
use crate::types::Type;

fn build_softmax(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let x = cx.operands[0];
    Ok(cx.graph.add(Softmax {}, &[x])?)
}

fn build_log_softmax(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let x = cx.operands[0];
    Ok(cx.graph.add(LogSoftmax {}, &[x])?)
}

fn of_channels(operands: &[Type]) -> Result<Type, ShapeError> {
    let [x] = check::exactly(operands)?;
    check::channels(x)?;
    Ok(x.clone())
}

fn of_gradient(operands: &[Type]) -> Result<Type, ShapeError> {
    let [y, dy] = check::exactly(operands)?;
    check::channels(y)?;
    check::gradient(y, dy)?;
    Ok(y.clone())
}

/// Finds a result's scores: what a final softmax reads, or the result itself.
pub fn scores(graph: &Graph, result: NodeId) -> NodeId {
    let last = without_reshape(graph, result);
    match graph.op(last) {
        Operator::Softmax(_) | Operator::LogSoftmax(_) => graph.operands(last)[0],
        _ => result,
    }
}

/// Computes `x - max - ln Σ exp(x - max)`.
pub fn log_softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log = x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    x.iter().map(|x| x - max - log).collect()
}

/// Images and vectors that tests try.
const TRIED: [&[usize]; 4] = [&[5, 3, 4], &[10], &[1], &[33, 1, 1]];

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

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        of_channels(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::over_channels(cx, [operands[0]], |[x]| log_softmax(x).into_iter().map(f64::exp).collect())
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (y, dy) = (cx.result, cx.grad);
        Ok(vec![cx.wanted(0, SoftmaxGrad {}, &[y, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        softmax::softmax(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        TRIED.iter().map(|x| Case::new(Softmax {}, 2, &[Type::batched(x)])).collect()
    }
}

attributes! {
    /// `(y, dy) -> dx`
    SoftmaxGrad {}
}

impl OperatorDef for SoftmaxGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        of_gradient(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::over_channels(cx, [operands[0], operands[1]], |[y, dy]| {
            let mean: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
            y.iter().zip(dy).map(|(y, dy)| y * (dy - mean)).collect()
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        softmax::softmax_grad(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        TRIED
            .iter()
            .map(|x| Case::new(SoftmaxGrad {}, 2, &[Type::batched(x), Type::batched(x)]).drawn(Draw::Positive))
            .collect()
    }
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

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        of_channels(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::over_channels(cx, [operands[0]], |[x]| log_softmax(x))
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (y, dy) = (cx.result, cx.grad);
        Ok(vec![cx.wanted(0, LogSoftmaxGrad {}, &[y, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        softmax::log_softmax(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        TRIED.iter().map(|x| Case::new(LogSoftmax {}, 2, &[Type::batched(x)])).collect()
    }
}

attributes! {
    /// `(y, dy) -> dx`
    LogSoftmaxGrad {}
}

impl OperatorDef for LogSoftmaxGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        of_gradient(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::over_channels(cx, [operands[0], operands[1]], |[y, dy]| {
            let sum: f64 = dy.iter().sum();
            y.iter().zip(dy).map(|(y, dy)| dy - y.exp() * sum).collect()
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        softmax::log_softmax_grad(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        TRIED
            .iter()
            .map(|x| Case::new(LogSoftmaxGrad {}, 2, &[Type::batched(x), Type::batched(x)]).drawn(Draw::Normal))
            .collect()
    }
}
