//! Which learning rate to begin with: the rate rises from step to step by a constant factor, from so little that
//! nothing happens to so much that the loss breaks (Smith, 2017), and the loss along the way says what each rate does.
//!
//! Nothing is written: the parameters of the program change, and are thrown away.

use super::job::{Control, Job, Progress, Start, Watch};
use super::schedule::{Clock, Hyper, Plateau, hyper};
use super::step::one;
use super::trainer::{begin, outputs};
use crate::{Engine, Error, Result};
use std::sync::atomic::Ordering;

/// The search ends where the smoothed loss exceeds this many times its least value.
const BROKEN: f64 = 4.0;
/// What of the steps the smoothed loss averages, about.
const WINDOW: f64 = 1.0 / 25.0;

/// A step of the search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The rate of the step.
    pub rate: f64,
    /// The loss of its batch before the update.
    pub loss: f64,
    /// The loss, averaged over the last steps.
    pub smoothed: f64,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggestion {
    /// A tenth of `least`: as much as a whole training bears, by experience.
    pub rate: f64,
    /// The rate of the least smoothed loss: beyond it training becomes worse.
    pub least: f64,
    /// The rate at which the smoothed loss falls most steeply over the rate's logarithm. Where the first weights give
    /// large scores, even small rates make the loss fall fast, and this one is too small.
    pub steepest: f64,
}

/// Makes up to `total` steps with rates from `rates.0` to `rates.1`; fewer where the loss breaks or somebody stops.
pub fn find(
    job: &Job,
    trainer: &mut dyn Engine,
    total: u64,
    rates: (f64, f64),
    watch: &mut dyn Watch,
    control: &Control,
) -> Result<Vec<Point>> {
    let weights = match &job.start {
        Start::Fresh => None,
        Start::Weights(weights) => Some(&**weights),
        Start::Resume(..) => return Err(Error::new("a search for the rate starts a training anew")),
    };
    begin(job, trainer, weights)?;
    let source = job.source(outputs(trainer)?)?;
    let per_epoch = source.batches() as u64;
    if total < 2 {
        return Err(Error::new("one step shows nothing of the rate").with_help("give more with `--steps N`"));
    }
    let (recipe, mut points) = (&job.recipe, Vec::new());
    let (mut epoch, mut batches) = (0, source.start(0, 0)?);
    let mut smooth = Smooth::new(total);
    for step in 0..total {
        if step > 0 && step % per_epoch == 0 {
            epoch += 1;
            batches = source.start(epoch, 0)?;
        }
        let batch = batches.take_next()?;
        let rate = rates.0 * (rates.1 / rates.0).powf(step as f64 / (total - 1) as f64);
        let usual = hyper(recipe, Clock { step, steps_per_epoch: per_epoch, total_steps: total }, &Plateau::default());
        let (factor, momentum) = (rate / recipe.optimizer.rate(), recipe.optimizer.momentum());
        let hyper = Hyper { factor, momentum, ..usual };
        let results = one(trainer, recipe, (&batch, false), (hyper, step), &mut |_, _| Ok(()))?;
        let loss = f64::from(results[0].data[0]);
        if !loss.is_finite() {
            break;
        }
        let smoothed = smooth.add(loss);
        points.push(Point { rate, loss, smoothed });
        let (step, images) = (step + 1, batch.labels.len());
        let progress = Progress {
            step,
            total_steps: total,
            steps_per_epoch: per_epoch,
            images,
            step_loss: loss,
            loss: smoothed,
            accuracy: 0.0,
            rate,
        };
        watch.step(&progress);
        let least = points.iter().map(|p| p.smoothed).fold(f64::INFINITY, f64::min);
        if smoothed > BROKEN * least || control.stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(points)
}

/// An average of the last values, which counts the older ones less and less, without a bias towards its start.
struct Smooth {
    keep: f64,
    sum: f64,
    weight: f64,
}

impl Smooth {
    fn new(steps: u64) -> Smooth {
        Smooth { keep: 1.0 - 1.0 / (steps as f64 * WINDOW).max(1.0), sum: 0.0, weight: 0.0 }
    }

    fn add(&mut self, value: f64) -> f64 {
        self.sum = self.keep * self.sum + (1.0 - self.keep) * value;
        self.weight = self.keep * self.weight + (1.0 - self.keep);
        self.sum / self.weight
    }
}

/// Why a search suggests nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The loss falls nowhere.
    Rising,
    /// The loss is least where the range of rates ends: larger ones may be better.
    TooLow,
    /// The loss is least at less than ten times the rate at which the range begins: smaller ones may be better.
    TooHigh,
}

/// Suggests a rate by that of the least smoothed loss; how steeply it falls before is measured by a line through a
/// fifth of the steps around each. `whole` says that the search reached the end of its rates.
pub fn suggest(points: &[Point], whole: bool) -> std::result::Result<Suggestion, Unknown> {
    let least = (0..points.len()).min_by(|&a, &b| points[a].smoothed.total_cmp(&points[b].smoothed));
    let least = least.ok_or(Unknown::Rising)?;
    let reach = (points.len() / 10).max(1);
    let slope = |at: usize| {
        let near = &points[at - reach..(at + reach + 1).min(points.len())];
        let count = near.len() as f64;
        let xs = near.iter().map(|p| p.rate.ln());
        let (x, y) = (xs.clone().sum::<f64>() / count, near.iter().map(|p| p.smoothed).sum::<f64>() / count);
        let along: f64 = xs.clone().zip(near).map(|(at, p)| (at - x) * (p.smoothed - y)).sum();
        along / xs.map(|at| (at - x) * (at - x)).sum::<f64>()
    };
    // The first averages are of few steps: no line begins before the first point.
    let slopes = (reach..least).map(|at| (at, slope(at)));
    let (steepest, _) =
        slopes.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|slope| slope.1 < 0.0).ok_or(Unknown::Rising)?;
    let found =
        Suggestion { rate: points[least].rate / 10.0, least: points[least].rate, steepest: points[steepest].rate };
    if whole && least + reach >= points.len() {
        return Err(Unknown::TooLow);
    }
    if found.rate < points[0].rate {
        return Err(Unknown::TooHigh);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The logistic curve -1/(1 + e^(-2(x - 3))) falls most steeply at x = 3; a parabola from x = 6 on rises again.
    #[test]
    fn the_places_of_a_known_curve_are_found() {
        let curve = |x: f64| 3.0 - 1.0 / (1.0 + (-2.0 * (x - 3.0)).exp()) + (x - 6.0).max(0.0).powi(2);
        let point = |i: i32| {
            let x = f64::from(i) / 20.0;
            Point { rate: 1e-3 * x.exp(), loss: curve(x), smoothed: curve(x) }
        };
        let points: Vec<Point> = (0..160).map(point).collect();
        let found = suggest(&points, true).expect("it falls");
        assert!((found.steepest / (1e-3 * 3f64.exp())).ln().abs() < 0.06, "{found:?}");
        assert!((found.least / (1e-3 * 6f64.exp())).ln().abs() < 0.06, "{found:?}");
        assert!((found.rate * 10.0 / found.least - 1.0).abs() < 1e-12);
        let rising: Vec<Point> = points.iter().map(|p| Point { smoothed: p.rate, ..*p }).collect();
        assert_eq!((suggest(&rising, true), suggest(&[], false)), (Err(Unknown::Rising), Err(Unknown::Rising)));
        // Ranges that end before the least loss, or begin where its tenth lies below them.
        assert_eq!(suggest(&points[..110], true), Err(Unknown::TooLow));
        assert!(suggest(&points[..110], false).is_ok(), "the loss was not finite afterwards");
        assert_eq!(suggest(&points[80..], true), Err(Unknown::TooHigh));
    }

    #[test]
    fn an_average_starts_at_its_first_value() {
        let mut smooth = Smooth::new(100);
        let (first, second) = (smooth.add(2.0), smooth.add(4.0));
        // Weights 3/4 and 1 of the last four steps.
        assert!((first - 2.0).abs() < 1e-12 && (second - (0.75 * 2.0 + 4.0) / 1.75).abs() < 1e-12);
    }
}
