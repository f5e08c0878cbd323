//! DropConnect (Wan et al., 2013): a linear layer whose weights and biases are dropped anew for each image.

use super::attr::attributes;
use super::dropout::RATE;
use super::layer;
use super::linear::weight_dims;
use super::schema::{LayerCx, LayerError, ParamSchema, Schema};
use super::{OperatorDef, TrainCx, check};
use crate::graph::NodeId;
use crate::kernel::recipes::drop_connect;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

const DROP_CONNECT: &[ParamSchema] =
    &[layer::positional(layer::required("features", layer::CHANNELS, "Features of the result.")), RATE];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (inputs, outputs, rate) = (cx.features()?, cx.int("features"), super::dropout::checked_rate(cx)?);
    let stream = cx.stream;
    let operands = [cx.operands[0], cx.weight("weight", &[outputs, inputs])?, cx.bias("bias", &[outputs])?];
    Ok(cx.graph.add(DropConnect { rate, stream }, &operands)?)
}

/// Type of the layer's result.
fn linear(x: &Type, w: &Type, b: &Type) -> Result<Type, String> {
    let (features, [outputs, inputs]) = (check::features(x)?, weight_dims(w)?);
    if inputs != features {
        return Err(format!("the weight takes {inputs} features, but there are {features}"));
    }
    check::weight(b, &[outputs], "the bias")?;
    check::sized(Type::batched(&[outputs]))
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
            build: build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check::rate(self.rate)?;
        let [x, w, b] = check::exactly(operands)?;
        linear(x, w, b)
    }

    super::rest!();

    fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, String> {
        let mut operands = cx.operands.clone();
        operands.push(cx.key);
        Ok(Some(cx.graph.add(DropConnectTrain { rate: self.rate, stream: self.stream }, &operands)?))
    }

    /// The mean over masks scales the result as a whole: that of a linear layer, scaled in place.
    fn lower(&self, site: &mut Site) -> Lowered {
        Err(crate::kernel::site::Unsupported(site.name.clone()))
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[1].elements() as u64
    }
}

attributes! {
    /// `(x, w, b, key) -> y`; the numbering of random elements is in `kernel::recipes::drop_connect`.
    DropConnectTrain {
        rate: f64,
        stream: u32,
    }
}

impl OperatorDef for DropConnectTrain {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check::rate(self.rate)?;
        let [x, w, b, key] = check::exactly(operands)?;
        check::key(key)?;
        linear(x, w, b)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        drop_connect::train(site, self.rate as f32, self.stream)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[1].elements() as u64
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

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check::rate(self.rate)?;
        let [w, dy, key] = check::exactly(operands)?;
        check::key(key)?;
        let [outputs, inputs] = weight_dims(w)?;
        check::gradient(&Type::batched(&[outputs]), dy)?;
        check::sized(Type::batched(&[inputs]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        drop_connect::grad_input(site, self.rate as f32, self.stream)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[0].elements() as u64
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

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check::rate(self.rate)?;
        let [x, dy, key] = check::exactly(operands)?;
        check::key(key)?;
        check::sized(Type::shared(&[check::features(dy)?, check::features(x)?]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        drop_connect::grad_weight(site, self.rate as f32, self.stream)
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        result.elements() as u64
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

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check::rate(self.rate)?;
        let [dy, key] = check::exactly(operands)?;
        check::key(key)?;
        check::sized(Type::shared(&[check::features(dy)?]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        drop_connect::grad_bias(site, self.rate as f32, self.stream, self.inputs)
    }

    super::no_products!();
}
