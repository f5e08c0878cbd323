//! One device's part of a program: its kernels, and its memory as the plan divides it.

use super::context::{Argument, Memory, PendingUpload};
use super::program::{Built, Width, build};
use super::{DeviceContext, Info, Source};
use crate::plan::{Home, Launch, Plan};
use crate::{Error, Result};
use ocl::core::Event;
use std::sync::Arc;

/// Items of a group where the kernel is not written for groups.
const ITEMS: usize = 64;
/// The most groups of such a kernel: its items go on with further iterations.
const GROUPS: usize = 1 << 16;
/// The most memory for the items' own arrays, of those kernels that need it.
const WORKSPACE: usize = 256 << 20;

/// A device's kernels and memory for a plan.
pub struct DeviceProgram {
    plan: Arc<Plan>,
    source: Arc<Source>,
    /// Kernels with 32-bit and with 64-bit indices; the latter are built when a batch is large enough to need them.
    built: [Option<Built>; 2],
    /// The width that this run's batch needs.
    width: Width,
    persistent: Memory,
    arena: Memory,
    workspace: Memory,
    /// Inputs of the next run that are on their way or there.
    early: Vec<Early>,
    /// Inputs of this run that came early, whose memory is in use until it ends.
    in_use: Vec<Early>,
    /// Memory that further inputs can use.
    spare: Vec<Memory>,
    /// The device. The last field: memory and kernels belong to its context, and go first.
    pub context: DeviceContext,
}

/// An input that came before its run.
struct Early {
    buffer: usize,
    upload: PendingUpload,
    memory: Memory,
}

impl DeviceProgram {
    /// Opens the device, builds the kernels and makes room for what is kept between runs.
    pub fn new(plan: Arc<Plan>, source: Arc<Source>, device: Info) -> Result<DeviceProgram> {
        let mut context = DeviceContext::open(device)?;
        let width = Width::W32;
        let built = [Some(build(&context, &source, width)?), None];
        let persistent = context.zeroed(plan.persistent_bytes)?;
        let (arena, workspace) = (context.zeroed(0)?, context.zeroed(0)?);
        Ok(DeviceProgram {
            plan,
            source,
            built,
            width,
            persistent,
            arena,
            workspace,
            early: vec![],
            in_use: vec![],
            spare: vec![],
            context,
        })
    }

    /// Did the kernels come from the disk?
    pub fn cached(&self) -> bool {
        self.built[0].as_ref().is_some_and(|b| b.cached)
    }

    /// Makes room for `images` images of a batch of `total`, and kernels whose indices are wide enough for all of it.
    pub fn reserve(&mut self, images: usize, total: usize) -> Result<()> {
        let plan = &self.plan;
        let large = || Error::new(format!("a batch of {total} is too large"));
        let needed = plan.room(images).ok_or_else(large)?;
        let reach = plan.room(total).and_then(|b| b.checked_add(plan.persistent_bytes)).ok_or_else(large)?;
        self.width = if reach < i32::MAX as usize { Width::W32 } else { Width::W64 };
        let slot = &mut self.built[self.width as usize];
        if slot.is_none() {
            *slot = Some(build(&self.context, &self.source, self.width)?);
        }
        if needed > self.arena.len() {
            // The old one goes first: both may not fit.
            self.arena = self.context.zeroed(0)?;
            self.arena = self.context.zeroed(needed)?;
        }
        let own = self.plan.every_launch().map(|launch| {
            let (groups, items) = self.grid(launch, images);
            groups * items * self.source.kernels[launch.kernel].workspace_bytes
        });
        let most = own.max().unwrap_or(0);
        if most > self.workspace.len() {
            self.workspace = self.context.zeroed(0)?;
            self.workspace = self.context.zeroed(most)?;
        }
        Ok(())
    }

    /// Returns the groups of a launch, and the items of each.
    fn grid(&self, launch: &Launch, images: usize) -> (usize, usize) {
        let entry = &self.source.kernels[launch.kernel];
        let iterations = launch.iterations.count(images);
        match entry.items {
            Some(items) => (iterations, items),
            None => {
                let items = ITEMS.min(iterations.next_power_of_two()).min(self.context.info.group_items.max(1));
                let room = (WORKSPACE / (entry.workspace_bytes * items).max(1)).max(1);
                (iterations.div_ceil(items).min(GROUPS).min(room), items)
            }
        }
    }

    /// Queues a launch; `vars` are the kernels' batch, first and total.
    pub fn launch(&self, launch: &Launch, vars: [usize; 3]) -> Result<Option<Event>> {
        let (groups, items) = self.grid(launch, vars[0]);
        if groups == 0 {
            return Ok(None);
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
        let built = self.built[self.width as usize].as_ref().expect("`reserve` has built it");
        self.context.launch(&built.kernels[launch.kernel], &args, groups, items)
    }

    /// Returns where a buffer lies in a run of `images` images.
    fn place(&self, buffer: usize, images: usize) -> (&Memory, usize) {
        match self.plan.start(buffer, images) {
            (Home::Persistent, offset) => (&self.persistent, offset),
            (Home::Arena, offset) => (&self.arena, offset),
        }
    }

    /// Sends a buffer's contents, without waiting for them to arrive.
    pub fn send(&mut self, buffer: usize, images: usize, bytes: Vec<u8>) -> Result<()> {
        let (home, offset) = self.plan.start(buffer, images);
        let memory = if home == Home::Persistent { &self.persistent } else { &self.arena };
        self.context.send(memory, offset, bytes)
    }

    /// Sends what a buffer will hold in the next run, while this one computes.
    pub fn upload_async(&mut self, buffer: usize, bytes: Vec<u8>) -> Result<()> {
        let memory = match self.spare.iter().position(|memory| memory.len() >= bytes.len()) {
            Some(i) => self.spare.swap_remove(i),
            None => self.context.room(bytes.len())?,
        };
        let upload = self.context.upload_async(&memory, bytes)?;
        self.early.push(Early { buffer, upload, memory });
        Ok(())
    }

    /// Puts into its place what came early.
    pub fn finish_upload(&mut self, buffer: usize, images: usize) -> Result<()> {
        let Some(i) = self.early.iter().position(|early| early.buffer == buffer) else { return Ok(()) };
        let early = self.early.swap_remove(i);
        let (memory, offset) = self.place(buffer, images);
        self.context.finish_upload(&early.upload, &early.memory, memory, offset)?;
        self.in_use.push(early);
        Ok(())
    }

    /// Drops what came early for a run that takes other inputs.
    pub fn discard(&mut self) {
        self.in_use.append(&mut self.early);
    }

    /// Waits until all that was queued is done.
    pub fn finish(&mut self) -> Result<()> {
        self.context.finish()?;
        self.spare.extend(self.in_use.drain(..).map(|early| early.memory));
        Ok(())
    }

    /// Reads a buffer's contents, after all that was queued before.
    pub fn fetch(&self, buffer: usize, images: usize) -> Result<Vec<u8>> {
        let (memory, offset) = self.place(buffer, images);
        self.context.fetch(memory, offset, self.plan.bytes(buffer, images))
    }

    /// Queues zeros for a buffer.
    pub fn clear(&self, buffer: usize, images: usize) -> Result<()> {
        let (memory, offset) = self.place(buffer, images);
        self.context.clear(memory, offset, self.plan.bytes(buffer, images))
    }
}
