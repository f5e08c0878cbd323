//! DropConnect (Wan et al., 2013): a linear layer whose weights and biases are dropped anew for each image.

use super::arithmetic::Scale;
use super::attr::attributes;
use super::dropout::RATE;
use super::error::{ShapeError, TrainingError};
use super::facts::Receptive;
use super::linear::{FEATURES, weight_dims};
use super::linear::{LinearGradInput, LinearGradWeight};
use super::params::ParamSpec;
use super::reduce::ChannelSum;
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, GradCx};
use super::{OperatorDef, TrainCx, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::drop_connect;
use crate::types::Type;
use ninc_runtime::philox::{self, StepKey};

const DROP_CONNECT: &[ParamSpec] = &[FEATURES.spec, RATE.spec];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (inputs, outputs, rate) = (cx.features()?, cx.get(FEATURES), super::dropout::checked_rate(cx)?);
    let stream = cx.stream;
    let operands = [cx.operands[0], cx.weight("weight", &[outputs, inputs])?, cx.bias("bias", &[outputs])?];
    Ok(cx.graph.add(DropConnect { rate, stream }, &operands)?)
}

/// Type of the layer's result.
fn linear(x: &Type, w: &Type, b: &Type) -> Result<Type, ShapeError> {
    let (features, [outputs, inputs]) = (check::features(x)?, weight_dims(w)?);
    if inputs != features {
        return Err(format!("the weight takes {inputs} features, but there are {features}").into());
    }
    check::weight(b, &[outputs], "the bias")?;
    check::sized(Type::batched(&[outputs]))
}

/// Which weights each image keeps; the numbering is that of `recipes::drop_connect`.
struct Mask {
    key: StepKey,
    stream: u32,
    rate: f32,
    /// Index of the first image in the whole batch.
    first: usize,
    outputs: usize,
    inputs: usize,
}

impl Mask {
    fn new<T: Real>(cx: &EvalCx, key: &Value<T>, (rate, stream): (f64, u32), [outputs, inputs]: [usize; 2]) -> Mask {
        let key = [0, 1, 2, 3].map(|i| key.int().data[i] as u32);
        Mask { key, stream, rate: rate as f32, first: cx.first, outputs, inputs }
    }

    /// The bias is the input after the last.
    fn keeps(&self, image: usize, input: usize, output: usize) -> bool {
        let index = ((self.first + image) * (self.inputs + 1) + input) * self.outputs + output;
        philox::unit(philox::element(self.key, self.stream, index as u64)) >= self.rate
    }
}

attributes! {
    /// Inference, the mean over all masks: `(x[F], w[O, F], b[O]) -> (1 - rate)·(w·x + b)`
    DropConnect {
        rate: f64,
        stream: u32,
    }
}

impl OperatorDef for DropConnect {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "drop_connect",
            doc: "Fully connected layer whose weights are dropped anew for each image in training.",
            operands: (1, 1),
            params: DROP_CONNECT,
            weights: true,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::rate(self.rate)?;
        let [x, w, b] = check::exactly(operands)?;
        linear(x, w, b)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, w, b) = (operands[0].real(), operands[1].real(), operands[2].real());
        let [outputs, inputs] = [w.dims[0], w.dims[1]];
        let value = |i: usize| {
            let (n, o) = (i / outputs, i % outputs);
            let products = (0..inputs).map(|i| x.data[n * inputs + i].f64() * w.data[o * inputs + i].f64());
            (1.0 - self.rate) * (products.sum::<f64>() + b.data[o].f64())
        };
        reference::result(cx, (0..cx.batch * outputs).map(value).collect())
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, w) = (cx.operands[0], cx.operands[1]);
        let dy = cx.graph.add(Scale { factor: 1.0 - self.rate }, &[cx.grad])?;
        Ok(vec![
            cx.wanted(0, LinearGradInput {}, &[w, dy])?,
            cx.wanted(1, LinearGradWeight {}, &[x, dy])?,
            cx.wanted(2, ChannelSum {}, &[dy])?,
        ])
    }
    super::differentiable!();

    fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, TrainingError> {
        let mut operands = cx.operands.clone();
        operands.push(cx.key);
        Ok(Some(cx.graph.add(DropConnectTrain { rate: self.rate, stream: self.stream }, &operands)?))
    }

    /// The mean over masks scales the result as a whole: that of a linear layer, scaled afterwards.
    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        drop_connect::mean(cx, self.rate)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[1].elements() as u64
    }

    super::usual!(elements, storage, reads_bf16, memory, folding);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Whole
    }

    fn cases() -> Vec<Case> {
        let case = |(f, o): (usize, usize)| {
            let operands = [Type::batched(&[f]), Type::shared(&[o, f]), Type::shared(&[o])];
            Case::new(DropConnect { rate: 0.3, stream: 0 }, 3, &operands)
        };
        [(5, 7), (33, 10), (1, 1)].map(case).to_vec()
    }
}

attributes! {
    /// `(x, w, b, key) -> y`; the numbering of random elements is in `recipes::drop_connect`.
    DropConnectTrain {
        rate: f64,
        stream: u32,
    }
}

impl OperatorDef for DropConnectTrain {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::rate(self.rate)?;
        let [x, w, b, key] = check::exactly(operands)?;
        check::key(key)?;
        linear(x, w, b)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, w, b) = (operands[0].real(), operands[1].real(), operands[2].real());
        let [outputs, inputs] = [w.dims[0], w.dims[1]];
        let mask = Mask::new(cx, operands[3], (self.rate, self.stream), [outputs, inputs]);
        let value = |i: usize| {
            let (n, o) = (i / outputs, i % outputs);
            let kept = (0..inputs).filter(|&i| mask.keeps(n, i, o));
            let sum: f64 = kept.map(|i| x.data[n * inputs + i].f64() * w.data[o * inputs + i].f64()).sum();
            if mask.keeps(n, inputs, o) { sum + b.data[o].f64() } else { sum }
        };
        reference::result(cx, (0..cx.batch * outputs).map(value).collect())
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let &DropConnectTrain { rate, stream } = self;
        let &[x, w, _, key] = cx.operands.as_slice() else {
            return Err(TrainingError::Operands("drop_connect_train without its four operands"));
        };
        let (inputs, dy) = (cx.operand_type(0).elements(), cx.grad);
        Ok(vec![
            cx.wanted(0, DropConnectGradInput { rate, stream }, &[w, dy, key])?,
            cx.wanted(1, DropConnectGradWeight { rate, stream }, &[x, dy, key])?,
            cx.wanted(2, DropConnectGradBias { rate, stream, inputs }, &[dy, key])?,
            None,
        ])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        drop_connect::train(cx, self.rate as f32, self.stream)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[1].elements() as u64
    }

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn cases() -> Vec<Case> {
        let key = Type::ints(false, &[4]);
        let case = |(f, o): (usize, usize)| {
            let operands = [Type::batched(&[f]), Type::shared(&[o, f]), Type::shared(&[o]), key.clone()];
            Case::new(DropConnectTrain { rate: 0.4, stream: 5 }, 3, &operands)
        };
        [(5, 7), (33, 10), (1, 1)].map(case).to_vec()
    }
}

attributes! {
    /// `(w, dy, key) -> dx`
    DropConnectGradInput {
        rate: f64,
        stream: u32,
    }
}

impl OperatorDef for DropConnectGradInput {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::rate(self.rate)?;
        let [w, dy, key] = check::exactly(operands)?;
        check::key(key)?;
        let [outputs, inputs] = weight_dims(w)?;
        check::gradient(&Type::batched(&[outputs]), dy)?;
        check::sized(Type::batched(&[inputs]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (w, dy) = (operands[0].real(), operands[1].real());
        let [outputs, inputs] = [w.dims[0], w.dims[1]];
        let mask = Mask::new(cx, operands[2], (self.rate, self.stream), [outputs, inputs]);
        let value = |i: usize| {
            let (n, i) = (i / inputs, i % inputs);
            let kept = (0..outputs).filter(|&o| mask.keeps(n, i, o));
            kept.map(|o| w.data[o * inputs + i].f64() * dy.data[n * outputs + o].f64()).sum()
        };
        reference::result(cx, (0..cx.batch * inputs).map(value).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        drop_connect::grad_input(cx, self.rate as f32, self.stream)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[0].elements() as u64
    }

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn cases() -> Vec<Case> {
        let key = Type::ints(false, &[4]);
        let case = |(f, o): (usize, usize)| {
            let operands = [Type::shared(&[o, f]), Type::batched(&[o]), key.clone()];
            Case::new(DropConnectGradInput { rate: 0.4, stream: 5 }, 3, &operands)
        };
        [(5, 7), (33, 10), (1, 1)].map(case).to_vec()
    }
}

attributes! {
    /// `(x, dy, key) -> dw`
    DropConnectGradWeight {
        rate: f64,
        stream: u32,
    }
}

impl OperatorDef for DropConnectGradWeight {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::rate(self.rate)?;
        let [x, dy, key] = check::exactly(operands)?;
        check::key(key)?;
        check::sized(Type::shared(&[check::features(dy)?, check::features(x)?]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[1].real());
        let [outputs, inputs] = [dy.dims[1], x.dims[1]];
        let mask = Mask::new(cx, operands[2], (self.rate, self.stream), [outputs, inputs]);
        let value = |i: usize| {
            let (o, i) = (i / inputs, i % inputs);
            let kept = (0..cx.batch).filter(|&n| mask.keeps(n, i, o));
            kept.map(|n| x.data[n * inputs + i].f64() * dy.data[n * outputs + o].f64()).sum()
        };
        reference::result(cx, (0..outputs * inputs).map(value).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        drop_connect::grad_weight(cx, self.rate as f32, self.stream)
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        result.elements() as u64
    }

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn factors(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn cases() -> Vec<Case> {
        let key = Type::ints(false, &[4]);
        let case = |(f, o): (usize, usize)| {
            let operands = [Type::batched(&[f]), Type::batched(&[o]), key.clone()];
            Case::new(DropConnectGradWeight { rate: 0.4, stream: 5 }, 3, &operands)
        };
        [(5, 7), (33, 10), (1, 1)].map(case).to_vec()
    }
}

attributes! {
    /// `(dy, key) -> db`
    DropConnectGradBias {
        rate: f64,
        stream: u32,
        /// F
        inputs: usize,
    }
}

impl OperatorDef for DropConnectGradBias {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::rate(self.rate)?;
        let [dy, key] = check::exactly(operands)?;
        check::key(key)?;
        check::sized(Type::shared(&[check::features(dy)?]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let dy = operands[0].real();
        let outputs = dy.dims[1];
        let mask = Mask::new(cx, operands[1], (self.rate, self.stream), [outputs, self.inputs]);
        let value = |o: usize| {
            let kept = (0..cx.batch).filter(|&n| mask.keeps(n, self.inputs, o));
            kept.map(|n| dy.data[n * outputs + o].f64()).sum()
        };
        reference::result(cx, (0..outputs).map(value).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        drop_connect::grad_bias(cx, self.rate as f32, self.stream, self.inputs)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let key = Type::ints(false, &[4]);
        let case = |(f, o): (usize, usize)| {
            let op = DropConnectGradBias { rate: 0.4, stream: 5, inputs: f };
            Case::new(op, 3, &[Type::batched(&[o]), key.clone()])
        };
        [(5, 7), (33, 10), (1, 1)].map(case).to_vec()
    }
}
