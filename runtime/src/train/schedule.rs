//! The learning rate's factor over time: a function of the step, except for `plateau`, which looks at the accuracy.

use crate::spec::{Length, Lookahead, Recipe, Schedule};
use serde::{Deserialize, Serialize};

/// Where training is, for schedules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// Steps done.
    pub step: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Steps of the whole training.
    pub total_steps: u64,
}

impl Clock {
    /// Returns the length of the training in epochs.
    pub fn epochs(&self) -> f64 {
        self.step as f64 / self.steps_per_epoch.max(1) as f64
    }

    /// Returns the part of the training that is done.
    fn progress(&self) -> f64 {
        (self.step as f64 / self.total_steps.max(1) as f64).min(1.0)
    }
}

/// Returns the steps of the whole training.
pub fn total_steps(length: Length, steps_per_epoch: u64) -> u64 {
    match length {
        Length::Epochs(epochs) => (epochs * steps_per_epoch as f64).ceil() as u64,
        Length::Steps(steps) => steps,
    }
}

/// What `plateau` remembers. The accuracy is kept as bits, so that it survives a file exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    best: u64,
    waited: usize,
    drops: usize,
}

impl Plateau {
    /// Ends an epoch, with its accuracy: of validation, where there is any. Says whether the rate drops.
    pub fn epoch(&mut self, schedule: &Schedule, accuracy: f64) -> bool {
        let Schedule::Plateau { patience, threshold, times, .. } = schedule else {
            return false;
        };
        if accuracy > f64::from_bits(self.best) + threshold {
            (self.best, self.waited) = (accuracy.to_bits(), 0);
            return false;
        }
        self.waited += 1;
        let drops = self.waited >= *patience && self.drops < *times;
        if drops {
            (self.waited, self.drops) = (0, self.drops + 1);
        }
        drops
    }
}

/// What changes from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hyper {
    /// Factor on the optimiser's rate.
    pub factor: f64,
    /// Momentum of the step.
    pub momentum: f64,
    /// Epochs that are done.
    pub epochs: f64,
    /// After a step of a look-ahead: the weight of the weights in their average.
    pub mix: Option<f64>,
}

/// Returns the numbers of the step that comes.
pub fn hyper(recipe: &Recipe, clock: Clock, plateau: &Plateau) -> Hyper {
    let (factor, momentum) = (factor(recipe, clock, plateau), momentum(recipe, clock));
    Hyper { factor, momentum, epochs: clock.epochs(), mix: mix(recipe, clock) }
}

/// Returns the weight of the weights in their average, where the step that comes ends with a look-ahead.
fn mix(recipe: &Recipe, clock: Clock) -> Option<f64> {
    let Lookahead { every, decay, power } = recipe.lookahead?;
    let done = Clock { step: clock.step + 1, ..clock };
    let past = || decay.powf(every as f64) * done.progress().powf(power);
    done.step.is_multiple_of(every).then(|| 1.0 - past())
}

/// Returns the momentum: on a ramp at the start of training, or against the rate in a cycle.
fn momentum(recipe: &Recipe, clock: Clock) -> f64 {
    let full = recipe.optimizer.momentum();
    if let Some(ramp) = recipe.ramp {
        return ramp.from + (full - ramp.from) * (clock.epochs() / ramp.epochs).min(1.0);
    }
    match recipe.schedule {
        Schedule::OneCycle { peak, momentum: Some(low), .. } => {
            let progress = clock.progress();
            let part = if progress < peak { progress / peak } else { (1.0 - progress) / (1.0 - peak) };
            full + (low - full) * part
        }
        _ => full,
    }
}

/// Returns the factor on the optimiser's rate for the step that comes.
pub fn factor(recipe: &Recipe, clock: Clock, plateau: &Plateau) -> f64 {
    let epochs = clock.epochs();
    let progress = clock.progress();
    let cosine = |part: f64, from: f64, to: f64| to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
    let factor = match &recipe.schedule {
        Schedule::Constant => 1.0,
        Schedule::Steps { at, factor } => factor.powi(at.iter().filter(|&&a| a <= epochs).count() as i32),
        Schedule::Exponential { factor } => factor.powi(epochs.floor() as i32),
        Schedule::Cosine { floor } => cosine(progress, 1.0, *floor),
        Schedule::OneCycle { peak, start, end, .. } => match progress < *peak {
            true => start + (1.0 - start) * progress / peak,
            false => cosine((progress - peak) / (1.0 - peak).max(f64::MIN_POSITIVE), 1.0, *end),
        },
        Schedule::Triangle { peak, start, end } => match progress < *peak {
            true => start + (1.0 - start) * progress / peak,
            false => 1.0 + (end - 1.0) * (progress - peak) / (1.0 - peak).max(f64::MIN_POSITIVE),
        },
        Schedule::Plateau { factor, .. } => factor.powi(plateau.drops as i32),
    };
    let warm_steps = recipe.warmup * clock.steps_per_epoch as f64;
    // The first step has a rate above 0: it would be wasted otherwise.
    let warm = if warm_steps > 0.0 { ((clock.step + 1) as f64 / warm_steps).min(1.0) } else { 1.0 };
    factor * warm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Optimizer;

    fn recipe(schedule: Schedule, warmup: f64) -> Recipe {
        Recipe {
            label_smoothing: 0.0,
            optimizer: Optimizer::Sgd { rate: 0.1, momentum: 0.9, decay: 0.0, nesterov: false, rate_inside: false },
            schedule,
            warmup,
            batch: 10,
            length: Length::Epochs(10.0),
            shuffle: true,
            seed: 1,
            clip: None,
            accumulate: 1,
            average: None,
            patience: None,
            ramp: None,
            balance: false,
            class_weights: None,
            convolutions: None,
            lookahead: None,
            groups: vec![],
            precision: None,
        }
    }

    fn at(schedule: Schedule, warmup: f64, step: u64) -> f64 {
        let clock = Clock { step, steps_per_epoch: 10, total_steps: 100 };
        factor(&recipe(schedule, warmup), clock, &Plateau::default())
    }

    #[test]
    fn factors_at_known_steps() {
        let steps = || Schedule::Steps { at: vec![2.0, 5.0], factor: 0.1 };
        assert_eq!((at(steps(), 0.0, 19), at(steps(), 0.0, 20)), (1.0, 0.1));
        assert!((at(steps(), 0.0, 50) - 0.01).abs() < 1e-12);
        assert!((at(Schedule::Exponential { factor: 0.5 }, 0.0, 35) - 0.125).abs() < 1e-12);
        assert!((at(Schedule::Cosine { floor: 0.0 }, 0.0, 50) - 0.5).abs() < 1e-12);
        let cycle = || Schedule::OneCycle { peak: 0.4, start: 0.1, end: 0.0, momentum: None };
        assert!((at(cycle(), 0.0, 0) - 0.1).abs() < 1e-12 && (at(cycle(), 0.0, 40) - 1.0).abs() < 1e-12);
        assert!(at(cycle(), 0.0, 99) < 0.01);
        assert!((at(Schedule::Constant, 2.0, 4) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn plateau_drops_after_its_patience_and_not_too_often() {
        let schedule = Schedule::Plateau { factor: 0.1, patience: 2, threshold: 0.01, times: 1 };
        let mut plateau = Plateau::default();
        let drops: Vec<bool> = [0.5, 0.6, 0.605, 0.6, 0.6, 0.6].iter().map(|&a| plateau.epoch(&schedule, a)).collect();
        assert_eq!(drops, [false, false, false, true, false, false]);
    }
}
