//! A training step that does less once parameters are frozen: a program for each time at which some freeze. The epochs
//! that a step is fed pick its program, so that a step that is made again, or after a resume, takes the same.

use crate::plan::{Hyper, Port, Role};
use crate::{Engine, Feed, Result, Tensor};
use std::time::Duration;

/// Compiles the step that runs from this epoch on; `None` where it would not be shorter.
pub type Compile = Box<dyn Fn(f64) -> Result<Option<Box<dyn Engine + Send>>> + Send>;

/// The whole step, and shorter ones in its place.
pub struct Stages {
    whole: Box<dyn Engine + Send>,
    /// Ascending.
    later: Vec<Later>,
    compile: Compile,
    /// The one that holds the newest parameters; `None` is the whole step.
    now: Option<usize>,
    profiled: bool,
}

struct Later {
    /// Epochs that are done from then on.
    from: f64,
    /// `None` until its time comes.
    step: Option<Option<Box<dyn Engine + Send>>>,
}

impl Stages {
    /// Takes the whole step, and how to compile those from `times` on, which ascend, in epochs.
    pub fn new(whole: Box<dyn Engine + Send>, times: &[f64], compile: Compile) -> Stages {
        let later = times.iter().map(|&from| Later { from, step: None }).collect();
        Stages { whole, later, compile, now: None, profiled: false }
    }

    /// Which stage a run with these inputs belongs to.
    fn stage(&self, inputs: &[(&str, Feed)]) -> Option<usize> {
        let port = self.whole.inputs().iter().find(|port| port.role == Role::Hyper(Hyper::Epochs))?;
        let epochs = inputs.iter().find_map(|&(name, feed)| match feed {
            Feed::F32(&[epochs]) if name == port.name => Some(epochs),
            _ => None,
        })?;
        // As the whole step compares them.
        self.later.iter().rposition(|later| epochs >= later.from as f32)
    }

    /// Makes the stage the one that runs.
    fn turn(&mut self, stage: Option<usize>) -> Result<()> {
        if stage == self.now {
            return Ok(());
        }
        if let Some(stage) = stage
            && self.later[stage].step.is_none()
        {
            self.later[stage].step = Some((self.compile)(self.later[stage].from)?);
        }
        if let Some(former) = step(&mut self.later, self.now) {
            copy(&**former, &mut *self.whole)?;
            former.release();
        }
        self.now = stage;
        let profiled = self.profiled;
        if let Some(engine) = step(&mut self.later, stage) {
            copy(&*self.whole, &mut **engine)?;
            self.whole.release();
            engine.set_profile(profiled);
        }
        Ok(())
    }

    fn engine(&self) -> &dyn Engine {
        let later = self.now.and_then(|now| self.later[now].step.as_ref()?.as_ref());
        later.map_or(&*self.whole as &dyn Engine, |engine| &**engine)
    }

    fn engine_mut(&mut self) -> &mut dyn Engine {
        match step(&mut self.later, self.now) {
            Some(engine) => &mut **engine,
            None => &mut *self.whole,
        }
    }
}

/// The shorter step of a stage, if it has one.
fn step(later: &mut [Later], stage: Option<usize>) -> Option<&mut Box<dyn Engine + Send>> {
    later[stage?].step.as_mut()?.as_mut()
}

/// Brings all parameters and states that both have from one to the other.
fn copy(from: &dyn Engine, to: &mut dyn Engine) -> Result<()> {
    for Port { name, .. } in from.params() {
        if has(to, name) {
            to.write(name, &from.read(name)?)?;
        }
    }
    Ok(())
}

fn has(engine: &dyn Engine, name: &str) -> bool {
    engine.params().iter().any(|port| port.name == name)
}

impl Engine for Stages {
    fn inputs(&self) -> &[Port] {
        self.whole.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.whole.outputs()
    }

    fn params(&self) -> &[Port] {
        self.whole.params()
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        // States of what is frozen are left in the whole step, as they were.
        match self.engine() {
            engine if has(engine, name) => engine.read(name),
            _ => self.whole.read(name),
        }
    }

    fn write(&mut self, name: &str, value: &Tensor) -> Result<()> {
        match self.engine_mut() {
            engine if has(engine, name) => engine.write(name, value),
            _ => self.whole.write(name, value),
        }
    }

    fn run(&mut self, batch: usize, inputs: &[(&str, Feed)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        self.turn(self.stage(inputs))?;
        let engine = self.engine_mut();
        // A shorter step lacks the inputs that only frozen parameters needed.
        let taken: Vec<String> = engine.inputs().iter().map(|port| port.name.clone()).collect();
        let fed: Vec<(&str, Feed)> =
            inputs.iter().filter(|(name, _)| taken.iter().any(|taken| taken == name)).copied().collect();
        engine.run(batch, &fed, outputs)
    }

    fn arena_bytes(&self, batch: usize) -> usize {
        self.engine().arena_bytes(batch)
    }

    fn release(&mut self) {
        self.engine_mut().release();
    }

    fn set_profile(&mut self, on: bool) {
        self.profiled = on;
        self.engine_mut().set_profile(on);
    }

    fn profile(&self) -> Vec<(String, Duration)> {
        self.engine().profile()
    }
}
