//! A program ready to run, whatever runs it: compiled plan or interpreter.

use crate::plan::{DType, Port};
use crate::{Result, Tensor};

/// What a caller feeds: in logical order, for the whole batch (or once, for inputs that are not batched).
#[derive(Clone, Copy, Debug)]
pub enum Feed<'a> {
    /// Float numbers.
    F32(&'a [f32]),
    /// Whole numbers.
    I32(&'a [i32]),
    /// Bytes.
    U8(&'a [u8]),
}

impl Feed<'_> {
    /// Returns the type of what is fed.
    pub fn dtype(&self) -> DType {
        match self {
            Feed::F32(_) => DType::F32,
            Feed::I32(_) => DType::I32,
            Feed::U8(_) => DType::U8,
        }
    }

    /// Returns how many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Feed::F32(data) => data.len(),
            Feed::I32(data) => data.len(),
            Feed::U8(data) => data.len(),
        }
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Takes inputs while a run computes.
pub trait Prefetch {
    /// Accepts inputs of the next run early, for a batch of `batch` images. Returns `false` if they must still be
    /// passed to it.
    fn put(&mut self, batch: usize, inputs: &[(&str, Feed)]) -> Result<bool>;
}

/// Values by name. Shapes of ports are per image; tensors carry the batch first where the port is batched.
pub trait Engine {
    /// Returns the inputs, which callers must feed.
    fn inputs(&self) -> &[Port];
    /// Returns the outputs, which callers can ask for.
    fn outputs(&self) -> &[Port];
    /// Returns parameters and states.
    fn params(&self) -> &[Port];

    /// Returns a parameter or state, in PyTorch's layout.
    fn read(&self, name: &str) -> Result<Tensor>;
    /// Replaces a parameter or state.
    fn write(&mut self, name: &str, value: &Tensor) -> Result<()>;

    /// Runs once (a training program: one step). All inputs must be fed. Gives the outputs asked for, in that order.
    fn run(&mut self, batch: usize, inputs: &[(&str, Feed)], outputs: &[&str]) -> Result<Vec<Tensor>>;

    /// Like [`Engine::run`], but an engine that accepts the next run's inputs early calls `overlapped` once while this
    /// run computes; others never call it.
    fn run_overlapped(
        &mut self,
        batch: usize,
        inputs: &[(&str, Feed)],
        outputs: &[&str],
        _meanwhile: &mut dyn FnMut(&mut dyn Prefetch) -> Result<()>,
    ) -> Result<Vec<Tensor>> {
        self.run(batch, inputs, outputs)
    }

    /// Returns the bytes of working memory for a batch.
    fn arena_bytes(&self, batch: usize) -> usize;

    /// Gives working memory back until the next run, where an engine can.
    fn release(&mut self) {}

    /// Starts (or ends) measuring the time of each launch.
    fn set_profile(&mut self, on: bool);

    /// Returns kernel names and times of all launches since `set_profile(true)`, in their order; nothing if this engine
    /// has no launches.
    fn profile(&self) -> Vec<(String, std::time::Duration)>;
}
