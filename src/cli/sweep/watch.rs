//! What a training of several says: its epochs, now and then, and what its user should know, each with its name.

use crate::cli::output;
use crate::cli::progress;
use ninc_runtime::train::Watch;
use ninc_runtime::train::job::Progress;
use ninc_runtime::train::log::Line;
use std::time::{Duration, Instant};

/// Between two epochs that are told; short ones pass by.
const PAUSE: Duration = Duration::from_secs(10);

/// Tells how a training goes.
pub struct Told<'a> {
    label: &'a str,
    /// Tell every epoch.
    all: bool,
    last: Instant,
}

impl Told<'_> {
    /// Starts to tell of the training with this name.
    pub fn new(label: &str, all: bool) -> Told<'_> {
        Told { label, all, last: Instant::now() }
    }
}

impl Watch for Told<'_> {
    fn step(&mut self, _: &Progress) {}

    fn epoch(&mut self, line: &Line) {
        if self.all || self.last.elapsed() >= PAUSE {
            self.last = Instant::now();
            output::note(&format!("{}: {}", self.label, progress::epoch(line)));
        }
    }

    fn note(&mut self, text: &str) {
        output::note(&format!("{}: note: {text}", self.label));
    }
}
