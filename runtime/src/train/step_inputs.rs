//! What a training step is fed, by the roles of its inputs.

use super::schedule;
use crate::data::batches::Batch;
use crate::plan::{Hyper, Port, Role};
use crate::spec::{Optimizer, Recipe};
use crate::{Error, Feed, Result};

/// Finds the image among a program's inputs.
pub fn image(inputs: &[Port]) -> Result<&Port> {
    let mut images = inputs.iter().filter(|p| p.role == Role::Image);
    match (images.next(), images.next()) {
        (Some(image), None) => Ok(image),
        (None, _) => Err(Error::new("the network has no input for images")),
        (Some(a), Some(b)) => Err(Error::new(format!("the network has several inputs: `{}`, `{}`", a.name, b.name))
            .with_help("data sets give one image at a time: keep one `input`")),
    }
}

/// The numbers and the random key of one step.
#[derive(Clone, Debug)]
pub struct StepInputs {
    key: [i32; 4],
    numbers: Vec<(Role, [f32; 1])>,
}

impl StepInputs {
    /// Collects them; `share` is the part of each image's own label in a mixture ([`Batch::share`]); `step` counts from
    /// 0.
    pub fn new(
        inputs: &[Port],
        recipe: &Recipe,
        schedule: schedule::Hyper,
        share: f32,
        step: u64,
    ) -> Result<StepInputs> {
        let key = [recipe.seed as u32, (recipe.seed >> 32) as u32, step as u32, (step >> 32) as u32];
        let mut numbers = Vec::new();
        for role in inputs.iter().map(|port| port.role) {
            let value = match role {
                Role::Image | Role::Labels | Role::Partners | Role::Key => continue,
                Role::Weights | Role::PartnerWeights => continue,
                Role::Share => share,
                Role::Rest => 1.0 - share,
                Role::Hyper(hyper) => self::hyper(recipe, schedule, step, hyper)? as f32,
                Role::Tensor => return Err(Error::new("the training program has an input that is not of a step")),
            };
            numbers.push((role, [value]));
        }
        Ok(StepInputs { key: key.map(|k| k as i32), numbers })
    }

    /// Returns all inputs, with those of the batch.
    pub fn with<'a>(&'a self, inputs: &'a [Port], batch: &'a Batch) -> Vec<(&'a str, Feed<'a>)> {
        [self.numbers(inputs), of_batch(inputs, batch)].concat()
    }

    /// Returns the inputs that are not of the batch.
    pub fn numbers<'a>(&'a self, inputs: &'a [Port]) -> Vec<(&'a str, Feed<'a>)> {
        let feed = |port: &'a Port| match port.role {
            Role::Key => Some((port.name.as_str(), Feed::I32(&self.key))),
            role => {
                let (_, value) = self.numbers.iter().find(|(of, _)| *of == role)?;
                Some((port.name.as_str(), Feed::F32(value)))
            }
        };
        inputs.iter().filter_map(feed).collect()
    }
}

/// Returns the inputs of a batch: images, labels, the partners of a mixture, and the weights of both.
pub fn of_batch<'a>(inputs: &'a [Port], batch: &'a Batch) -> Vec<(&'a str, Feed<'a>)> {
    let feed = |port: &'a Port| match port.role {
        Role::Image => Some((port.name.as_str(), batch.images.feed())),
        Role::Labels => Some((port.name.as_str(), Feed::I32(&batch.labels))),
        Role::Partners => Some((port.name.as_str(), Feed::I32(batch.partners()))),
        Role::Weights => Some((port.name.as_str(), Feed::F32(&batch.weights))),
        Role::PartnerWeights => Some((port.name.as_str(), Feed::F32(&batch.partner_weights))),
        _ => None,
    };
    inputs.iter().filter_map(feed).collect()
}

/// Returns a hyper-parameter's value in step `step` (from 0), or an error where the recipe does not set it.
pub fn hyper(recipe: &Recipe, schedule: schedule::Hyper, step: u64, hyper: Hyper) -> Result<f64> {
    let value = match (hyper, &recipe.optimizer) {
        (Hyper::Rate, optimizer) => Some(optimizer.rate() * schedule.factor),
        (Hyper::Step, _) => Some((step + 1) as f64),
        (Hyper::Clip, _) => recipe.clip,
        (Hyper::ConvolutionRate, _) => recipe.convolutions.map(|muon| muon.rate * schedule.factor),
        (Hyper::Epochs, _) => Some(schedule.epochs),
        (Hyper::Mix, _) => recipe.lookahead.map(|_| schedule.mix.unwrap_or(0.0)),
        (Hyper::Sync, _) => recipe.lookahead.map(|_| f64::from(u8::from(schedule.mix.is_some()))),
        (Hyper::Momentum, Optimizer::Sgd { .. } | Optimizer::RmsProp { .. }) => Some(schedule.momentum),
        (
            Hyper::Decay,
            Optimizer::Sgd { decay, .. } | Optimizer::Adam { decay, .. } | Optimizer::RmsProp { decay, .. },
        ) => Some(*decay),
        (Hyper::Beta1, Optimizer::Adam { beta1, .. }) => Some(*beta1),
        (Hyper::Beta2, Optimizer::Adam { beta2, .. }) => Some(*beta2),
        (Hyper::Epsilon, Optimizer::Adam { epsilon, .. } | Optimizer::RmsProp { epsilon, .. }) => Some(*epsilon),
        (Hyper::Alpha, Optimizer::RmsProp { alpha, .. }) => Some(*alpha),
        _ => None,
    };
    value.ok_or_else(|| {
        let name = Role::Hyper(hyper).name();
        Error::new(format!("the training program wants `{name}`, which this recipe does not set"))
    })
}
