//! What goes wrong in training: a loss that is not finite any more, and one that stays where guessing is.

use super::job::{Finder, Job};
use super::schedule::Hyper;
use super::state::Cursor;
use crate::data::batches::{Batch, Source};
use crate::{Engine, Error, Result, Tensor};
use std::collections::BTreeMap;

/// Steps between the copies of all parameters from which a broken step is made again.
const EVERY: u64 = 32;

/// Steps since a copy of the parameters, so that the one that broke can be looked at: steps are functions of the
/// parameters, the batch and a few numbers, so making them again gives the same bits.
#[derive(Default)]
pub struct ReplayLog {
    parameters: BTreeMap<String, Tensor>,
    epoch: u32,
    batch: usize,
    step: u64,
    hypers: Vec<Hyper>,
}

impl ReplayLog {
    /// Before each step.
    pub fn step(&mut self, engine: &dyn Engine, cursor: &Cursor, hyper: Hyper) -> Result<()> {
        if self.hypers.is_empty() || self.hypers.len() as u64 == EVERY {
            self.parameters.clear();
            for port in engine.params() {
                self.parameters.insert(port.name.clone(), engine.read(&port.name)?);
            }
            (self.epoch, self.batch, self.step) = (cursor.epoch, cursor.batch, cursor.step);
            self.hypers.clear();
        }
        self.hypers.push(hyper);
        Ok(())
    }

    /// Makes all steps but the last again and leaves the engine as it was before that one. Gives its batch.
    fn back(
        &self,
        engine: &mut dyn Engine,
        source: &Source,
        run: impl Fn(&mut dyn Engine, &Batch, Hyper, u64) -> Result<()>,
    ) -> Result<Option<Batch>> {
        for (name, tensor) in &self.parameters {
            engine.write(name, tensor)?;
        }
        let mut batches = source.start(self.epoch, self.batch)?;
        let last = self.hypers.len().saturating_sub(1);
        for (i, hyper) in self.hypers[..last].iter().enumerate() {
            let Some(batch) = batches.next() else { return Ok(None) };
            run(engine, &batch?, *hyper, self.step + i as u64)?;
        }
        batches.next().transpose()
    }
}

/// The loss of the step after `replay_log` is not finite: says where it began.
pub fn broken(
    job: &Job,
    engine: &mut dyn Engine,
    source: &Source,
    replay_log: &ReplayLog,
    loss: f64,
    run: impl Fn(&mut dyn Engine, &Batch, Hyper, u64) -> Result<()>,
) -> Result<Error> {
    let step = replay_log.step + replay_log.hypers.len() as u64;
    let hyper = replay_log.hypers.last().copied().unwrap_or(Hyper { factor: 1.0, momentum: 0.0 });
    let place = match replay_log.back(engine, source, run)? {
        Some(batch) => place(job, engine, &batch, hyper, step - 1)?,
        None => "the step could not be made again".into(),
    };
    let what = if loss.is_nan() { "NaN" } else { "infinite" };
    let rate = job.recipe.optimizer.rate() * hyper.factor;
    Ok(Error::new(format!("the loss became {what} in step {step} (rate {rate}): {place}")).with_help(
        "lower the rate, add `warmup` or `clip`, or check the data for values that are not numbers; the last \
         checkpoint, if \
         there is one, is from before",
    ))
}

/// Where the first value that is not finite is: in the parameters, the images, or a layer.
fn place(job: &Job, engine: &dyn Engine, batch: &Batch, hyper: Hyper, step: u64) -> Result<String> {
    let mut parameters = BTreeMap::new();
    for parameter in &job.parameters {
        let tensor = engine.read(&parameter.name)?;
        if let Some(value) = tensor.data.iter().find(|v| !v.is_finite()) {
            let name = &parameter.name;
            return Ok(format!("the update of the step before made a value of `{name}` {}", name_of(*value)));
        }
        parameters.insert(parameter.name.clone(), tensor);
    }
    let size = batch.images.len() / batch.labels.len().max(1);
    if let Some(at) = batch.images.iter().position(|v| !v.is_finite()) {
        let (image, value) = (at / size.max(1), name_of(batch.images[at]));
        return Ok(format!("image {image} of the batch has a value that is {value}"));
    }
    let found = match job.finder {
        Some(finder) => Finder::find(finder, &parameters, batch, hyper, step)?,
        None => None,
    };
    Ok(found.unwrap_or_else(|| "all parameters and all layers' values are still finite".into()))
}

/// Returns the name of a value that is not finite.
pub fn name_of(value: f32) -> &'static str {
    match value {
        v if v.is_nan() => "NaN",
        v if v > 0.0 => "infinite",
        _ => "minus infinite",
    }
}

/// The known ways out of a loss that does not move (`mavenlin/cuda-convnet` issue 1 and others): a last ReLU lets all
/// class maps die.
pub fn stuck(what: &str, classes: usize) -> String {
    format!(
        "{what}: ln({classes}) = {:.6}. Ways out: a smaller `init` for the first layer (std 0.001 to 0.01) or `init = \
         he`, \
         a smaller rate or `warmup`, no relu after the last layer, batch_norm, whitened data (`prepare = [gcn, zca]`)",
        (classes as f64).ln()
    )
}
