//! Per-layer settings: `init`, `rate`, `decay` and the rest, in calls of layers with weights and in `defaults`.

use super::ast::Expr;
use super::bind::Callee;
use super::described::{Key, Takes};
use super::evaluate::Evaluator;
use super::function::{FunctionSpec, Table};
use crate::ops::params::{Bounds, Param};
use crate::ops::schema::Settings;
use crate::ops::source::Init;

/// A setting of the parameters that a layer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// How weights are drawn.
    Init,
    /// Factor on the optimiser's rate, for weights.
    Rate,
    /// Factor on the optimiser's rate, for biases.
    BiasRate,
    /// Factor on the optimiser's weight decay, for weights.
    Decay,
    /// Factor on the optimiser's weight decay, for biases.
    BiasDecay,
    /// Bound on the norm of the weights of each output.
    MaxNorm,
    /// Training leaves the parameters as they are.
    Frozen,
}

/// Draws of a normal distribution reach ten times its deviation, and float32 3.4e38.
const STD: Param<f64> =
    Param::float("std", Bounds::closed(0.0, 1e37), "Standard deviation of the weights.").positional();
const LIMIT: Param<f64> =
    Param::float("limit", Bounds::NOT_NEGATIVE, "The largest magnitude of a weight.").positional();
const VALUE: Param<f64> = Param::float("value", Bounds::ANY, "The value of every weight.").positional();

const EPSILON: Param<f64> =
    Param::float("epsilon", Bounds::POSITIVE, "Added to the variance along each eigenvector.").or(5e-4).positional();

const INITS: Table<Init> = Table {
    what: "one of the initialisations",
    callee: Callee::Initialisation,
    functions: &[
        FunctionSpec {
            name: "normal",
            doc: "Draws from a normal distribution of mean 0.",
            params: &[STD.spec],
            make: |c, _| Some(Init::Normal { std: c.get(STD) }),
        },
        FunctionSpec {
            name: "uniform",
            doc: "Draws evenly between -limit and limit.",
            params: &[LIMIT.spec],
            make: |c, _| Some(Init::Uniform { limit: c.get(LIMIT) }),
        },
        FunctionSpec {
            name: "xavier",
            doc: "Glorot's initialisation: uniform, by inputs and outputs.",
            params: &[],
            make: |_, _| Some(Init::Xavier),
        },
        FunctionSpec {
            name: "he",
            doc: "He's initialisation: normal, by inputs, for layers followed by ReLU.",
            params: &[],
            make: |_, _| Some(Init::He),
        },
        FunctionSpec {
            name: "constant",
            doc: "Every weight has the same value.",
            params: &[VALUE.spec],
            make: |c, _| Some(Init::Constant { value: c.get(VALUE) }),
        },
        FunctionSpec {
            name: "dirac",
            doc: "The first outputs give the inputs of their number unchanged.",
            params: &[],
            make: |_, _| Some(Init::Dirac),
        },
        FunctionSpec {
            name: "whiten",
            doc: "Filters that whiten patches of the training images, fitted before the first step.",
            params: &[EPSILON.spec],
            make: |c, _| Some(Init::Whiten { epsilon: c.get(EPSILON) }),
        },
    ],
};

const RATE: Param<f64> = Param::float("rate", Bounds::NOT_NEGATIVE, "Factor on the rate, for weights.");
const BIAS_RATE: Param<f64> = Param::float("bias_rate", Bounds::NOT_NEGATIVE, "Factor on the rate, for biases.");
const DECAY: Param<f64> = Param::float("decay", Bounds::NOT_NEGATIVE, "Factor on the weight decay, for weights.");
const BIAS_DECAY: Param<f64> =
    Param::float("bias_decay", Bounds::NOT_NEGATIVE, "Factor on the weight decay, for biases.");
const MAX_NORM: Param<f64> = Param::float("max_norm", Bounds::POSITIVE, "Bound on the norm of each output's weights.");
const FROZEN: Param<bool> = Param::bool("frozen", "Training leaves the parameters as they are.");

impl Setting {
    /// All settings, in the order of the reference.
    pub const ALL: [Setting; 7] = [
        Setting::Init,
        Setting::Rate,
        Setting::BiasRate,
        Setting::Decay,
        Setting::BiasDecay,
        Setting::MaxNorm,
        Setting::Frozen,
    ];

    /// Its name in the language.
    pub const fn name(self) -> &'static str {
        match self {
            Setting::Init => "init",
            Setting::Rate => RATE.spec.name,
            Setting::BiasRate => BIAS_RATE.spec.name,
            Setting::Decay => DECAY.spec.name,
            Setting::BiasDecay => BIAS_DECAY.spec.name,
            Setting::MaxNorm => MAX_NORM.spec.name,
            Setting::Frozen => FROZEN.spec.name,
        }
    }

    /// The setting as editors and `ninc help` show it.
    pub fn described(self) -> Key {
        match self {
            Setting::Init => {
                let doc = "How weights start.";
                Key { name: self.name(), doc, takes: Takes::Function(|| INITS.described()) }
            }
            Setting::Rate => Key::constant(&[RATE.spec]),
            Setting::BiasRate => Key::constant(&[BIAS_RATE.spec]),
            Setting::Decay => Key::constant(&[DECAY.spec]),
            Setting::BiasDecay => Key::constant(&[BIAS_DECAY.spec]),
            Setting::MaxNorm => Key::constant(&[MAX_NORM.spec]),
            Setting::Frozen => Key::constant(&[FROZEN.spec]),
        }
    }

    /// The setting of that name.
    pub fn named(name: &str) -> Option<Setting> {
        Setting::ALL.into_iter().find(|setting| setting.name() == name)
    }

    /// The names of all settings.
    pub fn names() -> [&'static str; 7] {
        Setting::ALL.map(Setting::name)
    }

    /// Reads the setting's value into `settings`, which stay as they are if it is wrong. `owner` names what it is given
    /// to in messages.
    pub fn read(self, value: &Expr, owner: &str, settings: &mut Settings, evaluator: &mut impl Evaluator) {
        let what = format!("`{}` of {owner}", self.name());
        let mut read = |param: Param<f64>, now: f64| evaluator.read(param, value, &what).unwrap_or(now);
        match self {
            Setting::Rate => settings.rate = read(RATE, settings.rate),
            Setting::BiasRate => settings.bias_rate = read(BIAS_RATE, settings.bias_rate),
            Setting::Decay => settings.decay = read(DECAY, settings.decay),
            Setting::BiasDecay => settings.bias_decay = read(BIAS_DECAY, settings.bias_decay),
            Setting::Init => settings.init = INITS.value(value, evaluator).unwrap_or(settings.init),
            Setting::MaxNorm => settings.max_norm = evaluator.read(MAX_NORM, value, &what).or(settings.max_norm),
            Setting::Frozen => settings.frozen = evaluator.read(FROZEN, value, &what).unwrap_or(settings.frozen),
        }
    }
}
