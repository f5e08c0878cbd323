//! Activation functions without parameters. All gradients come from the result, so that the operand need not be kept.

use super::attr::attributes;
use super::layer::blame;
use super::params::{Bounds, Param, ParamSpec};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, Draw, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::kernel::ir::Compare;
use crate::lower::{LowerCx, Lowered, Unsupported};
use crate::recipes::{Function, contraction, elementwise};
use crate::types::Type;

/// Names that the language and the attributes know.
pub const FUNCTIONS: &[&str] = &["relu", "leaky_relu", "elu", "sigmoid", "tanh"];

/// Slope or alpha that a function has unless told otherwise.
pub fn default_slope(function: &str) -> f64 {
    match function {
        "leaky_relu" => 0.01,
        "elu" => 1.0,
        _ => 0.0,
    }
}

/// The function by name, its parameter checked.
pub fn function(name: &str, slope: f64) -> Result<Function, String> {
    match name {
        "relu" => Ok(Function::Relu),
        // Below 0 the sign of the result would not tell that of the operand, which the gradient relies on.
        "leaky_relu" if (0.0..f64::INFINITY).contains(&slope) => Ok(Function::LeakyRelu { slope: slope as f32 }),
        "leaky_relu" => Err(format!("the slope {slope} of leaky_relu is below 0")),
        "elu" if slope > 0.0 && slope.is_finite() => Ok(Function::Elu { alpha: slope as f32 }),
        "elu" => Err(format!("the alpha {slope} of elu is not above 0")),
        "sigmoid" => Ok(Function::Sigmoid),
        "tanh" => Ok(Function::Tanh),
        _ => Err(format!("unknown activation `{name}`")),
    }
}

const SLOPE: Param<f64> =
    Param::float("slope", Bounds::closed(0.0, 1e6), "Factor on values below 0.").or(0.01).positional();
const LEAKY: &[ParamSpec] = &[SLOPE.spec];

const ALPHA: Param<f64> =
    Param::float("alpha", Bounds::closed(0.0, 1e6), "The result for values far below 0 is -alpha.")
        .or(1.0)
        .positional();
const ELU: &[ParamSpec] = &[ALPHA.spec];

fn add(cx: &mut LayerCx, function: &str, slope: f64) -> Result<NodeId, LayerError> {
    let x = cx.operands[0];
    Ok(cx.graph.add(Activation { function: function.into(), slope }, &[x])?)
}

fn build_leaky(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let slope = cx.get(SLOPE);
    add(cx, "leaky_relu", slope)
}

fn build_elu(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let alpha = cx.get(ALPHA);
    if alpha == 0.0 {
        return Err(blame(ALPHA, "alpha must be above 0".into(), Some("elu with alpha = 0 is `relu`".to_string())));
    }
    add(cx, "elu", alpha)
}

/// Functions and slopes that tests try.
const TRIED: &[(&str, f64)] = &[
    ("relu", 0.0),
    ("leaky_relu", 0.1),
    ("leaky_relu", 0.0),
    ("elu", 1.0),
    ("elu", 0.7),
    ("sigmoid", 0.0),
    ("tanh", 0.0),
];

attributes! {
    /// `x -> f(x)`; `function` is `relu`, `leaky_relu`, `elu`, `sigmoid` or `tanh`; `slope` is the slope of `leaky_relu` (at least 0) or the
    /// alpha of `elu` (above 0), else 0.
    Activation {
        function: String,
        slope: f64,
    }
}

impl OperatorDef for Activation {
    fn schemas() -> Vec<Schema> {
        let plain = |name, doc, params, build| Schema { name, doc, operands: (1, 1), params, weights: false, build };
        vec![
            plain("relu", "max(x, 0)", &[], |cx| add(cx, "relu", 0.0)),
            plain("leaky_relu", "x, or slope·x below 0", LEAKY, build_leaky),
            plain("elu", "x, or alpha·(exp(x) - 1) below 0", ELU, build_elu),
            plain("sigmoid", "1/(1 + exp(-x))", &[], |cx| add(cx, "sigmoid", 0.0)),
            plain("tanh", "Hyperbolic tangent.", &[], |cx| add(cx, "tanh", 0.0)),
        ]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        function(&self.function, self.slope)?;
        check::float_map(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let slope = self.slope;
        let f = |x: f64| match self.function.as_str() {
            // Written so that a NaN passes.
            "relu" => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            "leaky_relu" => {
                if x < 0.0 {
                    slope * x
                } else {
                    x
                }
            }
            "elu" => {
                if x < 0.0 {
                    slope * x.exp_m1()
                } else {
                    x
                }
            }
            "sigmoid" => 1.0 / (1.0 + (-x).exp()),
            _ => x.tanh(),
        };
        reference::map(cx, [operands[0]], |[x]| f(x))
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, String> {
        let (y, dy) = (cx.result, cx.grad);
        let op = ActivationGrad { function: self.function.clone(), slope: self.slope };
        Ok(vec![cx.wanted(0, op, &[y, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let function = function(&self.function, self.slope).map_err(Unsupported)?;
        elementwise::map(cx, &contraction::function_name(function)[1..], |b, v, _| {
            contraction::activate(b, function, v[0])
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |(function, slope): &(&str, f64), ty: Type, draw| {
            let op = Activation { function: function.to_string(), slope: *slope };
            Case::new(op, 3, &[ty]).drawn(draw)
        };
        let kinds = TRIED.iter();
        kinds
            .flat_map(|k| {
                [case(k, Type::batched(&[7, 3, 5]), Draw::Distinct), case(k, Type::batched(&[33]), Draw::Normal)]
            })
            .collect()
    }
}

attributes! {
    /// `(y, dy) -> dx`
    ActivationGrad {
        function: String,
        slope: f64,
    }
}

impl OperatorDef for ActivationGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        function(&self.function, self.slope)?;
        let [y, dy] = check::exactly(operands)?;
        check::floats(y)?;
        check::gradient(y, dy)?;
        Ok(y.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let slope = self.slope;
        let f = |y: f64| match self.function.as_str() {
            "relu" => {
                if y > 0.0 {
                    1.0
                } else {
                    0.0
                }
            }
            "leaky_relu" => {
                if y > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            "elu" => {
                if y > 0.0 {
                    1.0
                } else {
                    y + slope
                }
            }
            "sigmoid" => y * (1.0 - y),
            _ => 1.0 - y * y,
        };
        reference::map(cx, [operands[0], operands[1]], |[y, dy]| f(y) * dy)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let function = function(&self.function, self.slope).map_err(Unsupported)?;
        let tag = format!("grad{}", contraction::function_name(function));
        elementwise::map(cx, &tag, |b, v, lanes| {
            let (y, dy) = (v[0], v[1]);
            let (zero, one) = (b.f32(0.0, lanes), b.f32(1.0, lanes));
            let below = match function {
                Function::Relu => zero,
                Function::LeakyRelu { slope } => {
                    let slope = b.f32(slope, lanes);
                    b.mul(slope, dy)
                }
                Function::Elu { alpha } => {
                    let alpha = b.f32(alpha, lanes);
                    let slope = b.add(y, alpha);
                    b.mul(slope, dy)
                }
                Function::Sigmoid => {
                    let rest = b.sub(one, y);
                    let slope = b.mul(y, rest);
                    return b.mul(slope, dy);
                }
                Function::Tanh => {
                    let square = b.mul(y, y);
                    let slope = b.sub(one, square);
                    return b.mul(slope, dy);
                }
            };
            let positive = b.compare(Compare::Gt, y, zero);
            b.select(positive, dy, below)
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |&(function, slope): &(&str, f64)| {
            let op = ActivationGrad { function: function.into(), slope };
            Case::new(op, 2, &[Type::batched(&[5, 3, 3]), Type::batched(&[5, 3, 3])]).drawn(Draw::Distinct)
        };
        TRIED.iter().map(case).collect()
    }
}
