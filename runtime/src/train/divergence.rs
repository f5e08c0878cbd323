//! What goes wrong in training: a loss that is not finite any more, and one that does not get below that of guessing.

use super::job::{Finder, Found, Job};
use super::schedule::Hyper;
use super::state::Cursor;
use crate::data::batches::{Batch, Source};
use crate::finite::first_broken;
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
    /// Remembers the step that comes.
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

/// Describes where the loss of the step after `replay_log`, which is not finite, began to be so.
pub fn broken(
    job: &Job,
    engine: &mut dyn Engine,
    source: &Source,
    replay_log: &ReplayLog,
    loss: f64,
    run: impl Fn(&mut dyn Engine, &Batch, Hyper, u64) -> Result<()>,
) -> Result<Error> {
    let step = replay_log.step + replay_log.hypers.len() as u64;
    let hyper = replay_log.hypers.last().copied().unwrap_or(Hyper { factor: 1.0, ..Hyper::default() });
    // Who looks at the batch sees all of it.
    let source = &Source { part: None, ..source.clone() };
    let place = match replay_log.back(engine, source, run)? {
        Some(batch) => {
            let (epoch, number) = source.batch_of(replay_log.epoch, replay_log.batch, replay_log.hypers.len() - 1);
            let order = source.order(epoch);
            let called = |image: usize| {
                let item = order.get(number * source.batch + image);
                item.map_or_else(
                    || format!("image {image} of the batch"),
                    |drawn| job.sets.train.called(drawn.item as usize),
                )
            };
            place(job, engine, &batch, (hyper, step - 1), &called)?
        }
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

/// Finds the first value that is not finite: in the parameters or a layer; images are checked as they are loaded.
/// `called` names an image of the batch as the user knows it.
fn place(
    job: &Job,
    engine: &dyn Engine,
    batch: &Batch,
    (hyper, step): (Hyper, u64),
    called: &dyn Fn(usize) -> String,
) -> Result<String> {
    let mut parameters = BTreeMap::new();
    for parameter in &job.parameters {
        let tensor = engine.read(&parameter.name)?;
        if let Some((_, what)) = first_broken(&tensor.data) {
            let name = &parameter.name;
            return Ok(format!("the update of the step before made a value of `{name}` {what}"));
        }
        parameters.insert(parameter.name.clone(), tensor);
    }
    let found = match job.finder {
        Some(finder) => Finder::find(finder, &parameters, batch, hyper, step)?,
        None => None,
    };
    let found = found.map(|found| {
        let Found { layer, what, image } = found;
        format!("the first value that is not finite is in layer `{layer}` ({what}, {})", called(image))
    });
    Ok(found.unwrap_or_else(|| "all parameters and all layers' values are still finite".into()))
}

/// Refuses a parameter that is not finite after `step` steps: nothing that can be used could be kept of it.
pub fn kept(name: &str, tensor: &Tensor, step: u64) -> Result<()> {
    match first_broken(&tensor.data) {
        None => Ok(()),
        Some((_, what)) => Err(Error::new(format!("a value of `{name}` became {what} in step {step}"))
            .with_help("lower the rate, or add `warmup` or `clip`; the checkpoint before, if any, is untouched")),
    }
}

/// Describes the known ways out of a loss that does not move (`mavenlin/cuda-convnet` issue 1 and others): a last ReLU
/// lets all class maps die.
pub fn stuck(what: &str, classes: usize) -> String {
    format!(
        "{what}: ln({classes}) = {:.6}. Ways out: a smaller `init` for the first layer (std 0.001 to 0.01) or `init = \
         he`, \
         a smaller rate or `warmup`, no relu after the last layer, batch_norm, whitened data (`prepare = [gcn, zca]`)",
        (classes as f64).ln()
    )
}
