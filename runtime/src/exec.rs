//! Runs a plan on the processor's cores.
//!
//! One of the named places of `unsafe`: the calls into compiled code, with pointers into memory that the executor owns.

use crate::buffer::{Buffer, numbers};
use crate::plan::{Launch, Place, Plan, Port};
use crate::threads::{Pool, Worker};
use crate::{Engine, Error, Feed, Result, Tensor};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) mod ports;

/// Compiled kernels, by index.
pub trait Code: Send + Sync {
    /// Runs rounds `begin..end` of a kernel's parallel loop.
    ///
    /// # Safety
    /// `buffers` points to one pointer for each buffer of the kernel, to memory as large as the plan says for the batch in
    /// `vars` (batch, first, total); `scratch` to the plan's scratch bytes of this kernel, for this thread alone. No other
    /// thread runs the same rounds, or another launch on the same memory, at the same time.
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
struct Addresses(Vec<*mut u8>);

// SAFETY: they point into buffers that the executor owns and that do not move while it runs; who writes where is decided
// by the plan, whose launches are separated by barriers.
#[allow(unsafe_code)]
unsafe impl Send for Addresses {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Addresses {}

/// A plan with its code, its memory and its threads.
pub struct Executor {
    /// The plan as it was given, and the one for few images, if there is one.
    plans: [Arc<Plan>; 2],
    /// The one of the last run.
    plan: Arc<Plan>,
    code: Arc<dyn Code>,
    threads: Arc<Pool>,
    persistent: Buffer,
    arena: Buffer,
    /// For each thread.
    scratch: Vec<Buffer>,
    /// Parameters were written since the last preparation.
    stale: bool,
    /// Pointers of the launches' buffers, `prepare` first, one launch after the other.
    args: Addresses,
    scratch_args: Addresses,
    profile: Option<Vec<Duration>>,
}

impl Executor {
    /// `code` must be that of the module that the plan was made with.
    pub fn new(plan: Arc<Plan>, code: Arc<dyn Code>, threads: Arc<Pool>) -> Result<Executor> {
        ports::check(&plan)?;
        let few = plan.few.as_ref().map_or_else(|| plan.clone(), |(_, few)| Arc::new(Plan::clone(few)));
        let outlive = |p: &Plan| (p.persistent_bytes, p.prepare.clone(), p.kernels.clone(), p.params.clone());
        if outlive(&few) != outlive(&plan) {
            return Err(Error::new(format!("plan {}: the one for few images is another program's", plan.name)));
        }
        ports::check(&few)?;
        let most = plan.kernels.iter().map(|k| k.scratch_bytes).max().unwrap_or(0);
        let mut scratch = Vec::new();
        for _ in 0..threads.count() {
            scratch.push(Buffer::zeroed(most)?);
        }
        let scratch_args = Addresses(scratch.iter_mut().map(|b| b.bytes_mut().as_mut_ptr()).collect());
        let count = plan.prepare.iter().chain(&plan.launches).map(|l| l.buffers.len()).sum();
        Ok(Executor {
            persistent: Buffer::zeroed(plan.persistent_bytes)?,
            arena: Buffer::default(),
            scratch,
            stale: true,
            args: Addresses(Vec::with_capacity(count)),
            scratch_args,
            profile: None,
            plans: [plan.clone(), few],
            plan,
            code,
            threads,
        })
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes room for a batch (a group's, if the plan has groups) and points the launches' arguments to it.
    fn reserve(&mut self, batch: usize) -> Result<()> {
        let bytes = self.plan.image_bytes.checked_mul(batch).and_then(|b| b.checked_add(self.plan.fixed_bytes));
        let bytes = bytes.filter(|&b| b < isize::MAX as usize / 2);
        let bytes = bytes.ok_or_else(|| Error::new(format!("a batch of {batch} is too large")))?;
        if bytes > self.arena.len() {
            // The old one goes first: both may not fit.
            self.arena = Buffer::default();
            self.arena = Buffer::zeroed(bytes)?;
        }
        let persistent = self.persistent.bytes_mut().as_mut_ptr();
        let arena = self.arena.bytes_mut().as_mut_ptr();
        self.args.0.clear();
        for launch in self.plan.prepare.iter().chain(&self.plan.launches) {
            for &buffer in &launch.buffers {
                self.args.0.push(match self.plan.buffers[buffer].place {
                    Place::Persistent { offset } => persistent.wrapping_add(offset),
                    Place::Fixed { offset } => arena.wrapping_add(offset),
                    Place::PerImage { offset } => arena.wrapping_add(self.plan.fixed_bytes + offset * batch),
                });
            }
        }
        Ok(())
    }

    /// Runs the launches (after the preparations, if they are due) for images `first..first + batch` of `total`.
    fn launch(&mut self, prepare: bool, batch: usize, first: usize, total: usize) -> Result<()> {
        let plan = &*self.plan;
        let vars = [batch as i64, first as i64, total as i64];
        let times = self.profile.as_mut().map(|times| Mutex::new((times, Instant::now())));
        let region = Region { code: &*self.code, vars, batch, args: &self.args, scratch: &self.scratch_args };
        let skip = if prepare { 0 } else { plan.prepare.len() };
        let last = first + batch == total;
        let end = if last { plan.launches.len() } else { plan.finish };
        self.threads.run(&|worker| {
            let mut at = 0;
            for (i, launch) in plan.prepare.iter().chain(&plan.launches[..end]).enumerate() {
                if i >= skip {
                    region.run(worker, launch, at);
                    if worker.barrier().is_err() {
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
        })
    }

    /// Images in one run of the launches.
    fn group(&self, batch: usize) -> usize {
        self.plan.group.map_or(batch, |g| g.clamp(1, batch))
    }
}

/// What all workers of a run share.
struct Region<'a> {
    code: &'a dyn Code,
    vars: [i64; 3],
    batch: usize,
    args: &'a Addresses,
    scratch: &'a Addresses,
}

impl Region<'_> {
    /// This worker's rounds of a launch, whose arguments start at `at`.
    fn run(&self, worker: &Worker, launch: &Launch, at: usize) {
        let rounds = worker.share(launch.rounds.count(self.batch));
        if rounds.is_empty() {
            return;
        }
        let args = &self.args.0[at..at + launch.buffers.len()];
        let scratch = self.scratch.0[worker.index()];
        let (begin, end) = (rounds.start as i64, rounds.end as i64);
        // SAFETY: `reserve` pointed the arguments to memory of the sizes in the plan for this batch; the scratch memory is
        // this worker's and as large as the largest kernel asks for; workers have different rounds, which the kernel's
        // parallel loop makes independent; barriers separate the launches.
        #[allow(unsafe_code)]
        unsafe {
            self.code.call(launch.kernel, args.as_ptr(), self.vars.as_ptr(), begin, end, scratch)
        };
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
        ports::fetch(port, self.memory(port, 1), &mut data);
        Ok(Tensor { dims: port.dims.clone(), data })
    }

    fn write(&mut self, name: &str, value: &Tensor) -> Result<()> {
        let plan = self.plan.clone();
        let port = ports::find(&plan.params, name, "parameter")?;
        ports::check_shape(port, value)?;
        if port.ints {
            let ints: Vec<i32> = value.data.iter().map(|&v| v as i32).collect();
            ports::feed(port, Feed::I32(&ints), self.memory_mut(port, 1));
        } else {
            ports::feed(port, Feed::F32(&value.data), self.memory_mut(port, 1));
        }
        self.stale = true;
        Ok(())
    }

    fn run(&mut self, batch: usize, inputs: &[(&str, Feed)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        let few = self.plans[0].few.as_ref().is_some_and(|(most, _)| batch <= *most);
        self.plan = self.plans[usize::from(few)].clone();
        let plan = self.plan.clone();
        let feeds = ports::match_feeds(&plan, batch, inputs)?;
        let fetches =
            outputs.iter().map(|name| ports::find(&plan.outputs, name, "output")).collect::<Result<Vec<_>>>()?;
        let group = self.group(batch);
        self.reserve(group)?;
        let mut results: Vec<Tensor> = fetches.iter().map(|port| Tensor::zeros(&ports::dims(port, batch))).collect();
        for first in (0..batch).step_by(group) {
            let images = group.min(batch - first);
            if images != group {
                self.reserve(images)?;
            }
            for (port, feed) in &feeds {
                let part = if port.batched { ports::slice(*feed, port.elements(), first, images) } else { *feed };
                let threads = self.threads.clone();
                ports::feed_images(&threads, port, part, self.memory_mut(port, images))?;
            }
            let prepare = first == 0 && (self.stale || plan.prepare_each_run);
            self.launch(prepare, images, first, batch)?;
            if prepare {
                self.stale = false;
            }
            for (port, result) in fetches.iter().zip(&mut results) {
                let size = port.elements();
                let part = if port.batched { first * size..(first + images) * size } else { 0..size };
                ports::fetch(port, self.memory(port, images), &mut result.data[part]);
            }
        }
        Ok(results)
    }

    fn arena_bytes(&self, batch: usize) -> usize {
        self.plans[0].arena_bytes(batch)
    }

    fn set_profile(&mut self, on: bool) {
        let launches = self.plans.iter().map(|p| p.prepare.len() + p.launches.len()).max().unwrap_or(0);
        self.profile = on.then(|| vec![Duration::ZERO; launches]);
    }

    fn profile(&self) -> Vec<(String, Duration)> {
        let launches = self.plan.prepare.iter().chain(&self.plan.launches);
        let times = self.profile.iter().flatten();
        launches.zip(times).map(|(l, t)| (self.plan.kernels[l.kernel].name.clone(), *t)).collect()
    }
}

impl Executor {
    fn range(&self, port: &Port, batch: usize) -> (bool, std::ops::Range<usize>) {
        let buffer = &self.plan.buffers[port.buffer];
        let bytes = buffer.fixed + buffer.per_image * batch;
        match buffer.place {
            Place::Persistent { offset } => (true, offset..offset + bytes),
            Place::Fixed { offset } => (false, offset..offset + bytes),
            Place::PerImage { offset } => {
                let start = self.plan.fixed_bytes + offset * batch;
                (false, start..start + bytes)
            }
        }
    }

    fn memory(&self, port: &Port, batch: usize) -> &[u8] {
        let (persistent, range) = self.range(port, batch);
        if persistent { &self.persistent.bytes()[range] } else { &self.arena.bytes()[range] }
    }

    fn memory_mut(&mut self, port: &Port, batch: usize) -> &mut [u8] {
        let (persistent, range) = self.range(port, batch);
        if persistent { &mut self.persistent.bytes_mut()[range] } else { &mut self.arena.bytes_mut()[range] }
    }

    /// Bytes of scratch memory of all threads, and of parameters and what is derived from them.
    pub fn other_bytes(&self) -> usize {
        self.persistent.len() + self.scratch.iter().map(Buffer::len).sum::<usize>()
    }
}

/// The float at a place in bytes, or the integer, as a float.
fn floats(bytes: &[u8], ints: bool) -> impl Iterator<Item = f32> {
    numbers(bytes, move |b| if ints { i32::from_ne_bytes(b) as f32 } else { f32::from_ne_bytes(b) })
}
