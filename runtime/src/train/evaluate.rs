//! How good a network is on a data set: loss, accuracy, confusion. Sums are in f64, on the host.

use super::step_inputs;
use super::views::Views;
use crate::data::batches::Source;
use crate::finite::first_broken;
use crate::{Engine, Error, Result};
use serde::Serialize;

/// What the network's result holds, one number a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// Any numbers; a softmax makes probabilities of them.
    Logits,
    /// Probabilities.
    Probabilities,
    /// Natural logarithms of probabilities.
    LogProbabilities,
}

impl Scores {
    /// Returns the probabilities of the classes, in f64.
    pub fn probabilities(self, scores: &[f32]) -> Vec<f64> {
        let wide = scores.iter().map(|&s| f64::from(s));
        match self {
            Scores::Probabilities => wide.collect(),
            Scores::LogProbabilities => wide.map(f64::exp).collect(),
            Scores::Logits => {
                let largest = wide.clone().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = wide.map(|s| (s - largest).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(|p| p / sum).collect()
            }
        }
    }

    /// Returns minus the logarithm of the label's probability.
    pub fn loss(self, scores: &[f32], label: usize) -> f64 {
        match self {
            Scores::LogProbabilities => -f64::from(scores[label]),
            // A probability that was rounded to 0 would make the mean infinite.
            Scores::Probabilities => -f64::from(scores[label].max(f32::MIN_POSITIVE)).ln(),
            Scores::Logits => {
                let largest = scores.iter().fold(f64::NEG_INFINITY, |m, &s| m.max(f64::from(s)));
                let sum: f64 = scores.iter().map(|&s| (f64::from(s) - largest).exp()).sum();
                sum.ln() + largest - f64::from(scores[label])
            }
        }
    }
}

/// Counts the classes that score higher than the label; of equal ones the first counts. NaN is never right.
pub fn rank(scores: &[f32], label: usize) -> usize {
    let own = scores[label];
    if own.is_nan() {
        return scores.len();
    }
    scores.iter().enumerate().filter(|&(i, &s)| s.is_nan() || s > own || (s == own && i < label)).count()
}

/// How well a network does on a data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Items.
    pub count: usize,
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Fractions from 0 to 1.
    pub accuracy: f64,
    /// Fraction whose class is among the five highest scores.
    pub top5: f64,
    /// How many items have their class at each place of the scores, the highest first; the last counts those without a
    /// place.
    #[serde(skip)]
    pub ranks: Vec<u32>,
    /// `confusion[label][answer]` counts the items.
    #[serde(skip)]
    pub confusion: Vec<Vec<u32>>,
    /// The first item of each class whose answer was right, and the probability that the network gave to it.
    #[serde(skip)]
    pub right: Vec<Option<(usize, f64)>>,
    /// The wrong answers that were furthest from the label, worst first.
    #[serde(skip)]
    pub mistakes: Vec<Mistake>,
}

impl Evaluation {
    /// Returns the fraction of the items whose class is among the `k` highest scores.
    pub fn top(&self, k: usize) -> f64 {
        let classes = self.ranks.len().saturating_sub(1);
        let right: u32 = self.ranks[..k.min(classes)].iter().sum();
        f64::from(right) / self.count.max(1) as f64
    }
}

/// A wrong answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// Number in the data set.
    pub item: usize,
    /// The right class.
    pub label: usize,
    /// The network's answer.
    pub answer: usize,
    /// Cross-entropy of the item, in nats.
    pub loss: f64,
    /// Probability that the network gave to its answer.
    pub sure: f64,
}

/// Mistakes that are remembered.
const WORST: usize = 24;

/// Runs a whole data set through an inference program whose output `output` has one number a class.
pub fn evaluate(engine: &mut dyn Engine, source: &Source, output: &str, scores: Scores) -> Result<Evaluation> {
    evaluate_views(engine, source, output, scores, Views::default())
}

/// The same with each image looked at in these views.
pub fn evaluate_views(
    engine: &mut dyn Engine,
    source: &Source,
    output: &str,
    scores: Scores,
    views: Views,
) -> Result<Evaluation> {
    let port = engine.outputs().iter().find(|p| p.name == output);
    let classes =
        port.map(|p| p.elements()).ok_or_else(|| Error::new(format!("the program has no output `{output}`")))?;
    let input = step_inputs::image(engine.inputs())?.name.clone();
    let (mut count, mut loss) = (0, 0.0);
    let mut confusion = vec![vec![0; classes]; classes];
    let mut ranks = vec![0; classes + 1];
    let mut right = vec![None; classes];
    let mut mistakes: Vec<Mistake> = Vec::new();
    for batch in source.once()? {
        let batch = batch?;
        let images = batch.labels.len();
        let seen = (batch.images.feed(), source.set.images.dims);
        let results = views.scores(engine, (&input, output), seen, scores)?;
        for (i, (scored, &label)) in results.chunks_exact(classes).zip(&batch.labels).enumerate() {
            if let Some((_, what)) = first_broken(scored) {
                return Err(broken(output, what, &source.set.called(count + i)));
            }
            let label = label as usize;
            let rank = rank(scored, label);
            ranks[rank] += 1;
            let one = scores.loss(scored, label);
            loss += one;
            let answer = best(scored);
            confusion[label][answer] += 1;
            let sure = || scores.probabilities(scored)[answer];
            if rank == 0 {
                right[label].get_or_insert_with(|| (count + i, sure()));
            } else {
                let sure = sure();
                mistakes.push(Mistake { item: count + i, label, answer, loss: one, sure });
            }
        }
        // The sort is stable: of equally bad ones the first stays first.
        mistakes.sort_by(|a, b| b.loss.total_cmp(&a.loss));
        mistakes.truncate(WORST);
        count += images;
    }
    let loss = loss / count.max(1) as f64;
    let evaluation = Evaluation { count, loss, accuracy: 0.0, top5: 0.0, ranks, confusion, right, mistakes };
    Ok(Evaluation { accuracy: evaluation.top(1), top5: evaluation.top(5), ..evaluation })
}

/// Describes a result that is not finite.
pub fn broken(output: &str, what: &str, image: &str) -> Error {
    Error::new(format!("the result `{output}` of {image} holds a value that is {what}")).with_help(
        "weights and image are finite: values within the network overflow. Were the images prepared as for training? \
         `ninc run MODEL FILE --dump LAYER=FILE.npy` shows a layer's values",
    )
}

/// Returns the class with the highest score, the first of equal ones.
pub fn best(scores: &[f32]) -> usize {
    let mut best = 0;
    for (i, s) in scores.iter().enumerate() {
        if *s > scores[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_of_scores_agree() {
        let logits = [1.0f32, -2.0, 0.5];
        let p: Vec<f32> = Scores::Logits.probabilities(&logits).iter().map(|&p| p as f32).collect();
        let logs: Vec<f32> = p.iter().map(|p| p.ln()).collect();
        for label in 0..3 {
            let expected = Scores::Logits.loss(&logits, label);
            assert!((Scores::Probabilities.loss(&p, label) - expected).abs() < 1e-6);
            assert!((Scores::LogProbabilities.loss(&logs, label) - expected).abs() < 1e-6);
        }
        assert_eq!([0, 1, 2].map(|l| rank(&logits, l)), [0, 2, 1]);
        assert_eq!(rank(&[f32::NAN, 1.0], 0), 2);
        assert_eq!(best(&[0.0, 3.0, 3.0]), 1);
    }
}
