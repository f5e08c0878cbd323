//! Formulas of optimisers, each written once for numbers and for compiled code.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Compare, Unary, Val};
use crate::ops::attr::{Attr, AttrValue};
use crate::recipes::math;

/// Arithmetic that a formula needs: of numbers for the interpreter, of kernel values for compiled code. So each formula
/// is written once.
pub(super) trait Arithmetic {
    type Number: Copy;
    fn constant(&mut self, value: f64) -> Self::Number;
    fn add(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn sub(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn mul(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn div(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn sqrt(&mut self, a: Self::Number) -> Self::Number;
    /// `a < b ? yes : no`
    fn below(&mut self, a: Self::Number, b: Self::Number, yes: Self::Number, no: Self::Number) -> Self::Number;
    /// `1 - base^exponent` for a base in (0, 1), without cancellation where the power is near 1.
    fn one_minus_power(&mut self, base: Self::Number, exponent: Self::Number) -> Self::Number;
}

/// The interpreter's arithmetic.
pub(super) struct Exact;

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
    fn below(&mut self, a: f64, b: f64, yes: f64, no: f64) -> f64 {
        if a < b { yes } else { no }
    }
    fn one_minus_power(&mut self, base: f64, exponent: f64) -> f64 {
        -(exponent * base.ln()).exp_m1()
    }
}

/// Compiled code's arithmetic.
pub(super) struct Code<'a> {
    pub(super) builder: &'a mut MicroKernelBuilder,
    pub(super) lanes: u32,
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

    fn below(&mut self, a: Val, b: Val, yes: Val, no: Val) -> Val {
        let is_below = self.builder.compare(Compare::Gt, b, a);
        self.builder.select(is_below, yes, no)
    }

    /// With `t = exponent·ln base`: `1 - e^t` far from 0, and `-t·(1 + t/2·(1 + t/3·(…)))` near it, where 1 and `e^t`
    /// would cancel. At -0.4 the first term left out is below a quarter of a float's precision.
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

/// A formula of an optimiser. `g` is the gradient (already clipped), `w` the weight, primed states are the new ones.
///
/// * SGD as PyTorch has it: `v' = SgdVelocity`, `w' = SgdStep`; with Nesterov's momentum `w' = NesterovStep`.
///   Without momentum: `w' = SgdPlain`.
/// * SGD as Caffe and cuda-convnet have it, the rate inside the velocity: `v' = SgdVelocityInside`,
///   `w' = SgdStepInside`; with Nesterov's momentum `w' = NesterovStepInside`.
/// * Adam (Kingma & Ba, 2015): `g' = Decayed` (where decay is not 0), `m' = AdamFirst`, `s' = AdamSecond`,
///   `c1 = BiasCorrection(beta1, step)`, `c2 = BiasCorrection(beta2, step)` (both once for all parameters; the first
///   step is 1), `w' = AdamStep`. AdamW (Loshchilov & Hutter, 2019): no `Decayed`, and `AdamwStep` at the end.
/// * RMSProp: `g' = Decayed`, `s' = AdamSecond` with alpha for beta2, then `w' = RmspropStep`, or with momentum
///   `v' = RmspropVelocity`, `w' = SgdStep`.
/// * Muon (Jordan et al., 2024): SGD's `v' = SgdVelocity`; of that divided by its norm (`InverseNorm`) Newton–Schulz's
///   iteration makes an update for `SgdPlain`.
/// * What a recipe freezes after some epochs: `w' = Until`, of the weight and what it would become.
/// * Look-ahead (Zhang et al., 2019): `s' = Slow`, then `w' = Synced`; without a look-ahead both stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `g + d·decay·w`
    Decayed,
    /// `w - r·rate·(g + d·decay·w)`
    SgdPlain,
    /// `momentum·v + (g + d·decay·w)`
    SgdVelocity,
    /// `momentum·v + r·rate·(g + d·decay·w)`
    SgdVelocityInside,
    /// `w - r·rate·v'`
    SgdStep,
    /// `w - v'`
    SgdStepInside,
    /// `w - r·rate·((g + d·decay·w) + momentum·v')`
    NesterovStep,
    /// `w - (v' + momentum·(v' - v))`
    NesterovStepInside,
    /// `beta1·m + (1 - beta1)·g`
    AdamFirst,
    /// `beta2·s + (1 - beta2)·g²`
    AdamSecond,
    /// `1 - beta^step`
    BiasCorrection,
    /// `w - r·rate/c1·m'/(sqrt(s'/c2) + epsilon)`
    AdamStep,
    /// `w - r·rate·d·decay·w - r·rate/c1·m'/(sqrt(s'/c2) + epsilon)`
    AdamwStep,
    /// `w - r·rate·g/(sqrt(s') + epsilon)`
    RmspropStep,
    /// `momentum·v + g/(sqrt(s') + epsilon)`
    RmspropVelocity,
    /// `r/(sqrt(squares) + d)`
    InverseNorm,
    /// `w'` while `epochs < last`, then `w`
    Until,
    /// `s + mix·(w' - s)`
    Slow,
    /// `s'` where `sync` is above 0, else `w'`
    Synced,
}

impl Rule {
    /// All rules.
    pub const ALL: [Rule; 19] = [
        Rule::Decayed,
        Rule::SgdPlain,
        Rule::SgdVelocity,
        Rule::SgdVelocityInside,
        Rule::SgdStep,
        Rule::SgdStepInside,
        Rule::NesterovStep,
        Rule::NesterovStepInside,
        Rule::AdamFirst,
        Rule::AdamSecond,
        Rule::BiasCorrection,
        Rule::AdamStep,
        Rule::AdamwStep,
        Rule::RmspropStep,
        Rule::RmspropVelocity,
        Rule::InverseNorm,
        Rule::Until,
        Rule::Slow,
        Rule::Synced,
    ];

    /// The name in the text of graphs; operands of the parameter's shape, first; shared numbers, after them.
    pub(super) const fn parts(self) -> (&'static str, &'static [&'static str], &'static [&'static str]) {
        match self {
            Rule::Decayed => ("decayed", &["w", "g"], &["decay"]),
            Rule::SgdPlain => ("sgd_plain", &["w", "g"], &["rate", "decay"]),
            Rule::SgdVelocity => ("sgd_velocity", &["w", "g", "v"], &["momentum", "decay"]),
            Rule::SgdVelocityInside => ("sgd_velocity_inside", &["w", "g", "v"], &["rate", "momentum", "decay"]),
            Rule::SgdStep => ("sgd_step", &["w", "v'"], &["rate"]),
            Rule::SgdStepInside => ("sgd_step_inside", &["w", "v'"], &[]),
            Rule::NesterovStep => ("nesterov_step", &["w", "g", "v'"], &["rate", "momentum", "decay"]),
            Rule::NesterovStepInside => ("nesterov_step_inside", &["w", "v", "v'"], &["momentum"]),
            Rule::AdamFirst => ("adam_first", &["g", "m"], &["beta1"]),
            Rule::AdamSecond => ("adam_second", &["g", "s"], &["beta2"]),
            Rule::BiasCorrection => ("bias_correction", &[], &["beta", "step"]),
            Rule::AdamStep => ("adam_step", &["w", "m'", "s'"], &["rate", "c1", "c2", "epsilon"]),
            Rule::AdamwStep => ("adamw_step", &["w", "m'", "s'"], &["rate", "c1", "c2", "epsilon", "decay"]),
            Rule::RmspropStep => ("rmsprop_step", &["w", "g", "s'"], &["rate", "epsilon"]),
            Rule::RmspropVelocity => ("rmsprop_velocity", &["g", "s'", "v"], &["momentum", "epsilon"]),
            Rule::InverseNorm => ("inverse_norm", &[], &["squares"]),
            Rule::Until => ("until", &["w", "w'"], &["epochs", "last"]),
            Rule::Slow => ("slow", &["s", "w'"], &["mix"]),
            Rule::Synced => ("synced", &["s'", "w'"], &["sync"]),
        }
    }

    /// Returns its name in the text of graphs.
    pub const fn name(self) -> &'static str {
        self.parts().0
    }
}

impl AttrValue for Rule {
    fn to_attr(&self) -> Attr {
        Attr::word(self.name())
    }

    fn from_attr(attr: &Attr) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.to_attr() == *attr)
    }
}

/// The formula of a rule, in any arithmetic; `v` are its operands. `None`: another number of operands.
pub(super) fn formula<A: Arithmetic>(a: &mut A, rule: Rule, v: &[A::Number], r: f64, d: f64) -> Option<A::Number> {
    Some(match (rule, v) {
        (Rule::Decayed, &[w, g, decay]) => decayed(a, w, g, decay, d),
        (Rule::SgdPlain, &[w, g, rate, decay]) => {
            let g = decayed(a, w, g, decay, d);
            descend(a, w, g, rate, r)
        }
        (Rule::SgdVelocity, &[w, g, v, momentum, decay]) => {
            let g = decayed(a, w, g, decay, d);
            let kept = a.mul(momentum, v);
            a.add(kept, g)
        }
        (Rule::SgdVelocityInside, &[w, g, v, rate, momentum, decay]) => {
            let g = decayed(a, w, g, decay, d);
            let rate = scaled(a, rate, r);
            let (kept, step) = (a.mul(momentum, v), a.mul(rate, g));
            a.add(kept, step)
        }
        (Rule::SgdStep, &[w, v, rate]) => descend(a, w, v, rate, r),
        (Rule::SgdStepInside, &[w, v]) => a.sub(w, v),
        (Rule::NesterovStep, &[w, g, v, rate, momentum, decay]) => {
            let g = decayed(a, w, g, decay, d);
            let ahead = a.mul(momentum, v);
            let g = a.add(g, ahead);
            descend(a, w, g, rate, r)
        }
        (Rule::NesterovStepInside, &[w, old, new, momentum]) => {
            let change = a.sub(new, old);
            let ahead = a.mul(momentum, change);
            let step = a.add(new, ahead);
            a.sub(w, step)
        }
        (Rule::AdamFirst, &[g, m, beta]) => average(a, m, g, beta),
        (Rule::AdamSecond, &[g, s, beta]) => {
            let square = a.mul(g, g);
            average(a, s, square, beta)
        }
        (Rule::BiasCorrection, &[beta, step]) => a.one_minus_power(beta, step),
        (Rule::AdamStep, &[w, m, s, rate, c1, c2, epsilon]) => {
            let step = adam(a, m, s, [c1, c2, epsilon]);
            descend(a, w, step, rate, r)
        }
        (Rule::AdamwStep, &[w, m, s, rate, c1, c2, epsilon, decay]) => {
            let step = adam(a, m, s, [c1, c2, epsilon]);
            let step = decayed(a, w, step, decay, d);
            descend(a, w, step, rate, r)
        }
        (Rule::RmspropStep, &[w, g, s, rate, epsilon]) => {
            let step = normalised(a, g, s, epsilon);
            descend(a, w, step, rate, r)
        }
        (Rule::RmspropVelocity, &[g, s, v, momentum, epsilon]) => {
            let step = normalised(a, g, s, epsilon);
            let kept = a.mul(momentum, v);
            a.add(kept, step)
        }
        (Rule::InverseNorm, &[squares]) => {
            let (above, small, root) = (a.constant(r), a.constant(d), a.sqrt(squares));
            let below = a.add(root, small);
            a.div(above, below)
        }
        (Rule::Until, &[w, new, epochs, last]) => a.below(epochs, last, new, w),
        (Rule::Slow, &[slow, w, mix]) => {
            // A weight that is not finite must not reach the average through a factor of 0.
            let (zero, way) = (a.constant(0.0), a.sub(w, slow));
            let step = a.mul(mix, way);
            let mixed = a.add(slow, step);
            a.below(zero, mix, mixed, slow)
        }
        (Rule::Synced, &[slow, w, sync]) => {
            let zero = a.constant(0.0);
            a.below(zero, sync, slow, w)
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
