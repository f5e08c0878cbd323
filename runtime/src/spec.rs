//! What a model file says of its data and its training, checked and with all defaults filled in.

use serde::{Deserialize, Serialize};

mod train;

pub use train::{AVERAGE, ClassWeights, Group, Length, Lookahead, Muon, Optimizer, Ramp, Recipe, SLOW, Schedule};

/// `data { … }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSpec {
    /// Where the data come from.
    pub source: Source,
    /// The file's own path, relative to the model file; `--data` overrides it.
    pub path: Option<String>,
    /// Steps of preparation, in this order.
    pub prepare: Vec<Prepare>,
    /// Random changes in training, in this order.
    pub augment: Vec<Augment>,
    /// Part of the training set kept apart for validation: a fraction below 1 or a count.
    pub valid: Option<f64>,
    /// Train outputs that have no training images?
    pub allow_empty: bool,
    /// How colours become grey.
    pub grey: Grey,
    /// What shows through transparent pixels: red, green and blue.
    pub background: [u8; 3],
}

impl DataSpec {
    /// Returns data of a source where a model says nothing else.
    pub fn of(source: Source) -> DataSpec {
        let Pictures { grey, background, .. } = Pictures::default();
        let (prepare, augment) = (vec![], vec![]);
        DataSpec { source, path: None, prepare, augment, valid: None, allow_empty: false, grey, background }
    }

    /// Returns how pictures are read.
    pub fn pictures(&self) -> Pictures {
        let resize = match &self.source {
            Source::Folder { resize } => *resize,
            _ => Resize::Stretch,
        };
        Pictures { resize, grey: self.grey, background: self.background }
    }

    /// Returns the same data with pictures read as weights learned them.
    pub fn reading(mut self, Pictures { resize, grey, background }: Pictures) -> DataSpec {
        if let Source::Folder { resize: own } = &mut self.source {
            *own = resize;
        }
        DataSpec { grey, background, ..self }
    }
}

/// How a picture becomes an input's numbers. It is kept with the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pictures {
    /// How it is brought to the input's size.
    pub resize: Resize,
    /// How colours become grey.
    pub grey: Grey,
    /// What shows through transparent pixels: red, green and blue.
    pub background: [u8; 3],
}

impl Default for Pictures {
    /// Returns what holds where a model says nothing.
    fn default() -> Pictures {
        Pictures { resize: Resize::Stretch, grey: Grey::Rec601, background: [255; 3] }
    }
}

impl Pictures {
    /// Returns what held before weights said it.
    pub fn former(resize: Resize) -> Pictures {
        Pictures { resize, grey: Grey::Rec709, background: [255; 3] }
    }
}

/// How red, green and blue are weighted for an input of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grey {
    /// 0.299, 0.587, 0.114, as in Pillow, OpenCV and torchvision.
    Rec601,
    /// 0.2126, 0.7152, 0.0722.
    Rec709,
}

/// A kind of data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The 1,797 UCI handwritten digits, 8x8, embedded.
    Digits,
    /// Handwritten digits, 28x28 grey, 10 classes.
    Mnist,
    /// Clothes, 28x28 grey, 10 classes.
    FashionMnist,
    /// Photographs, 32x32 colour, 10 classes.
    Cifar10,
    /// Photographs, 32x32 colour, 100 classes.
    Cifar100,
    /// Cropped digits, MAT v5.
    Svhn {
        /// Use the `extra` part for training too.
        extra: bool,
    },
    /// One sub-folder a class; pictures brought to the input's size.
    Folder {
        /// How pictures are brought to the input's size.
        resize: Resize,
    },
    /// Arrays `x` and `y`.
    Npz,
}

/// How a picture is brought to the input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    Scale {
        /// The factor.
        factor: f64,
    },
    /// `(x - mean)/std` per channel; fitted where not given.
    MeanStd {
        /// One number, or one for each channel.
        mean: Option<Vec<f64>>,
        /// One number, or one for each channel.
        std: Option<Vec<f64>>,
    },
    /// Global contrast normalisation: minus the image's mean, scaled to the L2 norm `scale`.
    Gcn {
        /// The norm afterwards.
        scale: f64,
    },
    /// Whitening by the covariance's eigenvectors, `epsilon` added to its diagonal.
    Zca {
        /// Added to the diagonal.
        epsilon: f64,
    },
    /// Local contrast normalisation with a 7x7 Gaussian.
    Lcn,
}

/// A random change of images in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Augment {
    /// Pads by this many pixels and cuts a random window of the original size.
    PadCrop {
        /// Width of the border.
        pixels: usize,
        /// Is the border the image mirrored, its outermost pixels not repeated, in place of zeros?
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reflect: bool,
    },
    /// Moves by up to this many pixels in each direction.
    Shift {
        /// The largest distance.
        pixels: usize,
    },
    /// Mirrors left and right with probability 1/2.
    Flip,
    /// Mirrors left and right in every other epoch: with probability 1/2 in the odd ones, else in the even ones.
    AlternatingFlip,
    /// Turns by a random angle, bilinear, zeros outside.
    Rotate {
        /// The largest angle in degrees.
        degrees: f64,
    },
    /// Changes brightness and contrast at random.
    BrightnessContrast {
        /// The largest amount that is added, as a part of the range of values.
        brightness: f64,
        /// The largest change of the factor around the mean.
        contrast: f64,
    },
    /// Blanks a random square.
    Cutout {
        /// Length of its side.
        pixels: usize,
    },
    /// Mixes pairs of images and labels by Beta(alpha, alpha).
    Mixup {
        /// Both parameters of the Beta distribution.
        alpha: f64,
    },
    /// Cuts a random part out of a picture and brings it to the input's size.
    RandomResizedCrop {
        /// The least and the largest part of the area.
        scale: [f64; 2],
        /// The least and the largest ratio of width to height.
        ratio: [f64; 2],
    },
    /// Changes a picture's colours, in a random order.
    ColorJitter {
        /// The largest change of the brightness, which is 1.
        brightness: f64,
        /// The largest change of the contrast, which is 1.
        contrast: f64,
        /// The largest change of the saturation, which is 1.
        saturation: f64,
        /// The largest turn of the circle of colours, as a part of it.
        hue: f64,
    },
    /// Changes a picture by operations drawn from a list.
    RandAugment {
        /// Operations.
        ops: usize,
        /// Their strength, from 0 to 30.
        magnitude: usize,
    },
}

impl Augment {
    /// Its name in the language.
    pub fn word(&self) -> &'static str {
        match self {
            Augment::PadCrop { .. } => "pad_crop",
            Augment::Shift { .. } => "shift",
            Augment::Flip | Augment::AlternatingFlip => "flip",
            Augment::Rotate { .. } => "rotate",
            Augment::BrightnessContrast { .. } => "brightness_contrast",
            Augment::Cutout { .. } => "cutout",
            Augment::Mixup { .. } => "mixup",
            Augment::RandomResizedCrop { .. } => "random_resized_crop",
            Augment::ColorJitter { .. } => "color_jitter",
            Augment::RandAugment { .. } => "rand_augment",
        }
    }

    /// Does it change pictures as they are read, before any preparation?
    pub fn of_pictures(&self) -> bool {
        matches!(self, Augment::RandomResizedCrop { .. } | Augment::ColorJitter { .. } | Augment::RandAugment { .. })
    }
}
