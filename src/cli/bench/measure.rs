//! Warm-up, rounds, and the machine's peak measured around them.

use super::super::model_file::{input, result};
use super::super::options::GlobalOptions;
use super::super::output::Done;
use ninc::model::Model;
use ninc::pipeline::{self, Device, Program};
use ninc_runtime::data::Values;
use ninc_runtime::data::batches::Batch;
use ninc_runtime::philox::Stream;
use ninc_runtime::spec::Recipe;
use ninc_runtime::train::schedule::Hyper;
use ninc_runtime::train::step_inputs::{self, StepInputs};
use ninc_runtime::{Engine, Result};
use std::time::{Duration, Instant};

/// The most rounds that count.
const ROUNDS: usize = 30;
/// Rounds before those that count.
pub const WARM: usize = 3;
const LONGEST: Duration = Duration::from_secs(10);
const LEAST: usize = 5;
/// Runs of the yardstick at a time, a few milliseconds.
const PEAK_RUNS: usize = 10;

pub struct Run<'a> {
    pub model: &'a Model,
    pub batch: usize,
    pub train: bool,
    pub rounds: Option<u32>,
    pub profile: bool,
}

/// Times of the rounds in ascending order, at least one.
pub struct Times {
    sorted: Vec<Duration>,
    /// Rounds that the engine's profile has seen.
    pub profiled: usize,
}

impl Times {
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Returns the median in seconds: of an even number of rounds the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let middle = |i: usize| self.sorted[i].as_secs_f64();
        (middle((self.len() - 1) / 2) + middle(self.len() / 2)) / 2.0
    }

    /// Returns the seconds that this part of the rounds takes at most.
    pub fn quantile(&self, part: f64) -> f64 {
        let last = self.sorted.len() - 1;
        self.sorted[(part * last as f64).round() as usize].as_secs_f64()
    }
}

impl Run<'_> {
    pub fn measure(&mut self, program: &mut Program) -> Done<Times> {
        let mut random = Stream::new(1, 0, 0);
        let dims = input(self.model)?;
        let images: Vec<f32> = (0..self.batch * dims.iter().product::<usize>()).map(|_| random.normal()).collect();
        let classes = if self.train { result(self.model)?.2 as u32 } else { 1 };
        let labels: Vec<i32> = (0..self.batch).map(|_| random.below(classes.max(1)) as i32).collect();
        let data = Batch::new(Values::Floats(images), labels);
        let outputs: Vec<String> = match self.train {
            false => self.model.graph.outputs.iter().map(|(name, _)| name.clone()).collect(),
            true => vec!["loss".into()],
        };
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let ports = program.engine.inputs().to_vec();
        let image = step_inputs::image(&ports)?.name.clone();
        let engine: &mut dyn Engine = &mut *program.engine;
        let once = |engine: &mut dyn Engine, step: u64| -> Result<Duration> {
            // A tiny rate: the work is the same, and the weights stay what they are.
            let own = self.model.train.as_ref().filter(|_| self.train);
            let tiny =
                |recipe: &Recipe| Hyper { factor: 1e-6, momentum: recipe.optimizer.momentum(), ..Hyper::default() };
            let own = own.map(|recipe| StepInputs::new(&ports, recipe, tiny(recipe), 1.0, step)).transpose()?;
            let fed = match &own {
                Some(own) => own.with(&ports, &data),
                None => vec![(image.as_str(), data.images.feed())],
            };
            let start = Instant::now();
            engine.run(self.batch, &fed, &outputs)?;
            Ok(start.elapsed())
        };
        self.rounds(engine, once)
    }

    fn rounds(&self, engine: &mut dyn Engine, once: impl Fn(&mut dyn Engine, u64) -> Result<Duration>) -> Done<Times> {
        let begin = Instant::now();
        let (mut times, mut profiled) = (vec![], 0);
        let rounds = self.rounds.map_or(ROUNDS, |r| r as usize);
        for round in 0..WARM + rounds {
            if round == WARM && self.profile {
                engine.set_profile(true);
            }
            let time = once(engine, round as u64)?;
            profiled += usize::from(round >= WARM);
            let late = self.rounds.is_none() && begin.elapsed() > LONGEST;
            // A slow device is measured with what there is, its first round included if need be.
            if round >= WARM || late {
                times.push(time);
            }
            if late && (times.len() >= LEAST || begin.elapsed() > 3 * LONGEST) {
                break;
            }
        }
        times.sort();
        Ok(Times { sorted: times, profiled })
    }
}

/// What the processor's cores can do at most; the interpreter has none, because its peak tells nobody anything.
pub struct Peak {
    engine: Option<(Box<dyn Engine + Send>, u64)>,
    best: Option<f64>,
}

impl Peak {
    pub fn new(global: &GlobalOptions, wanted: bool) -> Done<Peak> {
        let options = global.options()?;
        let engine = if wanted && options.device == Device::Cpu {
            Some(pipeline::peak(&options, global.asks_for_int8())?)
        } else {
            None
        };
        Ok(Peak { engine, best: None })
    }

    /// Measures again. The best run counts: whatever disturbs can only slow it down.
    pub fn measure(&mut self) -> Done {
        let Some((engine, flops)) = &mut self.engine else { return Ok(()) };
        for _ in 0..PEAK_RUNS {
            let start = Instant::now();
            engine.run(1, &[], &[])?;
            let rate = *flops as f64 / start.elapsed().as_secs_f64() / 1e9;
            self.best = Some(self.best.map_or(rate, |b| b.max(rate)));
        }
        Ok(())
    }

    /// Returns billions of operations a second, all threads together.
    pub fn gflops(&self) -> Option<f64> {
        self.best
    }
}
