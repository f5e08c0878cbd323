//! `train { … }`: loss, optimiser, schedule and length of a training.

use super::ast::{ExprKind, Section};
use super::bind::Callee;
use super::codes;
use super::data;
use super::described::{Key, Takes};
use super::diag::Diagnostic;
use super::evaluate::Consts;
use super::function::{Called, FunctionSpec, Table};
use super::groups;
use super::optimizer::{OF_CONVOLUTIONS, OPTIMIZERS, Optimized};
use super::section::Reader;
use super::sink::Diagnostics;
use crate::ops::params::{Bounds, Param};
use ninc_runtime::spec::{ClassWeights, Length, Lookahead, Recipe, Schedule};

const LOSS: &str = "loss";
const OPTIMIZER: &str = "optimizer";
const SCHEDULE: &str = "schedule";
const LOOKAHEAD: &str = "lookahead";
/// The key of the optimiser for convolutions alone.
pub const CONVOLUTIONS: &str = "convolutions";
const WARMUP: Param<f64> =
    Param::float("warmup", Bounds::NOT_NEGATIVE, "Epochs over which the rate grows from 0.").or(0.0);
const BATCH: Param<usize> = Param::int("batch", 1, 65_536, "Images in a batch.").or(128);
const EPOCHS: Param<Option<f64>> = Param::float("epochs", Bounds::POSITIVE, "Passes over the data.").optional();
const STEPS: Param<Option<usize>> = Param::int("steps", 1, i64::MAX, "Updates of the weights.").optional();
const SHUFFLE: Param<bool> = Param::bool("shuffle", "Draws a new order of the data for each epoch.").or(true);
const SEED: Param<usize> = Param::int("seed", 0, i64::MAX, "Start of all random numbers.").or(0);
const CLIP: Param<Option<f64>> =
    Param::float("clip", Bounds::POSITIVE, "Bound on the L2 norm of all gradients together.").optional();
const ACCUMULATE: Param<usize> =
    Param::int("accumulate", 1, 65_536, "Batches whose gradients are accumulated before each update.").or(1);
const AVERAGE: Param<Option<f64>> =
    Param::float("average", Bounds::INSIDE_UNIT, "Decay of the exponential moving average of the weights.").optional();
const EARLY_STOP: Param<Option<usize>> =
    Param::int("early_stop", 1, 1_000_000, "Epochs without a better accuracy before training stops.").optional();
const BALANCE: Param<bool> = Param::bool("balance", "Draws equally many images of each class in an epoch.").or(false);
const PRECISION: Param<Option<&str>> =
    Param::one_of("precision", &["auto", "f32", "bf16", "tf32"], "What products multiply.").optional();
/// The key of the factors.
pub const CLASS_WEIGHTS: Param<Option<Vec<f64>>> =
    Param::floats("class_weights", Bounds::NOT_NEGATIVE, "Factors on the losses of the classes' images.").optional();
/// The word in place of factors.
const BALANCED: Param<Option<&str>> =
    Param::one_of("class_weights", &["balanced"], "Factors by the numbers of the classes' images.").optional();

pub(super) const KEYS: &[Key] = &[
    Key { name: LOSS, doc: "What training makes small.", takes: Takes::Function(|| LOSSES.described()) },
    Key { name: OPTIMIZER, doc: "How weights are updated.", takes: Takes::Function(|| OPTIMIZERS.described()) },
    Key { name: SCHEDULE, doc: "How the rate changes.", takes: Takes::Function(|| SCHEDULES.described()) },
    Key::constant(&[WARMUP.spec]),
    Key::constant(&[BATCH.spec]),
    Key::constant(&[EPOCHS.spec]),
    Key::constant(&[STEPS.spec]),
    Key::constant(&[SHUFFLE.spec]),
    Key::constant(&[SEED.spec]),
    Key::constant(&[CLIP.spec]),
    Key::constant(&[ACCUMULATE.spec]),
    Key::constant(&[AVERAGE.spec]),
    Key::constant(&[EARLY_STOP.spec]),
    Key::constant(&[BALANCE.spec]),
    Key::constant(&[CLASS_WEIGHTS.spec, BALANCED.spec]),
    Key {
        name: LOOKAHEAD,
        doc: "An average of the weights that now and then takes their place.",
        takes: Takes::Function(|| LOOKAHEADS.described()),
    },
    Key {
        name: CONVOLUTIONS,
        doc: "How weights of convolutions are updated, if not as all others.",
        takes: Takes::Function(|| OF_CONVOLUTIONS.described()),
    },
    Key {
        name: groups::GROUPS,
        doc: "What holds for parameters by their names.",
        takes: Takes::Functions(|| groups::FUNCTIONS.described()),
    },
    Key::constant(&[PRECISION.spec]),
];

const SMOOTHING: Param<f64> =
    Param::float("smoothing", Bounds::BELOW_ONE, "Part of each label that is spread over all classes.").or(0.0);

/// Makes the label smoothing, the only thing that a loss decides so far.
const LOSSES: Table<f64> = Table {
    what: "a loss",
    callee: Callee::Function,
    functions: &[FunctionSpec {
        name: "cross_entropy",
        doc: "Cross entropy between the network's probabilities and the labels.",
        params: &[SMOOTHING.spec],
        make: |c, _| Some(c.get(SMOOTHING)),
    }],
};

const EVERY: Param<usize> = Param::int("every", 1, 1_000_000, "Steps from one look-ahead to the next.").or(5);
const PAST: Param<f64> = Param::float("decay", Bounds::BELOW_ONE, "Weight of the past for each step.").or(0.95);
const POWER: Param<f64> =
    Param::float("power", Bounds::NOT_NEGATIVE, "How the weight of the past grows over the training.").or(0.0);

const LOOKAHEADS: Table<Lookahead> = Table {
    what: "a look-ahead",
    callee: Callee::Function,
    functions: &[FunctionSpec {
        name: "ema",
        doc: "An average of the weights that takes their place every few steps.",
        params: &[EVERY.spec, PAST.spec, POWER.spec],
        make: |c, _| Some(Lookahead { every: c.get(EVERY) as u64, decay: c.get(PAST), power: c.get(POWER) }),
    }],
};

const AT: Param<Vec<f64>> =
    Param::floats("at", Bounds::NOT_NEGATIVE, "Epochs at which the rate changes, increasing.").positional();
const STEP_FACTOR: Param<f64> = Param::float("factor", Bounds::FRACTION, "Factor on the rate at each.").or(0.1);
const EPOCH_FACTOR: Param<f64> =
    Param::float("factor", Bounds::FRACTION, "Factor on the rate after each epoch.").positional();
const FLOOR: Param<f64> = Param::float("floor", Bounds::UNIT, "Factor on the rate at the end.").or(0.0).positional();
const PEAK: Param<f64> = Param::float("peak", Bounds::INSIDE_UNIT, "Part of training until the peak.").or(0.3);
const START: Param<f64> = Param::float("start", Bounds::UNIT, "Factor on the rate at the start.").or(0.04);
const END: Param<f64> = Param::float("end", Bounds::UNIT, "Factor on the rate at the end.").or(1e-4);
const TRIANGLE_START: Param<f64> = Param::float("start", Bounds::UNIT, "Factor on the rate at the start.").or(0.0);
const TRIANGLE_END: Param<f64> = Param::float("end", Bounds::UNIT, "Factor on the rate at the end.").or(0.0);
const PEAK_MOMENTUM: Param<Option<f64>> =
    Param::float("momentum", Bounds::BELOW_ONE, "The momentum at the peak.").optional();
const PLATEAU_FACTOR: Param<f64> = Param::float("factor", Bounds::INSIDE_UNIT, "Factor on the rate each time.").or(0.1);
const PATIENCE: Param<usize> =
    Param::int("patience", 1, 1_000_000, "Epochs without a gain before the rate shrinks.").or(10);
const THRESHOLD: Param<f64> =
    Param::float("threshold", Bounds::UNIT, "The smallest change of the accuracy that is a gain.").or(1e-4);
const TIMES: Param<usize> = Param::int("times", 1, 1_000_000, "How often the rate may shrink.").or(2);

const SCHEDULES: Table<Schedule> = Table {
    what: "a schedule",
    callee: Callee::Function,
    functions: &[
        FunctionSpec {
            name: "constant",
            doc: "The rate stays as it is.",
            params: &[],
            make: |_, _| Some(Schedule::Constant),
        },
        FunctionSpec {
            name: "steps",
            doc: "The rate shrinks by a factor at given epochs.",
            params: &[AT.spec, STEP_FACTOR.spec],
            make: steps,
        },
        FunctionSpec {
            name: "exponential",
            doc: "The rate shrinks by a factor after each epoch.",
            params: &[EPOCH_FACTOR.spec],
            make: |c, _| Some(Schedule::Exponential { factor: c.get(EPOCH_FACTOR) }),
        },
        FunctionSpec {
            name: "cosine",
            doc: "The rate follows half a cosine down to the floor.",
            params: &[FLOOR.spec],
            make: |c, _| Some(Schedule::Cosine { floor: c.get(FLOOR) }),
        },
        FunctionSpec {
            name: "one_cycle",
            doc: "The rate grows to its peak and falls again, along cosines.",
            params: &[PEAK.spec, START.spec, END.spec, PEAK_MOMENTUM.spec],
            make: |c, _| {
                let (peak, start, end, momentum) = (c.get(PEAK), c.get(START), c.get(END), c.get(PEAK_MOMENTUM));
                Some(Schedule::OneCycle { peak, start, end, momentum })
            },
        },
        FunctionSpec {
            name: "triangle",
            doc: "The rate grows linearly to its peak and falls linearly.",
            params: &[PEAK.spec, TRIANGLE_START.spec, TRIANGLE_END.spec],
            make: |c, _| {
                let (peak, start, end) = (c.get(PEAK), c.get(TRIANGLE_START), c.get(TRIANGLE_END));
                Some(Schedule::Triangle { peak, start, end })
            },
        },
        FunctionSpec {
            name: "plateau",
            doc: "The rate shrinks when the accuracy stops growing.",
            params: &[PLATEAU_FACTOR.spec, PATIENCE.spec, THRESHOLD.spec, TIMES.spec],
            make: |c, _| {
                let (factor, patience) = (c.get(PLATEAU_FACTOR), c.get(PATIENCE));
                Some(Schedule::Plateau { factor, patience, threshold: c.get(THRESHOLD), times: c.get(TIMES) })
            },
        },
    ],
};

fn steps(called: &Called, sink: &mut Diagnostics) -> Option<Schedule> {
    let at = called.get(AT);
    if at.windows(2).any(|pair| pair[0] >= pair[1]) {
        sink.report(called.error(codes::OUT_OF_RANGE, AT, "the epochs in `at` must grow from one to the next"));
        return None;
    }
    Some(Schedule::Steps { at, factor: called.get(STEP_FACTOR) })
}

fn elsewhere(key: &str) -> Option<String> {
    let data = || data::KEYS.iter().any(|k| k.name == key).then(|| format!("`{key}` is a key of `data`"));
    data().or_else(|| OPTIMIZERS.parameter(key, OPTIMIZER)).or_else(|| SCHEDULES.parameter(key, SCHEDULE))
}

/// Reads a `train` section; `None` if something that it needs is missing or wrong, which is reported.
pub fn train(section: &Section, consts: &Consts, sink: &mut Diagnostics) -> Option<Recipe> {
    let mut reader = Reader::new(section, "train", KEYS, elsewhere, consts, sink);
    let label_smoothing = reader.function(LOSS, &LOSSES);
    let optimized = reader.function(OPTIMIZER, &OPTIMIZERS);
    if optimized.is_none() {
        let d = Diagnostic::error(codes::MISSING_KEY, section.word, "`train` needs an `optimizer`");
        reader.report(d.help("write for example `optimizer = sgd(rate = 0.1, momentum = 0.9)`"));
    }
    let (optimized, schedule) = (optimized.flatten(), reader.function(SCHEDULE, &SCHEDULES));
    if let (Some(optimized), Some(Some(schedule))) = (&optimized, &schedule) {
        cycle_conflict(optimized, schedule, &mut reader);
    }
    let length = length(section, &mut reader);
    let (warmup, batch, shuffle) = (reader.constant(WARMUP), reader.constant(BATCH), reader.constant(SHUFFLE));
    let (seed, clip, accumulate) = (reader.constant(SEED), reader.constant(CLIP), reader.constant(ACCUMULATE));
    let (average, patience) = (reader.constant(AVERAGE), reader.constant(EARLY_STOP));
    let (balance, class_weights) = balance(section, &mut reader);
    let convolutions = reader.function(CONVOLUTIONS, &OF_CONVOLUTIONS);
    let (lookahead, groups) =
        (reader.function(LOOKAHEAD, &LOOKAHEADS), reader.functions(groups::GROUPS, &groups::FUNCTIONS));
    let precision = reader.constant(PRECISION).filter(|word| *word != "auto").map(String::from);
    let Optimized { optimizer, ramp } = optimized?;
    Some(Recipe {
        label_smoothing: label_smoothing.flatten().unwrap_or(0.0),
        optimizer,
        schedule: schedule.unwrap_or(Some(Schedule::Constant))?,
        warmup,
        batch,
        length: length?,
        shuffle,
        seed: seed as u64,
        clip,
        accumulate,
        average,
        patience,
        ramp,
        balance,
        class_weights,
        convolutions: convolutions.flatten(),
        lookahead: lookahead.flatten(),
        groups,
        precision,
    })
}

/// What makes up for classes of few images: how often they are drawn, and how much they count.
fn balance(section: &Section, reader: &mut Reader) -> (bool, Option<ClassWeights>) {
    let entry = reader.entry_of(CLASS_WEIGHTS);
    let weights = match entry.map(|entry| &entry.value.kind) {
        Some(ExprKind::List(_)) => reader.constant(CLASS_WEIGHTS).map(ClassWeights::Each),
        None | Some(ExprKind::Name(_) | ExprKind::Text(_)) => reader.constant(BALANCED).map(|_| ClassWeights::Balanced),
        Some(_) => {
            let message = "`class_weights` is the word `balanced`, or a list with a number for each output";
            reader.report(Diagnostic::error(codes::WRONG_KIND, entry.map_or(section.word, |e| e.value.span), message));
            None
        }
    };
    let balance = reader.constant(BALANCE);
    if let (Some(ClassWeights::Each(weights)), Some(entry)) = (&weights, entry)
        && weights.iter().all(|weight| *weight == 0.0)
    {
        let message = "`class_weights` leaves no class to learn: all of them are 0";
        reader.report(Diagnostic::error(codes::OUT_OF_RANGE, entry.value.span, message));
    }
    let Some(entry) = reader.entry_of(BALANCE).filter(|_| balance) else { return (balance, weights) };
    let twice = "`balance` and `class_weights = balanced` both make up for rare classes";
    let order = "`balance` draws a new order for each epoch, `shuffle = false` keeps that of the data";
    let conflicts = [(weights == Some(ClassWeights::Balanced), twice), (!reader.constant(SHUFFLE), order)];
    for (_, message) in conflicts.into_iter().filter(|(is, _)| *is) {
        reader.report(Diagnostic::error(codes::CONFLICT, entry.value.span, message).help("keep one of the two"));
    }
    (balance, weights)
}

/// Reports a schedule that moves the momentum beside an optimiser without one, or beside another that moves it.
fn cycle_conflict(optimized: &Optimized, schedule: &Schedule, reader: &mut Reader) {
    let (Schedule::OneCycle { momentum: Some(_), .. }, Some(entry)) = (schedule, reader.entry(SCHEDULE)) else {
        return;
    };
    let message = match (optimized.optimizer.momentum() == 0.0, optimized.ramp.is_some()) {
        (true, _) => "a cycle of the momentum needs an optimizer with a `momentum` above 0",
        (_, true) => "`ramp` and the cycle's `momentum` both say what the momentum is",
        _ => return,
    };
    reader.report(Diagnostic::error(codes::CONFLICT, entry.value.span, message).help("change one of the two"));
}

/// How long to train: `epochs` or `steps`.
fn length(section: &Section, reader: &mut Reader) -> Option<Length> {
    match (reader.entry_of(EPOCHS), reader.entry_of(STEPS)) {
        (Some(epochs), Some(steps)) => {
            let message = "`epochs` and `steps` both say how long to train";
            let d = Diagnostic::error(codes::CONFLICT, steps.key.span, message);
            reader.report(d.label(epochs.key.span, "`epochs` is given here").help("keep one of the two"));
            None
        }
        (Some(_), None) => reader.constant(EPOCHS).map(Length::Epochs),
        (None, Some(_)) => reader.constant(STEPS).map(|steps| Length::Steps(steps as u64)),
        (None, None) => {
            let message = "`train` does not say how long: it needs `epochs` or `steps`";
            let d = Diagnostic::error(codes::MISSING_KEY, section.word, message);
            reader.report(d.help("write for example `epochs = 10`"));
            None
        }
    }
}
