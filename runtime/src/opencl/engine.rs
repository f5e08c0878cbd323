//! Runs a plan on one OpenCL device, or on several that share each batch. Parameters and states stay there; only inputs
//! and the outputs asked for travel.
//!
//! **Several devices.** Image i of a batch goes to a device that the batch's size and the number of devices decide.
//! Each kernel knows the number of its first image in the whole batch, so that dropout draws the masks that one device
//! would draw. A value that is a sum over the images (a gradient, the loss, the statistics of batch normalisation; the
//! plan lists them) is added up on the host in the devices' order before anything reads it, and goes back to all of
//! them. So statistics are those of the whole batch, all devices make the same update, and nothing depends on which of
//! them is faster. With another number of devices sums are rounded in another order, unless a step goes in shares
//! (`shared`).

use super::context::duration;
use super::device_program::DeviceProgram;
use super::shared::Sharing;
use super::{Fault, Info, Source};
use crate::exec::gather::gather;
use crate::exec::ports::{self, Call};
use crate::plan::{Plan, Port};
use crate::ranks::add;
use crate::{Engine, Error, Feed, Prefetch, Result, Tensor};
use ocl::core::Event;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A plan with its kernels and its memory on each device.
pub struct OpenCl {
    pub(super) plan: Arc<Plan>,
    pub(super) source: Arc<Source>,
    pub(super) devices: Vec<Info>,
    /// One for each device; in shares, one for each share of a batch too.
    pub(super) programs: Vec<DeviceProgram>,
    /// Where a step goes in shares.
    pub(super) sharing: Option<Sharing>,
    /// Whether the devices are of one kind and driver: equal numbers make equal updates.
    alike: bool,
    /// Parameters were written since the last preparation.
    stale: bool,
    /// Inputs of the next run that came early, and the images of its batch.
    early: Option<(usize, Vec<Port>)>,
    profile: Option<Vec<Duration>>,
}

impl OpenCl {
    /// `source` must be that of the module that the plan was made with. A plan for several devices must say which of
    /// its values are sums over the images.
    pub fn new(plan: Arc<Plan>, source: Arc<Source>, devices: Vec<Info>) -> Result<OpenCl> {
        ports::check(&plan)?;
        if plan.kernels.len() != source.kernels.len() {
            return Err(Error::new(format!("the plan {} has other kernels than its source", plan.name)));
        }
        let Some(first) = devices.first() else { return Err(Error::new("a program for no device at all")) };
        let alike = devices.iter().all(|d| d.identity() == first.identity());
        let program = |device: &Info| DeviceProgram::new(plan.clone(), source.clone(), device.clone());
        let programs = devices.iter().map(program).collect::<Result<Vec<_>>>()?;
        let (sharing, early, profile) = (None, None, None);
        Ok(OpenCl { plan, source, devices, programs, sharing, alike, stale: true, early, profile })
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Did the kernels come from the disk?
    pub fn cached(&self) -> bool {
        self.programs.iter().all(DeviceProgram::cached)
    }

    /// Makes a failure happen on one of the devices, for tests.
    pub fn inject(&self, device: usize, fault: Fault) {
        self.programs[device].context.inject(fault);
    }

    /// The images of each program, round after round.
    fn rounds(&mut self, batch: usize) -> Result<Vec<Vec<Range<usize>>>> {
        if let Some(sharing) = self.sharing.clone() {
            return Ok(vec![self.shares_of(&sharing, batch)?]);
        }
        let devices = self.programs.len();
        let together = devices * self.plan.group_of(batch.div_ceil(devices));
        let round = |first| shares(first..batch.min(first + together), devices);
        Ok((0..batch).step_by(together).map(round).collect())
    }

    /// Runs the launches (after the preparations, if they are due); each device has its share of the images.
    fn launch(&mut self, prepare: bool, shares: &[Range<usize>], total: usize) -> Result<()> {
        let plan = self.plan.clone();
        let (before, several) = (plan.prepare.len(), self.programs.len() > 1 || self.sharing.is_some());
        let mut events: Vec<(usize, Vec<Event>)> = Vec::new();
        // Sums that are still in parts, one on each device.
        let mut open: Vec<usize> = Vec::new();
        for (i, launch) in plan.every_launch().enumerate().skip(if prepare { 0 } else { before }) {
            if launch.buffers.iter().any(|b| open.contains(b)) {
                self.join(&mut open, shares, total)?;
            }
            let mut measured = Vec::new();
            for (program, share) in self.programs.iter().zip(shares) {
                if several && share.start > 0 && i >= before {
                    // Its kernels add to what the images before theirs left: here nothing.
                    let mut accumulated = plan.accumulates.iter().filter(|(at, _)| *at == i - before);
                    accumulated.try_for_each(|(_, buffer)| program.clear(*buffer, share.len()))?;
                }
                measured.extend(program.launch(launch, [share.len(), share.start, total])?);
            }
            if several && i >= before {
                open.extend(plan.all_reduces.iter().filter(|(at, _)| *at == i - before).map(|(_, buffer)| *buffer));
            }
            events.push((i, measured));
        }
        self.join(&mut open, shares, total)?;
        let Some(times) = &mut self.profile else { return Ok(()) };
        for program in &mut self.programs {
            program.context.finish()?;
        }
        for (i, measured) in events {
            // What one waits for is the slowest device.
            times[i] += measured.iter().map(duration).max().unwrap_or_default();
        }
        Ok(())
    }

    /// Adds up the parts that the devices have of these sums, in the devices' order, and gives the sums to all of them.
    fn join(&mut self, open: &mut Vec<usize>, shares: &[Range<usize>], total: usize) -> Result<()> {
        if self.programs.len() > 1 {
            // All of them start before the first is waited for.
            self.programs.iter().try_for_each(|program| program.context.flush())?;
        }
        if let Some(sharing) = self.sharing.clone() {
            return self.add_up_shares(&sharing, std::mem::take(open), shares, total);
        }
        for buffer in open.drain(..) {
            let mut sum: Vec<u8> = Vec::new();
            for (program, share) in self.programs.iter().zip(shares) {
                let part = program.fetch(buffer, share.len())?;
                if sum.is_empty() { sum = part } else { add(&mut sum, &part) }
            }
            for (program, share) in self.programs.iter_mut().zip(shares) {
                program.send(buffer, share.len(), sum.clone())?;
            }
        }
        Ok(())
    }

    /// Gives the first program's parameters to the others: to new ones, and where devices of several kinds may have
    /// rounded them differently.
    pub(super) fn spread(&mut self) -> Result<()> {
        let plan = self.plan.clone();
        let Some((first, others)) = self.programs.split_first_mut() else { return Ok(()) };
        for port in &plan.params {
            let bytes = first.fetch(port.buffer, 0)?;
            others.iter_mut().try_for_each(|program| program.send(port.buffer, 0, bytes.clone()))?;
        }
        Ok(())
    }
}

/// Divides the images among the devices, as equally as they go: the first devices have one more where they differ.
fn shares(images: Range<usize>, devices: usize) -> Vec<Range<usize>> {
    let start = |device: usize| images.start + (images.len() * device).div_ceil(devices);
    (0..devices).map(|device| start(device)..start(device + 1)).collect()
}

impl Prefetch for OpenCl {
    fn put(&mut self, batch: usize, inputs: &[(&str, Feed)]) -> Result<bool> {
        let plan = self.plan.clone();
        let feeds = ports::match_feeds(&plan, batch, inputs)?;
        // A batch that is run in groups takes each group's images in its turn.
        let rounds = self.rounds(batch)?;
        let [parts] = &rounds[..] else { return Ok(false) };
        for (program, share) in self.programs.iter_mut().zip(parts) {
            program.discard();
            for &(port, feed) in &feeds {
                let mut bytes = vec![0; plan.bytes(port.buffer, share.len())];
                ports::feed(port, ports::part(port, feed, share.clone()), &mut bytes);
                program.upload_async(port.buffer, bytes)?;
            }
        }
        self.early = Some((batch, feeds.into_iter().map(|(port, _)| port.clone()).collect()));
        Ok(true)
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
        // All devices have the same.
        ports::fetch(port, &self.programs[0].fetch(port.buffer, 0)?, &mut tensor.data);
        Ok(tensor)
    }

    fn write(&mut self, name: &str, value: &Tensor) -> Result<()> {
        let port = ports::find(&self.plan.params, name, "parameter")?;
        let mut bytes = vec![0; port.bytes()];
        ports::parameter(port, value, &mut bytes)?;
        for program in &mut self.programs {
            program.send(port.buffer, 0, bytes.clone())?;
            program.finish()?;
        }
        self.stale = true;
        Ok(())
    }

    fn run(&mut self, batch: usize, inputs: &[(&str, Feed)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        self.run_overlapped(batch, inputs, outputs, &mut |_| Ok(()))
    }

    fn run_overlapped(
        &mut self,
        batch: usize,
        inputs: &[(&str, Feed)],
        outputs: &[&str],
        overlapped: &mut dyn FnMut(&mut dyn Prefetch) -> Result<()>,
    ) -> Result<Vec<Tensor>> {
        let plan = self.plan.clone();
        let (_, mut early) = self.early.take().filter(|(images, _)| *images == batch).unwrap_or_default();
        early.retain(|port| inputs.iter().all(|(name, _)| *name != port.name));
        let mut call = Call::without(&plan, batch, inputs, outputs, &early)?;
        let rounds = self.rounds(batch)?;
        for (round, shares) in rounds.iter().enumerate() {
            for (program, share) in self.programs.iter_mut().zip(shares) {
                program.reserve(share.len(), batch)?;
                early.iter().try_for_each(|port| program.finish_upload(port.buffer, share.len()))?;
                program.discard();
                for (port, feed) in call.feeds(share.clone()) {
                    let mut bytes = vec![0; plan.bytes(port.buffer, share.len())];
                    ports::feed(port, feed, &mut bytes);
                    program.send(port.buffer, share.len(), bytes)?;
                }
            }
            let prepare = round == 0 && (self.stale || plan.prepare_each_run);
            self.launch(prepare, shares, batch)?;
            if round + 1 == rounds.len() {
                self.programs.iter().try_for_each(|program| program.context.flush())?;
                overlapped(self)?;
            }
            for (i, (program, share)) in self.programs.iter_mut().zip(shares).enumerate() {
                for (port, result) in call.results(share.clone()).filter(|(port, _)| port.batched || i == 0) {
                    ports::fetch(port, &program.fetch(port.buffer, share.len())?, result);
                }
                program.finish()?;
            }
            if prepare {
                self.stale = false;
            }
        }
        // Only a training step changes parameters.
        if !self.alike && plan.prepare_each_run {
            self.spread()?;
        }
        if let Some(Sharing(Some(ranks))) = &self.sharing {
            gather(ranks, &mut call, batch)?;
        }
        Ok(call.into_results())
    }

    fn arena_bytes(&self, batch: usize) -> usize {
        shares(0..batch, self.programs.len()).into_iter().map(|share| self.plan.arena_bytes(share.len())).sum()
    }

    /// Has no effect where a device cannot measure.
    fn set_profile(&mut self, on: bool) {
        let set: Vec<Result<()>> = self.programs.iter_mut().map(|program| program.context.set_profile(on)).collect();
        let launches = self.plan.every_launch().count();
        self.profile = (on && set.iter().all(Result::is_ok)).then(|| vec![Duration::ZERO; launches]);
    }

    fn profile(&self) -> Vec<(String, Duration)> {
        self.plan.profile(self.profile.as_deref().unwrap_or_default())
    }
}
