//! What launches take, where somebody wants to know.

use crate::plan::{Launch, Plan};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The times of a plan's launches, and when the last of them was taken down.
pub(super) struct Clock<'a>(Mutex<(&'a mut Vec<Duration>, Instant)>);

impl Clock<'_> {
    /// Begins to measure, if there is a profile.
    pub fn start(profile: &mut Option<Vec<Duration>>) -> Option<Clock<'_>> {
        profile.as_mut().map(|times| Clock(Mutex::new((times, Instant::now()))))
    }

    /// Takes what passed since the last call for a launch's time, or for that of none.
    pub fn took(&self, launch: Option<usize>) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let took = now - times.1;
        times.1 = now;
        launch.into_iter().for_each(|launch| times.0[launch] += took);
    }

    /// Adds one of several threads' time of a launch.
    pub fn add(&self, launch: usize, time: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0[launch] += time;
    }
}

/// Some of a plan's launches: the number of each, and where its arguments start.
pub(super) fn placed(plan: &Plan, launches: Range<usize>) -> Vec<(usize, &Launch, usize)> {
    let mut some = Vec::with_capacity(launches.len());
    let mut at = 0;
    for (number, launch) in plan.every_launch().take(launches.end).enumerate() {
        if number >= launches.start {
            some.push((number, launch, at));
        }
        at += launch.buffers.len();
    }
    some
}
