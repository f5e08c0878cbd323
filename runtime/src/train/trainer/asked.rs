//! What was asked for from outside: of one process, or of one among several, which then hear of it after the same step.

use super::Run;
use crate::train::job::Control;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Flags that ranks raise.
const STOP: u32 = 1;
const SAVE: u32 = 2;

/// How long a rank that was asked to stop waits for one that does not answer: whoever asked may have ended it.
const PATIENCE: Duration = Duration::from_secs(20);

impl Run<'_, '_> {
    /// Lets the other ranks hear what this one was asked for.
    pub(super) fn announce(&self, control: &Control) {
        let Some(ranks) = &self.job.ranks else { return };
        if control.stop.load(Ordering::Relaxed) {
            ranks.raise(STOP);
            ranks.limit(PATIENCE);
        }
        if control.save.swap(false, Ordering::Relaxed) {
            ranks.raise(SAVE);
        }
    }

    /// Returns whether to stop, and whether to save, after this step.
    pub(super) fn asked(&self, control: &Control) -> (bool, bool) {
        match &self.job.ranks {
            Some(ranks) => {
                let (stop, save) = (ranks.heard() & STOP != 0, ranks.heard() & SAVE != 0);
                if stop {
                    // The others now wait for the first one's save, however long that takes.
                    ranks.limit(Duration::ZERO);
                }
                (stop, save)
            }
            None => (control.stop.load(Ordering::Relaxed), control.save.swap(false, Ordering::Relaxed)),
        }
    }
}
