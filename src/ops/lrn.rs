//! Local response normalisation across channels (Krizhevsky et al., 2012).

use super::attr::{Attribute, Field, Given, attributes};
use super::error::{AttrError, ShapeError, TrainingError};
use super::layer;
use super::params::{Bounds, Param, ParamSpec};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Attributes, OperatorDef, check};
use super::{Case, GradCx};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::lrn;
use crate::types::Type;

const SIZE: Param<usize> = layer::channels("size", "Channels in the neighbourhood.").or(5);
const ALPHA: Param<f64> =
    Param::float("alpha", Bounds::closed(0.0, 1e6), "Weight of the squares; divided by `size`.").or(1e-4);
const BETA: Param<f64> = Param::float("beta", Bounds::closed(0.0, 1e3), "Exponent.").or(0.75);
const K: Param<f64> = Param::float("k", Bounds::closed(1e-6, 1e6), "Added to the sum of squares.").or(1.0);
const LRN: &[ParamSpec] = &[SIZE.spec, ALPHA.spec, BETA.spec, K.spec];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let op = Lrn { size: cx.get(SIZE), alpha: cx.get(ALPHA), beta: cx.get(BETA), k: cx.get(K) };
    let x = cx.operands[0];
    Ok(cx.graph.add(op, &[x])?)
}

impl Lrn {
    /// Checks that the base of the power stays above 0.
    fn check(&self) -> Result<(), ShapeError> {
        let &Lrn { size, alpha, beta, k } = self;
        if size == 0 {
            return Err("a neighbourhood of 0 channels".into());
        }
        if alpha >= 0.0 && k > 0.0 && (alpha + beta + k).is_finite() {
            return Ok(());
        }
        Err(format!("alpha {alpha} must be at least 0, k {k} above 0, beta {beta} a number").into())
    }

    fn recipe(&self) -> lrn::Lrn {
        lrn::Lrn::new(self.size, self.alpha, self.beta, self.k)
    }
}

/// The gradient has the attributes of what it is the gradient of.
impl Field for Lrn {
    fn put(&self, _name: &'static str, _default: Option<&Lrn>, attributes: &mut Vec<Attribute>) {
        attributes.extend(self.attrs());
    }

    fn take(_name: &'static str, _default: Option<Lrn>, given: &mut Given) -> Result<Lrn, AttrError> {
        Attributes::take(given)
    }
}

attributes! {
    /// `x -> x·(k + alpha/size · Σ x_j²)^-beta` over `size` neighbouring channels.
    Lrn {
        size: usize = 5,
        alpha: f64 = 1e-4,
        beta: f64 = 0.75,
        k: f64 = 1.0,
    }
}

/// Sizes, constants and images that tests try: even and odd, wider than the channels, exponents in and out of practice.
const TRIED: [(usize, f64, f64, f64, &[usize]); 7] = [
    (5, 1e-4, 0.75, 1.0, &[7, 3, 4]),
    (5, 0.5, 0.75, 2.0, &[16, 2, 3]),
    (3, 1.0, 0.5, 1.0, &[33]),
    (4, 0.3, 1.5, 0.5, &[9, 2, 2]),
    (9, 0.2, 0.75, 1.0, &[3, 1, 2]),
    // More neighbours than are written out, and more than there are channels.
    (60, 5.0, 0.75, 1.0, &[50, 1, 2]),
    (1_000_000, 1e6, 0.75, 1.0, &[6, 2, 2]),
];

impl Lrn {
    /// `k + alpha/size · Σ x_j²` of each channel.
    fn scales(&self, x: &[f64]) -> Vec<f64> {
        let sum = |i: usize| {
            let near = i.saturating_sub((self.size - 1) / 2)..(i + self.size / 2 + 1).min(x.len());
            self.k + self.alpha / self.size as f64 * x[near].iter().map(|x| x * x).sum::<f64>()
        };
        (0..x.len()).map(sum).collect()
    }
}

impl OperatorDef for Lrn {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "lrn",
            doc: "Local response normalisation: x·(k + alpha/size·Σ x²)^-beta over neighbouring channels.",
            operands: (1, 1),
            params: LRN,
            weights: false,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        self.check()?;
        let [x] = check::exactly(operands)?;
        check::channels(x)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::over_channels(cx, [operands[0]], |[x]| {
            let scales = self.scales(x);
            x.iter().zip(scales).map(|(x, s)| x * s.powf(-self.beta)).collect()
        })
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, dy) = (cx.operands[0], cx.grad);
        Ok(vec![cx.wanted(0, LrnGrad { forward: self.clone() }, &[x, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        lrn::forward(cx, &self.recipe())
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        (result.elements() * self.size) as u64
    }

    super::usual!(factors, elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |(size, alpha, beta, k, x): (usize, f64, f64, f64, &[usize])| {
            Case::new(Lrn { size, alpha, beta, k }, 2, &[Type::batched(x)])
        };
        TRIED.map(case).to_vec()
    }
}

attributes! {
    /// `(x, dy) -> dx`
    LrnGrad {
        forward: Lrn,
    }
}

impl OperatorDef for LrnGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        self.forward.check()?;
        let [x, dy] = check::exactly(operands)?;
        check::channels(x)?;
        check::gradient(x, dy)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let forward = &self.forward;
        let &Lrn { size, alpha, beta, .. } = forward;
        reference::over_channels(cx, [operands[0], operands[1]], |[x, dy]| {
            let s = forward.scales(x);
            let part = |i: usize| {
                // Channel j has i in its neighbourhood.
                let users = i.saturating_sub(size / 2)..(i + (size - 1) / 2 + 1).min(x.len());
                let sum: f64 = users.map(|j| dy[j] * x[j] * s[j].powf(-beta - 1.0)).sum();
                dy[i] * s[i].powf(-beta) - 2.0 * alpha * beta / size as f64 * x[i] * sum
            };
            (0..x.len()).map(part).collect()
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        lrn::grad(cx, &self.forward.recipe())
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |(size, alpha, beta, k, x): (usize, f64, f64, f64, &[usize])| {
            Case::new(LrnGrad { forward: Lrn { size, alpha, beta, k } }, 2, &[Type::batched(x), Type::batched(x)])
        };
        TRIED.map(case).to_vec()
    }
}
