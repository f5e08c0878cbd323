//! Updates of parameters and optimiser states, elementwise. Hyper-parameters are shared numbers (`[]`), so that one
//! compiled program serves any schedule.

use super::arithmetic::bits;
use super::attr::attributes;
use super::reference;
use super::{Case, Draw, OperatorDef, check};
use crate::graph::interp::{EvalCx, Real, Value};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Compare, Unary, Val};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::math;
use crate::recipes::{elementwise, reduce};
use crate::types::Type;

attributes! {
    /// `rule` names a formula; its operands are listed with it in `rules()`. `rate` and `decay` are the parameter's multipliers.
    Update {
        rule: String,
        rate: f64,
        decay: f64,
    }
}

/// Arithmetic that a formula needs: of numbers for the interpreter, of kernel values for compiled code. So each formula
/// is written once.
pub trait Arithmetic {
    type Number: Copy;
    fn constant(&mut self, value: f64) -> Self::Number;
    fn add(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn sub(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn mul(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn div(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn sqrt(&mut self, a: Self::Number) -> Self::Number;
    /// `1 - base^exponent` for a base in (0, 1), without cancellation where the power is near 1.
    fn one_minus_power(&mut self, base: Self::Number, exponent: Self::Number) -> Self::Number;
}

/// The interpreter's arithmetic.
struct Exact;

impl Arithmetic for Exact {
    type Number = f64;

    fn constant(&mut self, value: f64) -> f64 {
        value
    }
    fn add(&mut self, a: f64, b: f64) -> f64 {
        a + b
    }
    fn sub(&mut self, a: f64, b: f64) -> f64 {
        a - b
    }
    fn mul(&mut self, a: f64, b: f64) -> f64 {
        a * b
    }
    fn div(&mut self, a: f64, b: f64) -> f64 {
        a / b
    }
    fn sqrt(&mut self, a: f64) -> f64 {
        a.sqrt()
    }
    fn one_minus_power(&mut self, base: f64, exponent: f64) -> f64 {
        -(exponent * base.ln()).exp_m1()
    }
}

/// Compiled code's arithmetic.
struct Code<'a> {
    builder: &'a mut MicroKernelBuilder,
    lanes: u32,
}

impl Arithmetic for Code<'_> {
    type Number = Val;

    fn constant(&mut self, value: f64) -> Val {
        self.builder.f32(value as f32, self.lanes)
    }
    fn add(&mut self, a: Val, b: Val) -> Val {
        self.builder.add(a, b)
    }
    fn sub(&mut self, a: Val, b: Val) -> Val {
        self.builder.sub(a, b)
    }
    fn mul(&mut self, a: Val, b: Val) -> Val {
        self.builder.mul(a, b)
    }
    fn div(&mut self, a: Val, b: Val) -> Val {
        self.builder.div(a, b)
    }
    fn sqrt(&mut self, a: Val) -> Val {
        self.builder.unary(Unary::Sqrt, a)
    }

    /// With `t = exponent·ln base`: `1 - e^t` far from 0, and `-t·(1 + t/2·(1 + t/3·(…)))` near it, where 1 and `e^t` would
    /// cancel. At -0.4 the first term left out is below a quarter of a float's precision.
    fn one_minus_power(&mut self, base: Val, exponent: Val) -> Val {
        const NEAR: f64 = -0.4;
        const TERMS: u32 = 8;
        let log = math::ln(self.builder, base);
        let t = self.mul(exponent, log);
        let one = self.constant(1.0);
        let mut series = one;
        for i in (2..=TERMS).rev() {
            let factor = self.constant(1.0 / f64::from(i));
            let step = self.mul(t, factor);
            series = self.builder.fma(step, series, one);
        }
        let near = self.mul(t, series);
        let near = self.builder.unary(Unary::Neg, near);
        let power = math::exp(self.builder, t);
        let far = self.sub(one, power);
        let bound = self.constant(NEAR);
        let is_near = self.builder.compare(Compare::Gt, t, bound);
        self.builder.select(is_near, near, far)
    }
}

/// A formula of an optimiser.
pub struct Rule {
    pub name: &'static str,
    /// Operands of the parameter's shape, first.
    pub tensors: &'static [&'static str],
    /// Shared numbers, after them.
    pub numbers: &'static [&'static str],
    /// The formula, for people: `r` and `d` are the parameter's multipliers of rate and decay.
    pub formula: &'static str,
}

/// All formulas. `g` is the gradient (already clipped), `w` the weight, primed states are the new ones.
///
/// * SGD as PyTorch has it: `v' = sgd_velocity`, `w' = sgd_step`; with Nesterov's momentum `w' = nesterov_step`.
///   Without momentum: `w' = sgd_plain`.
/// * SGD as Caffe and cuda-convnet have it, the rate inside the velocity: `v' = sgd_velocity_inside`,
///   `w' = sgd_step_inside`; with Nesterov's momentum `w' = nesterov_step_inside`.
/// * Adam (Kingma & Ba, 2015): `g' = decayed` (where decay is not 0), `m' = adam_first`, `s' = adam_second`,
///   `c1 = bias_correction(beta1, step)`, `c2 = bias_correction(beta2, step)` (both once for all parameters; the first step
///   is 1), `w' = adam_step`. AdamW (Loshchilov & Hutter, 2019): no `decayed`, and `adamw_step` at the end.
/// * RMSProp: `g' = decayed`, `s' = adam_second` with alpha for beta2, then `w' = rmsprop_step`, or with momentum
///   `v' = rmsprop_velocity`, `w' = sgd_step`.
pub const fn rules() -> &'static [Rule] {
    RULES
}

const fn rule(
    name: &'static str,
    tensors: &'static [&'static str],
    numbers: &'static [&'static str],
    formula: &'static str,
) -> Rule {
    Rule { name, tensors, numbers, formula }
}

const RULES: &[Rule] = &[
    rule("decayed", &["w", "g"], &["decay"], "g + d·decay·w"),
    rule("sgd_plain", &["w", "g"], &["rate", "decay"], "w - r·rate·(g + d·decay·w)"),
    rule("sgd_velocity", &["w", "g", "v"], &["momentum", "decay"], "momentum·v + (g + d·decay·w)"),
    rule(
        "sgd_velocity_inside",
        &["w", "g", "v"],
        &["rate", "momentum", "decay"],
        "momentum·v + r·rate·(g + d·decay·w)",
    ),
    rule("sgd_step", &["w", "v'"], &["rate"], "w - r·rate·v'"),
    rule("sgd_step_inside", &["w", "v'"], &[], "w - v'"),
    rule(
        "nesterov_step",
        &["w", "g", "v'"],
        &["rate", "momentum", "decay"],
        "w - r·rate·((g + d·decay·w) + momentum·v')",
    ),
    rule("nesterov_step_inside", &["w", "v", "v'"], &["momentum"], "w - (v' + momentum·(v' - v))"),
    rule("adam_first", &["g", "m"], &["beta1"], "beta1·m + (1 - beta1)·g"),
    rule("adam_second", &["g", "s"], &["beta2"], "beta2·s + (1 - beta2)·g²"),
    rule("bias_correction", &[], &["beta", "step"], "1 - beta^step"),
    rule("adam_step", &["w", "m'", "s'"], &["rate", "c1", "c2", "epsilon"], "w - r·rate/c1·m'/(sqrt(s'/c2) + epsilon)"),
    rule(
        "adamw_step",
        &["w", "m'", "s'"],
        &["rate", "c1", "c2", "epsilon", "decay"],
        "w - r·rate·d·decay·w - r·rate/c1·m'/(sqrt(s'/c2) + epsilon)",
    ),
    rule("rmsprop_step", &["w", "g", "s'"], &["rate", "epsilon"], "w - r·rate·g/(sqrt(s') + epsilon)"),
    rule("rmsprop_velocity", &["g", "s'", "v"], &["momentum", "epsilon"], "momentum·v + g/(sqrt(s') + epsilon)"),
];

/// The formula of a rule, in any arithmetic; `v` are its operands. `None`: no such rule, or too few operands.
fn formula<A: Arithmetic>(a: &mut A, rule: &str, v: &[A::Number], r: f64, d: f64) -> Option<A::Number> {
    Some(match (rule, v) {
        ("decayed", &[w, g, decay]) => decayed(a, w, g, decay, d),
        ("sgd_plain", &[w, g, rate, decay]) => {
            let g = decayed(a, w, g, decay, d);
            descend(a, w, g, rate, r)
        }
        ("sgd_velocity", &[w, g, v, momentum, decay]) => {
            let g = decayed(a, w, g, decay, d);
            let kept = a.mul(momentum, v);
            a.add(kept, g)
        }
        ("sgd_velocity_inside", &[w, g, v, rate, momentum, decay]) => {
            let g = decayed(a, w, g, decay, d);
            let rate = scaled(a, rate, r);
            let (kept, step) = (a.mul(momentum, v), a.mul(rate, g));
            a.add(kept, step)
        }
        ("sgd_step", &[w, v, rate]) => descend(a, w, v, rate, r),
        ("sgd_step_inside", &[w, v]) => a.sub(w, v),
        ("nesterov_step", &[w, g, v, rate, momentum, decay]) => {
            let g = decayed(a, w, g, decay, d);
            let ahead = a.mul(momentum, v);
            let g = a.add(g, ahead);
            descend(a, w, g, rate, r)
        }
        ("nesterov_step_inside", &[w, old, new, momentum]) => {
            let change = a.sub(new, old);
            let ahead = a.mul(momentum, change);
            let step = a.add(new, ahead);
            a.sub(w, step)
        }
        ("adam_first", &[g, m, beta]) => average(a, m, g, beta),
        ("adam_second", &[g, s, beta]) => {
            let square = a.mul(g, g);
            average(a, s, square, beta)
        }
        ("bias_correction", &[beta, step]) => a.one_minus_power(beta, step),
        ("adam_step", &[w, m, s, rate, c1, c2, epsilon]) => {
            let step = adam(a, m, s, [c1, c2, epsilon]);
            descend(a, w, step, rate, r)
        }
        ("adamw_step", &[w, m, s, rate, c1, c2, epsilon, decay]) => {
            let step = adam(a, m, s, [c1, c2, epsilon]);
            let step = decayed(a, w, step, decay, d);
            descend(a, w, step, rate, r)
        }
        ("rmsprop_step", &[w, g, s, rate, epsilon]) => {
            let step = normalised(a, g, s, epsilon);
            descend(a, w, step, rate, r)
        }
        ("rmsprop_velocity", &[g, s, v, momentum, epsilon]) => {
            let step = normalised(a, g, s, epsilon);
            let kept = a.mul(momentum, v);
            a.add(kept, step)
        }
        _ => return None,
    })
}

/// `factor·x`
fn scaled<A: Arithmetic>(a: &mut A, x: A::Number, factor: f64) -> A::Number {
    if factor == 1.0 {
        return x;
    }
    let factor = a.constant(factor);
    a.mul(factor, x)
}

/// `g + d·decay·w`
fn decayed<A: Arithmetic>(a: &mut A, w: A::Number, g: A::Number, decay: A::Number, d: f64) -> A::Number {
    if d == 0.0 {
        return g;
    }
    let decay = scaled(a, decay, d);
    let pull = a.mul(decay, w);
    a.add(g, pull)
}

/// `w - r·rate·step`
fn descend<A: Arithmetic>(a: &mut A, w: A::Number, step: A::Number, rate: A::Number, r: f64) -> A::Number {
    let rate = scaled(a, rate, r);
    let step = a.mul(rate, step);
    a.sub(w, step)
}

/// `beta·old + (1 - beta)·new`
fn average<A: Arithmetic>(a: &mut A, old: A::Number, new: A::Number, beta: A::Number) -> A::Number {
    let one = a.constant(1.0);
    let rest = a.sub(one, beta);
    let (old, new) = (a.mul(beta, old), a.mul(rest, new));
    a.add(old, new)
}

/// `g/(sqrt(s) + epsilon)`
fn normalised<A: Arithmetic>(a: &mut A, g: A::Number, s: A::Number, epsilon: A::Number) -> A::Number {
    let root = a.sqrt(s);
    let below = a.add(root, epsilon);
    a.div(g, below)
}

/// `(m/c1)/(sqrt(s/c2) + epsilon)`
fn adam<A: Arithmetic>(a: &mut A, m: A::Number, s: A::Number, [c1, c2, epsilon]: [A::Number; 3]) -> A::Number {
    let (m, s) = (a.div(m, c1), a.div(s, c2));
    normalised(a, m, s, epsilon)
}

impl Update {
    fn rule(&self) -> Result<&'static Rule, String> {
        let found = rules().iter().find(|r| r.name == self.rule);
        found.ok_or_else(|| format!("unknown update rule `{}`", self.rule))
    }
}

impl OperatorDef for Update {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let rule = self.rule()?;
        let count = rule.tensors.len() + rule.numbers.len();
        if operands.len() != count {
            return Err(format!("{} takes {count} operands, {} given", rule.name, operands.len()));
        }
        let (tensors, numbers) = operands.split_at(rule.tensors.len());
        for (ty, name) in numbers.iter().zip(rule.numbers) {
            check::scalar(ty, name)?;
        }
        for (ty, name) in tensors.iter().zip(rule.tensors) {
            check::shared(ty, name)?;
            check::same(&tensors[0], ty)?;
        }
        Ok(operands[0].clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let data: Vec<&[T]> = operands.iter().map(|o| o.real().data.as_slice()).collect();
        let value = |i: usize| {
            // Shared numbers have one element, the rest one for each of the parameter's.
            let values: Vec<f64> = data.iter().map(|d| d[if d.len() == 1 { 0 } else { i }].f64()).collect();
            formula(&mut Exact, &self.rule, &values, self.rate, self.decay)
                .expect("infer has checked rule and operands")
        };
        reference::result(cx, (0..cx.ty.elements()).map(value).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let (rule, rate, decay) = (self.rule.clone(), self.rate, self.decay);
        let tag = format!("{rule}_{}_{}", bits(rate), bits(decay));
        elementwise::map(cx, &tag, |builder, values, lanes| {
            let value = formula(&mut Code { builder, lanes }, &rule, values, rate, decay);
            value.expect("infer has checked rule and operands")
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |rule: &Rule, (rate, decay), dims: &[usize]| {
            let mut operands = vec![Type::shared(dims); rule.tensors.len()];
            operands.resize(rule.tensors.len() + rule.numbers.len(), Type::shared(&[]));
            Case::new(Update { rule: rule.name.into(), rate, decay }, 1, &operands).drawn(Draw::Positive)
        };
        let both =
            |rule| [case(rule, (1.0, 1.0), &[5, 3, 2, 2]), case(rule, (0.5, 0.0), &[33]), case(rule, (2.0, 0.5), &[])];
        RULES.iter().flat_map(both).collect()
    }
}

attributes! {
    /// `(Σ squares [], limit []) -> min(1, limit/sqrt(Σ))`
    ClipFactor {}
}

impl OperatorDef for ClipFactor {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [squares, limit] = check::exactly(operands)?;
        check::scalar(squares, "the sum of squares")?;
        check::scalar(limit, "the limit")?;
        Ok(Type::shared(&[]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (squares, limit) = (operands[0].real().data[0].f64(), operands[1].real().data[0].f64());
        let factor = limit / squares.sqrt();
        // A NaN passes, so that divergence shows.
        reference::result(cx, vec![if 1.0 < factor { 1.0 } else { factor }])
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, "clip_factor", |b, v, lanes| {
            let norm = b.unary(Unary::Sqrt, v[0]);
            let factor = b.div(v[1], norm);
            let one = b.f32(1.0, lanes);
            b.min(one, factor)
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let types = [Type::shared(&[]), Type::shared(&[])];
        vec![Case::new(ClipFactor {}, 1, &types).drawn(Draw::Positive)]
    }
}

attributes! {
    /// `w -> w`, each output unit's weights scaled so that their L2 norm is at most `limit`.
    MaxNorm {
        limit: f64,
    }
}

impl OperatorDef for MaxNorm {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [w] = check::exactly(operands)?;
        check::shared(w, "a weight")?;
        if self.limit > 0.0 { Ok(w.clone()) } else { Err(format!("the limit {} is not above 0", self.limit)) }
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let w = operands[0].real();
        // The output unit is the innermost dimension in memory.
        let unit = cx.ty.memory_order().last().copied();
        let (units, inner) = unit.map_or((1, 1), |u| (cx.ty.dims[u], cx.ty.dims[u + 1..].iter().product()));
        let unit_of = |place: usize| place / inner % units;
        let mut squares = vec![0.0; units];
        w.data.iter().enumerate().for_each(|(i, v)| squares[unit_of(i)] += v.f64() * v.f64());
        let factor = |unit: usize| {
            let norm = f64::sqrt(squares[unit]);
            if norm > self.limit { self.limit / norm } else { 1.0 }
        };
        reference::result(cx, w.data.iter().enumerate().map(|(i, v)| v.f64() * factor(unit_of(i))).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        reduce::max_norm(cx, self.limit as f32)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |limit, dims: &[usize]| Case::new(MaxNorm { limit }, 1, &[Type::shared(dims)]);
        vec![
            case(2.0, &[5, 3, 2, 2]),
            case(1.0, &[33, 7]),
            case(4.0, &[6, 5, 3, 2, 2]),
            case(1e3, &[10, 4]),
            case(0.5, &[9]),
        ]
    }
}
