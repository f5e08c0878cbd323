//! What a model file says of its data and its training, checked and with all defaults filled in.

use serde::{Deserialize, Serialize};

/// `data { … }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSpec {
    pub source: Source,
    /// The file's own path, relative to the model file; `--data` overrides it.
    pub path: Option<String>,
    pub prepare: Vec<Prepare>,
    pub augment: Vec<Augment>,
    /// Part of the training set kept apart for validation: a fraction below 1 or a count.
    pub valid: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The 1,797 UCI handwritten digits, 8x8, embedded.
    Digits,
    Mnist,
    FashionMnist,
    Cifar10,
    Cifar100,
    /// Cropped digits, MAT v5.
    Svhn {
        extra: bool,
    },
    /// One sub-folder a class; pictures brought to the input's size.
    Folder {
        resize: Resize,
    },
    /// Arrays `x` and `y`.
    Npz,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Stretch to the input's size.
    Stretch,
    /// Scale the shorter side, cut the middle.
    Crop,
}

/// Preparation: fitted on the training part, stored with the weights, applied to every input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prepare {
    /// `x · factor` on bytes 0 to 255 (1/255 unless said).
    Scale { factor: f64 },
    /// `(x - mean)/std` per channel; fitted where not given.
    MeanStd { mean: Option<Vec<f64>>, std: Option<Vec<f64>> },
    /// Global contrast normalisation: minus the image's mean, scaled to the L2 norm `scale`.
    Gcn { scale: f64 },
    /// Whitening by the covariance's eigenvectors, `epsilon` added to its diagonal.
    Zca { epsilon: f64 },
    /// Local contrast normalisation with a 7x7 Gaussian.
    Lcn,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Augment {
    /// Zero-pads by this many pixels and cuts a random window of the original size.
    PadCrop {
        pixels: usize,
    },
    /// Moves by up to this many pixels in each direction.
    Shift {
        pixels: usize,
    },
    /// Mirrors left and right with probability 1/2.
    Flip,
    Rotate {
        degrees: f64,
    },
    BrightnessContrast {
        brightness: f64,
        contrast: f64,
    },
    /// Blanks a random square.
    Cutout {
        pixels: usize,
    },
    /// Mixes pairs of images and labels by Beta(alpha, alpha).
    Mixup {
        alpha: f64,
    },
}

/// Behind a parameter's name and a dot: the state that holds its average over the steps, where a recipe averages.
pub const AVERAGE: &str = "average";

/// `train { … }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub label_smoothing: f64,
    pub optimizer: Optimizer,
    pub schedule: Schedule,
    /// The rate grows linearly from 0 over this many epochs (a fraction is fine).
    pub warmup: f64,
    pub batch: usize,
    pub length: Length,
    pub shuffle: bool,
    pub seed: u64,
    /// Bound on the L2 norm of all gradients together.
    pub clip: Option<f64>,
    /// Batches whose gradients make one step.
    pub accumulate: usize,
    /// Weight of the past in an exponential average of the weights, which is then what is kept.
    pub average: Option<f64>,
    /// Stop after this many epochs without a better validation (or training) accuracy.
    pub patience: Option<usize>,
    /// The momentum grows to the optimiser's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
}

/// The momentum goes linearly from `from` to the optimiser's over so many epochs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    pub from: f64,
    pub epochs: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    Epochs(f64),
    Steps(u64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// `g += decay·w`; outside: `v = momentum·v + g; w -= rate·v` (PyTorch); inside: `v = momentum·v + rate·g; w -= v` (Caffe).
    /// The two differ only where the rate changes.
    Sgd {
        rate: f64,
        momentum: f64,
        decay: f64,
        nesterov: bool,
        rate_inside: bool,
    },
    /// Decay is added to the gradient (`adam`) or applied to the weight (`decoupled`: AdamW).
    Adam {
        rate: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        decay: f64,
        decoupled: bool,
    },
    RmsProp {
        rate: f64,
        alpha: f64,
        epsilon: f64,
        momentum: f64,
        decay: f64,
    },
}

/// Factor on the optimiser's rate, by epoch (fractions of epochs count).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    Constant,
    /// Times `factor` at each of these epochs.
    Steps {
        at: Vec<f64>,
        factor: f64,
    },
    /// Times `factor` after each epoch.
    Exponential {
        factor: f64,
    },
    /// From 1 to `floor` along half a cosine.
    Cosine {
        floor: f64,
    },
    /// Up linearly from `start` for the fraction `peak` of training, down to `end` along a cosine.
    /// `momentum`, if given, is where the optimiser's momentum is at the peak: it goes down and up against the rate.
    OneCycle {
        peak: f64,
        start: f64,
        end: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        momentum: Option<f64>,
    },
    /// Times `factor` when the training accuracy has not grown by `threshold` for `patience` epochs, at most `times` times.
    Plateau {
        factor: f64,
        patience: usize,
        threshold: f64,
        times: usize,
    },
}

impl Optimizer {
    pub fn rate(&self) -> f64 {
        match self {
            Optimizer::Sgd { rate, .. } | Optimizer::Adam { rate, .. } | Optimizer::RmsProp { rate, .. } => *rate,
        }
    }

    /// 0 where the rule has none.
    pub fn momentum(&self) -> f64 {
        match self {
            Optimizer::Sgd { momentum, .. } | Optimizer::RmsProp { momentum, .. } => *momentum,
            Optimizer::Adam { .. } => 0.0,
        }
    }
}
