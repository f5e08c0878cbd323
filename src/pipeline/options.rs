//! What a compilation is asked for.

use super::{Device, Emit};
use crate::lower::target::Target;
use crate::types::Format;
use ninc_runtime::ranks::Ranks;
use std::path::PathBuf;
use std::sync::Arc;

/// Options of a compilation; by default one thread of this processor, float32, with all checks.
#[derive(Clone, Debug)]
pub struct Options {
    /// What runs the program.
    pub device: Device,
    /// Threads of the processor.
    pub threads: usize,
    /// Check the graph after each pass, the kernels and the plan.
    pub verify: bool,
    /// The texts that are wanted.
    pub emit: Vec<Emit>,
    /// Named values that become outputs.
    pub dumps: Vec<String>,
    /// What recipes are written for; the host if none is given.
    pub target: Option<Target>,
    /// What products multiply: never less than float32 unless asked for.
    pub precision: Option<Format>,
    /// Whether a training step's sums over the batch are made share by share, so that they have the same bits for any
    /// number of ranks; else in groups of images that fit the caches, as trainings of earlier versions go on. Of
    /// processors.
    pub in_shares: bool,
    /// The same on OpenCL devices, which else compute the whole batch, or a part each.
    pub devices_in_shares: bool,
    /// The processes that share each batch; they need `in_shares`, or `devices_in_shares`.
    pub ranks: Option<Arc<Ranks>>,
    /// A folder that keeps machine code for the next start.
    pub cache: Option<PathBuf>,
    /// Whether OpenCL drivers optimise kernels. Those for processors need minutes for large networks, and half of that
    /// without.
    pub optimise: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            device: Device::Cpu,
            threads: 1,
            verify: true,
            emit: vec![],
            dumps: vec![],
            target: None,
            precision: None,
            in_shares: true,
            devices_in_shares: false,
            ranks: None,
            cache: None,
            optimise: true,
        }
    }
}
