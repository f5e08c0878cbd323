//! `train { … }`: loss, optimiser, schedule and length of a training.

use super::ast::Section;
use super::codes;
use super::diag::Diagnostic;
use super::lower::Lower;
use super::section::{Called, Fun, Keys, named, positional, required};
use crate::ops::params::{Arg, Bounds, Kind};
use ninc_runtime::spec::{Length, Optimizer, Ramp, Recipe, Schedule};

const KEYS: &[&str] = &[
    "loss",
    "optimizer",
    "schedule",
    "warmup",
    "batch",
    "epochs",
    "steps",
    "shuffle",
    "seed",
    "clip",
    "accumulate",
    "average",
    "early_stop",
];

const RATE: super::section::Par = required("rate", Kind::Float(Bounds::POSITIVE));
const DECAY: super::section::Par = named("decay", Kind::Float(Bounds::NOT_NEGATIVE));
/// Epochs over which the momentum grows, and where it starts.
const RAMP: super::section::Par = named("ramp", Kind::Float(Bounds::POSITIVE));
const RAMP_FROM: super::section::Par = named("ramp_from", Kind::Float(Bounds::BELOW_ONE));
const OPEN_UNIT: Bounds = Bounds::INSIDE_UNIT;

const LOSSES: &[Fun] = &[Fun { name: "cross_entropy", params: &[named("smoothing", Kind::Float(Bounds::BELOW_ONE))] }];

const ADAM: &[super::section::Par] = &[
    RATE,
    named("beta1", Kind::Float(Bounds::BELOW_ONE)),
    named("beta2", Kind::Float(Bounds::BELOW_ONE)),
    named("epsilon", Kind::Float(Bounds::POSITIVE)),
    DECAY,
];

const OPTIMIZERS: &[Fun] = &[
    Fun {
        name: "sgd",
        params: &[
            RATE,
            named("momentum", Kind::Float(Bounds::BELOW_ONE)),
            DECAY,
            named("nesterov", Kind::Bool),
            named("rate_inside", Kind::Bool),
            RAMP,
            RAMP_FROM,
        ],
    },
    Fun { name: "adam", params: ADAM },
    Fun { name: "adamw", params: ADAM },
    Fun {
        name: "rmsprop",
        params: &[
            RATE,
            named("alpha", Kind::Float(Bounds::BELOW_ONE)),
            named("epsilon", Kind::Float(Bounds::POSITIVE)),
            named("momentum", Kind::Float(Bounds::BELOW_ONE)),
            DECAY,
            RAMP,
            RAMP_FROM,
        ],
    },
];

const SCHEDULES: &[Fun] = &[
    Fun { name: "constant", params: &[] },
    Fun {
        name: "steps",
        params: &[required("at", Kind::Floats(Bounds::NOT_NEGATIVE)), named("factor", Kind::Float(Bounds::FRACTION))],
    },
    Fun { name: "exponential", params: &[required("factor", Kind::Float(Bounds::FRACTION))] },
    Fun { name: "cosine", params: &[positional("floor", Kind::Float(Bounds::UNIT))] },
    Fun {
        name: "one_cycle",
        params: &[
            named("peak", Kind::Float(OPEN_UNIT)),
            named("start", Kind::Float(Bounds::UNIT)),
            named("end", Kind::Float(Bounds::UNIT)),
            named("momentum", Kind::Float(Bounds::BELOW_ONE)),
        ],
    },
    Fun {
        name: "plateau",
        params: &[
            named("factor", Kind::Float(OPEN_UNIT)),
            named("patience", Kind::Int(1, 1_000_000)),
            named("threshold", Kind::Float(Bounds::UNIT)),
            named("times", Kind::Int(1, 1_000_000)),
        ],
    },
];

impl Lower<'_> {
    pub fn train(&mut self, section: &Section) -> Option<Recipe> {
        let keys = self.keys(section, "train", KEYS);
        let loss = keys.get("loss").map(|e| self.function(&e.value, LOSSES, "a loss"));
        let optimizer = match keys.get("optimizer") {
            Some(entry) => self.function(&entry.value, OPTIMIZERS, "an optimizer"),
            None => {
                let d = Diagnostic::error(codes::MISSING_KEY, section.word, "`train` needs an `optimizer`");
                self.report(d.help("write for example `optimizer = sgd(rate = 0.1, momentum = 0.9)`"));
                None
            }
        };
        let schedule = match keys.get("schedule") {
            Some(entry) => self.function(&entry.value, SCHEDULES, "a schedule").and_then(|c| self.schedule(&c)),
            None => Some(Schedule::Constant),
        };
        let ramp = optimizer.as_ref().and_then(|c| self.ramp(c));
        let optimizer = optimizer.and_then(|c| self.optimizer(&c));
        let cycled = keys.get("schedule").zip(optimizer.as_ref()).zip(schedule.as_ref());
        if let Some(((entry, optimizer), Schedule::OneCycle { momentum: Some(_), .. })) = cycled {
            let problem = match (optimizer.momentum() == 0.0, ramp.is_some()) {
                (true, _) => Some("a cycle of the momentum needs an optimizer with a `momentum` above 0"),
                (_, true) => Some("`ramp` and the cycle's `momentum` both say what the momentum is"),
                _ => None,
            };
            if let Some(message) = problem {
                self.report(
                    Diagnostic::error(codes::CONFLICT, entry.value.span, message).help("change one of the two"),
                );
                return None;
            }
        }
        let length = self.length(section, &keys);
        let float = |given: Option<Arg>| match given {
            Some(Arg::Float(v)) => Some(v),
            _ => None,
        };
        let int = |given: Option<Arg>| match given {
            Some(Arg::Int(v)) => usize::try_from(v).ok(),
            _ => None,
        };
        let warmup = float(self.key(&keys, "warmup", Kind::Float(Bounds::NOT_NEGATIVE))).unwrap_or(0.0);
        let batch = int(self.key(&keys, "batch", Kind::Int(1, 65_536))).unwrap_or(128);
        let shuffle = !matches!(self.key(&keys, "shuffle", Kind::Bool), Some(Arg::Bool(false)));
        let seed = int(self.key(&keys, "seed", Kind::Int(0, i64::MAX))).unwrap_or(0) as u64;
        let clip = float(self.key(&keys, "clip", Kind::Float(Bounds::POSITIVE)));
        let accumulate = int(self.key(&keys, "accumulate", Kind::Int(1, 65_536))).unwrap_or(1);
        let average = float(self.key(&keys, "average", Kind::Float(OPEN_UNIT)));
        let patience = int(self.key(&keys, "early_stop", Kind::Int(1, 1_000_000)));
        let label_smoothing = loss.flatten().and_then(|l| l.float("smoothing")).unwrap_or(0.0);
        Some(Recipe {
            label_smoothing,
            optimizer: optimizer?,
            schedule: schedule?,
            warmup,
            batch,
            length: length?,
            shuffle,
            seed,
            clip,
            accumulate,
            average,
            patience,
            ramp,
        })
    }

    /// `sgd(momentum = 0.9, ramp = 10, ramp_from = 0.5)`: from 0.5 to 0.9 in ten epochs.
    fn ramp(&mut self, called: &Called) -> Option<Ramp> {
        let span = called.place("ramp").or(called.place("ramp_from"))?;
        let (from, full) = (called.float("ramp_from").unwrap_or(0.0), called.float("momentum").unwrap_or(0.0));
        let problem = match called.float("ramp") {
            None => "`ramp_from` needs `ramp`, the epochs over which the momentum grows",
            Some(_) if full == 0.0 => "`ramp` needs a `momentum` above 0 to grow to",
            Some(epochs) => return Some(Ramp { from, epochs }),
        };
        self.report(Diagnostic::error(codes::CONFLICT, span, problem).help("change one of the two"));
        None
    }

    fn length(&mut self, section: &Section, keys: &Keys) -> Option<Length> {
        match (keys.get("epochs"), keys.get("steps")) {
            (Some(epochs), Some(steps)) => {
                let message = "`epochs` and `steps` both say how long to train";
                let d = Diagnostic::error(codes::CONFLICT, steps.key.span, message);
                self.report(d.label(epochs.key.span, "`epochs` is given here").help("keep one of the two"));
                None
            }
            (Some(_), None) => match self.key(keys, "epochs", Kind::Float(Bounds::POSITIVE))? {
                Arg::Float(v) => Some(Length::Epochs(v)),
                _ => None,
            },
            (None, Some(_)) => match self.key(keys, "steps", Kind::Int(1, i64::MAX))? {
                Arg::Int(v) => u64::try_from(v).ok().map(Length::Steps),
                _ => None,
            },
            (None, None) => {
                let message = "`train` does not say how long: it needs `epochs` or `steps`";
                let d = Diagnostic::error(codes::MISSING_KEY, section.word, message);
                self.report(d.help("write for example `epochs = 10`"));
                None
            }
        }
    }

    fn optimizer(&mut self, called: &Called) -> Option<Optimizer> {
        let float = |name: &str, default: f64| called.float(name).unwrap_or(default);
        let (rate, decay) = (called.float("rate")?, float("decay", 0.0));
        let on = |name: &str| called.bool(name).unwrap_or(false);
        let (nesterov, rate_inside) = (on("nesterov"), on("rate_inside"));
        if called.name == "sgd" && nesterov {
            let problem = if float("momentum", 0.0) == 0.0 {
                Some("`nesterov` needs a `momentum` above 0")
            } else if rate_inside {
                Some("`nesterov` and `rate_inside` exclude each other")
            } else {
                None
            };
            if let Some(message) = problem {
                let span = called.place("nesterov").unwrap_or(called.span);
                self.report(Diagnostic::error(codes::CONFLICT, span, message).help("change one of the two"));
                return None;
            }
        }
        Some(match called.name {
            "sgd" => Optimizer::Sgd { rate, momentum: float("momentum", 0.0), decay, nesterov, rate_inside },
            "adam" | "adamw" => Optimizer::Adam {
                rate,
                beta1: float("beta1", 0.9),
                beta2: float("beta2", 0.999),
                epsilon: float("epsilon", 1e-8),
                decay,
                decoupled: called.name == "adamw",
            },
            _ => Optimizer::RmsProp {
                rate,
                alpha: float("alpha", 0.99),
                epsilon: float("epsilon", 1e-8),
                momentum: float("momentum", 0.0),
                decay,
            },
        })
    }

    fn schedule(&mut self, called: &Called) -> Option<Schedule> {
        let float = |name: &str, default: f64| called.float(name).unwrap_or(default);
        Some(match called.name {
            "constant" => Schedule::Constant,
            "steps" => {
                let at = called.floats("at")?;
                if at.windows(2).any(|pair| pair[0] >= pair[1]) {
                    let span = called.place("at").unwrap_or(called.span);
                    let message = "the epochs in `at` must grow from one to the next";
                    self.report(Diagnostic::error(codes::OUT_OF_RANGE, span, message));
                    return None;
                }
                Schedule::Steps { at, factor: float("factor", 0.1) }
            }
            "exponential" => Schedule::Exponential { factor: called.float("factor")? },
            "cosine" => Schedule::Cosine { floor: float("floor", 0.0) },
            "one_cycle" => Schedule::OneCycle {
                peak: float("peak", 0.3),
                start: float("start", 0.04),
                end: float("end", 1e-4),
                momentum: called.float("momentum"),
            },
            _ => Schedule::Plateau {
                factor: float("factor", 0.1),
                patience: called.int("patience").unwrap_or(10),
                threshold: float("threshold", 1e-4),
                times: called.int("times").unwrap_or(2),
            },
        })
    }
}
