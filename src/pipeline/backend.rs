//! The seam between the compiler and what runs its kernels.

use super::program::Compiled;
use super::session::Session;
use super::{Mode, Stage};
use crate::kernel::ir::Module;
use crate::lower::target::Target;
use crate::verified::Verified;
use ninc_runtime::plan::Plan;
use ninc_runtime::{Engine, Result};

/// How a batch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// All images of the batch go through each launch.
    Whole,
    /// Groups of images whose values fit a cache, one after the other.
    Groups,
    /// A training step goes in shares of the batch that the number of images decides; else as `Groups`.
    Shares,
    /// Several devices share the batch.
    Shared,
}

/// A plan with its kernels, and the machine that they were written for.
pub struct Planned {
    /// What runs when, and where values lie.
    pub plan: Plan,
    /// The kernels.
    pub module: Verified<Module>,
    /// The machine that kernels were written for.
    pub target: Target,
}

/// A program that runs, and its parts where it was compiled for the processor.
pub struct Built {
    /// Runs it.
    pub engine: Box<dyn Engine + Send>,
    /// Plan and code, for the processor.
    pub compiled: Option<Compiled>,
}

/// A back end: what a kind of device needs, and how it is given its code. The interpreter of graphs is not one: it has
/// no kernels.
pub trait Backend {
    /// The machine that kernels are written for.
    fn target(&self, mode: Mode) -> Target;

    /// How a batch runs on it.
    fn grouping(&self) -> Grouping;

    /// The stages after the plan that have texts here.
    fn stages(&self) -> &'static [Stage];

    /// The text of one of [`Backend::stages`].
    fn text(&self, stage: Stage, planned: &Planned) -> Result<String>;

    /// Makes a program of kernels that were written for [`Backend::target`].
    fn compile(&self, planned: Planned, session: &mut Session) -> Result<Built>;

    /// What its kernels cannot have, by the names of kernel IR's features.
    fn unsupported(&self) -> Vec<&'static str>;
}
