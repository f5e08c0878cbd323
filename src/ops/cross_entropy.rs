//! The loss.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::softmax::log_softmax;
use super::{Case, Draw, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes;
use crate::types::{DType, Type};

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    cx.features()?;
    Ok(cx.graph.add(CrossEntropy {}, &cx.operands)?)
}

attributes! {
    /// `(logits[C], target[C]) -> [] per image`: `-Σ target·log_softmax(logits)`. Not differentiated with respect to
    /// the target.
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
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [logits, target] = check::exactly(operands)?;
        check::features(logits)?;
        check::same(logits, target)?;
        Ok(Type::batched(&[]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (logits, target) = (operands[0].real(), operands[1].real());
        let classes = logits.dims[1];
        let loss = |n: usize| {
            let row = |t: &[T]| t[n * classes..(n + 1) * classes].iter().map(|v| v.f64()).collect::<Vec<_>>();
            let (log, target) = (log_softmax(&row(&logits.data)), row(&target.data));
            // A class that the target leaves out counts nothing, even at a probability of 0.
            -log.iter().zip(&target).filter(|(_, t)| **t != 0.0).map(|(l, t)| l * t).sum::<f64>()
        };
        reference::result(cx, (0..cx.batch).map(loss).collect())
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (logits, target, dy) = (cx.operands[0], cx.operands[1], cx.grad);
        Ok(vec![cx.wanted(0, CrossEntropyGrad {}, &[logits, target, dy])?, None])
    }
    super::differentiable!(except 1);
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::softmax::cross_entropy(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |c| Case::new(CrossEntropy {}, 5, &[Type::batched(&[c]), Type::batched(&[c])]);
        vec![case(10), case(1), case(33)]
    }
}

attributes! {
    /// `(logits, target, dy) -> dlogits`
    CrossEntropyGrad {}
}

impl OperatorDef for CrossEntropyGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [logits, target, dy] = check::exactly(operands)?;
        check::features(logits)?;
        check::same(logits, target)?;
        check::gradient(&Type::batched(&[]), dy)?;
        Ok(logits.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (logits, target, dy) = (operands[0].real(), operands[1].real(), operands[2].real());
        let classes = logits.dims[1];
        let mut gradient = Vec::with_capacity(logits.data.len());
        for n in 0..cx.batch {
            let row = |t: &[T]| t[n * classes..(n + 1) * classes].iter().map(|v| v.f64()).collect::<Vec<_>>();
            let (log, target) = (log_softmax(&row(&logits.data)), row(&target.data));
            let sum: f64 = target.iter().sum();
            gradient.extend(log.iter().zip(&target).map(|(l, t)| dy.data[n].f64() * (l.exp() * sum - t)));
        }
        reference::result(cx, gradient)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::softmax::cross_entropy_grad(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |c| {
            let row = Type::batched(&[c]);
            Case::new(CrossEntropyGrad {}, 5, &[row.clone(), row, Type::batched(&[])])
        };
        vec![case(10), case(1), case(33)]
    }
}

attributes! {
    /// `labels -> [classes]`: `1 - smoothing + smoothing/classes` at the label, `smoothing/classes` elsewhere.
    OneHot {
        classes: usize,
        smoothing: f64 = 0.0,
    }
}

impl OperatorDef for OneHot {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [labels] = check::exactly(operands)?;
        if labels.dtype != DType::I32 || !labels.batched || !labels.dims.is_empty() {
            return Err(format!("labels are one whole number per image, but this is {labels}").into());
        }
        if !(0.0..=1.0).contains(&self.smoothing) {
            return Err(format!("a smoothing of {} is not in [0, 1]", self.smoothing).into());
        }
        check::sized(Type::batched(&[self.classes]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let labels = operands[0].int();
        let (hit, miss) =
            (1.0 - self.smoothing + self.smoothing / self.classes as f64, self.smoothing / self.classes as f64);
        let class = |i: usize| if labels.data[i / self.classes] == (i % self.classes) as i32 { hit } else { miss };
        reference::result(cx, (0..cx.batch * self.classes).map(class).collect())
    }

    fn gradient(&self, _cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        Ok(vec![None])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::softmax::one_hot(cx, self.smoothing as f32)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |classes, smoothing| {
            let draw = Draw::Labels(classes);
            Case::new(OneHot { classes, smoothing }, 7, &[Type::ints(true, &[])]).drawn(draw)
        };
        vec![case(10, 0.0), case(3, 0.1), case(100, 1.0)]
    }
}
