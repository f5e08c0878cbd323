//! Processors to build for: what `--cpu` names.

use super::systems::{Processor, System};
use crate::back::x86::Features;
use crate::lower::target::{Algorithm, Isa, Target};
use crate::types::Format;
use ninc_runtime::{Error, Result};

/// A level of processors, with instructions beside it, as in `x86-64-v4+vnni`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    base: Base,
    more: Features,
}

/// A level without extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Baseline,
    V3,
    V4,
    Native,
}

impl Base {
    const ALL: [Base; 4] = [Base::Baseline, Base::V3, Base::V4, Base::Native];

    fn name(self) -> &'static str {
        match self {
            Base::Baseline => "baseline",
            Base::V3 => "x86-64-v3",
            Base::V4 => "x86-64-v4",
            Base::Native => "native",
        }
    }

    /// Words of extensions that may follow, with what each adds.
    fn extensions(self) -> &'static [(&'static str, Features)] {
        match self {
            Base::V3 => &[("vnni", VNNI)],
            Base::V4 => &[("vnni", VNNI), ("bf16", BF16), ("amx", AMX)],
            Base::Baseline | Base::Native => &[],
        }
    }
}

const NONE: Features = Features { bf16: false, vnni: false, tiles: false };
const VNNI: Features = Features { vnni: true, ..NONE };
const BF16: Features = Features { bf16: true, ..NONE };
/// Every processor with tiles has the other two.
const AMX: Features = Features { bf16: true, vnni: true, tiles: true };

impl Level {
    /// Any processor of the architecture.
    pub const BASELINE: Level = Level { base: Base::Baseline, more: NONE };
    /// AVX2 and FMA.
    pub const V3: Level = Level { base: Base::V3, more: NONE };
    /// AVX2, FMA and AVX_VNNI.
    pub const V3_VNNI: Level = Level { base: Base::V3, more: VNNI };
    /// AVX-512 F, BW, DQ, VL.
    pub const V4: Level = Level { base: Base::V4, more: NONE };
    /// The same with AVX512_VNNI.
    pub const V4_VNNI: Level = Level { base: Base::V4, more: VNNI };
    /// The same as [`Level::V4`] with AVX512_BF16.
    pub const V4_BF16: Level = Level { base: Base::V4, more: BF16 };
    /// The same with both, and AMX for bf16 and int8.
    pub const V4_AMX: Level = Level { base: Base::V4, more: AMX };
    /// The machine that builds, as `ninc run` uses it.
    pub const NATIVE: Level = Level { base: Base::Native, more: NONE };

    /// Returns the levels of a library for several of them, from the least to the most demanding: beside the widths of
    /// vectors those with units for the network's numbers, where the system lets programs use them.
    pub fn fat(system: System, whole: bool, precision: Option<Format>, algorithm: Algorithm) -> Vec<Level> {
        let mut levels = vec![Level::BASELINE, Level::V3];
        levels.extend(whole.then_some(Level::V3_VNNI));
        levels.push(Level::V4);
        levels.extend(whole.then_some(Level::V4_VNNI));
        let pairs = precision == Some(Format::Bf16);
        levels.extend(pairs.then_some(Level::V4_BF16));
        let tiles = whole || pairs || algorithm == Algorithm::Split;
        levels.extend((tiles && system.has_tiles()).then_some(Level::V4_AMX));
        levels
    }

    /// Reads a level's name. The error lists what there is.
    pub fn named(text: &str) -> Result<Level> {
        let mut words = text.split('+');
        let first = words.next().unwrap_or_default();
        let Some(base) = Base::ALL.into_iter().find(|base| base.name() == first) else {
            return Err(Error::new(format!("levels: {}", Base::ALL.map(Base::name).join(", "))));
        };
        let known = base.extensions();
        let mut more = NONE;
        for word in words {
            let Some((_, adds)) = known.iter().find(|(name, _)| *name == word) else {
                return Err(Error::new(match known.iter().map(|(name, _)| format!("+{name}")).collect::<Vec<_>>() {
                    none if none.is_empty() => format!("`{first}` takes no extensions, as `+{word}`"),
                    names => format!("extensions of `{first}`: {}", names.join(", ")),
                }));
            };
            let Features { bf16, vnni, tiles } = more;
            more = Features { bf16: bf16 || adds.bf16, vnni: vnni || adds.vnni, tiles: tiles || adds.tiles };
        }
        Ok(Level { base, more })
    }

    /// Returns the name on the command line, extensions in one order and without what others imply.
    pub fn name(self) -> String {
        let own = |adds: &Features| match adds.tiles {
            true => self.more.tiles,
            false => !self.more.tiles && (adds.vnni && self.more.vnni || adds.bf16 && self.more.bf16),
        };
        let words = self.base.extensions().iter().filter(|(_, adds)| own(adds)).map(|(word, _)| format!("+{word}"));
        std::iter::once(self.base.name().to_owned()).chain(words).collect()
    }

    /// Does it multiply on tiles? `host` is what `native` stands for.
    pub fn has_tiles(self, host: &Target) -> bool {
        self.more.tiles || self.base == Base::Native && host.cpu().tiles
    }

    /// What recipes are written for. Nothing but `native` depends on the machine that builds.
    pub fn target(self, system: System, host: &Target) -> Result<Target> {
        let (triple, x86) = (system.triple, system.x86());
        let least = match system.processor {
            Processor::X86_64 => Target::portable(false),
            Processor::Aarch64 => Target::neon(),
            Processor::Riscv64 => Target::portable(true),
        };
        let fixed = Target { algorithm: host.algorithm, ..least };
        let isa = match self.base {
            Base::Native if system.is_native() => return Ok(host.clone()),
            Base::Native => {
                let fits = |base: &Base| *base == Base::Baseline || x86 && *base != Base::Native;
                let fixed = Base::ALL.into_iter().filter(fits).map(|base| format!("`--cpu {}`", base.name()));
                let fixed = fixed.collect::<Vec<_>>().join(", ");
                return Err(Error::new(format!("`--cpu native` is this machine, which is not {triple}"))
                    .with_help(format!("for {triple} there is {fixed}")));
            }
            Base::Baseline => return Ok(fixed),
            Base::V3 | Base::V4 if !x86 => {
                return Err(Error::new(format!("{} is a level of x86-64, not of {triple}", self.name()))
                    .with_help("for other processors there is `--cpu baseline`"));
            }
            Base::V3 => Isa::Avx2,
            Base::V4 => Isa::Avx512,
        };
        let Features { bf16, vnni, tiles } = self.more;
        if tiles && !system.has_tiles() {
            return Err(Error::new(format!("{} needs matrix units, which only Linux lets a library use", self.name()))
                .with_help("build for a level without `+amx`"));
        }
        // Those with tiles are Intel's, which multiply pairs at half the rate of float32.
        let target =
            fixed.with_vectors(isa).with_cpu(|cpu| (cpu.bf16, cpu.vnni, cpu.tiles) = (bf16 && !tiles, vnni, tiles));
        Ok(if tiles { Target { cache: WITH_TILES, ..target } } else { target })
    }
}

/// Sizes of caches of the processors with tiles: the first two are those of all of them.
const WITH_TILES: [usize; 3] = [48 << 10, 2 << 20, 16 << 20];
