//! The values that a training starts from.

use super::Job;
use crate::init::{self, Parameter};
use crate::spec;
use crate::weights::Weights;
use crate::{Engine, Result};

/// Gives all parameters the values that a training starts from, and their averages the same.
pub(super) fn begin(job: &Job, trainer: &mut dyn Engine, weights: Option<&Weights>) -> Result<()> {
    for parameter in &job.parameters {
        trainer.write(&parameter.name, &init::values(parameter, job.recipe.seed))?;
    }
    if let Some(weights) = weights {
        weights.load_into(trainer)?;
    }
    for parameter in &job.parameters {
        if let Some(average) = average_of(job, parameter) {
            let start = trainer.read(&parameter.name)?;
            trainer.write(&average, &start)?;
        }
    }
    Ok(())
}

/// Returns the name of the state that averages a parameter, where the program has one.
pub(super) fn average_of(job: &Job, parameter: &Parameter) -> Option<String> {
    let name = format!("{}.{}", parameter.name, spec::AVERAGE);
    job.parameters.iter().any(|p| p.state && p.name == name).then_some(name)
}
