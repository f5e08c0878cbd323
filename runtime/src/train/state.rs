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
    /// The loss of the epoch whose weights are kept, as bits of an f64.
    #[serde(default)]
    pub best_loss: u64,
    /// Epochs since the one whose weights are kept; at most those since the best.
    #[serde(default)]
    pub unkept: Option<usize>,
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
    /// Are the weights of this epoch to be kept? Of equal accuracies the one of less loss did best. An early stop
    /// counts its epochs from the first of them, or it might never come: a loss may shrink for ever.
    pub fn improves(&mut self, accuracy: f64, loss: f64) -> bool {
        let best = f64::from_bits(self.best);
        let better = accuracy > best;
        let kept = better || (accuracy == best && loss < f64::from_bits(self.best_loss));
        self.waited = if better { 0 } else { self.waited + 1 };
        self.unkept = Some(if kept { 0 } else { self.unkept.unwrap_or(self.waited - 1) + 1 });
        if kept {
            (self.best, self.best_loss) = (accuracy.to_bits(), loss.to_bits());
        }
        kept
    }

    /// Returns the epoch whose weights are kept, counted from 1; 0 if there is none.
    pub fn kept(&self) -> u64 {
        u64::from(self.epoch).saturating_sub(self.unkept.unwrap_or(self.waited) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn of_equal_accuracies_the_one_of_less_loss_is_kept() {
        let epochs = [(0.0, 9.0), (0.5, 2.0), (0.5, 3.0), (0.5, 1.0), (0.4, 0.1), (0.5, 1.0), (0.8, 4.0), (0.8, 3.9)];
        let mut cursor = Cursor::default();
        let states = epochs.map(|(accuracy, loss)| {
            let kept = cursor.improves(accuracy, loss);
            cursor.epoch += 1;
            (kept, cursor.waited, cursor.kept())
        });
        let by_hand = [
            (false, 1, 0),
            (true, 0, 2),
            (false, 1, 2),
            (true, 2, 4),
            (false, 3, 4),
            (false, 4, 4),
            (true, 0, 7),
            (true, 1, 8),
        ];
        assert_eq!(states, by_hand);
        // A checkpoint of before knows only the best accuracy: its epoch is the one that was kept.
        let mut older = Cursor { epoch: 9, best: 0.8f64.to_bits(), waited: 3, ..Cursor::default() };
        assert_eq!(older.kept(), 6);
        assert!(!older.improves(0.8, 0.5));
        older.epoch += 1;
        assert_eq!(older.kept(), 6);
    }
}
