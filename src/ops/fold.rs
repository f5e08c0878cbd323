//! Parameters made of parameters: batch normalisation folded into the layer before it. Only a pass makes these; the
//! language does not know them.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::schema::Schema;
use super::{Case, Draw, GradCx, OperatorDef, TrainCx};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Unary, Val};
use crate::lower::{Constant, LowerCx, Lowered};
use crate::recipes::{elementwise, fold};
use crate::types::Type;

attributes! {
    /// `(w[O, …], gamma[O], variance[O]) -> w·gamma/sqrt(variance + epsilon)`, all shared.
    FoldWeight {
        epsilon: f64,
    }
}

attributes! {
    /// `(b[O], gamma[O], beta[O], mean[O], variance[O]) -> (b - mean)·gamma/sqrt(variance + epsilon) + beta`, all
    /// shared.
    FoldBias {
        epsilon: f64,
    }
}

const ONLY_INFERENCE: &str = "folded parameters exist at inference only and have no gradient";

fn vectors(operands: &[Type], count: usize, what: &str) -> Result<Type, ShapeError> {
    let first = &operands[0];
    if operands.len() != count || operands.iter().any(|t| t != first) || first.dims.len() != 1 || first.batched {
        return Err(format!("{what} needs {count} shared vectors of one length").into());
    }
    Ok(first.clone())
}

impl OperatorDef for FoldWeight {
    fn schemas() -> Vec<Schema> {
        vec![]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [weight, gamma, variance] = operands else {
            return Err("fold_weight needs a weight, gamma and variance".into());
        };
        if weight.batched || weight.dims.is_empty() || *gamma != Type::shared(&weight.dims[..1]) || gamma != variance {
            return Err(
                format!("fold_weight of {weight} needs a gamma and a variance for each output, not {gamma}").into()
            );
        }
        Ok(weight.clone())
    }

    fn eval<T: Real>(&self, _cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (weight, gamma, variance) = (operands[0].real(), operands[1].real(), operands[2].real());
        let each = weight.data.len() / gamma.data.len().max(1);
        let value = |(i, &w): (usize, &T)| {
            let o = i / each;
            w * (gamma.data[o] / (variance.data[o] + T::of(self.epsilon)).sqrt())
        };
        Value::new(&weight.dims, weight.data.iter().enumerate().map(value).collect())
    }

    fn gradient(&self, _cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        Err(TrainingError::NoDerivative(ONLY_INFERENCE.into()))
    }
    super::no_derivative!();

    fn training(&self, _cx: &mut TrainCx) -> Result<Option<NodeId>, TrainingError> {
        Ok(None)
    }

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let epsilon = Constant::from(self.epsilon as f32);
        fold::per_output(cx, "fold_weight", epsilon, |epsilon, b, v, lanes| {
            let factor = factor(b, v[1], v[2], epsilon.get(), lanes);
            b.mul(v[0], factor)
        })
    }

    fn multiply_adds(&self, _operands: &[Type], _result: &Type) -> u64 {
        // Prepared outside of runs.
        0
    }

    super::usual!(factors, elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        [vec![6, 2, 3, 3], vec![5, 7]]
            .map(|dims| Case {
                operands: vec![Type::shared(&dims), Type::shared(&dims[..1]), Type::shared(&dims[..1])],
                op: FoldWeight { epsilon: 1e-5 }.into(),
                batch: 1,
                draw: Draw::Positive,
            })
            .into()
    }
}

/// `gamma/sqrt(variance + epsilon)`
fn factor(b: &mut MicroKernelBuilder, gamma: Val, variance: Val, epsilon: f32, lanes: u32) -> Val {
    let epsilon = b.f32(epsilon, lanes);
    let sum = b.add(variance, epsilon);
    let root = b.unary(Unary::Sqrt, sum);
    b.div(gamma, root)
}

impl OperatorDef for FoldBias {
    fn schemas() -> Vec<Schema> {
        vec![]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        vectors(operands, 5, "fold_bias")
    }

    fn eval<T: Real>(&self, _cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let v = |operand: usize, i: usize| operands[operand].real().data[i];
        let value = |i| (v(0, i) - v(3, i)) * (v(1, i) / (v(4, i) + T::of(self.epsilon)).sqrt()) + v(2, i);
        let dims = operands[0].dims();
        Value::new(dims, (0..dims[0]).map(value).collect())
    }

    fn gradient(&self, _cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        Err(TrainingError::NoDerivative(ONLY_INFERENCE.into()))
    }
    super::no_derivative!();

    fn training(&self, _cx: &mut TrainCx) -> Result<Option<NodeId>, TrainingError> {
        Ok(None)
    }

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let epsilon = Constant::from(self.epsilon as f32);
        elementwise::map_with(cx, "fold_bias", epsilon, |epsilon, b, v, lanes| {
            let factor = factor(b, v[1], v[4], epsilon.get(), lanes);
            let centred = b.sub(v[0], v[3]);
            b.fma(centred, factor, v[2])
        })
    }

    fn multiply_adds(&self, _operands: &[Type], _result: &Type) -> u64 {
        // Prepared outside of runs.
        0
    }

    super::usual!(factors, elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        vec![Case {
            op: FoldBias { epsilon: 1e-3 }.into(),
            operands: vec![Type::shared(&[7]); 5],
            batch: 1,
            draw: Draw::Positive,
        }]
    }
}
