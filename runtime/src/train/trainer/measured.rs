//! What is measured while a training runs, by the inference program: the parameters that learn are only read.

use super::Run;
use crate::Result;
use crate::data::Dataset;
use crate::data::batches::Source;
use crate::train::evaluate::{Evaluation, evaluate};
use crate::train::log::Line;
use crate::weights::Weights;

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
            let valid = self.evaluate(&weights, valid)?;
            (line.valid_loss, line.valid_accuracy) = (Some(valid.loss), Some(valid.accuracy));
        }
        if tested {
            let test = self.evaluate(&weights, &job.sets.test)?;
            (line.test_loss, line.test_error) = (Some(test.loss), Some(1.0 - test.accuracy));
        }
        Ok(job.sets.valid.is_some().then_some(weights))
    }

    /// Tests weights on a part of the data.
    pub(super) fn evaluate(&mut self, weights: &Weights, set: &Dataset) -> Result<Evaluation> {
        weights.load_into(self.infer)?;
        let source = Source::plain(set, Some(&self.job.preparer), self.job.recipe.batch)?;
        evaluate(self.infer, &source, &self.job.output, self.job.scores)
    }
}
