//! Compiled programs.

use super::{Dump, ParamInfo, Report};
use crate::back::cranelift::JitCode;
use crate::kernel::count::{self, Work};
use crate::kernel::ir::{EntityRef, Module};
use crate::lower::target::Target;
use crate::verified::Verified;
use ninc_runtime::data::prepare::Form;
use ninc_runtime::exec::Executor;
use ninc_runtime::plan::Plan;
use ninc_runtime::threads::Pool;
use ninc_runtime::{Engine, Result};
use std::sync::Arc;

/// A program that runs, with what its compilation reported.
pub struct Program {
    /// Runs it.
    pub engine: Box<dyn Engine + Send>,
    /// Its parameters and states.
    pub params: Vec<ParamInfo>,
    /// Numbers about it.
    pub report: Report,
    /// The texts that were asked for.
    pub dumps: Vec<Dump>,
    /// Its plan and code where it was compiled for the processor.
    pub compiled: Option<Compiled>,
}

impl Program {
    /// Takes a preparation's numbers, which [`crate::prepare::write`] gives the program, out of its parameters.
    pub(super) fn set_aside(&mut self, preparation: &Form) {
        let numbers = preparation.shapes();
        self.params.retain(|param| numbers.iter().all(|(name, _)| *name != param.name));
    }
}

/// A plan and its kernels.
pub struct Compiled {
    /// What runs when, and where values lie.
    pub plan: Arc<Plan>,
    /// The kernels.
    pub module: Verified<Module>,
    /// Their machine code.
    pub code: Arc<JitCode>,
}

impl Compiled {
    /// Makes another engine of the same code, with threads and memory of its own and without any numbers yet.
    pub fn engine(&self, threads: usize) -> Result<Box<dyn Engine + Send>> {
        let threads = Arc::new(Pool::new(threads)?);
        Ok(Box::new(Executor::new(self.plan.clone(), self.code.clone(), threads)?))
    }

    /// Work of a launch of the kernel with this name, and the bytes of its buffers, for a batch.
    pub fn work(&self, kernel: &str, batch: usize) -> Option<(Work, usize)> {
        let (id, kernel) = self.module.kernels.iter().find(|(_, k)| k.name == kernel)?;
        let plan = self.plan.for_batch(batch);
        let launch = plan.every_launch().find(|l| l.kernel == id.index())?;
        let bytes = launch.buffers.iter().map(|&b| plan.bytes(b, batch));
        Some((count::kernel(&self.module, kernel, batch), bytes.sum()))
    }
}

/// A program before any machine code: for libraries, whose code is put into files.
pub struct Kernels {
    /// What runs when, and where values lie.
    pub plan: Plan,
    /// The kernels.
    pub module: Verified<Module>,
    /// The machine that they were written for.
    pub target: Target,
    /// Parameters and states of the program.
    pub params: Vec<ParamInfo>,
    /// Numbers about it.
    pub report: Report,
    /// The texts that were asked for.
    pub dumps: Vec<Dump>,
}
