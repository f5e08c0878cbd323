//! The back end for this machine's processor: Cranelift, and the x86 emitter for wide vectors.

use super::backend::{Backend, Built, Grouping, Planned};
use super::program::Compiled;
use super::session::{Session, unplanned};
use super::{Mode, Options, Stage};
use crate::back::cranelift::{self, JitCode};
use crate::back::x86;
use crate::kernel::count;
use crate::kernel::ir::{KernelId, Module};
use crate::lower::target::{Batch, Target};
use crate::plan;
use crate::recipes::peak;
use crate::types::Format;
use crate::verified::Verified;
use ninc_runtime::exec::Executor;
use ninc_runtime::threads::Pool;
use ninc_runtime::{Engine, Error, Result};
use std::path::Path;
use std::sync::Arc;

/// This machine's processor.
pub struct Cpu<'a> {
    options: &'a Options,
    grouping: Grouping,
}

impl<'a> Cpu<'a> {
    /// Takes target, threads and cache from the options.
    pub fn new(options: &'a Options) -> Cpu<'a> {
        Cpu { options, grouping: if options.in_shares { Grouping::Shares } else { Grouping::Groups } }
    }

    /// Takes the same for a library, whose driver knows groups of images alone.
    pub fn of_library(options: &'a Options) -> Cpu<'a> {
        Cpu { options, grouping: Grouping::Groups }
    }
}

impl Backend for Cpu<'_> {
    fn target(&self, mode: Mode) -> Target {
        let batch = if mode == Mode::Training { Batch::Training } else { Batch::Throughput };
        let shares = mode == Mode::Training && self.grouping() == Grouping::Shares;
        Target { batch, shares, ..self.options.target.clone().unwrap_or_else(Target::host) }
    }

    fn grouping(&self) -> Grouping {
        self.grouping
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::Clif, Stage::Asm]
    }

    fn text(&self, stage: Stage, planned: &Planned) -> Result<String> {
        match stage {
            Stage::Asm => Ok(code(&planned.module, &planned.target, None)?.asm()),
            _ => cranelift::clif(&planned.module, &planned.target).map_err(failed),
        }
    }

    fn compile(&self, planned: Planned, session: &mut Session) -> Result<Built> {
        let Planned { plan, module, target } = planned;
        let cache = self.options.cache.as_deref();
        let code = session.time("code", || code(&module, &target, cache))?;
        let threads = Pool::new(self.options.threads)?;
        let (plan, code) = (Arc::new(plan), Arc::new(code));
        let mut engine = Executor::new(plan.clone(), code.clone(), Arc::new(threads))?;
        if plan.shares.is_some() {
            engine.join(self.options.ranks.clone());
        }
        let engine = Box::new(engine);
        Ok(Built { engine, compiled: Some(Compiled { plan, module, code }) })
    }

    fn unsupported(&self) -> Vec<&'static str> {
        vec![]
    }
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::new(format!("code: {e}"))
}

fn code(module: &Verified<Module>, target: &Target, cache: Option<&Path>) -> Result<JitCode> {
    cranelift::compile_with(module, target, &x86::micro_kernel_code(target), cache).map_err(failed)
}

/// A program without inputs whose runs do nothing but multiply-adds in registers, and how many operations a run of it
/// has: the yardstick for kernels on this machine; for bf16 and bytes that of its matrix units, if any.
pub fn peak(options: &Options, bytes: bool) -> Result<(Box<dyn Engine + Send>, u64)> {
    let target = options.target.clone().unwrap_or_else(Target::host);
    let terms = match options.precision {
        _ if bytes => peak::Terms::Bytes,
        Some(Format::Bf16) => peak::Terms::Bf16,
        _ => peak::Terms::Floats,
    };
    let planned = plan::plan(peak::builder(&target, terms), plan::Ports::default(), plan::Options::default());
    let (plan, module, _) = planned.map_err(unplanned)?;
    let code = code(&module, &target, None)?;
    let flops = count::kernel(&module, &module.kernels[KernelId::from_u32(0)], 1).flops();
    let threads = Arc::new(Pool::new(options.threads)?);
    Ok((Box::new(Executor::new(Arc::new(plan), Arc::new(code), threads)?), flops))
}
