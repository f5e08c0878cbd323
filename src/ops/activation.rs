//! Activation functions without parameters. All gradients come from the result, so that the operand need not be kept.

use super::attr::{Attr, AttrValue, attributes};
use super::error::{ShapeError, TrainingError};
use super::facts::Reader;
use super::layer::blame;
use super::params::{Bounds, Param, ParamSpec};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, Draw, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::{self, Epilogue, activation, elementwise};
use crate::types::{Format, Type};

/// A function without learned parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `max(x, 0)`
    Relu,
    /// `x` above 0, `slope·x` below; `slope` is at least 0.
    LeakyRelu {
        /// Factor below 0.
        slope: f64,
    },
    /// `x` above 0, `alpha·(exp(x) - 1)` below; `alpha` is above 0.
    Elu {
        /// Factor of `exp(x) - 1` below 0.
        alpha: f64,
    },
    /// `1/(1 + exp(-x))`
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `min(max(x, low), high)`, with a limit or with both, `low` not above `high`.
    Clip {
        /// The least result.
        low: Option<f64>,
        /// The largest result.
        high: Option<f64>,
    },
}

impl Function {
    /// `min(max(x, 0), 6)`
    pub const RELU6: Function = Function::Clip { low: Some(0.0), high: Some(6.0) };

    /// The function of that name with its usual parameter.
    pub fn named(name: &str) -> Option<Function> {
        Some(match name {
            "relu" => Function::Relu,
            "leaky_relu" => Function::LeakyRelu { slope: 0.01 },
            "elu" => Function::Elu { alpha: 1.0 },
            "sigmoid" => Function::Sigmoid,
            "tanh" => Function::Tanh,
            "relu6" => Function::RELU6,
            _ => return None,
        })
    }

    /// The name, in the language and in the text of graphs, and the parameters if there are any.
    pub fn parts(self) -> (&'static str, Vec<Attr>) {
        match self {
            Function::Relu => ("relu", vec![]),
            Function::LeakyRelu { slope } => ("leaky_relu", vec![slope.to_attr()]),
            Function::Elu { alpha } => ("elu", vec![alpha.to_attr()]),
            Function::Sigmoid => ("sigmoid", vec![]),
            Function::Tanh => ("tanh", vec![]),
            Function::RELU6 => ("relu6", vec![]),
            Function::Clip { low, high } => ("clip", vec![low.to_attr(), high.to_attr()]),
        }
    }

    /// The limits of the result, where the function does nothing else.
    pub fn limits(self) -> Option<[Option<f64>; 2]> {
        match self {
            Function::Relu => Some([Some(0.0), None]),
            Function::Clip { low, high } => Some([low, high]),
            _ => None,
        }
    }

    /// The function with these limits; `None` where there are none, or none can lie between them.
    pub fn limited([low, high]: [Option<f64>; 2]) -> Option<Function> {
        match (low, high) {
            (None, None) => None,
            (Some(0.0), None) => Some(Function::Relu),
            (Some(low), Some(high)) if low > high => None,
            _ => Some(Function::Clip { low, high }),
        }
    }

    fn check(self) -> Result<(), ShapeError> {
        match self {
            // Below 0 the sign of the result would not tell that of the operand, which the gradient relies on.
            Function::LeakyRelu { slope } if !(0.0..f64::INFINITY).contains(&slope) => {
                Err(format!("the slope {slope} of leaky_relu is below 0").into())
            }
            Function::Elu { alpha } if !(alpha > 0.0 && alpha.is_finite()) => {
                Err(format!("the alpha {alpha} of elu is not above 0").into())
            }
            Function::Clip { low, high } if Function::limited([low, high]) != Some(self) => {
                Err("clip needs a limit, or two with the low one not above the high one".into())
            }
            _ => Ok(()),
        }
    }

    /// Returns the function as recipes know it.
    pub fn recipe(self) -> recipes::Function {
        match self {
            Function::Relu => recipes::Function::Relu,
            Function::LeakyRelu { slope } => recipes::Function::LeakyRelu { slope: (slope as f32).into() },
            Function::Elu { alpha } => recipes::Function::Elu { alpha: (alpha as f32).into() },
            Function::Sigmoid => recipes::Function::Sigmoid,
            Function::Tanh => recipes::Function::Tanh,
            Function::Clip { low, high } => {
                let [low, high] = [low, high].map(|limit| limit.map(|v| (v as f32).into()));
                recipes::Function::Clip { low, high }
            }
        }
    }

    /// Computes `f(x)`; a NaN passes.
    pub fn value(self, x: f64) -> f64 {
        match self {
            Function::Relu if x < 0.0 => 0.0,
            Function::LeakyRelu { slope } if x < 0.0 => slope * x,
            Function::Elu { alpha } if x < 0.0 => alpha * x.exp_m1(),
            Function::Relu | Function::LeakyRelu { .. } | Function::Elu { .. } => x,
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::Tanh => x.tanh(),
            Function::Clip { low: Some(low), .. } if x < low => low,
            Function::Clip { high: Some(high), .. } if x > high => high,
            Function::Clip { .. } => x,
        }
    }

    /// The slope where the result is `y`.
    fn slope(self, y: f64) -> f64 {
        match self {
            Function::Relu | Function::LeakyRelu { .. } | Function::Elu { .. } if y > 0.0 => 1.0,
            Function::Relu => 0.0,
            Function::LeakyRelu { slope } => slope,
            Function::Elu { alpha } => y + alpha,
            Function::Sigmoid => y * (1.0 - y),
            Function::Tanh => 1.0 - y * y,
            Function::Clip { low, high } if low.is_none_or(|l| y > l) && high.is_none_or(|h| y < h) => 1.0,
            Function::Clip { .. } => 0.0,
        }
    }
}

/// `relu`, `leaky_relu(0.01)`, `clip(-1.0, none)`
impl AttrValue for Function {
    fn to_attr(&self) -> Attr {
        let (name, parameters) = self.parts();
        Attr::Call(name.into(), parameters)
    }

    fn from_attr(attr: &Attr) -> Option<Function> {
        let Attr::Call(name, arguments) = attr else { return None };
        if let ("clip", [low, high]) = (name.as_str(), arguments.as_slice()) {
            return Some(Function::Clip { low: Option::from_attr(low)?, high: Option::from_attr(high)? });
        }
        match (Function::named(name)?, arguments.as_slice()) {
            (Function::LeakyRelu { .. }, [slope]) => Some(Function::LeakyRelu { slope: f64::from_attr(slope)? }),
            (Function::Elu { .. }, [alpha]) => Some(Function::Elu { alpha: f64::from_attr(alpha)? }),
            (Function::LeakyRelu { .. } | Function::Elu { .. }, _) => None,
            (function, []) => Some(function),
            _ => None,
        }
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

const LIMITS: Bounds = Bounds::closed(f32::MIN as f64, f32::MAX as f64);
const LOW: Param<Option<f64>> = Param::float("low", LIMITS, "The least result.").positional().optional();
const HIGH: Param<Option<f64>> = Param::float("high", LIMITS, "The largest result.").positional().optional();
const CLIP: &[ParamSpec] = &[LOW.spec, HIGH.spec];

fn add(cx: &mut LayerCx, function: Function) -> Result<NodeId, LayerError> {
    let x = cx.operands[0];
    Ok(cx.graph.add(Activation { function }, &[x])?)
}

fn build_leaky(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let slope = cx.get(SLOPE);
    add(cx, Function::LeakyRelu { slope })
}

fn build_elu(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let alpha = cx.get(ALPHA);
    if alpha == 0.0 {
        return Err(blame(ALPHA, "alpha must be above 0".into(), Some("elu with alpha = 0 is `relu`".to_string())));
    }
    add(cx, Function::Elu { alpha })
}

fn build_clip(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    // The numbers that the kernels compare with.
    let limits = [cx.get(LOW), cx.get(HIGH)].map(|limit| limit.map(|v| f64::from(v as f32)));
    match (Function::limited(limits), limits) {
        (Some(function), _) => add(cx, function),
        (None, [Some(low), Some(high)]) => {
            Err(blame(HIGH, format!("the high limit {high} is below the low one, {low}"), None))
        }
        (None, _) => Err(LayerError {
            help: Some("`clip(low = -1)`, `clip(high = 6)` or `clip(-1, 6)`".into()),
            ..LayerError::from("it needs a limit, or two".to_string())
        }),
    }
}

/// Functions and slopes that tests try.
const TRIED: [Function; 10] = [
    Function::Relu,
    Function::LeakyRelu { slope: 0.1 },
    Function::LeakyRelu { slope: 0.0 },
    Function::Elu { alpha: 1.0 },
    Function::Elu { alpha: 0.7 },
    Function::Sigmoid,
    Function::Tanh,
    Function::Clip { low: Some(0.0), high: Some(0.5) },
    Function::Clip { low: Some(-0.4), high: None },
    Function::Clip { low: None, high: Some(0.3) },
];

attributes! {
    /// `x -> f(x)`
    Activation {
        function: Function,
    }
}

impl OperatorDef for Activation {
    fn schemas() -> Vec<Schema> {
        let plain = |name, doc, params, build| Schema { name, doc, operands: (1, 1), params, weights: false, build };
        vec![
            plain("relu", "max(x, 0)", &[], |cx| add(cx, Function::Relu)),
            plain("relu6", "min(max(x, 0), 6)", &[], |cx| add(cx, Function::RELU6)),
            plain("clip", "min(max(x, low), high), with one limit or both", CLIP, build_clip),
            plain("leaky_relu", "x, or slope·x below 0", LEAKY, build_leaky),
            plain("elu", "x, or alpha·(exp(x) - 1) below 0", ELU, build_elu),
            plain("sigmoid", "1/(1 + exp(-x))", &[], |cx| add(cx, Function::Sigmoid)),
            plain("tanh", "Hyperbolic tangent.", &[], |cx| add(cx, Function::Tanh)),
        ]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        self.function.check()?;
        check::float_map(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0]], |[x]| self.function.value(x))
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (y, dy) = (cx.result, cx.grad);
        let op = ActivationGrad { function: self.function, round: None };
        Ok(vec![cx.wanted(0, op, &[y, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let function = self.function.recipe();
        elementwise::map_with(cx, function.name(), function, |&function, b, v, _| {
            activation::activate(b, function, v[0])
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |function, ty: Type, draw| Case::new(Activation { function }, 3, &[ty]).drawn(draw);
        let both =
            |f| [case(f, Type::batched(&[7, 3, 5]), Draw::Distinct), case(f, Type::batched(&[33]), Draw::Normal)];
        TRIED.into_iter().flat_map(both).collect()
    }
}

attributes! {
    /// `(y, dy) -> dx`, rounded to `round`, if there is one.
    ActivationGrad {
        function: Function,
        round: Option<Format> = None,
    }
}

impl OperatorDef for ActivationGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        self.function.check()?;
        let [y, dy] = check::exactly(operands)?;
        check::floats(y)?;
        check::gradient(y, dy)?;
        Ok(y.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0], operands[1]], |[y, dy]| {
            let dx = self.function.slope(y) * dy;
            self.round.map_or(dx, |format| format.round(dx))
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let function = self.function.recipe();
        let what = format!("grad_{}", function.name());
        let end = Epilogue::rounding(self.round).stored_as(cx.elem(cx.result.buffer));
        elementwise::map_with(cx, &(what + &end.name()), (function, end), |&(function, end), b, v, _| {
            let dx = activation::slope_times(b, function, [v[0], v[1]]);
            end.apply(b, dx)
        })
    }

    super::no_products!();

    super::usual!(rounds, receptive, memory, folding);

    fn reads_bf16(&self, _operand: usize, by: Reader) -> bool {
        by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        let types = [Type::batched(&[5, 3, 3]), Type::batched(&[5, 3, 3])];
        let case = |function, round| Case::new(ActivationGrad { function, round }, 2, &types).drawn(Draw::Distinct);
        TRIED.into_iter().flat_map(|f| [None, Some(Format::Bf16)].map(|round| case(f, round))).collect()
    }
}
