//! The back end for OpenCL devices.

use super::backend::{Backend, Built, Grouping, Planned};
use super::session::Session;
use super::{Mode, Options, Stage};
use crate::back::opencl as emitter;
use crate::lower::target::{GroupTile, Measured, Target};
use crate::types::Format;
use ninc_runtime::opencl::{self, Choice, Info, Source};
use ninc_runtime::ranks::Ranks;
use ninc_runtime::{Error, Result};
use std::sync::Arc;

/// OpenCL devices, or none where only texts are wanted.
pub struct OpenCl {
    target: Target,
    /// The devices; none where only the text is wanted.
    devices: Vec<Info>,
    optimise: bool,
    /// Whether trainings go in shares, and the processes that share them.
    in_shares: bool,
    ranks: Option<Arc<Ranks>>,
}

impl OpenCl {
    /// Makes a back end for any device: it has texts, but compiles nothing that runs.
    pub fn portable(options: &Options) -> OpenCl {
        let target = given(options).unwrap_or_else(Target::gpu);
        OpenCl::with(target, vec![], options)
    }

    /// Opens these devices of this machine. Notes are for the user: measured tiles that no longer apply.
    pub fn open(options: &Options, choices: &[Choice], notes: &mut Vec<String>) -> Result<OpenCl> {
        let devices = opencl::choose(choices)?;
        let target = match given(options) {
            Some(target) => target,
            None => {
                let (measured, note) = tuned(&devices[0], options.precision);
                notes.extend(note);
                target(options, &devices, measured)
            }
        };
        Ok(OpenCl::with(target, devices, options))
    }

    fn with(target: Target, devices: Vec<Info>, options: &Options) -> OpenCl {
        let Options { optimise, devices_in_shares: in_shares, ranks, .. } = options;
        OpenCl { target, devices, optimise: *optimise, in_shares: *in_shares, ranks: ranks.clone() }
    }

    /// Returns what decides the bits of a training in shares: kinds and drivers of the devices, forms of kernels.
    pub fn identity(&self) -> String {
        let devices: Vec<String> = self.devices.iter().map(Info::identity).collect();
        format!("{}\n{:?}", devices.join("\n"), self.target)
    }
}

impl Backend for OpenCl {
    fn target(&self, _mode: Mode) -> Target {
        self.target.clone()
    }

    fn grouping(&self) -> Grouping {
        if self.devices.len() > 1 || self.in_shares { Grouping::Shared } else { Grouping::Whole }
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::OpenCl]
    }

    fn text(&self, _stage: Stage, planned: &Planned) -> Result<String> {
        Ok(source(planned)?.text)
    }

    fn compile(&self, planned: Planned, session: &mut Session) -> Result<Built> {
        let source = session.time("opencl", || source(&planned))?;
        let source = Arc::new(Source { optimise: self.optimise, ..source });
        let (plan, devices) = (Arc::new(planned.plan), self.devices.clone());
        // Only a training step changes parameters.
        let in_shares = self.in_shares && plan.prepare_each_run;
        let mut engine = session.time("driver", || opencl::OpenCl::new(plan, source, devices))?;
        if in_shares {
            engine.in_shares(self.ranks.clone());
        }
        Ok(Built { engine: Box::new(engine), compiled: None })
    }

    fn unsupported(&self) -> Vec<&'static str> {
        emitter::unsupported()
    }
}

/// The OpenCL C of planned kernels.
pub fn source(planned: &Planned) -> Result<Source> {
    emitter::emit(&planned.module).map_err(|e| Error::new(format!("opencl: {e}")))
}

/// The target of the options, if it is a device's.
fn given(options: &Options) -> Option<Target> {
    options.target.clone().filter(Target::is_gpu)
}

/// Makes the target of one program for all devices: within the limits of the smallest.
fn target(options: &Options, devices: &[Info], measured: Measured) -> Target {
    let usual = Target::gpu_with(GroupTile::ALL[0], Arc::new(measured));
    let algorithm = options.target.as_ref().map_or(usual.algorithm, |t| t.algorithm);
    let bytes = devices.iter().map(|d| d.local_bytes).min().unwrap_or(0);
    let items = devices.iter().map(|d| d.group_items).min().unwrap_or(0);
    // Without a precision float32 never goes through a unit that rounds it.
    let tensor = options.precision.is_some() && devices.iter().all(opencl::tensor::passes);
    Target { algorithm, ..usual.limited(bytes, items).with_gpu(|gpu| gpu.tensor = tensor) }
}

/// The tuning results stored for a device, and a note if some no longer apply.
fn tuned(device: &Info, precision: Option<Format>) -> (Measured, Option<String>) {
    let stored = match opencl::tuned(device).read() {
        Ok(stored) => stored,
        Err(e) => return (Measured::default(), Some(e.to_string())),
    };
    let (measured, lost) = Measured::from_words(&stored, precision, device.group_items);
    let count = stored.len();
    let note = format!(
        "{lost} of {count} measured tiles are not known to this version of ninc; `ninc tune` measures them anew"
    );
    (measured, (lost > 0).then_some(note))
}
