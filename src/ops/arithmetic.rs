//! Elementwise arithmetic.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::params::{Bounds, Param};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, GradCx};
use super::{Operator, OperatorDef, broadcast, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{Constant, LowerCx, Lowered};
use crate::recipes::elementwise;
use crate::types::Type;

const FACTOR: Param<f64> = Param::float("factor", Bounds::ANY, "What each number is multiplied by.").positional();

/// Adds an operator on two values; an error names both shapes.
fn apply(cx: &mut LayerCx, what: &str, op: Operator, [a, b]: [NodeId; 2]) -> Result<NodeId, LayerError> {
    let types = [a, b].map(|id| cx.graph.ty(id).clone());
    if broadcast::infer(&types).is_ok() {
        return Ok(cx.graph.add(op, &[a, b])?);
    }
    let [first, other] = types;
    let message = format!("cannot {what} {:?} and {:?}: the shapes differ", first.dims, other.dims);
    let help = match (first.dims.as_slice(), other.dims.as_slice()) {
        (&[c, h, w], &[d, y, x]) if c != d && (h, w) == (y, x) => {
            Some(format!("`cccp(channels = {c})` brings the second to {c} channels"))
        }
        (&[c, ..], &[d, ..]) if c == d => {
            Some(format!("a number for each channel of an image has the shape [{c}] or [{c}, 1, 1]"))
        }
        _ => None,
    };
    Err(LayerError { help, names_layer: true, ..LayerError::from(message) })
}

fn build_add(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let mut sum = cx.operands[0];
    for i in 1..cx.operands.len() {
        sum = apply(cx, "add", Add {}.into(), [sum, cx.operands[i]])?;
    }
    Ok(sum)
}

fn build_mul(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    apply(cx, "multiply", Mul {}.into(), [cx.operands[0], cx.operands[1]])
}

fn equal_floats(operands: &[Type]) -> Result<Type, ShapeError> {
    let [a, b] = check::exactly(operands)?;
    check::floats(a)?;
    check::same(a, b)?;
    Ok(a.clone())
}

attributes! {
    /// `(a, b) -> a + b`, of types that [`broadcast`] takes.
    Add {}
}

impl OperatorDef for Add {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "add",
            doc: "Sum, element by element; also written `x + y`. See [Arithmetic](#arithmetic).",
            operands: (2, 64),
            params: &[],
            weights: false,
            build: build_add,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        broadcast::infer(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        broadcast::eval(cx, [operands[0], operands[1]], |[a, b]| a + b)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let dy = cx.grad;
        (0..2).map(|i| if cx.needs[i] { broadcast::gradient(cx, i, dy) } else { Ok(None) }).collect()
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, "add", |b, v, _| b.add(v[0], v[1]))
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        broadcast::tried().iter().map(|types| Case::new(Add {}, 3, types)).collect()
    }
}

attributes! {
    /// `(a, b) -> a·b`, of types that [`broadcast`] takes.
    Mul {}
}

impl OperatorDef for Mul {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "mul",
            doc: "Product, element by element; also written `x * y`. See [Arithmetic](#arithmetic).",
            operands: (2, 2),
            params: &[],
            weights: false,
            build: build_mul,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        broadcast::infer(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        broadcast::eval(cx, [operands[0], operands[1]], |[a, b]| a * b)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (a, b, dy) = (cx.operands[0], cx.operands[1], cx.grad);
        Ok(vec![broadcast::wanted(cx, 0, Mul {}, &[dy, b])?, broadcast::wanted(cx, 1, Mul {}, &[dy, a])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, "mul", |b, v, _| b.mul(v[0], v[1]))
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        broadcast::tried().iter().map(|types| Case::new(Mul {}, 3, types)).collect()
    }
}

attributes! {
    /// `x -> factor·x`
    Scale {
        factor: f64,
    }
}

impl OperatorDef for Scale {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "scale",
            doc: "factor·x",
            operands: (1, 1),
            params: &[FACTOR.spec],
            weights: false,
            build: |cx| {
                let (factor, x) = (cx.get(FACTOR), cx.operands[0]);
                Ok(cx.graph.add(Scale { factor }, &[x])?)
            },
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::float_map(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0]], |[x]| self.factor * x)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let dy = cx.grad;
        Ok(vec![cx.wanted(0, self.clone(), &[dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map_with(cx, "scale", Constant::from(self.factor as f32), |factor, b, v, lanes| {
            let factor = b.f32(factor.get(), lanes);
            b.mul(v[0], factor)
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        vec![
            Case::new(Scale { factor: -0.5 }, 2, &[Type::batched(&[3, 4, 5])]),
            Case::new(Scale { factor: 1.0 / 3.0 }, 2, &[Type::shared(&[9])]),
        ]
    }
}

attributes! {
    /// `(a, b) -> a + weight·(b - a)`: running averages.
    Mix {
        weight: f64,
    }
}

impl OperatorDef for Mix {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        equal_floats(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0], operands[1]], |[a, b]| a + self.weight * (b - a))
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let dy = cx.grad;
        Ok(vec![
            cx.wanted(0, Scale { factor: 1.0 - self.weight }, &[dy])?,
            cx.wanted(1, Scale { factor: self.weight }, &[dy])?,
        ])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map_with(cx, "mix", Constant::from(self.weight as f32), |weight, b, v, lanes| {
            let weight = b.f32(weight.get(), lanes);
            let difference = b.sub(v[1], v[0]);
            b.fma(weight, difference, v[0])
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |weight, ty: Type| Case::new(Mix { weight }, 2, &[ty.clone(), ty]);
        vec![case(0.1, Type::shared(&[13])), case(0.75, Type::batched(&[3, 2, 2]))]
    }
}

attributes! {
    /// `(x, s[] shared) -> s·x`
    ScaleBy {}
}

impl OperatorDef for ScaleBy {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, s] = check::exactly(operands)?;
        check::floats(x)?;
        check::scalar(s, "the factor")?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let s = operands[1].real().data[0].f64();
        reference::map(cx, [operands[0]], |[x]| s * x)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        if cx.needs[1] {
            return Err(TrainingError::NoDerivative("`scale_by` has no derivative with respect to its factor".into()));
        }
        let (s, dy) = (cx.operands[1], cx.grad);
        Ok(vec![cx.wanted(0, ScaleBy {}, &[dy, s])?, None])
    }
    super::differentiable!(except 1);
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, "scale_by", |b, v, _| b.mul(v[0], v[1]))
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let types = [Type::shared(&[5, 3, 2, 2]), Type::batched(&[7])];
        types.into_iter().map(|ty| Case::new(ScaleBy {}, 2, &[ty, Type::shared(&[])])).collect()
    }
}
