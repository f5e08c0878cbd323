//! Where a program's values lie in a page's memory. What only the preparation of weights needs makes room for what is
//! needed later: memory costs a browser time where it is touched first, more than the work on it.

use crate::kernel::ir::{Access, EntityRef, KernelId, Module};
use crate::plan::{Lifetime, assign};
use ninc_runtime::plan::{Home, Launch, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// The launches of one image, and addresses.
pub struct Layout<'a> {
    plan: &'a Plan,
    /// Preparations whose results a run reads.
    pub prepare: Vec<&'a Launch>,
    /// Addresses of what outlives a run, by buffer; what nothing needs has none.
    kept: BTreeMap<usize, usize>,
    /// Start of the arena.
    arena: usize,
    /// Scratch memory of preparations and of runs: the first thread's start, and bytes from one thread's to the next
    /// one's.
    pub scratch: [[usize; 2]; 2],
    /// Bytes in all.
    pub bytes: usize,
}

/// What gets a place.
#[derive(Clone, Copy)]
enum Part {
    Kept(usize),
    Arena,
    Scratch(usize),
}

impl<'a> Layout<'a> {
    /// Places what the plan of one image needs from the address `start` on, for up to this many threads.
    pub fn new(plan: &'a Plan, module: &Module, start: usize, threads: usize) -> Layout<'a> {
        let prepare = needed(plan, module);
        // Preparations have the times 0 to `runs` - 1, all runs the last one.
        let runs = prepare.len();
        let mut lives: BTreeMap<usize, Lifetime> = BTreeMap::new();
        let mut used = |buffer: usize, at: usize| {
            if matches!(plan.start(buffer, 1).0, Home::Persistent) {
                let life = lives.entry(buffer).or_insert(Lifetime { first: at, last: at });
                life.last = life.last.max(at);
            }
        };
        let times = prepare.iter().copied().zip(0..).chain(plan.launches.iter().map(|launch| (launch, runs)));
        times.for_each(|(launch, at)| launch.buffers.iter().for_each(|&buffer| used(buffer, at)));
        plan.inputs.iter().chain(&plan.outputs).for_each(|port| used(port.buffer, runs));
        // Parameters are there from the start.
        for port in &plan.params {
            lives.entry(port.buffer).and_modify(|life| life.first = 0);
        }
        let scratch = |launches: &mut dyn Iterator<Item = &Launch>| {
            let bytes = launches.map(|launch| plan.kernels[launch.kernel].scratch_bytes);
            bytes.max().unwrap_or(0).next_multiple_of(64)
        };
        let scratch = [scratch(&mut prepare.iter().copied()), scratch(&mut plan.launches.iter())];
        let run = Lifetime { first: runs, last: runs };
        let before = Lifetime { first: 0, last: runs.saturating_sub(1) };
        let mut parts: Vec<_> =
            lives.iter().map(|(&buffer, &life)| (Part::Kept(buffer), plan.bytes(buffer, 1), life)).collect();
        parts.push((Part::Arena, plan.fixed_bytes + plan.image_bytes, run));
        parts
            .extend([before, run].into_iter().zip(0..).map(|(life, i)| (Part::Scratch(i), scratch[i] * threads, life)));
        parts.iter_mut().for_each(|(_, bytes, _)| *bytes = bytes.next_multiple_of(64));
        let mut layout =
            Layout { plan, prepare, kept: BTreeMap::new(), arena: 0, scratch: scratch.map(|s| [0, s]), bytes: 0 };
        layout.bytes = assign(&parts, |part, offset| match part {
            Part::Kept(buffer) => _ = layout.kept.insert(buffer, start + offset),
            Part::Arena => layout.arena = start + offset,
            Part::Scratch(i) => layout.scratch[i][0] = start + offset,
        });
        layout
    }

    /// Returns a buffer's address; `None` for one that nothing needs.
    pub fn address(&self, buffer: usize) -> Option<usize> {
        match self.plan.start(buffer, 1) {
            (Home::Persistent, _) => self.kept.get(&buffer).copied(),
            (Home::Arena, offset) => Some(self.arena + offset),
        }
    }
}

/// The preparations whose results the launches of this plan read, at once or through others: those of a larger batch
/// may want weights in other forms.
fn needed<'a>(plan: &'a Plan, module: &Module) -> Vec<&'a Launch> {
    let mut wanted: BTreeSet<usize> = plan.launches.iter().flat_map(|launch| launch.buffers.iter().copied()).collect();
    wanted.extend(plan.outputs.iter().map(|port| port.buffer));
    let mut found = Vec::new();
    for launch in plan.prepare.iter().rev() {
        let buffers = module.kernels[KernelId::new(launch.kernel)].buffers.values().zip(&launch.buffers);
        if buffers.into_iter().any(|(param, buffer)| param.access != Access::Read && wanted.contains(buffer)) {
            wanted.extend(&launch.buffers);
            found.push(launch);
        }
    }
    found.reverse();
    found
}
