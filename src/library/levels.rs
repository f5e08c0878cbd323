//! Processors to build for: what `--cpu` names.

use crate::lower::target::{Isa, Target};
use ninc_runtime::{Error, Result};

/// A level of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Any processor of the architecture.
    Baseline,
    /// AVX2 and FMA.
    V3,
    /// AVX-512 F, BW, DQ, VL.
    V4,
    /// The machine that builds, as `ninc run` uses it.
    Native,
}

impl Level {
    /// Every level, in the order of what they ask for.
    pub const ALL: [Level; 4] = [Level::Baseline, Level::V3, Level::V4, Level::Native];
    /// The levels that a library for several of them holds.
    pub const FAT: [Level; 3] = [Level::Baseline, Level::V3, Level::V4];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Level::Baseline => "baseline",
            Level::V3 => "x86-64-v3",
            Level::V4 => "x86-64-v4",
            Level::Native => "native",
        }
    }

    /// What recipes are written for. Nothing but `native` depends on the machine that builds.
    pub fn target(self, triple: &str, host: &Target) -> Result<Target> {
        let x86 = triple.starts_with("x86_64");
        if self == Level::Native {
            return match triple == host_triple() {
                // The system lets a process have tiles that asks for them, which a library does not.
                true => Ok(host.clone().with_cpu(|cpu| cpu.tiles = false)),
                false => Err(Error::new(format!("`--cpu native` is this machine, which is not {triple}"))),
            };
        }
        let fixed = Target { algorithm: host.algorithm, ..Target::portable(!x86) };
        match self {
            Level::V3 if x86 => Ok(fixed.with_vectors(Isa::Avx2)),
            Level::V4 if x86 => Ok(fixed.with_vectors(Isa::Avx512)),
            Level::V3 | Level::V4 => Err(Error::new(format!("{} is a level of x86-64, not of {triple}", self.name()))
                .with_help("for other processors there is `--cpu baseline`")),
            Level::Baseline | Level::Native => Ok(fixed),
        }
    }
}

/// The targets that libraries can be built for.
pub const TRIPLES: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Returns this machine's target, if libraries can be built for it; otherwise the first one.
pub fn host_triple() -> &'static str {
    match (cfg!(target_arch = "x86_64"), cfg!(target_arch = "aarch64")) {
        (true, _) => TRIPLES[0],
        (_, true) => TRIPLES[1],
        _ => "this machine",
    }
}
