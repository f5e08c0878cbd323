//! Inference on a large batch: each thread runs whole groups of images by itself, without waiting for others, and takes
//! the next group as soon as it is free. So a thread that has its core for half of the time does half as much, and
//! nobody waits for it but at the end. An image's numbers do not depend on its group.

use super::clock::{Clock, placed};
use super::ports::{self, Call};
use super::{Addresses, Executor, Region, too_large};
use crate::Result;
use crate::plan::{Home, Launch, Plan, Port};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Groups that each thread takes, about: a thread that is held up does fewer.
const TURNS: usize = 8;
/// Images of a group that share what its launches read of the weights, where the batch has as many for each thread.
const IMAGES: usize = 4;

/// Images that are handed out in their order.
struct Queue {
    next: AtomicUsize,
    batch: usize,
    /// Images of a group at most.
    most: usize,
    threads: usize,
}

impl Queue {
    /// The next group: smaller towards the end.
    fn take(&self) -> Option<Range<usize>> {
        let group = |first: usize| {
            let rest = self.batch - first;
            (rest > 0)
                .then(|| first + rest.div_ceil(2 * self.threads).clamp(self.most.div_ceil(2), self.most).min(rest))
        };
        let first = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, group).ok()?;
        group(first).map(|end| first..end)
    }
}

/// What all threads share in a run.
struct Run<'a, 'p, 'f> {
    plan: &'a Plan,
    launches: Vec<(usize, &'a Launch, usize)>,
    queue: Queue,
    call: Mutex<&'a mut Call<'p, 'f>>,
    clock: Option<Clock<'a>>,
}

impl Executor {
    /// Images of a group at most, where threads run groups by themselves: at inference, on batches that give each
    /// thread some.
    pub(super) fn apart(&self, plan: &Plan, batch: usize) -> Option<usize> {
        let threads = self.threads.count();
        let group = plan.group?;
        let arena = |port: &Port| plan.start(port.buffer, 1).0 == Home::Arena;
        let alone = !plan.prepare_each_run
            && plan.accumulates.is_empty()
            && plan.finish == plan.launches.len()
            && plan.inputs.iter().all(arena)
            && plan.outputs.iter().all(|port| port.batched && arena(port));
        let images = (batch / (TURNS * threads)).max(IMAGES).min(batch.div_ceil(threads));
        (alone && threads > 1 && batch >= 2 * threads).then(|| images.min(group / threads).max(1))
    }

    /// Runs all images; the values of parameters are prepared.
    pub(super) fn run_apart(&mut self, plan: &Plan, call: &mut Call, batch: usize, most: usize) -> Result<()> {
        let threads = self.threads.count();
        let room = plan.room(most).ok_or_else(|| too_large(batch))?;
        self.enlarge(room.checked_mul(threads).ok_or_else(|| too_large(batch))?)?;
        let (persistent, arena) = (&mut self.persistent, &mut self.arena);
        let persistent = Addresses(vec![persistent.bytes_mut().as_mut_ptr()]);
        // The locks are never contended.
        let rooms: Vec<Mutex<&mut [u8]>> = arena.bytes_mut().chunks_exact_mut(room.max(1)).map(Mutex::new).collect();
        let before = plan.prepare.len();
        let run = Run {
            plan,
            launches: placed(plan, before..before + plan.launches.len()),
            queue: Queue { next: AtomicUsize::new(0), batch, most, threads },
            call: Mutex::new(call),
            clock: Clock::start(&mut self.profile),
        };
        let (code, scratch) = (&*self.code, &self.scratch_args);
        self.threads.run(&|worker| {
            let mut memory = rooms[worker.index()].lock().unwrap_or_else(PoisonError::into_inner);
            let mut args = Addresses(vec![]);
            let mut images = 0;
            while let Some(group) = run.queue.take() {
                if group.len() != images {
                    images = group.len();
                    args = super::arguments(plan, images, 0, persistent.get(0), memory.as_mut_ptr());
                }
                ports::feed_group(run.plan, &run.call, &group, &mut memory);
                let vars = [images as i64, group.start as i64, batch as i64];
                run.launches(&Region { code, vars, batch: images, args: &args, scratch }, worker.index());
                ports::fetch_group(run.plan, &run.call, group, &memory);
            }
        })
    }
}

impl Run<'_, '_, '_> {
    /// Runs all launches for a group.
    fn launches(&self, region: &Region, worker: usize) {
        let mut begin = self.clock.as_ref().map(|_| Instant::now());
        for (number, launch, at) in &self.launches {
            region.run(worker, launch, *at, 0..launch.iterations.count(region.batch));
            if let (Some(clock), Some(begin)) = (&self.clock, &mut begin) {
                let now = Instant::now();
                clock.add(*number, (now - *begin) / self.queue.threads as u32);
                *begin = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_handed_out_once_in_groups_that_get_smaller() {
        for (batch, most, threads) in [(128, 16, 2), (9, 1, 2), (1000, 7, 3), (5, 100, 1)] {
            let queue = Queue { next: AtomicUsize::new(0), batch, most, threads };
            let groups: Vec<Range<usize>> = std::iter::from_fn(|| queue.take()).collect();
            assert!(groups.iter().flat_map(Range::clone).eq(0..batch));
            assert!(groups.windows(2).all(|pair| pair[0].len() >= pair[1].len()));
            assert!(groups.iter().all(|group| (1..=most).contains(&group.len())));
        }
    }
}
