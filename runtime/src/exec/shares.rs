//! A training step in shares of the batch: what the shares give of each sum is added up by the tree of `shares`, over
//! all ranks if there are several, before anything reads the sum.
//!
//! Where no value of an image depends on a sum, shares go through the launches one after the other, in memory for one
//! share. Else all images of this process are in memory, and launches that sum run once for each share. In the last
//! share a sum travels to the other ranks as soon as it is complete here, beside the launches that follow.

use super::gather::gather;
use super::lanes::{Lane, Turn};
use super::ports::{self, Call};
use super::tree::{self, Tree};
use super::{Addresses, Executor, too_large};
use crate::buffer::Buffer;
use crate::plan::{Home, Plan};
use crate::ranks::Pending;
use crate::shares::{self, Shares, Sum, images_of, of_rank};
use crate::{Error, Result};
use std::ops::Range;

/// Bytes of sums that travel together: fewer cost more for each message than for their bytes.
const BUNDLE: usize = 1 << 20;

/// What is computed by whom in a step.
struct Step<'a> {
    plan: &'a Plan,
    shares: &'a Shares,
    /// The shares of this process.
    own: Range<usize>,
    /// Images of the whole batch.
    batch: usize,
}

/// Sums on their way.
type Sent = Vec<(Range<usize>, Pending<Vec<u8>>)>;

impl Executor {
    /// Makes a training step.
    pub(super) fn run_shares(&mut self, plan: &Plan, shares: &Shares, call: &mut Call, batch: usize) -> Result<()> {
        let (rank, ranks) = self.ranks.as_ref().map_or((0, 1), |ranks| (ranks.rank(), ranks.count()));
        let own = of_rank(shares::count(batch), rank, ranks);
        self.trees.resize_with(shares.sums.len(), Tree::default);
        self.trees.iter_mut().for_each(Tree::clear);
        let step = Step { plan, shares, own, batch };
        if shares.whole {
            self.launch_by_launch(&step, call)?
        } else {
            self.share_by_share(&step, call)?
        }
        self.stale = false;
        for (port, result) in call.results(0..0).filter(|(port, _)| !port.batched) {
            ports::fetch(port, self.memory(plan, port, 1), result);
        }
        self.ranks.as_ref().map_or(Ok(()), |ranks| gather(ranks, call, batch))
    }

    /// All launches for as many shares as there are threads, then for the next.
    fn share_by_share(&mut self, step: &Step, call: &mut Call) -> Result<()> {
        let Step { plan, shares, own, batch } = step;
        let (before, finish, sums) = (plan.prepare.len(), plan.prepare.len() + plan.finish, shares.sums.len());
        let mut sent = Sent::new();
        let abreast = self.threads.count().min(own.len()).max(1);
        let (group, room) = group(plan, *batch)?;
        self.enlarge(room.checked_mul(abreast).ok_or_else(|| too_large(*batch))?)?;
        self.reserve(plan, group)?;
        self.together(plan, 0..before, 0..0, *batch)?;
        if own.is_empty() {
            self.feed(plan, call, 0..0)?;
            for bundle in together(plan, &shares.sums) {
                self.send(step, bundle, &mut sent)?;
            }
        }
        for first in own.clone().step_by(abreast) {
            let lanes = self.lanes(step, first..own.end.min(first + abreast), (group, room));
            let groups = lanes.iter().map(Lane::groups).max().unwrap_or(0);
            let turn = |launches: Range<usize>, groups: Range<usize>| Turn {
                plan,
                shares,
                feed: launches.start == before,
                fetch: launches.end == finish,
                launches,
                groups,
                total: *batch,
            };
            if first + lanes.len() == own.end && self.ranks.is_some() {
                self.beside(&turn(before..finish, 0..groups - 1), &lanes, call)?;
                let mut from = before;
                for bundle in together(plan, &shares.sums) {
                    let end = before + shares.sums[bundle.end - 1].last + 1;
                    self.beside(&turn(from..end, groups - 1..groups), &lanes, call)?;
                    from = end;
                    self.push(step, bundle.clone(), first, &lanes)?;
                    self.send(step, bundle, &mut sent)?;
                }
                self.beside(&turn(from..finish, groups - 1..groups), &lanes, call)?;
            } else {
                self.beside(&turn(before..finish, 0..groups), &lanes, call)?;
                self.push(step, 0..sums, first, &lanes)?;
            }
        }
        self.complete(step, 0..sums, &mut sent)?;
        self.together(plan, finish..before + plan.launches.len(), 0..*batch, *batch)
    }

    /// Bytes of the arena for a batch in shares.
    pub(super) fn shares_bytes(&self, plan: &Plan, batch: usize) -> Option<usize> {
        plan.shares.as_ref().filter(|shares| !shares.whole)?;
        Some(group(plan, batch).ok()?.1 * self.threads.count().min(shares::count(batch)))
    }

    /// The next shares, each with its place.
    fn lanes(&mut self, step: &Step, shares: Range<usize>, (group, room): (usize, usize)) -> Vec<Lane> {
        let (persistent, arena) = (self.persistent.bytes_mut().as_mut_ptr(), self.arena.bytes_mut().as_mut_ptr());
        let lane = |(i, share): (usize, usize)| {
            let (images, offset) = (images_of(share..share + 1, step.batch), i * room);
            let args = |images| super::arguments(step.plan, images, 0, persistent, arena.wrapping_add(offset));
            let rest = args(images.len() - (images.len() - 1) / group * group);
            Lane { images, group, offset, args: args(group), rest }
        };
        shares.enumerate().map(lane).collect()
    }

    /// Each launch for all images of this process, then the next; those that sum for one share after the other.
    fn launch_by_launch(&mut self, step: &Step, call: &mut Call) -> Result<()> {
        let Step { plan, shares, own, batch } = step;
        let (before, launches) = (plan.prepare.len(), plan.launches.len());
        let images = images_of(own.clone(), *batch);
        let abreast = self.threads.count().min(own.len()).max(1);
        let room = plan.room(images.len().max(1)).and_then(|room| room.checked_add((abreast - 1) * plan.fixed_bytes));
        self.enlarge(room.ok_or_else(|| too_large(*batch))?)?;
        self.reserve(plan, images.len().max(1))?;
        self.feed(plan, call, images.clone())?;
        let lanes: Vec<Lane> =
            own.clone().map(|share| self.within(step, &images, share, (share - own.start) % abreast)).collect();
        let mut sent = Sent::new();
        // Sums that are not complete yet.
        let mut open = 0..0;
        let mut from = 0;
        for at in 0..=launches {
            let sum = shares.sums.get(open.end).filter(|sum| sum.begin == at);
            let end = sum.map_or(at, |sum| sum.last);
            let waits = at == launches
                || plan.launches[at..=end]
                    .iter()
                    .any(|launch| shares.sums[open.clone()].iter().any(|sum| launch.buffers.contains(&sum.buffer)));
            if sum.is_none() && !waits || before + at < from {
                continue;
            }
            self.together(plan, from..before + at, images.clone(), *batch)?;
            from = before + at;
            if waits {
                self.complete(step, open.clone(), &mut sent)?;
                open.start = open.end;
            }
            if let Some(sum) = sum {
                let apart = sum.own.iter().all(|&buffer| plan.start(buffer, 0).0 == Home::Arena);
                let most = if apart { abreast } else { 1 };
                for (i, lanes) in lanes.chunks(most).enumerate() {
                    let launches = from..before + end + 1;
                    let turn = Turn { plan, shares, launches, groups: 0..1, total: *batch, feed: false, fetch: false };
                    self.beside(&turn, lanes, call)?;
                    self.push(step, open.end..open.end + 1, own.start + i * most, lanes)?;
                }
                if self.ranks.is_some() {
                    self.send(step, open.end..open.end + 1, &mut sent)?;
                }
                open.end += 1;
                from = before + end + 1;
            }
        }
        for (port, result) in call.results(images.clone()).filter(|(port, _)| port.batched) {
            ports::fetch(port, self.memory(plan, port, images.len()), result);
        }
        Ok(())
    }

    /// Copies these images, and what all images share, to their places.
    fn feed(&mut self, plan: &Plan, call: &Call, images: Range<usize>) -> Result<()> {
        for (port, feed) in call.feeds(images.clone()) {
            let threads = self.threads.clone();
            ports::feed_images(&threads, port, feed, self.memory_mut(plan, port, images.len()))?;
        }
        Ok(())
    }

    /// Where the launches find a share with all images of this process in memory. What launches of a sum write for all
    /// images lies behind the rest, for each lane but the first.
    fn within(&mut self, step: &Step, images: &Range<usize>, share: usize, lane: usize) -> Lane {
        let Step { plan, shares, batch, .. } = step;
        let (persistent, arena) = (self.persistent.bytes_mut().as_mut_ptr(), self.arena.bytes_mut().as_mut_ptr());
        let own = images_of(share..share + 1, *batch);
        let count = images.len().max(1);
        let offset = if lane == 0 { 0 } else { plan.room(count).unwrap_or(0) + (lane - 1) * plan.fixed_bytes };
        let mut args = super::arguments(plan, count, own.start - images.start, persistent, arena).0;
        let mut at: usize = plan.prepare.iter().map(|launch| launch.buffers.len()).sum();
        for (i, launch) in plan.launches.iter().enumerate() {
            let sum = shares.sums.iter().find(|sum| (sum.begin..=sum.last).contains(&i));
            for &buffer in &launch.buffers {
                if sum.is_some_and(|sum| sum.own.contains(&buffer)) && plan.start(buffer, 0).0 == Home::Arena {
                    args[at] = args[at].wrapping_add(offset);
                }
                at += 1;
            }
        }
        let group = shares::images(*batch);
        Lane { images: own, group, offset, rest: Addresses(args.clone()), args: Addresses(args) }
    }

    /// Adds what shares from `first` on gave of these sums to the trees.
    fn push(&mut self, step: &Step, sums: Range<usize>, first: usize, lanes: &[Lane]) -> Result<()> {
        let (persistent, arena) = (&self.persistent, &self.arena);
        let mut work = Vec::new();
        for (sum, tree) in step.shares.sums[sums.clone()].iter().zip(&mut self.trees[sums]) {
            let (home, place) = place(step.plan, sum.buffer);
            let value = |lane: &Lane| match home {
                Home::Persistent => &persistent.bytes()[place.clone()],
                Home::Arena => &arena.bytes()[lane.offset..][place.clone()],
            };
            tree.push(first, lanes.iter().map(value).collect(), &mut work)?;
        }
        tree::carry_out(&self.threads, work)
    }

    /// Sends what this process has of these sums to the other ranks.
    fn send(&mut self, step: &Step, sums: Range<usize>, sent: &mut Sent) -> Result<()> {
        let Some(ranks) = &self.ranks else { return Ok(()) };
        let trees = &self.trees[sums.clone()];
        let depth = trees.first().map_or(0, Tree::depth);
        let node = |i: usize| trees.iter().map(|tree| tree.bytes(i)).collect();
        let nodes: Vec<Vec<&[u8]>> = (0..depth).map(node).collect();
        let length = step.shares.sums[sums.clone()].iter().map(|sum| place(step.plan, sum.buffer).1.len()).sum();
        sent.push((sums, ranks.sum(&nodes, length, shares::count(step.batch))));
        Ok(())
    }

    /// Brings these sums, complete, to where the launches look for them.
    fn complete(&mut self, step: &Step, sums: Range<usize>, sent: &mut Sent) -> Result<()> {
        if let Some(ranks) = self.ranks.clone() {
            for (sums, pending) in sent.drain(..) {
                let all = pending.wait()?;
                let mut rest = &all[..];
                for sum in &step.shares.sums[sums] {
                    let (home, place) = place(step.plan, sum.buffer);
                    let (value, others) = rest.split_at(place.len());
                    self.bytes_mut(home)[place].copy_from_slice(value);
                    rest = others;
                }
                ranks.done(all);
            }
            return Ok(());
        }
        let mut work = Vec::new();
        let mut places: Vec<_> = sums.map(|i| (place(step.plan, step.shares.sums[i].buffer), i)).collect();
        places.sort_by_key(|((home, place), _)| (*home == Home::Arena, place.start));
        let mut memories = [(self.persistent.bytes_mut(), 0), (self.arena.bytes_mut(), 0)];
        for ((home, place), i) in places {
            let (rest, begin) = &mut memories[usize::from(home == Home::Arena)];
            let whole = std::mem::take(rest);
            let skipped = place.start.checked_sub(*begin);
            let skipped = skipped.ok_or_else(|| Error::new(format!("plan {}: sums overlap", step.plan.name)))?;
            let (to, others) = whole[skipped..].split_at_mut(place.len());
            (*rest, *begin) = (others, place.end);
            self.trees[i].end(to, &mut work);
        }
        tree::carry_out(&self.threads, work)
    }

    fn bytes_mut(&mut self, home: Home) -> &mut [u8] {
        let memory: &mut Buffer = if home == Home::Persistent { &mut self.persistent } else { &mut self.arena };
        memory.bytes_mut()
    }
}

/// Images of a group in a share, and the bytes that they need.
fn group(plan: &Plan, batch: usize) -> Result<(usize, usize)> {
    let group = plan.group_of(batch);
    Ok((group, plan.room(group).ok_or_else(|| too_large(batch))?))
}

/// Where a value that all images share lies.
fn place(plan: &Plan, buffer: usize) -> (Home, Range<usize>) {
    let (home, start) = plan.start(buffer, 0);
    (home, start..start + plan.bytes(buffer, 0))
}

/// Returns the bytes of the sums that travel together, in the order in which they do.
pub fn bundles(plan: &Plan) -> Vec<usize> {
    let Some(Shares { whole, sums, .. }) = &plan.shares else { return vec![] };
    let bytes = |i: usize| place(plan, sums[i].buffer).1.len();
    match whole {
        true => (0..sums.len()).map(bytes).collect(),
        false => together(plan, sums).into_iter().map(|bundle| bundle.map(bytes).sum()).collect(),
    }
}

/// Sums that travel together.
fn together(plan: &Plan, sums: &[Sum]) -> Vec<Range<usize>> {
    let mut bundles: Vec<Range<usize>> = Vec::new();
    let mut bytes = BUNDLE;
    for (i, sum) in sums.iter().enumerate() {
        match bundles.last_mut() {
            Some(bundle) if bytes < BUNDLE => bundle.end = i + 1,
            _ => {
                bundles.push(i..i + 1);
                bytes = 0;
            }
        }
        bytes += place(plan, sum.buffer).1.len();
    }
    bundles
}
