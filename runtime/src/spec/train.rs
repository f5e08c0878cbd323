//! `train { … }`: loss, optimiser, schedule and length of a training.

use crate::pattern;
use serde::{Deserialize, Serialize};

/// Behind a parameter's name and a dot: the state that holds its average over the steps, where a recipe averages.
pub const AVERAGE: &str = "average";
/// The same for the average that a recipe with `lookahead` puts in the parameters' place.
pub const SLOW: &str = "slow";

/// `train { … }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Probability that the loss gives to all classes together, evenly.
    pub label_smoothing: f64,
    /// The update rule.
    pub optimizer: Optimizer,
    /// How the rate changes.
    pub schedule: Schedule,
    /// The rate grows linearly from 0 over this many epochs (a fraction is fine).
    pub warmup: f64,
    /// Images of a step.
    pub batch: usize,
    /// When training ends.
    pub length: Length,
    /// Are the images in a new order each epoch?
    pub shuffle: bool,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Bound on the L2 norm of all gradients together.
    pub clip: Option<f64>,
    /// Number of batches whose gradients are accumulated before each update.
    pub accumulate: usize,
    /// Decay of the exponential moving average of the weights; if set, the averaged weights are saved.
    pub average: Option<f64>,
    /// Stop after this many epochs without a better validation (or training) accuracy.
    pub patience: Option<usize>,
    /// The momentum's way up to the optimiser's; without it, it is there at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
    /// Does each class give equally many images of an epoch, whatever its size?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub balance: bool,
    /// The number of training images over the number of classes times that of the class's images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// How the weights of convolutions are updated, where not as all other parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolutions: Option<Muon>,
    /// An average of the weights that now and then takes their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookahead: Option<Lookahead>,
    /// What holds for parameters of certain names; of several that fit one the last that says something counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// What products multiply, in the command line's word; `None`: what the command line says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

/// Muon: `v = momentum·v + g`; the step is the matrix `[outputs, inputs · window]` of `v` (with Nesterov's momentum of
/// `g + momentum·v`) whose singular values Newton–Schulz's iteration has brought near 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Muon {
    /// Learning rate; the schedule's factor holds for it too.
    pub rate: f64,
    /// Weight of the past in `v`.
    pub momentum: f64,
    /// Looks ahead along `v` (Nesterov).
    pub nesterov: bool,
    /// Steps of the iteration.
    pub steps: usize,
    /// Weight decay, applied to the weight itself.
    pub decay: f64,
    /// Is the weight scaled to the L2 norm √outputs before each step?
    pub unit: bool,
}

/// An average of the weights and running statistics: every `every` steps it takes up a part of them, and then their
/// place. The past weighs `decay^every · (step/steps)^power` in it, where `steps` are those of the whole training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookahead {
    /// Steps from one time to the next.
    pub every: u64,
    /// Weight of the past for each step.
    pub decay: f64,
    /// How the weight of the past grows over the training: 0 is at once.
    pub power: f64,
}

/// Factors on rate and decay for the parameters that a pattern fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// As [`crate::pattern::fits_parameter`] reads it.
    pub pattern: String,
    /// Factor on the optimiser's rate, in place of the layer's.
    pub rate: Option<f64>,
    /// Factor on the optimiser's weight decay, in place of the layer's.
    pub decay: Option<f64>,
    /// Epochs after which they stay as they are.
    pub freeze_after: Option<f64>,
}

impl Recipe {
    /// Does the schedule, or anything else, look at the end of the training?
    pub fn looks_at_end(&self) -> bool {
        let lookahead = self.lookahead.is_some_and(|lookahead| lookahead.power != 0.0);
        lookahead
            || matches!(self.schedule, Schedule::Cosine { .. } | Schedule::OneCycle { .. } | Schedule::Triangle { .. })
    }

    /// Returns what the groups say of a parameter: rate, decay, and epochs after which it stays.
    pub fn group_of(&self, name: &str) -> Group {
        let mut all = Group { pattern: name.into(), rate: None, decay: None, freeze_after: None };
        for group in self.groups.iter().filter(|group| pattern::fits_parameter(&group.pattern, name)) {
            all.rate = group.rate.or(all.rate);
            all.decay = group.decay.or(all.decay);
            all.freeze_after = group.freeze_after.or(all.freeze_after);
        }
        all
    }
}

/// What the loss of an image is multiplied by, according to its class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// By the number of training images over the number of classes times that of the class's images.
    Balanced,
    /// A factor for each output of the network, in their order.
    Each(Vec<f64>),
}

/// The momentum goes linearly from `from` to the optimiser's over `epochs` epochs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// Momentum of the first step.
    pub from: f64,
    /// Epochs until the optimiser's momentum is reached.
    pub epochs: f64,
}

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// After this many passes over the data; a fraction is fine.
    Epochs(f64),
    /// After this many updates.
    Steps(u64),
}

/// An update rule. `g` is the gradient, `w` the parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// `g += decay·w`; outside: `v = momentum·v + g; w -= rate·v` (PyTorch); inside: `v = momentum·v + rate·g; w -= v`
    /// (Caffe). The two differ only where the rate changes.
    Sgd {
        /// Learning rate.
        rate: f64,
        /// Weight of the past in `v`.
        momentum: f64,
        /// Weight decay.
        decay: f64,
        /// Looks ahead along `v` (Nesterov).
        nesterov: bool,
        /// Is the rate inside `v` (Caffe)?
        rate_inside: bool,
    },
    /// Decay is added to the gradient (`adam`) or applied to the weight (`decoupled`: AdamW).
    Adam {
        /// Learning rate.
        rate: f64,
        /// Weight of the past in the mean of gradients.
        beta1: f64,
        /// Weight of the past in the mean of squared gradients.
        beta2: f64,
        /// Added to the root.
        epsilon: f64,
        /// Weight decay.
        decay: f64,
        /// Is decay applied to the weight itself (AdamW)?
        decoupled: bool,
    },
    /// Divides by the root of a running mean of squared gradients.
    RmsProp {
        /// Learning rate.
        rate: f64,
        /// Weight of the past in that mean.
        alpha: f64,
        /// Added to the root.
        epsilon: f64,
        /// Weight of the past in the update.
        momentum: f64,
        /// Weight decay.
        decay: f64,
    },
}

/// Factor on the optimiser's rate, by epoch (fractions of epochs count).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Always 1.
    Constant,
    /// Times `factor` at each of these epochs.
    Steps {
        /// Epochs.
        at: Vec<f64>,
        /// Factor at each of them.
        factor: f64,
    },
    /// Times `factor` after each epoch.
    Exponential {
        /// Factor of an epoch.
        factor: f64,
    },
    /// From 1 to `floor` along half a cosine.
    Cosine {
        /// The factor at the end.
        floor: f64,
    },
    /// Up linearly from `start` for the fraction `peak` of training, down to `end` along a cosine.
    /// `momentum`, if given, is where the optimiser's momentum is at the peak: it goes down and up against the rate.
    OneCycle {
        /// Fraction of training at which the rate is highest.
        peak: f64,
        /// Factor at the start.
        start: f64,
        /// Factor at the end.
        end: f64,
        /// Momentum at the peak.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        momentum: Option<f64>,
    },
    /// Up linearly from `start` to 1 for the fraction `peak` of training, down linearly to `end`.
    Triangle {
        /// Fraction of training at which the rate is highest.
        peak: f64,
        /// Factor at the start.
        start: f64,
        /// Factor at the end.
        end: f64,
    },
    /// Times `factor` when the accuracy (of validation, where there is any, else of training) has not grown by
    /// `threshold` for `patience` epochs, at most `times` times.
    Plateau {
        /// Factor of each reduction.
        factor: f64,
        /// Epochs without progress before a reduction.
        patience: usize,
        /// What counts as progress in accuracy, from 0 to 1.
        threshold: f64,
        /// The most reductions.
        times: usize,
    },
}

impl Optimizer {
    /// Returns the learning rate.
    pub fn rate(&self) -> f64 {
        match self {
            Optimizer::Sgd { rate, .. } | Optimizer::Adam { rate, .. } | Optimizer::RmsProp { rate, .. } => *rate,
        }
    }

    /// Returns the momentum; 0 where the rule has none.
    pub fn momentum(&self) -> f64 {
        match self {
            Optimizer::Sgd { momentum, .. } | Optimizer::RmsProp { momentum, .. } => *momentum,
            Optimizer::Adam { .. } => 0.0,
        }
    }
}
