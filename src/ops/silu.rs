//! The sigmoid linear unit, also called swish (Elfwing et al., 2017). The gradient reads the operand, which the result
//! does not tell.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::reference;
use super::schema::Schema;
use super::{Case, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::{elementwise, gates};
use crate::types::Type;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

attributes! {
    /// `x -> x/(1 + exp(-x))`
    Silu {}
}

impl OperatorDef for Silu {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "silu",
            doc: "x/(1 + exp(-x)), also called swish.",
            operands: (1, 1),
            params: &[],
            weights: false,
            build: |cx| {
                let x = cx.operands[0];
                Ok(cx.graph.add(Silu {}, &[x])?)
            },
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::float_map(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0]], |[x]| x * sigmoid(x))
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, dy) = (cx.operands[0], cx.grad);
        Ok(vec![cx.wanted(0, SiluGrad {}, &[x, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, "silu", |b, v, _| gates::silu(b, v[0]))
    }

    super::no_products!();
    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        vec![
            Case::new(Silu {}, 3, &[Type::batched(&[7, 3, 5])]),
            Case::new(Silu {}, 2, &[Type::batched(&[33])]),
            Case::new(Silu {}, 1, &[Type::shared(&[5])]),
        ]
    }
}

attributes! {
    /// `(x, dy) -> dx`
    SiluGrad {}
}

impl OperatorDef for SiluGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        check::floats(x)?;
        check::gradient(x, dy)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0], operands[1]], |[x, dy]| {
            let s = sigmoid(x);
            (s + x * s * (1.0 - s)) * dy
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, "grad_silu", |b, v, _| {
            let slope = gates::silu_slope(b, v[0]);
            b.mul(slope, v[1])
        })
    }

    super::no_products!();
    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |ty: Type| Case::new(SiluGrad {}, 2, &[ty.clone(), ty]);
        vec![case(Type::batched(&[5, 3, 3])), case(Type::batched(&[33]))]
    }
}
