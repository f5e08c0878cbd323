//! What is measured while a training runs, by the inference program: the parameters that learn are only read.

use super::Run;
use crate::data::Dataset;
use crate::data::batches::Source;
use crate::train::evaluate::{Evaluation, evaluate};
use crate::train::log::Line;
use crate::weights::Weights;
use crate::{Error, Result};

impl Run<'_, '_> {
    /// Measures the parts that are due at the end of an epoch, a `whole` one or the last part of one, and adds what
    /// came out to its line; returns the weights if there is a validation part, so that the best can be kept.
    pub(super) fn measure(&mut self, line: &mut Line, whole: bool) -> Result<Option<Weights>> {
        let job = self.job;
        let tested = job.test_every.is_some_and(|every| whole && (self.cursor.epoch + 1).is_multiple_of(every.get()));
        if job.sets.valid.is_none() && !tested {
            return Ok(None);
        }
        let weights = self.weights()?;
        if let Some(valid) = &job.sets.valid {
            let [loss, accuracy] = self.evaluate_once(&weights, valid)?;
            (line.valid_loss, line.valid_accuracy) = (Some(loss), Some(accuracy));
        }
        if tested {
            let [loss, accuracy] = self.evaluate_once(&weights, &job.sets.test)?;
            (line.test_loss, line.test_error) = (Some(loss), Some(1.0 - accuracy));
        }
        Ok(job.sets.valid.is_some().then_some(weights))
    }

    /// Tests weights on a part of the data, whose images only the first rank reads; returns loss and accuracy.
    fn evaluate_once(&mut self, weights: &Weights, set: &Dataset) -> Result<[f64; 2]> {
        let own = match self.job.writes() {
            true => self.evaluate(weights, set).map(|found| [found.loss, found.accuracy])?,
            false => [0.0; 2],
        };
        let Some(ranks) = &self.job.ranks else { return Ok(own) };
        let said = ranks.from_first(own.iter().flat_map(|number| number.to_ne_bytes()).collect())?;
        let numbers = said.as_chunks::<8>().0.iter().map(|bytes| f64::from_ne_bytes(*bytes));
        numbers
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| Error::new("the first rank says something else than results"))
    }

    /// Tests weights on a part of the data.
    pub(super) fn evaluate(&mut self, weights: &Weights, set: &Dataset) -> Result<Evaluation> {
        weights.load_into(self.infer)?;
        let source = Source::plain(set, Some(&self.job.preparer), self.job.recipe.batch)?;
        evaluate(self.infer, &source, &self.job.output, self.job.scores)
    }
}
