//! Runs a plan on an OpenCL device. Parameters and states stay there; only inputs and the outputs asked for travel.

use super::card::{Argument, Memory, duration};
use super::program::{Built, Width, build};
use super::{Card, Fault, Info, Source};
use crate::exec::ports;
use crate::plan::{Launch, Place, Plan, Port};
use crate::{Engine, Error, Feed, Result, Tensor};
use ocl::core::Event;
use std::sync::Arc;
use std::time::Duration;

/// Items of a group where the kernel does not care.
const ITEMS: usize = 64;
/// The most groups of such a kernel: its items go on with further rounds.
const GROUPS: usize = 1 << 16;
/// The most memory for the items' own arrays, of those kernels that need it.
const WORKSPACE: usize = 256 << 20;

/// A plan, its kernels and its memory on one device.
pub struct OpenCl {
    plan: Arc<Plan>,
    source: Arc<Source>,
    /// Kernels with 32-bit and with 64-bit indices; the latter are built when a batch is large enough to need them.
    built: [Option<Built>; 2],
    persistent: Memory,
    arena: Memory,
    workspace: Memory,
    /// Parameters were written since the last preparation.
    stale: bool,
    profile: Option<Vec<Duration>>,
    /// Last: memory and kernels belong to its context.
    card: Card,
}

impl OpenCl {
    /// `source` must be that of the module that the plan was made with.
    pub fn new(plan: Arc<Plan>, source: Arc<Source>, device: Info) -> Result<OpenCl> {
        ports::check(&plan)?;
        if plan.kernels.len() != source.kernels.len() {
            return Err(Error::new(format!("the plan {} has other kernels than its source", plan.name)));
        }
        let mut card = Card::open(device)?;
        let first = build(&card, &source, Width::W32)?;
        let persistent = card.zeroed(plan.persistent_bytes)?;
        let (arena, workspace) = (card.zeroed(0)?, card.zeroed(0)?);
        let built = [Some(first), None];
        Ok(OpenCl { plan, source, built, persistent, arena, workspace, stale: true, profile: None, card })
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Did the kernels come from the disk?
    pub fn cached(&self) -> bool {
        self.built[0].as_ref().is_some_and(|b| b.cached)
    }

    /// Makes a failure happen, for tests.
    pub fn inject(&self, fault: Fault) {
        self.card.inject(fault);
    }

    /// Room for a batch, and kernels whose indices are wide enough for it.
    fn reserve(&mut self, batch: usize, total: usize) -> Result<Width> {
        let plan = &self.plan;
        let bytes = |images: usize| plan.image_bytes.checked_mul(images)?.checked_add(plan.fixed_bytes);
        let large = || Error::new(format!("a batch of {batch} is too large"));
        let needed = bytes(batch).ok_or_else(large)?;
        let reach = bytes(total).and_then(|b| b.checked_add(plan.persistent_bytes)).ok_or_else(large)?;
        let width = if reach < i32::MAX as usize { Width::W32 } else { Width::W64 };
        let slot = &mut self.built[width as usize];
        if slot.is_none() {
            *slot = Some(build(&self.card, &self.source, width)?);
        }
        if needed > self.arena.len() {
            // The old one goes first: both may not fit.
            self.arena = self.card.zeroed(0)?;
            self.arena = self.card.zeroed(needed)?;
        }
        let launches = self.plan.prepare.iter().chain(&self.plan.launches);
        let most = launches.map(|l| {
            let (groups, items) = self.grid(l, batch);
            groups * items * self.source.kernels[l.kernel].workspace_bytes
        });
        let most = most.max().unwrap_or(0);
        if most > self.workspace.len() {
            self.workspace = self.card.zeroed(0)?;
            self.workspace = self.card.zeroed(most)?;
        }
        Ok(width)
    }

    /// Groups, and items of each, for a launch.
    fn grid(&self, launch: &Launch, batch: usize) -> (usize, usize) {
        let entry = &self.source.kernels[launch.kernel];
        let rounds = launch.rounds.count(batch);
        match entry.items {
            Some(items) => (rounds, items),
            None => {
                let items = ITEMS.min(rounds.next_power_of_two()).min(self.card.info.group_items.max(1));
                let room = (WORKSPACE / (entry.workspace_bytes * items).max(1)).max(1);
                (rounds.div_ceil(items).min(GROUPS).min(room), items)
            }
        }
    }

    fn launch(&mut self, prepare: bool, width: Width, vars: [usize; 3]) -> Result<()> {
        let plan = self.plan.clone();
        let skip = if prepare { 0 } else { plan.prepare.len() };
        let mut events: Vec<(usize, Event)> = Vec::new();
        for (i, launch) in plan.prepare.iter().chain(&plan.launches).enumerate().skip(skip) {
            let (groups, items) = self.grid(launch, vars[0]);
            if groups == 0 {
                continue;
            }
            let mut args = Vec::with_capacity(2 * launch.buffers.len() + 4);
            for &buffer in &launch.buffers {
                let (memory, offset) = self.place(buffer, vars[0]);
                args.extend([Argument::Memory(memory), Argument::Long(offset as i64)]);
            }
            args.extend(vars.map(|v| Argument::Long(v as i64)));
            if self.source.kernels[launch.kernel].workspace_bytes > 0 {
                args.push(Argument::Memory(&self.workspace));
            }
            let built = self.built[width as usize].as_ref().expect("`reserve` has built it");
            if let Some(event) = self.card.launch(&built.kernels[launch.kernel], &args, groups, items)? {
                events.push((i, event));
            }
        }
        if self.profile.is_some() {
            self.card.finish()?;
        }
        for (i, event) in events {
            if let Some(times) = &mut self.profile {
                times[i] += duration(&event);
            }
        }
        Ok(())
    }

    /// Where a buffer lies when the run has so many images.
    fn place(&self, buffer: usize, batch: usize) -> (&Memory, usize) {
        match self.plan.buffers[buffer].place {
            Place::Persistent { offset } => (&self.persistent, offset),
            Place::Fixed { offset } => (&self.arena, offset),
            Place::PerImage { offset } => (&self.arena, self.plan.fixed_bytes + offset * batch),
        }
    }

    fn bytes(&self, port: &Port, batch: usize) -> usize {
        let buffer = &self.plan.buffers[port.buffer];
        buffer.fixed + buffer.per_image * batch
    }

    fn send(&mut self, port: &Port, feed: Feed, batch: usize) -> Result<()> {
        let mut bytes = vec![0; self.bytes(port, batch)];
        ports::feed(port, feed, &mut bytes);
        let (memory, offset) = match self.plan.buffers[port.buffer].place {
            Place::Persistent { offset } => (&self.persistent, offset),
            Place::Fixed { offset } => (&self.arena, offset),
            Place::PerImage { offset } => (&self.arena, self.plan.fixed_bytes + offset * batch),
        };
        self.card.send(memory, offset, bytes)
    }

    fn fetch(&self, port: &Port, batch: usize, data: &mut [f32]) -> Result<()> {
        let (memory, offset) = self.place(port.buffer, batch);
        let bytes = self.card.fetch(memory, offset, self.bytes(port, batch))?;
        ports::fetch(port, &bytes, data);
        Ok(())
    }
}

impl Engine for OpenCl {
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
        let mut tensor = Tensor::zeros(&port.dims);
        self.fetch(port, 1, &mut tensor.data)?;
        Ok(tensor)
    }

    fn write(&mut self, name: &str, value: &Tensor) -> Result<()> {
        let plan = self.plan.clone();
        let port = ports::find(&plan.params, name, "parameter")?;
        ports::check_shape(port, value)?;
        if port.ints {
            let ints: Vec<i32> = value.data.iter().map(|&v| v as i32).collect();
            self.send(port, Feed::I32(&ints), 1)?;
        } else {
            self.send(port, Feed::F32(&value.data), 1)?;
        }
        self.stale = true;
        self.card.finish()
    }

    fn run(&mut self, batch: usize, inputs: &[(&str, Feed)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        let plan = self.plan.clone();
        let feeds = ports::match_feeds(&plan, batch, inputs)?;
        let fetches =
            outputs.iter().map(|name| ports::find(&plan.outputs, name, "output")).collect::<Result<Vec<_>>>()?;
        let group = plan.group.map_or(batch, |g| g.clamp(1, batch));
        let mut results: Vec<Tensor> = fetches.iter().map(|port| Tensor::zeros(&ports::dims(port, batch))).collect();
        for first in (0..batch).step_by(group) {
            let images = group.min(batch - first);
            let width = self.reserve(images, batch)?;
            for (port, feed) in &feeds {
                let part = if port.batched { ports::slice(*feed, port.elements(), first, images) } else { *feed };
                self.send(port, part, images)?;
            }
            let prepare = first == 0 && (self.stale || plan.prepare_each_run);
            self.launch(prepare, width, [images, first, batch])?;
            for (port, result) in fetches.iter().zip(&mut results) {
                let size = port.elements();
                let part = if port.batched { first * size..(first + images) * size } else { 0..size };
                self.fetch(port, images, &mut result.data[part])?;
            }
            self.card.finish()?;
            if prepare {
                self.stale = false;
            }
        }
        Ok(results)
    }

    fn arena_bytes(&self, batch: usize) -> usize {
        self.plan.arena_bytes(batch)
    }

    fn set_profile(&mut self, on: bool) {
        let launches = self.plan.prepare.len() + self.plan.launches.len();
        // A queue that cannot measure leaves the times at zero.
        let on = on && self.card.set_profile(true).is_ok() || (!on && self.card.set_profile(false).is_err());
        self.profile = on.then(|| vec![Duration::ZERO; launches]);
    }

    fn profile(&self) -> Vec<(String, Duration)> {
        let launches = self.plan.prepare.iter().chain(&self.plan.launches);
        let times = self.profile.iter().flatten();
        launches.zip(times).map(|(l, t)| (self.plan.kernels[l.kernel].name.clone(), *t)).collect()
    }
}
