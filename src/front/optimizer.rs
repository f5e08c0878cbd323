//! The functions of `optimizer` in a `train` section.

use super::bind::Callee;
use super::codes;
use super::function::{Called, FunctionSpec, Table};
use super::sink::Diagnostics;
use crate::ops::params::{Bounds, Param, ParamSpec};
use ninc_runtime::spec::{Muon, Optimizer, Ramp};

/// An optimiser, and how its momentum grows at the start.
pub struct Optimized {
    /// The optimiser.
    pub optimizer: Optimizer,
    /// The momentum's growth, if it grows.
    pub ramp: Option<Ramp>,
}

const RATE: Param<f64> = Param::float("rate", Bounds::POSITIVE, "Learning rate.").positional();
const DECAY: Param<f64> = Param::float("decay", Bounds::NOT_NEGATIVE, "Weight decay.").or(0.0);
const MOMENTUM: Param<f64> = Param::float("momentum", Bounds::BELOW_ONE, "Weight of the steps before.").or(0.0);
const RAMP: Param<Option<f64>> =
    Param::float("ramp", Bounds::POSITIVE, "Epochs over which the momentum grows.").optional();
const RAMP_FROM: Param<Option<f64>> =
    Param::float("ramp_from", Bounds::BELOW_ONE, "Where the growing momentum starts.").optional();
const NESTEROV: Param<bool> = Param::bool("nesterov", "Nesterov's form of the momentum.").or(false);
const RATE_INSIDE: Param<bool> = Param::bool("rate_inside", "The momentum's sum includes the rate.").or(false);
const BETA1: Param<f64> = Param::float("beta1", Bounds::BELOW_ONE, "Decay of the mean of the gradients.").or(0.9);
const BETA2: Param<f64> = Param::float("beta2", Bounds::BELOW_ONE, "Decay of the mean of their squares.").or(0.999);
const ALPHA: Param<f64> = Param::float("alpha", Bounds::BELOW_ONE, "Decay of the mean of the squares.").or(0.99);
const EPSILON: Param<f64> = Param::float("epsilon", Bounds::POSITIVE, "Added to the root of the squares.").or(1e-8);

const SGD: &[ParamSpec] =
    &[RATE.spec, MOMENTUM.spec, DECAY.spec, NESTEROV.spec, RATE_INSIDE.spec, RAMP.spec, RAMP_FROM.spec];
const ADAM: &[ParamSpec] = &[RATE.spec, BETA1.spec, BETA2.spec, EPSILON.spec, DECAY.spec];
const RMSPROP: &[ParamSpec] =
    &[RATE.spec, ALPHA.spec, EPSILON.spec, MOMENTUM.spec, DECAY.spec, RAMP.spec, RAMP_FROM.spec];

/// The optimisers of the language.
pub const OPTIMIZERS: Table<Optimized> = Table {
    what: "an optimizer",
    callee: Callee::Function,
    functions: &[
        FunctionSpec {
            name: "sgd",
            doc: "Stochastic gradient descent, with momentum if that is given.",
            params: SGD,
            make: sgd,
        },
        FunctionSpec {
            name: "adam",
            doc: "Adam: rates by running means of gradients and their squares.",
            params: ADAM,
            make: |c, _| Some(adam(c, false)),
        },
        FunctionSpec {
            name: "adamw",
            doc: "Adam whose weight decay is apart from the gradient.",
            params: ADAM,
            make: |c, _| Some(adam(c, true)),
        },
        FunctionSpec {
            name: "rmsprop",
            doc: "RMSprop: rates by a running mean of squared gradients.",
            params: RMSPROP,
            make: rmsprop,
        },
    ],
};

const MUON_MOMENTUM: Param<f64> = Param::float("momentum", Bounds::BELOW_ONE, "Weight of the steps before.").or(0.6);
const MUON_NESTEROV: Param<bool> = Param::bool("nesterov", "Nesterov's form of the momentum.").or(true);
const MUON_STEPS: Param<usize> = Param::int("steps", 1, 20, "Steps of Newton–Schulz's iteration.").or(3);
const UNIT: Param<bool> = Param::bool("unit", "Scales each weight to the norm √outputs before each step.").or(false);

/// The optimisers for the weights of convolutions alone.
pub const OF_CONVOLUTIONS: Table<Muon> = Table {
    what: "an optimizer of convolutions",
    callee: Callee::Function,
    functions: &[FunctionSpec {
        name: "muon",
        doc: "Muon: updates a convolution's weights as a matrix whose singular values are brought near 1.",
        params: &[RATE.spec, MUON_MOMENTUM.spec, MUON_NESTEROV.spec, MUON_STEPS.spec, DECAY.spec, UNIT.spec],
        make: |c, _| {
            let (rate, momentum, nesterov) = (c.get(RATE), c.get(MUON_MOMENTUM), c.get(MUON_NESTEROV));
            Some(Muon { rate, momentum, nesterov, steps: c.get(MUON_STEPS), decay: c.get(DECAY), unit: c.get(UNIT) })
        },
    }],
};

fn sgd(called: &Called, sink: &mut Diagnostics) -> Option<Optimized> {
    let ramp = ramp(called, sink);
    let (momentum, nesterov, rate_inside) = (called.get(MOMENTUM), called.get(NESTEROV), called.get(RATE_INSIDE));
    let problem = match (momentum == 0.0, rate_inside) {
        (true, _) => Some("`nesterov` needs a `momentum` above 0"),
        (_, true) => Some("`nesterov` and `rate_inside` exclude each other"),
        _ => None,
    };
    if let Some(message) = problem.filter(|_| nesterov) {
        sink.report(called.error(codes::CONFLICT, NESTEROV, message).help("change one of the two"));
        return None;
    }
    let (rate, decay) = (called.get(RATE), called.get(DECAY));
    Some(Optimized { optimizer: Optimizer::Sgd { rate, momentum, decay, nesterov, rate_inside }, ramp })
}

fn adam(called: &Called, decoupled: bool) -> Optimized {
    let (rate, beta1, beta2) = (called.get(RATE), called.get(BETA1), called.get(BETA2));
    let (epsilon, decay) = (called.get(EPSILON), called.get(DECAY));
    Optimized { optimizer: Optimizer::Adam { rate, beta1, beta2, epsilon, decay, decoupled }, ramp: None }
}

fn rmsprop(called: &Called, sink: &mut Diagnostics) -> Option<Optimized> {
    let (rate, alpha, epsilon) = (called.get(RATE), called.get(ALPHA), called.get(EPSILON));
    let (momentum, decay) = (called.get(MOMENTUM), called.get(DECAY));
    let optimizer = Optimizer::RmsProp { rate, alpha, epsilon, momentum, decay };
    Some(Optimized { optimizer, ramp: ramp(called, sink) })
}

/// `sgd(momentum = 0.9, ramp = 10, ramp_from = 0.5)`: from 0.5 to 0.9 in ten epochs.
fn ramp(called: &Called, sink: &mut Diagnostics) -> Option<Ramp> {
    let span = called.place(RAMP).or(called.place(RAMP_FROM))?;
    let from = called.get(RAMP_FROM).unwrap_or(0.0);
    let problem = match called.get(RAMP) {
        None => "`ramp_from` needs `ramp`, the epochs over which the momentum grows",
        Some(_) if called.get(MOMENTUM) == 0.0 => "`ramp` needs a `momentum` above 0 to grow to",
        Some(epochs) => return Some(Ramp { from, epochs }),
    };
    sink.report(super::diag::Diagnostic::error(codes::CONFLICT, span, problem).help("change one of the two"));
    None
}
