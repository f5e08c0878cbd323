//! The values that a training starts from.

use super::Job;
use crate::init::{self, Init, Parameter};
use crate::spec;
use crate::train::whiten;
use crate::weights::Weights;
use crate::{Engine, Result};

/// Gives all parameters the values that a training starts from, and their averages the same.
pub(in crate::train) fn begin(job: &Job, trainer: &mut dyn Engine, weights: Option<&Weights>) -> Result<()> {
    for parameter in &job.parameters {
        let first = match parameter.init {
            Init::Whiten { epsilon } => whiten::fit(&parameter.dims, epsilon, &job.sets.train, &job.preparer)?,
            _ => init::values(parameter, job.recipe.seed),
        };
        trainer.write(&parameter.name, &first)?;
    }
    if let Some(weights) = weights {
        weights.load_into(trainer)?;
    }
    for parameter in &job.parameters {
        for average in averages_of(job, parameter) {
            let start = trainer.read(&parameter.name)?;
            trainer.write(&average, &start)?;
        }
    }
    Ok(())
}

/// Returns the name of the state that is kept in place of a parameter, where the program has one.
pub(super) fn average_of(job: &Job, parameter: &Parameter) -> Option<String> {
    averages_of(job, parameter).next()
}

/// Returns the names of the states that average a parameter, the one that is kept first.
fn averages_of<'a>(job: &'a Job, parameter: &'a Parameter) -> impl Iterator<Item = String> + 'a {
    let names = [spec::AVERAGE, spec::SLOW].map(|suffix| format!("{}.{suffix}", parameter.name));
    names.into_iter().filter(|name| job.parameters.iter().any(|p| p.state && p.name == *name))
}
