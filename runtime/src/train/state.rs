//! What a run remembers between steps besides its tensors. All of it goes into checkpoints, floats as bits.

use super::schedule::Plateau;
use serde::{Deserialize, Serialize};

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u32,
    /// Batches done of the epoch.
    pub batch: usize,
    /// Sums of the epoch so far.
    pub sums: Sums,
    /// State of a `plateau` schedule.
    pub plateau: Plateau,
    /// Best accuracy seen, as bits of an f64.
    pub best: u64,
    /// Epochs since the best.
    pub waited: usize,
    /// Bytes of the log.
    pub log: u64,
    /// Bytes of the event file.
    #[serde(default)]
    pub events: u64,
    /// Whether the user was told that the loss is stuck.
    pub warned: bool,
}

/// Sums over the steps of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Bits of an f64: JSON would round it.
    loss: u64,
    /// Right answers.
    pub right: u64,
    /// Images seen.
    pub seen: u64,
}

impl Sums {
    /// Adds a step of `images` images with this mean loss.
    pub fn add(&mut self, loss: f64, right: u64, images: u64) {
        self.loss = (f64::from_bits(self.loss) + loss * images as f64).to_bits();
        self.right += right;
        self.seen += images;
    }

    /// Returns the mean loss.
    pub fn loss(&self) -> f64 {
        f64::from_bits(self.loss) / self.seen.max(1) as f64
    }

    /// Returns the fraction of right answers.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.seen.max(1) as f64
    }
}

impl Cursor {
    /// Is this the best accuracy so far? Counts the epochs since it was.
    pub fn improves(&mut self, accuracy: f64) -> bool {
        let better = accuracy > f64::from_bits(self.best);
        if better {
            (self.best, self.waited) = (accuracy.to_bits(), 0);
        } else {
            self.waited += 1;
        }
        better
    }
}
