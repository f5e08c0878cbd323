//! A training step in shares of the batch: what the shares give of each sum is added up by the tree of `shares`, over
//! all ranks if there are several, before anything reads the sum.
//!
//! Where no value of an image depends on a sum, shares go through the launches one after the other, in memory for one
//! share. Else all images of this process are in memory, and launches that sum run once for each share. In the last
//! share a sum travels to the other ranks as soon as it is complete here, beside the launches that follow.

use super::ports::{self, Call};
use super::tree::{self, Tree};
use super::{Addresses, Executor};
use crate::buffer::Buffer;
use crate::plan::{Home, Plan};
use crate::ranks::{Partial, Pending};
use crate::shares::{self, Node, Shares, Sum, images_of, of_rank};
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
        self.gather(call, batch)
    }

    /// All launches for one share, then for the next.
    fn share_by_share(&mut self, step: &Step, call: &mut Call) -> Result<()> {
        let Step { plan, shares, own, batch } = step;
        let (before, sums) = (plan.prepare.len(), shares.sums.len());
        let mut sent = Sent::new();
        if own.is_empty() {
            self.feed(step, call, 0..0)?;
            self.together(plan, 0..before, 0..0, *batch)?;
            for bundle in together(plan, &shares.sums) {
                self.send(step, bundle, &mut sent)?;
            }
        }
        for share in own.clone() {
            let images = images_of(share..share + 1, *batch);
            self.feed(step, call, images.clone())?;
            let mut from = if share == own.start { 0 } else { before };
            if share + 1 == own.end && self.ranks.is_some() {
                for bundle in together(plan, &shares.sums) {
                    let end = before + shares.sums[bundle.end - 1].last + 1;
                    self.together(plan, from..end, images.clone(), *batch)?;
                    from = end;
                    self.push(step, bundle.clone(), share)?;
                    self.send(step, bundle, &mut sent)?;
                }
                self.together(plan, from..before + plan.finish, images.clone(), *batch)?;
            } else {
                self.together(plan, from..before + plan.finish, images.clone(), *batch)?;
                self.push(step, 0..sums, share)?;
            }
            for (port, result) in call.results(images.clone()).filter(|(port, _)| port.batched) {
                ports::fetch(port, self.memory(plan, port, images.len()), result);
            }
        }
        self.complete(step, 0..sums, &mut sent)?;
        self.together(plan, before + plan.finish..before + plan.launches.len(), 0..*batch, *batch)
    }

    /// Each launch for all images of this process, then the next; those that sum for one share after the other.
    fn launch_by_launch(&mut self, step: &Step, call: &mut Call) -> Result<()> {
        let Step { plan, shares, own, batch } = step;
        let (before, launches) = (plan.prepare.len(), plan.launches.len());
        let images = images_of(own.clone(), *batch);
        self.feed(step, call, images.clone())?;
        let places: Vec<Addresses> = own.clone().map(|share| self.places(step, &images, share)).collect();
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
            if sum.is_some() {
                for (share, places) in own.clone().zip(&places) {
                    let images = images_of(share..share + 1, *batch);
                    self.together_at(Some(places), plan, from..before + end + 1, images, *batch)?;
                    self.push(step, open.end..open.end + 1, share)?;
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

    /// Makes room for these images and copies them, and what all images share, to their places.
    fn feed(&mut self, step: &Step, call: &Call, images: Range<usize>) -> Result<()> {
        self.reserve(step.plan, images.len().max(1))?;
        for (port, feed) in call.feeds(images.clone()) {
            let threads = self.threads.clone();
            ports::feed_images(&threads, port, feed, self.memory_mut(step.plan, port, images.len()))?;
        }
        Ok(())
    }

    /// Where the launches find a share, with all images of this process in memory.
    fn places(&mut self, step: &Step, images: &Range<usize>, share: usize) -> Addresses {
        let first = images_of(share..share + 1, step.batch).start - images.start;
        let (persistent, arena) = (self.persistent.bytes_mut(), self.arena.bytes_mut());
        super::arguments(step.plan, images.len().max(1), first, persistent.as_mut_ptr(), arena.as_mut_ptr())
    }

    /// Adds what a share gave of these sums to the trees.
    fn push(&mut self, step: &Step, sums: Range<usize>, share: usize) -> Result<()> {
        let (persistent, arena, node) = (&self.persistent, &self.arena, Node { level: 0, number: share });
        let mut work = Vec::new();
        for (sum, tree) in step.shares.sums[sums.clone()].iter().zip(&mut self.trees[sums]) {
            let (home, place) = place(step.plan, sum.buffer);
            let memory = if home == Home::Persistent { persistent } else { arena };
            tree.push(node, &memory.bytes()[place], &mut work)?;
        }
        tree::carry_out(&self.threads, work)
    }

    /// Sends what this process has of these sums to the other ranks.
    fn send(&mut self, step: &Step, sums: Range<usize>, sent: &mut Sent) -> Result<()> {
        let Some(ranks) = &self.ranks else { return Ok(()) };
        let trees = &self.trees[sums.clone()];
        let depth = trees.first().map_or(0, Tree::depth);
        let node = |i: usize| trees.iter().flat_map(|tree| tree.bytes(i)).copied().collect();
        let length = step.shares.sums[sums.clone()].iter().map(|sum| place(step.plan, sum.buffer).1.len()).sum();
        let partial = Partial { nodes: (0..depth).map(node).collect(), length, shares: shares::count(step.batch) };
        sent.push((sums, ranks.sum(partial)));
        Ok(())
    }

    /// Brings these sums, complete, to where the launches look for them.
    fn complete(&mut self, step: &Step, sums: Range<usize>, sent: &mut Sent) -> Result<()> {
        if self.ranks.is_some() {
            for (sums, pending) in sent.drain(..) {
                let all = pending.wait()?;
                let mut rest = &all[..];
                for sum in &step.shares.sums[sums] {
                    let (home, place) = place(step.plan, sum.buffer);
                    let (value, others) = rest.split_at(place.len());
                    self.bytes_mut(home)[place].copy_from_slice(value);
                    rest = others;
                }
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

    /// Gets the other ranks' results for their images, and what they have to say.
    fn gather(&mut self, call: &mut Call, batch: usize) -> Result<()> {
        let Some(ranks) = self.ranks.clone() else { return Ok(()) };
        let images = |rank: usize| images_of(of_rank(shares::count(batch), rank, ranks.count()), batch);
        let flags = ranks.take_raised();
        let mut own = flags.to_ne_bytes().to_vec();
        for (_, values) in call.results(images(ranks.rank())).filter(|(port, _)| port.batched) {
            own.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
        }
        let each: usize = call.results(0..1).filter(|(port, _)| port.batched).map(|(_, values)| 4 * values.len()).sum();
        let counts = (0..ranks.count()).map(|rank| 4 + each * images(rank).len()).collect();
        let all = ranks.gather(own, counts).wait()?;
        let mut numbers = all.as_chunks::<4>().0.iter();
        let mut heard = 0;
        for rank in 0..ranks.count() {
            heard |= numbers.next().map_or(0, |flags| u32::from_ne_bytes(*flags));
            for (_, values) in call.results(images(rank)).filter(|(port, _)| port.batched) {
                values.iter_mut().zip(&mut numbers).for_each(|(value, bytes)| *value = f32::from_ne_bytes(*bytes));
            }
        }
        ranks.hear(heard);
        Ok(())
    }
}

/// Where a value that all images share lies.
fn place(plan: &Plan, buffer: usize) -> (Home, Range<usize>) {
    let (home, start) = plan.start(buffer, 0);
    (home, start..start + plan.bytes(buffer, 0))
}

/// Returns the bytes of the sums that travel together, in the order in which they do.
pub fn bundles(plan: &Plan) -> Vec<usize> {
    let Some(Shares { whole, sums }) = &plan.shares else { return vec![] };
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
