//! Shares of a batch that are computed at a time: each by threads of its own, in groups of images whose values fit a
//! cache, to the sums that its images have one after the other. A thread that has a share to itself waits for nobody.

use super::clock::{Clock, placed};
use super::ports::{self, Call};
use super::{Addresses, Code, Executor, PIECES, Region, too_large};
use crate::Result;
use crate::plan::{Launch, Plan};
use crate::shares::Shares;
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
    /// Runs some launches for several shares, at most as many as there are threads. With as many, each thread computes
    /// a share by itself; with fewer, all threads work on each launch.
    pub(super) fn beside(&mut self, turn: &Turn, lanes: &[Lane], call: &mut Call) -> Result<()> {
        let Turn { plan, total, .. } = turn;
        // The locks are never contended: one thread copies for a lane.
        let mut rooms: Vec<Mutex<&mut [u8]>> = Vec::new();
        if turn.feed || turn.fetch {
            let room = lanes.first().and_then(|lane| plan.room(lane.group));
            let room = room.ok_or_else(|| too_large(*total))?;
            rooms.extend(self.arena.bytes_mut().chunks_exact_mut(room.max(1)).map(Mutex::new));
        }
        let run = Run {
            turn,
            lanes,
            groups: lanes.iter().map(Lane::groups).max().unwrap_or(0),
            launches: placed(plan, turn.launches.clone()),
            rooms,
            call: Mutex::new(call),
            code: &*self.code,
            scratch: &self.scratch_args,
            clock: Clock::start(&mut self.profile),
        };
        if lanes.len() == self.threads.count() {
            let work = |worker: usize, _: usize, some: Range<usize>| some.for_each(|lane| run.alone(worker, lane));
            return self.threads.rounds(&[lanes.len()], 1, &work, &|_| ());
        }
        let stages: Vec<Stage> = turn.groups.clone().flat_map(|group| run.stages(group)).collect();
        let lengths: Vec<usize> = stages.iter().map(|stage| run.length(stage)).collect();
        let work = |worker: usize, round: usize, some: Range<usize>| run.part(worker, &stages[round], some);
        self.threads.rounds(&lengths, PIECES, &work, &|round| run.timed(&stages[round]))
    }
}

/// What all lanes do before they go on: with a group of images, some with one of the launches.
#[derive(Clone, Copy)]
enum Stage {
    Feed(usize),
    Clear(usize, usize),
    Launch(usize, usize),
    Fetch(usize),
}

/// What all threads share in a turn.
struct Run<'a, 'p, 'f> {
    turn: &'a Turn<'a>,
    lanes: &'a [Lane],
    /// Groups of the longest lane.
    groups: usize,
    /// Number, launch, and where its arguments start.
    launches: Vec<(usize, &'a Launch, usize)>,
    rooms: Vec<Mutex<&'a mut [u8]>>,
    call: Mutex<&'a mut Call<'p, 'f>>,
    code: &'a dyn Code,
    scratch: &'a Addresses,
    clock: Option<Clock<'a>>,
}

impl Run<'_, '_, '_> {
    fn stages(&self, group: usize) -> Vec<Stage> {
        let mut stages = Vec::new();
        stages.extend(self.turn.feed.then_some(Stage::Feed(group)));
        for i in 0..self.launches.len() {
            stages.extend((!self.clears(i).is_empty()).then_some(Stage::Clear(group, i)));
            stages.push(Stage::Launch(group, i));
        }
        stages.extend(self.turn.fetch.then_some(Stage::Fetch(group)));
        stages
    }

    /// Iterations of a stage: those of a launch of one lane after the other's, or one for each lane.
    fn length(&self, stage: &Stage) -> usize {
        match *stage {
            Stage::Launch(group, i) => (0..self.lanes.len()).map(|lane| self.iterations(lane, group, i)).sum(),
            _ => self.lanes.len(),
        }
    }

    /// Does some iterations of a stage.
    fn part(&self, worker: usize, stage: &Stage, some: Range<usize>) {
        match *stage {
            Stage::Feed(group) => some.for_each(|lane| self.feed(lane, group)),
            Stage::Clear(group, i) => some.for_each(|lane| self.clear(lane, group, i)),
            Stage::Fetch(group) => some.for_each(|lane| self.fetch(lane, group)),
            Stage::Launch(group, i) => {
                let mut begin = 0;
                for lane in 0..self.lanes.len() {
                    let end = begin + self.iterations(lane, group, i);
                    let part = some.start.clamp(begin, end) - begin..some.end.clamp(begin, end) - begin;
                    self.launch(worker, lane, group, i, part);
                    begin = end;
                }
            }
        }
    }

    /// All of a lane, by one thread.
    fn alone(&self, worker: usize, lane: usize) {
        let mut began = Instant::now();
        for group in self.turn.groups.clone() {
            if self.turn.feed {
                self.feed(lane, group);
            }
            for i in 0..self.launches.len() {
                self.clear(lane, group, i);
                self.launch(worker, lane, group, i, 0..self.iterations(lane, group, i));
                if let Some(clock) = &self.clock {
                    let now = Instant::now();
                    clock.add(self.launches[i].0, (now - began) / self.lanes.len() as u32);
                    began = now;
                }
            }
            if self.turn.fetch {
                self.fetch(lane, group);
            }
        }
    }

    /// Takes down the time of a stage that all threads are done with.
    fn timed(&self, stage: &Stage) {
        if let Some(clock) = &self.clock {
            clock.took(if let Stage::Launch(_, i) = stage { Some(self.launches[*i].0) } else { None });
        }
    }

    /// A lane's images of a group; it may have none.
    fn images(&self, lane: usize, group: usize) -> Range<usize> {
        self.lanes[lane].images_of(group, self.groups).unwrap_or(0..0)
    }

    fn region(&self, lane: usize, images: &Range<usize>) -> Region<'_> {
        let lane = &self.lanes[lane];
        let args = if images.len() == lane.group { &lane.args } else { &lane.rest };
        let vars = [images.len() as i64, images.start as i64, self.turn.total as i64];
        Region { code: self.code, vars, batch: images.len(), args, scratch: self.scratch }
    }

    /// The number of a launch among those behind the preparation, which are all that lanes run.
    fn number(&self, i: usize) -> usize {
        self.launches[i].0 - self.turn.plan.prepare.len()
    }

    /// The buffers that are zeros before a launch, for a lane's first images.
    fn clears(&self, i: usize) -> &[(usize, usize)] {
        let clears = &self.turn.shares.clears;
        let number = self.number(i);
        let begin = clears.partition_point(|clear| clear.0 < number);
        let end = clears.partition_point(|clear| clear.0 <= number);
        &clears[begin..end]
    }

    /// Iterations of a launch for a lane's images of a group.
    fn iterations(&self, lane: usize, group: usize, i: usize) -> usize {
        let (_, launch, _) = self.launches[i];
        let images = self.images(lane, group);
        let late = self.turn.shares.late.binary_search(&self.number(i)).is_ok();
        let ends = images.end == self.lanes[lane].images.end;
        if images.is_empty() || late && !ends { 0 } else { launch.iterations.count(images.len()) }
    }

    fn launch(&self, worker: usize, lane: usize, group: usize, i: usize, part: Range<usize>) {
        let (_, launch, at) = self.launches[i];
        self.region(lane, &self.images(lane, group)).run(worker, launch, at, part);
    }

    fn clear(&self, lane: usize, group: usize, i: usize) {
        let images = self.images(lane, group);
        if images.is_empty() || images.start != self.lanes[lane].images.start {
            return;
        }
        let (_, launch, at) = self.launches[i];
        for &(_, buffer) in self.clears(i) {
            self.region(lane, &images).clear(launch, at, buffer, self.turn.plan.bytes(buffer, 0));
        }
    }

    fn feed(&self, lane: usize, group: usize) {
        let images = self.images(lane, group);
        if !images.is_empty() {
            let mut memory = self.rooms[lane].lock().unwrap_or_else(PoisonError::into_inner);
            ports::feed_group(self.turn.plan, &self.call, &images, &mut memory);
        }
    }

    fn fetch(&self, lane: usize, group: usize) {
        let images = self.images(lane, group);
        if !images.is_empty() {
            let memory = self.rooms[lane].lock().unwrap_or_else(PoisonError::into_inner);
            ports::fetch_group(self.turn.plan, &self.call, images, &memory);
        }
    }
}
