//! What a training step is fed, by the names of its inputs.

use super::schedule::Hyper;
use crate::data::batches::Batch;
use crate::plan::Port;
use crate::spec::{Optimizer, Recipe};
use crate::{Error, Feed, Result};

/// Names of inputs that are not the image.
const RESERVED: [&str; 14] = [
    "labels", "partners", "share", "rest", "key", "rate", "momentum", "decay", "beta1", "beta2", "epsilon", "alpha",
    "step", "clip",
];

/// The image among a program's inputs.
pub fn image(inputs: &[Port]) -> Result<&Port> {
    let mut images = inputs.iter().filter(|p| p.batched && !p.ints && !RESERVED.contains(&p.name.as_str()));
    match (images.next(), images.next()) {
        (Some(image), None) => Ok(image),
        (None, _) => Err(Error::new("the network has no input for images")),
        (Some(a), Some(b)) => Err(Error::new(format!("the network has several inputs: `{}`, `{}`", a.name, b.name))
            .with_help("data sets give one image at a time: keep one `input`")),
    }
}

/// Numbers and keys of one step.
#[derive(Clone, Debug)]
pub struct Feeds {
    key: [i32; 4],
    scalars: Vec<(String, [f32; 1])>,
}

impl Feeds {
    /// `share` is the part of each image's own label in a mixture ([`Batch::share`]); `step` counts from 0.
    pub fn new(inputs: &[Port], recipe: &Recipe, hyper: Hyper, share: f32, step: u64) -> Result<Feeds> {
        let key = [recipe.seed as u32, (recipe.seed >> 32) as u32, step as u32, (step >> 32) as u32];
        let image = image(inputs)?.name.clone();
        let mut scalars = Vec::new();
        for port in inputs {
            if port.name == image || ["labels", "partners", "key"].contains(&port.name.as_str()) {
                continue;
            }
            let mixture = match port.name.as_str() {
                "share" => Some(f64::from(share)),
                "rest" => Some(f64::from(1.0 - share)),
                _ => None,
            };
            let value = mixture.or_else(|| number(recipe, hyper, step, &port.name)).ok_or_else(|| {
                Error::new(format!("the training program wants `{}`, which this recipe does not set", port.name))
            })?;
            scalars.push((port.name.clone(), [value as f32]));
        }
        Ok(Feeds { key: key.map(|k| k as i32), scalars })
    }

    /// All inputs, with those of the batch.
    pub fn with<'a>(&'a self, inputs: &'a [Port], batch: &'a Batch) -> Vec<(&'a str, Feed<'a>)> {
        [self.numbers(inputs), of_batch(inputs, batch)].concat()
    }

    /// The inputs that are not of the batch.
    pub fn numbers<'a>(&'a self, inputs: &'a [Port]) -> Vec<(&'a str, Feed<'a>)> {
        let key =
            inputs.iter().filter(|port| port.name == "key").map(|port| (port.name.as_str(), Feed::I32(&self.key)));
        key.chain(self.scalars.iter().map(|(name, value)| (name.as_str(), Feed::F32(value)))).collect()
    }
}

/// The inputs of a batch: images, labels, and the partners of a mixture.
pub fn of_batch<'a>(inputs: &'a [Port], batch: &'a Batch) -> Vec<(&'a str, Feed<'a>)> {
    let feed = |port: &'a Port| match port.name.as_str() {
        "labels" => Some(("labels", Feed::I32(&batch.labels))),
        "partners" => Some(("partners", Feed::I32(batch.partners()))),
        name => (!RESERVED.contains(&name)).then_some((name, Feed::F32(&batch.images))),
    };
    inputs.iter().filter_map(feed).collect()
}

/// The number that an input of a training step takes, by its name.
pub fn number(recipe: &Recipe, hyper: Hyper, step: u64, name: &str) -> Option<f64> {
    match name {
        "rate" => return Some(recipe.optimizer.rate() * hyper.factor),
        "step" => return Some((step + 1) as f64),
        "clip" => return recipe.clip,
        _ => {}
    }
    match (&recipe.optimizer, name) {
        (Optimizer::Sgd { .. } | Optimizer::RmsProp { .. }, "momentum") => Some(hyper.momentum),
        (Optimizer::Sgd { decay, .. } | Optimizer::Adam { decay, .. } | Optimizer::RmsProp { decay, .. }, "decay") => {
            Some(*decay)
        }
        (Optimizer::Adam { beta1, .. }, "beta1") => Some(*beta1),
        (Optimizer::Adam { beta2, .. }, "beta2") => Some(*beta2),
        (Optimizer::Adam { epsilon, .. } | Optimizer::RmsProp { epsilon, .. }, "epsilon") => Some(*epsilon),
        (Optimizer::RmsProp { alpha, .. }, "alpha") => Some(*alpha),
        _ => None,
    }
}
