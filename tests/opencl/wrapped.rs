//! An engine that does something before each of its runs.

use ninc_runtime::opencl::OpenCl;
use ninc_runtime::plan::Port;
use ninc_runtime::{Engine, Feed, Prefetch, Result, Tensor};
use std::time::Duration;

type Before = dyn FnMut(&OpenCl, &[(&str, Feed)]);

pub struct Wrapped {
    pub engine: OpenCl,
    /// May inputs of the next run come early?
    pub early: bool,
    pub before: Box<Before>,
}

impl Engine for Wrapped {
    fn inputs(&self) -> &[Port] {
        self.engine.inputs()
    }
    fn outputs(&self) -> &[Port] {
        self.engine.outputs()
    }
    fn params(&self) -> &[Port] {
        self.engine.params()
    }
    fn read(&self, name: &str) -> Result<Tensor> {
        self.engine.read(name)
    }
    fn write(&mut self, name: &str, value: &Tensor) -> Result<()> {
        self.engine.write(name, value)
    }
    fn run(&mut self, batch: usize, inputs: &[(&str, Feed)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        (self.before)(&self.engine, inputs);
        self.engine.run(batch, inputs, outputs)
    }
    fn run_overlapped(
        &mut self,
        batch: usize,
        inputs: &[(&str, Feed)],
        outputs: &[&str],
        overlapped: &mut dyn FnMut(&mut dyn Prefetch) -> Result<()>,
    ) -> Result<Vec<Tensor>> {
        if !self.early {
            return self.run(batch, inputs, outputs);
        }
        (self.before)(&self.engine, inputs);
        self.engine.run_overlapped(batch, inputs, outputs, overlapped)
    }
    fn arena_bytes(&self, batch: usize) -> usize {
        self.engine.arena_bytes(batch)
    }
    fn set_profile(&mut self, on: bool) {
        self.engine.set_profile(on);
    }
    fn profile(&self) -> Vec<(String, Duration)> {
        self.engine.profile()
    }
}
