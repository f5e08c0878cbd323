//! The Gaussian error linear unit (Hendrycks & Gimpel, 2016). Its result does not tell the operand, so the gradient
//! reads the operand.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::facts::{Derivative, Reader};
use super::params::{Param, ParamSpec};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::{Epilogue, elementwise, gates};
use crate::types::{Format, Type};
use std::f64::consts::{FRAC_2_PI, TAU};

const APPROXIMATE: Param<bool> =
    Param::bool("approximate", "The form with tanh, x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2.").or(false);
const GELU: &[ParamSpec] = &[APPROXIMATE.spec];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (op, x) = (Gelu { approximate: cx.get(APPROXIMATE), round: None }, cx.operands[0]);
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
    /// `x -> x·Φ(x)`, Φ the standard normal distribution; `approximate`: by tanh. Rounded to `round`, if there is one.
    Gelu {
        approximate: bool = false,
        round: Option<Format> = None,
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
        reference::map(cx, [operands[0]], |[x]| {
            let gate = if self.approximate { tanh_gate(x).0 } else { reference::normal_cdf(x) };
            self.round.map_or(x * gate, |format| format.round(x * gate))
        })
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        if self.round.is_some() {
            return Err(TrainingError::NoDerivative("gelu is differentiated before it is rounded".into()));
        }
        let (x, dy) = (cx.operands[0], cx.grad);
        Ok(vec![cx.wanted(0, GeluGrad { approximate: self.approximate, round: None }, &[x, dy])?])
    }

    fn derivative(&self) -> Derivative {
        // A rounded one comes into a graph after its gradients.
        if self.round.is_none() { Derivative::Except(&[]) } else { Derivative::None }
    }
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let end = Epilogue::rounding(self.round).stored_as(cx.elem(cx.result.buffer));
        let what = if self.approximate { "gelu_tanh" } else { "gelu" }.to_string() + &end.name();
        elementwise::map_with(cx, &what, (self.approximate, end), |&(approximate, end), b, v, _| {
            let y = if approximate { gates::gelu_tanh(b, v[0]) } else { gates::gelu(b, v[0]) };
            end.apply(b, y)
        })
    }

    super::no_products!();
    super::usual!(rounds, receptive, memory, folding);

    fn reads_bf16(&self, _operand: usize, by: Reader) -> bool {
        by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        let case = |(approximate, ty): (bool, Type)| {
            let rounded = approximate.then_some(Format::Bf16);
            [None, rounded].map(|round| Case::new(Gelu { approximate, round }, 3, std::slice::from_ref(&ty)))
        };
        tried().into_iter().flat_map(case).collect()
    }
}

attributes! {
    /// `(x, dy) -> dx`, rounded to `round`, if there is one.
    GeluGrad {
        approximate: bool = false,
        round: Option<Format> = None,
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
        reference::map(cx, [operands[0], operands[1]], |[x, dy]| {
            let dx = slope(x) * dy;
            self.round.map_or(dx, |format| format.round(dx))
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let end = Epilogue::rounding(self.round).stored_as(cx.elem(cx.result.buffer));
        let what = if self.approximate { "grad_gelu_tanh" } else { "grad_gelu" }.to_string() + &end.name();
        elementwise::map_with(cx, &what, (self.approximate, end), |&(approximate, end), b, v, _| {
            let slope = if approximate { gates::gelu_tanh_slope(b, v[0]) } else { gates::gelu_slope(b, v[0]) };
            let dx = b.mul(slope, v[1]);
            end.apply(b, dx)
        })
    }

    super::no_products!();
    super::usual!(rounds, receptive, memory, folding);

    fn reads_bf16(&self, _operand: usize, by: Reader) -> bool {
        by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        let case = |(approximate, ty): (bool, Type)| {
            let rounded = (!approximate).then_some(Format::Bf16);
            [None, rounded].map(|round| Case::new(GeluGrad { approximate, round }, 3, &[ty.clone(), ty.clone()]))
        };
        tried().into_iter().flat_map(case).collect()
    }
}
