//! One step of the training program.

use super::schedule::Hyper;
use super::step_inputs::StepInputs;
use crate::data::batches::Batch;
use crate::plan::Port;
use crate::spec::Recipe;
use crate::{Engine, Prefetch, Result, Tensor};

/// The batch of the next step, where it was asked for early.
#[derive(Default)]
pub(super) struct Next {
    /// The batch, or the error of loading it, which is that step's and not this one's.
    pub(super) loaded: Option<Result<Batch>>,
    /// Whether the device has it.
    pub(super) there: bool,
}

/// Makes one step of the training program; returns the loss and the logits. The batch need not be fed where it is
/// `there`; `overlapped` is called as [`Engine::run_overlapped`] says, with the program's inputs, for the next step's
/// batch.
pub(super) fn one(
    engine: &mut dyn Engine,
    recipe: &Recipe,
    (batch, there): (&Batch, bool),
    (hyper, step): (Hyper, u64),
    overlapped: &mut dyn FnMut(&[Port], &mut dyn Prefetch) -> Result<()>,
) -> Result<Vec<Tensor>> {
    let inputs = engine.inputs().to_vec();
    let own = StepInputs::new(&inputs, recipe, hyper, batch.share(), step)?;
    let fed = if there { own.numbers(&inputs) } else { own.with(&inputs, batch) };
    engine.run_overlapped(batch.labels.len(), &fed, &["loss", "logits"], &mut |prefetch| overlapped(&inputs, prefetch))
}
