//! Runs a plan on the processor's cores.
//!
//! One of the named places of `unsafe`: the calls into compiled code, with pointers into memory that the executor owns.

use crate::buffer::Buffer;
use crate::plan::{Home, Launch, Plan, Port};
use crate::ranks::Ranks;
use crate::threads::Pool;
use crate::{Engine, Error, Feed, Result, Tensor};
use clock::{Clock, placed};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tree::Tree;

mod apart;
mod clock;
pub(crate) mod gather;
mod lanes;
pub(crate) mod ports;
mod shares;
mod tree;

pub use shares::bundles;

/// Images whose launches are short.
const FEW: usize = 8;
/// Pieces of a thread's part of a launch.
const PIECES: usize = 4;

/// Compiled kernels, by index.
pub trait Code: Send + Sync {
    /// Runs iterations `begin..end` of a kernel's parallel loop.
    ///
    /// # Safety
    /// `buffers` points to one pointer for each buffer of the kernel, to memory as large as the plan says for the batch
    /// in `vars` (batch, first, total); `scratch` to the plan's scratch bytes of this kernel, for this thread alone. No
    /// other thread runs the same iterations, or another launch on the same memory, at the same time.
    #[allow(unsafe_code)]
    unsafe fn call(
        &self,
        kernel: usize,
        buffers: *const *mut u8,
        vars: *const i64,
        begin: i64,
        end: i64,
        scratch: *mut u8,
    );
}

/// Addresses in the executor's memory.
#[derive(Default)]
struct Addresses(Vec<*mut u8>);

// SAFETY: they point into buffers that the executor owns and that do not move while it runs; who writes where is
// decided by the plan, whose launches are rounds that follow each other.
#[allow(unsafe_code)]
unsafe impl Send for Addresses {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Addresses {}

impl Addresses {
    fn get(&self, i: usize) -> *mut u8 {
        self.0[i]
    }
}

/// A plan with its code, its memory and its threads.
pub struct Executor {
    plan: Arc<Plan>,
    /// Images of the last run, which decide the plan that the arguments and the profile belong to.
    batch: usize,
    code: Arc<dyn Code>,
    threads: Arc<Pool>,
    persistent: Buffer,
    arena: Buffer,
    /// A thread's own memory, for each thread.
    scratch: Vec<Buffer>,
    /// Parameters were written since the last preparation.
    stale: bool,
    /// Pointers of the launches' buffers, `prepare` first, one launch after the other.
    args: Addresses,
    scratch_args: Addresses,
    profile: Option<Vec<Duration>>,
    /// In a step in shares: what waits of each of its sums.
    trees: Vec<Tree>,
    /// The processes that share each batch.
    ranks: Option<Arc<Ranks>>,
}

impl Executor {
    /// `code` must be that of the module that the plan was made with.
    pub fn new(plan: Arc<Plan>, code: Arc<dyn Code>, threads: Arc<Pool>) -> Result<Executor> {
        ports::check(&plan)?;
        if let Some((_, small)) = &plan.small_batch {
            let outlive = |p: &Plan| (p.persistent_bytes, p.prepare.clone(), p.kernels.clone(), p.params.clone());
            if outlive(small) != outlive(&plan) {
                return Err(Error::new(format!("plan {}: the one for small batches is another program's", plan.name)));
            }
            ports::check(small)?;
        }
        let most = plan.kernels.iter().map(|k| k.scratch_bytes).max().unwrap_or(0);
        let mut scratch = Vec::new();
        for _ in 0..threads.count() {
            scratch.push(Buffer::zeroed(most)?);
        }
        let scratch_args = Addresses(scratch.iter_mut().map(|b| b.bytes_mut().as_mut_ptr()).collect());
        Ok(Executor {
            persistent: Buffer::zeroed(plan.persistent_bytes)?,
            arena: Buffer::default(),
            scratch,
            stale: true,
            args: Addresses::default(),
            scratch_args,
            profile: None,
            trees: vec![],
            ranks: None,
            plan,
            batch: 0,
            code,
            threads,
        })
    }

    /// Makes room for a run of `images` images (a group's, if the plan has groups) and points the launches' arguments
    /// to it.
    fn reserve(&mut self, plan: &Plan, images: usize) -> Result<()> {
        let bytes = plan.room(images).ok_or_else(|| too_large(images))?;
        self.enlarge(bytes)?;
        let persistent = self.persistent.bytes_mut().as_mut_ptr();
        self.args = arguments(plan, images, 0, persistent, self.arena.bytes_mut().as_mut_ptr());
        Ok(())
    }

    /// Computes one rank's part of each batch from now on, where a step goes in shares.
    pub fn join(&mut self, ranks: Option<Arc<Ranks>>) {
        self.ranks = ranks;
    }

    /// Makes the arena as large as this.
    fn enlarge(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.arena.len() {
            // The old one goes first: both may not fit.
            self.arena = Buffer::default();
            self.arena = Buffer::zeroed(bytes)?;
        }
        Ok(())
    }

    /// Runs the launches (after the preparations, if they are due) for these images of `total`, each by all threads.
    fn launch(&mut self, plan: &Plan, prepare: bool, images: Range<usize>, total: usize) -> Result<()> {
        let last = if images.end == total { plan.launches.len() } else { plan.finish };
        let skip = if prepare { 0 } else { plan.prepare.len() };
        self.together(plan, skip..plan.prepare.len() + last, images, total)
    }

    /// Runs some of all launches, each by all threads.
    fn together(&mut self, plan: &Plan, launches: Range<usize>, images: Range<usize>, total: usize) -> Result<()> {
        let batch = images.len();
        let vars = [batch as i64, images.start as i64, total as i64];
        let some = placed(plan, launches);
        let lengths: Vec<usize> = some.iter().map(|(_, launch, _)| launch.iterations.count(batch)).collect();
        let clock = Clock::start(&mut self.profile);
        let region = Region { code: &*self.code, vars, batch, args: &self.args, scratch: &self.scratch_args };
        let work = |worker: usize, round: usize, iterations: Range<usize>| {
            let (_, launch, at) = some[round];
            region.run(worker, launch, at, iterations);
        };
        let after = |round: usize| clock.iter().for_each(|clock| clock.took(Some(some[round].0)));
        // Each piece is a call, which sets up matrix units: a few of them are a part of a single image's time.
        let pieces = if batch < FEW { 2 } else { PIECES };
        self.threads.rounds(&lengths, pieces, &work, &after)
    }
}

fn too_large(batch: usize) -> Error {
    Error::new(format!("a batch of {batch} is too large"))
}

/// Where all launches' buffers are with `images` images in memory, from image `first` on.
fn arguments(plan: &Plan, images: usize, first: usize, persistent: *mut u8, arena: *mut u8) -> Addresses {
    let place = |&buffer: &usize| match plan.start(buffer, images) {
        (Home::Persistent, offset) => persistent.wrapping_add(offset),
        (Home::Arena, offset) => arena.wrapping_add(offset + first * plan.buffers[buffer].per_image),
    };
    Addresses(plan.every_launch().flat_map(|launch| launch.buffers.iter().map(place)).collect())
}

/// What all workers of a parallel region share, or what one has to itself.
struct Region<'a> {
    code: &'a dyn Code,
    vars: [i64; 3],
    batch: usize,
    args: &'a Addresses,
    scratch: &'a Addresses,
}

impl Region<'_> {
    /// Runs iterations of a launch, whose arguments start at `at`, on the thread that is this worker.
    fn run(&self, worker: usize, launch: &Launch, at: usize, iterations: Range<usize>) {
        if iterations.is_empty() {
            return;
        }
        let args = &self.args.0[at..at + launch.buffers.len()];
        let scratch = self.scratch.get(worker);
        let (begin, end) = (iterations.start as i64, iterations.end as i64);
        // SAFETY: `arguments` are memory of the sizes in the plan for this batch; the scratch memory is this worker's
        // and as large as the largest kernel asks for; workers have different iterations, which the kernel's parallel
        // loop makes independent, and a launch is a round of its own; or they have different memory.
        #[allow(unsafe_code)]
        unsafe {
            self.code.call(launch.kernel, args.as_ptr(), self.vars.as_ptr(), begin, end, scratch)
        };
    }

    /// Sets a buffer of a launch, whose arguments start at `at`, to zeros.
    fn clear(&self, launch: &Launch, at: usize, buffer: usize, bytes: usize) {
        let Some(argument) = launch.buffers.iter().position(|other| *other == buffer) else { return };
        // SAFETY: as above: the place is as large as the plan says, and a share's own.
        #[allow(unsafe_code)]
        unsafe {
            self.args.get(at + argument).write_bytes(0, bytes);
        }
    }
}

impl Engine for Executor {
    fn inputs(&self) -> &[Port] {
        &self.plan.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.plan.outputs
    }

    fn params(&self) -> &[Port] {
        &self.plan.params
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        let port = ports::find(&self.plan.params, name, "parameter")?;
        let mut data = vec![0.0; port.elements()];
        ports::fetch(port, self.memory(&self.plan, port, 1), &mut data);
        Ok(Tensor { dims: port.dims.clone(), data })
    }

    fn write(&mut self, name: &str, value: &Tensor) -> Result<()> {
        let plan = self.plan.clone();
        let port = ports::find(&plan.params, name, "parameter")?;
        ports::parameter(port, value, self.memory_mut(&plan, port, 1))?;
        self.stale = true;
        Ok(())
    }

    fn release(&mut self) {
        self.arena = Buffer::default();
    }

    fn run(&mut self, batch: usize, inputs: &[(&str, Feed)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        let whole = self.plan.clone();
        let plan = whole.for_batch(batch);
        let mut call = ports::Call::new(plan, batch, inputs, outputs)?;
        self.batch = batch;
        if let Some(most) = self.apart(plan, batch) {
            if self.stale {
                self.reserve(plan, 1)?;
                self.together(plan, 0..plan.prepare.len(), 0..1, batch)?;
                self.stale = false;
            }
            self.run_apart(plan, &mut call, batch, most)?;
            return Ok(call.into_results());
        }
        if let Some(shares) = &plan.shares {
            self.run_shares(plan, shares, &mut call, batch)?;
            return Ok(call.into_results());
        }
        let group = plan.group_of(batch);
        self.reserve(plan, group)?;
        for first in (0..batch).step_by(group) {
            let images = first..batch.min(first + group);
            if images.len() != group {
                self.reserve(plan, images.len())?;
            }
            for (port, feed) in call.feeds(images.clone()) {
                let threads = self.threads.clone();
                ports::feed_images(&threads, port, feed, self.memory_mut(plan, port, images.len()))?;
            }
            let prepare = first == 0 && (self.stale || plan.prepare_each_run);
            self.launch(plan, prepare, images.clone(), batch)?;
            if prepare {
                self.stale = false;
            }
            for (port, result) in call.results(images.clone()) {
                ports::fetch(port, self.memory(plan, port, images.len()), result);
            }
        }
        Ok(call.into_results())
    }

    fn arena_bytes(&self, batch: usize) -> usize {
        let plan = self.plan.for_batch(batch);
        let apart = self.apart(plan, batch).and_then(|most| plan.room(most)?.checked_mul(self.threads.count()));
        apart.unwrap_or_else(|| self.shares_bytes(plan, batch).unwrap_or_else(|| plan.arena_bytes(batch)))
    }

    fn set_profile(&mut self, on: bool) {
        let launches = |plan: &Plan| plan.every_launch().count();
        let small = self.plan.small_batch.as_ref().map_or(0, |(_, plan)| launches(plan));
        self.profile = on.then(|| vec![Duration::ZERO; launches(&self.plan).max(small)]);
    }

    fn profile(&self) -> Vec<(String, Duration)> {
        self.plan.for_batch(self.batch).profile(self.profile.as_deref().unwrap_or_default())
    }
}

impl Executor {
    fn memory(&self, plan: &Plan, port: &Port, images: usize) -> &[u8] {
        let (home, start) = plan.start(port.buffer, images);
        let memory = if home == Home::Persistent { &self.persistent } else { &self.arena };
        &memory.bytes()[start..][..plan.bytes(port.buffer, images)]
    }

    fn memory_mut(&mut self, plan: &Plan, port: &Port, images: usize) -> &mut [u8] {
        let (home, start) = plan.start(port.buffer, images);
        let memory = if home == Home::Persistent { &mut self.persistent } else { &mut self.arena };
        &mut memory.bytes_mut()[start..][..plan.bytes(port.buffer, images)]
    }

    /// Counts the bytes of scratch memory of all threads, and of parameters and what is derived from them.
    pub fn other_bytes(&self) -> usize {
        self.persistent.len() + self.scratch.iter().map(Buffer::len).sum::<usize>()
    }
}
