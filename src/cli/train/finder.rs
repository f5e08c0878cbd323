//! Which value of a training step broke first: the step once more, with every layer's value as an output.

use crate::cli::options::GlobalOptions;
use crate::cli::output::Failure;
use ninc::model::Model;
use ninc_runtime::data::batches::Batch;
use ninc_runtime::finite::first_broken;
use ninc_runtime::train::job::{Finder, Found};
use ninc_runtime::train::schedule::Hyper;
use ninc_runtime::train::step_inputs::StepInputs;
use ninc_runtime::{Error, Result, Tensor};
use std::collections::BTreeMap;

pub struct Layers<'a> {
    pub model: &'a Model,
    pub global: &'a GlobalOptions,
}

impl Finder for Layers<'_> {
    fn find(
        &self,
        parameters: &BTreeMap<String, Tensor>,
        batch: &Batch,
        hyper: Hyper,
        step: u64,
    ) -> Result<Option<Found>> {
        let Some(recipe) = &self.model.train else { return Ok(None) };
        let names: Vec<String> = self.model.layers.iter().map(|l| l.name.clone()).collect();
        let mut program = self.global.traced(self.model, &names).map_err(|failure| match failure {
            Failure::Error(e) | Failure::Usage(e) => e,
            _ => Error::new("the step could not be compiled with its layers' values"),
        })?;
        for (name, tensor) in parameters {
            program.engine.write(name, tensor)?;
        }
        // The final softmax is part of the loss: it is not a value of a training step.
        let there = |name: &&String| program.engine.outputs().iter().any(|p| p.name == **name);
        let names: Vec<&str> = names.iter().filter(there).map(String::as_str).collect();
        let inputs = program.engine.inputs().to_vec();
        let own = StepInputs::new(&inputs, recipe, hyper, batch.share(), step)?;
        let values = program.engine.run(batch.labels.len(), &own.with(&inputs, batch), &names)?;
        for (name, value) in names.iter().zip(&values) {
            if let Some((at, what)) = first_broken(&value.data) {
                let image = at / (value.data.len() / batch.labels.len()).max(1);
                return Ok(Some(Found { layer: name.to_string(), what, image }));
            }
        }
        Ok(None)
    }
}
