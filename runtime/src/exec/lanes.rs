//! Shares of a batch that are computed at a time: each by threads of its own, in groups of images whose values fit a
//! cache, to the sums that its images have one after the other. A thread that has a share to itself waits for nobody.

use super::ports::{self, Call};
use super::{Addresses, Executor, Region};
use crate::plan::Plan;
use crate::shares::Shares;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A share that is computed beside others.
pub(super) struct Lane {
    pub images: Range<usize>,
    /// Images of a group; the last one may have fewer.
    pub group: usize,
    /// Where its memory begins in the arena.
    pub offset: usize,
    /// Where launches find their buffers in a whole group.
    pub args: Addresses,
    /// The same for the last group.
    pub rest: Addresses,
}

/// Launches that lanes run.
pub(super) struct Turn<'a> {
    pub plan: &'a Plan,
    pub shares: &'a Shares,
    pub launches: Range<usize>,
    /// Groups of the longest lane; all lanes end with the last.
    pub groups: Range<usize>,
    /// Images of the whole batch.
    pub total: usize,
    /// Whether images are brought before the first launch, and results taken after the last.
    pub feed: bool,
    pub fetch: bool,
}

impl Lane {
    /// Returns how many groups it has.
    pub fn groups(&self) -> usize {
        self.images.len().div_ceil(self.group)
    }

    /// The images of a group, counted so that the last one is number `groups - 1`.
    fn images_of(&self, group: usize, groups: usize) -> Option<Range<usize>> {
        let group = (group + self.groups()).checked_sub(groups)?;
        let first = self.images.start + group * self.group;
        Some(first..self.images.end.min(first + self.group))
    }
}

impl Executor {
    /// Runs some launches for some shares; there are not more of them than threads, which they share as equally as it
    /// goes.
    pub(super) fn beside(&mut self, turn: &Turn, lanes: &[Lane], call: &mut Call) -> Result<()> {
        let Turn { plan, shares, launches, total, .. } = turn;
        let groups = lanes.iter().map(Lane::groups).max().unwrap_or(0);
        let times = self.profile.as_mut().map(|times| Mutex::new((times, Instant::now())));
        let (workers, code, scratch) = (self.threads.count(), &*self.code, &self.scratch_args);
        // The locks are never contended: a lane's first thread copies.
        let mut rooms: Vec<Mutex<&mut [u8]>> = Vec::new();
        if turn.feed || turn.fetch {
            let room = lanes.first().and_then(|lane| plan.room(lane.group));
            let room = room.ok_or_else(|| Error::new(format!("a batch of {total} is too large")))?;
            rooms.extend(self.arena.bytes_mut().chunks_exact_mut(room.max(1)).map(Mutex::new));
        }
        let call = Mutex::new(call);
        let first = |lane: usize| (lane * workers).div_ceil(lanes.len());
        let prepare = plan.prepare.len();
        self.threads.run(&|worker| {
            let own = worker.index() * lanes.len() / workers;
            let (lane, team) = (&lanes[own], first(own)..first(own + 1));
            let (alone, leads) = (lanes.len() == workers, worker.index() == team.start);
            let wait = || alone || worker.barrier().is_ok();
            for group in turn.groups.clone() {
                let images = lane.images_of(group, groups).unwrap_or(0..0);
                let present = !images.is_empty();
                let args = if images.len() == lane.group { &lane.args } else { &lane.rest };
                let (begins, ends) = (images.start == lane.images.start, images.end == lane.images.end);
                let vars = [images.len() as i64, images.start as i64, *total as i64];
                let region = Region { code, vars, batch: images.len(), args, scratch };
                if turn.feed {
                    if leads && present {
                        feed(plan, &call, &images, &mut rooms[own].lock().unwrap_or_else(PoisonError::into_inner));
                    }
                    if !wait() {
                        return;
                    }
                }
                let mut at = 0;
                for (i, launch) in plan.every_launch().take(launches.end).enumerate() {
                    if i >= launches.start {
                        let number = i - prepare;
                        let clears = shares.clears.partition_point(|clear| clear.0 < number);
                        let clears = shares.clears[clears..].iter().take_while(|clear| clear.0 == number);
                        let mut cleared = false;
                        for &(_, buffer) in clears {
                            if leads && present && begins {
                                region.clear(launch, at, buffer, plan.bytes(buffer, 0));
                            }
                            cleared = true;
                        }
                        if cleared && !wait() {
                            return;
                        }
                        if present && (ends || shares.late.binary_search(&number).is_err()) {
                            let iterations = share(launch.iterations.count(images.len()), worker.index(), &team);
                            region.run(worker.index(), launch, at, iterations);
                        }
                        if !wait() {
                            return;
                        }
                        if worker.index() == 0
                            && let Some(times) = &times
                        {
                            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                            let now = Instant::now();
                            let took = now - times.1;
                            times.0[i] += took;
                            times.1 = now;
                        }
                    }
                    at += launch.buffers.len();
                }
                if turn.fetch {
                    if leads && present {
                        fetch(plan, &call, images, &rooms[own].lock().unwrap_or_else(PoisonError::into_inner));
                    }
                    if !wait() {
                        return;
                    }
                }
            }
        })
    }
}

/// The iterations of `0..count` that one worker of a team does.
fn share(count: usize, worker: usize, team: &Range<usize>) -> Range<usize> {
    let at = |worker: usize| ((worker - team.start) as u128 * count as u128 / team.len() as u128) as usize;
    at(worker)..at(worker + 1)
}

/// Copies a group's images, and what all images share, into a lane's memory.
fn feed(plan: &Plan, call: &Mutex<&mut Call>, images: &Range<usize>, memory: &mut [u8]) {
    let feeds: Vec<_> = call.lock().unwrap_or_else(PoisonError::into_inner).feeds(images.clone()).collect();
    for (port, feed) in feeds {
        let start = plan.start(port.buffer, images.len()).1;
        ports::feed(port, feed, &mut memory[start..][..plan.bytes(port.buffer, images.len())]);
    }
}

/// Copies a group's results from a lane's memory.
fn fetch(plan: &Plan, call: &Mutex<&mut Call>, images: Range<usize>, memory: &[u8]) {
    let count = images.len();
    let mut call = call.lock().unwrap_or_else(PoisonError::into_inner);
    for (port, result) in call.results(images).filter(|(port, _)| port.batched) {
        let start = plan.start(port.buffer, count).1;
        ports::fetch(port, &memory[start..][..plan.bytes(port.buffer, count)], result);
    }
}
