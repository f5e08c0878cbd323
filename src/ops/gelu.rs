//! The Gaussian error linear unit (Hendrycks & Gimpel, 2016). Its result does not tell the operand, so the gradient
//! reads the operand.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::params::{Param, ParamSpec};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::{elementwise, gates};
use crate::types::Type;
use std::f64::consts::{FRAC_2_PI, TAU};

const APPROXIMATE: Param<bool> =
    Param::bool("approximate", "The form with tanh, x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2.").or(false);
const GELU: &[ParamSpec] = &[APPROXIMATE.spec];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (op, x) = (Gelu { approximate: cx.get(APPROXIMATE) }, cx.operands[0]);
    Ok(cx.graph.add(op, &[x])?)
}

/// `(1 + tanh(z(x)))/2` of the approximate form, and its derivative.
fn tanh_gate(x: f64) -> (f64, f64) {
    const CUBE: f64 = 0.044715;
    let tanh = (FRAC_2_PI.sqrt() * (x + CUBE * x.powi(3))).tanh();
    let slope = FRAC_2_PI.sqrt() * (1.0 + 3.0 * CUBE * x * x);
    ((1.0 + tanh) / 2.0, (1.0 - tanh * tanh) * slope / 2.0)
}

/// Both forms on an image and on a vector with a tail.
fn tried() -> [(bool, Type); 4] {
    let types = [Type::batched(&[7, 3, 5]), Type::batched(&[33])];
    [(false, types[0].clone()), (false, types[1].clone()), (true, types[0].clone()), (true, types[1].clone())]
}

attributes! {
    /// `x -> x·Φ(x)`, Φ the standard normal distribution; `approximate`: by tanh.
    Gelu {
        approximate: bool = false,
    }
}

impl OperatorDef for Gelu {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "gelu",
            doc: "x·Φ(x), Φ the standard normal distribution.",
            operands: (1, 1),
            params: GELU,
            weights: false,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::float_map(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0]], |[x]| match self.approximate {
            true => x * tanh_gate(x).0,
            false => x * reference::normal_cdf(x),
        })
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, dy) = (cx.operands[0], cx.grad);
        Ok(vec![cx.wanted(0, GeluGrad { approximate: self.approximate }, &[x, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        match self.approximate {
            true => elementwise::map(cx, "gelu_tanh", |b, v, _| gates::gelu_tanh(b, v[0])),
            false => elementwise::map(cx, "gelu", |b, v, _| gates::gelu(b, v[0])),
        }
    }

    super::no_products!();
    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        tried().map(|(approximate, ty)| Case::new(Gelu { approximate }, 3, &[ty])).to_vec()
    }
}

attributes! {
    /// `(x, dy) -> dx`
    GeluGrad {
        approximate: bool = false,
    }
}

impl OperatorDef for GeluGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        check::floats(x)?;
        check::gradient(x, dy)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let slope = |x: f64| match self.approximate {
            true => {
                let (gate, slope) = tanh_gate(x);
                gate + x * slope
            }
            false => reference::normal_cdf(x) + x * (-x * x / 2.0).exp() / TAU.sqrt(),
        };
        reference::map(cx, [operands[0], operands[1]], |[x, dy]| slope(x) * dy)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let what = if self.approximate { "grad_gelu_tanh" } else { "grad_gelu" };
        elementwise::map_with(cx, what, self.approximate, |&approximate, b, v, _| {
            let slope = if approximate { gates::gelu_tanh_slope(b, v[0]) } else { gates::gelu_slope(b, v[0]) };
            b.mul(slope, v[1])
        })
    }

    super::no_products!();
    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        tried().map(|(approximate, ty)| Case::new(GeluGrad { approximate }, 3, &[ty.clone(), ty])).to_vec()
    }
}
