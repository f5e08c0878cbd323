//! Fully connected layers.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::facts::{Folding, Reader, Receptive};
use super::layer;
use super::params::{Param, ParamSpec};
use super::reduce::ChannelSum;
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::{self, Stage};
use crate::types::Type;

/// Features of the result.
pub const FEATURES: Param<usize> = layer::channels("features", "Features of the result.").positional();
const LINEAR: &[ParamSpec] = &[FEATURES.spec, layer::BIAS.spec];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (inputs, outputs) = (cx.features()?, cx.get(FEATURES));
    let mut operands = vec![cx.operands[0]];
    operands.push(cx.weight("weight", &[outputs, inputs])?);
    if cx.get(layer::BIAS) {
        operands.push(cx.bias("bias", &[outputs])?);
    }
    Ok(cx.graph.add(Linear {}, &operands)?)
}

/// `[out, in]` of a linear layer's weight.
pub fn weight_dims(ty: &Type) -> Result<[usize; 2], ShapeError> {
    check::shared(ty, "a linear layer's weight")?;
    ty.dims.as_slice().try_into().map_err(|_| ShapeError(format!("a weight [out, in] is needed, but this is {ty}")))
}

/// Features in and out that tests try.
const SIZES: [(usize, usize); 4] = [(5, 7), (1, 1), (33, 10), (64, 17)];

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

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let ([x, w], bias) = check::with_optional(operands)?;
        let (features, [outputs, inputs]) = (check::features(x)?, weight_dims(w)?);
        if inputs != features {
            return Err(format!("the weight takes {inputs} features, but there are {features}").into());
        }
        if let Some(bias) = bias {
            check::weight(bias, &[outputs], "the bias")?;
        }
        check::sized(Type::batched(&[outputs]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, w) = (operands[0].real(), operands[1].real());
        let [outputs, inputs] = [w.dims[0], w.dims[1]];
        let value = |i: usize| {
            let (n, o) = (i / outputs, i % outputs);
            let bias = operands.get(2).map_or(0.0, |b| b.real().data[o].f64());
            (0..inputs).fold(bias, |sum, i| sum + x.data[n * inputs + i].f64() * w.data[o * inputs + i].f64())
        };
        reference::result(cx, (0..cx.batch * outputs).map(value).collect())
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, w, dy) = (cx.operands[0], cx.operands[1], cx.grad);
        let mut gradients =
            vec![cx.wanted(0, LinearGradInput {}, &[w, dy])?, cx.wanted(1, LinearGradWeight {}, &[x, dy])?];
        if cx.operands.len() == 3 {
            gradients.push(cx.wanted(2, ChannelSum {}, &[dy])?);
        }
        Ok(gradients)
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let stage = Stage { bias: cx.operands.len() == 3, ..Stage::default() };
        recipes::linear::forward(cx, stage)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[1].elements() as u64
    }

    super::usual!(elements, storage, memory);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        by != Reader::Tiles && operand < 2
    }

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Whole
    }

    fn folding(&self) -> Folding {
        Folding::ScaleAndNorm
    }

    fn cases() -> Vec<Case> {
        let case = |(f, o): (usize, usize), bias: bool| {
            let mut operands = vec![Type::batched(&[f]), Type::shared(&[o, f])];
            operands.extend(bias.then(|| Type::shared(&[o])));
            Case::new(Linear {}, 3, &operands)
        };
        SIZES.iter().flat_map(|&size| [case(size, true), case(size, false)]).collect()
    }
}

attributes! {
    /// `(w, dy) -> dx`
    LinearGradInput {}
}

impl OperatorDef for LinearGradInput {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [w, dy] = check::exactly(operands)?;
        let [outputs, inputs] = weight_dims(w)?;
        check::gradient(&Type::batched(&[outputs]), dy)?;
        check::sized(Type::batched(&[inputs]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (w, dy) = (operands[0].real(), operands[1].real());
        let [outputs, inputs] = [w.dims[0], w.dims[1]];
        let value = |i: usize| {
            let (n, i) = (i / inputs, i % inputs);
            (0..outputs).map(|o| w.data[o * inputs + i].f64() * dy.data[n * outputs + o].f64()).sum()
        };
        reference::result(cx, (0..cx.batch * inputs).map(value).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::linear::grad_input(cx)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[0].elements() as u64
    }

    super::usual!(elements, storage, receptive, memory, folding);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        // Only a GPU's recipes read bf16.
        by == Reader::Gpu && operand < 2
    }

    fn cases() -> Vec<Case> {
        let case =
            |&(f, o): &(usize, usize)| Case::new(LinearGradInput {}, 3, &[Type::shared(&[o, f]), Type::batched(&[o])]);
        SIZES.iter().map(case).collect()
    }
}

attributes! {
    /// `(x, dy) -> dw`
    LinearGradWeight {}
}

impl OperatorDef for LinearGradWeight {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        check::sized(Type::shared(&[check::features(dy)?, check::features(x)?]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[1].real());
        let [outputs, inputs] = [dy.dims[1], x.dims[1]];
        let value = |i: usize| {
            let (o, i) = (i / inputs, i % inputs);
            (0..cx.batch).map(|n| x.data[n * inputs + i].f64() * dy.data[n * outputs + o].f64()).sum()
        };
        reference::result(cx, (0..outputs * inputs).map(value).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::linear::grad_weight(cx)
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        result.elements() as u64
    }

    super::usual!(elements, storage, receptive, memory, folding);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        // Only a GPU's recipes read bf16.
        by == Reader::Gpu && operand < 2
    }

    fn cases() -> Vec<Case> {
        let case =
            |&(f, o): &(usize, usize)| Case::new(LinearGradWeight {}, 3, &[Type::batched(&[f]), Type::batched(&[o])]);
        SIZES.iter().map(case).collect()
    }
}
