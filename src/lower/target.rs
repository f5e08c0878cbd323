//! What a recipe may know of the machine that its code will run on. Never the number of threads: nothing that decides
//! a rounding may depend on it.

pub use super::gpu::{Fusion, Gpu, GroupTile, Measured};
pub use super::widths::Widths;

use std::sync::Arc;

/// Which instructions micro-kernels are encoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Cranelift's instructions, with 128-bit vectors, for any processor it knows.
    Portable,
    /// 256-bit vectors, 16 registers.
    Avx2,
    /// 512-bit vectors, 32 registers.
    Avx512,
}

/// How convolutions are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The recipe decides.
    #[default]
    Auto,
    /// Sums of products as the definition says.
    Direct,
    /// Winograd's form where it applies (square unstrided windows), else direct.
    Winograd,
    /// Inference's sums of products of float32 in three parts of bf16, on matrix units; where these cannot, and in
    /// training, as the recipe decides.
    Split,
}

/// The batches that a plan is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Batch {
    /// Large batches: each thread has whole images.
    #[default]
    Throughput,
    /// Small batches: threads share an image, by shorter iterations and more launches.
    Latency,
    /// A step of training: iterations of several images, one layer a launch, weights that change each time.
    Training,
}

/// The machine that kernels are written for, and what is wanted of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Float32 lanes of a vector register.
    pub lanes: u32,
    /// Vector registers.
    pub registers: u32,
    /// Whether a fused multiply-add exists.
    pub fma: bool,
    /// Data cache sizes in bytes: first level and second level of a core, third level shared.
    pub cache: [usize; 3],
    /// What the user wants of convolutions.
    pub algorithm: Algorithm,
    /// The batches that kernels are for.
    pub batch: Batch,
    /// Whether launches of a training step see a share of the batch at a time, whose sums are added up elsewhere: then
    /// they overwrite what former images left of a sum, else they add to it.
    pub shares: bool,
    /// The kind of machine, with what only that kind has.
    pub machine: Machine,
}

/// What only one kind of machine has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// Few threads with wide vectors and caches of their own.
    Cpu(Cpu),
    /// Many work items, each with few bytes of its own.
    Gpu(Gpu),
}

/// What recipes and back ends know of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cpu {
    /// Instructions of micro-kernels.
    pub isa: Isa,
    /// Whether products of bf16 pairs (VDPBF16PS) exist, and are faster than multiply-adds on float32.
    pub bf16: bool,
    /// Whether VPDPBUSD exists.
    pub vnni: bool,
    /// Whether tiles can be multiplied (AMX: TDPBF16PS and TDPBUSD), with AVX512_BF16 to round to bf16.
    pub tiles: bool,
    /// Whether [`Algorithm::Auto`] may take tiles for float32, in parts: not where somebody asked for instructions,
    /// whose bits must be those of every processor that has them.
    pub parts: bool,
    /// Vectors of a register tile's columns, where that was measured or is being measured.
    pub vectors: Option<u8>,
    /// What `ninc tune` found.
    pub widths: Option<Arc<Widths>>,
}

impl Cpu {
    /// A processor with vectors of `isa`, and none of the optional instructions.
    const fn plain(isa: Isa) -> Cpu {
        Cpu { isa, bf16: false, vnni: false, tiles: false, parts: false, vectors: None, widths: None }
    }
}

impl Target {
    /// 128-bit vectors with or without fused multiply-add, common cache sizes.
    pub fn portable(fma: bool) -> Target {
        Target {
            lanes: 4,
            registers: 16,
            fma,
            cache: [32 << 10, 1 << 20, 16 << 20],
            algorithm: Algorithm::Auto,
            batch: Batch::Throughput,
            shares: false,
            machine: Machine::Cpu(Cpu::plain(Isa::Portable)),
        }
    }

    /// ARM with 64 bits: more registers than [`Target::portable`] has, multiply-adds that take a lane as a factor.
    pub fn neon() -> Target {
        Target { registers: 32, ..Target::portable(true) }
    }

    /// Do multiply-adds take a lane of a vector as a factor, so that one load brings four terms of a row? Only
    /// [`Target::neon`] has 32 registers among the targets without instructions of our own.
    pub fn by_lane(&self) -> bool {
        self.cpu().isa == Isa::Portable && !self.is_gpu() && self.registers >= 32
    }

    /// The target for which algorithms are weighed where that is another: more registers make other tiles, as
    /// measurements do, and no other bits.
    pub fn rounds_like(&self) -> Option<Target> {
        if !self.by_lane() && self.cpu().vectors.is_none() {
            return None;
        }
        let registers = if self.by_lane() { Target::portable(true).registers } else { self.registers };
        Some(Target { registers, ..self.clone() }.with_cpu(|cpu| cpu.vectors = None))
    }

    /// May register tiles have measured widths? Those of processors, but not in a step of training: see [`Widths`].
    pub fn has_widths(&self) -> bool {
        !self.is_gpu() && self.batch != Batch::Training
    }

    /// The target for what `key` says, where `ninc tune` has measured it: with tiles of the width that was best.
    pub fn tuned(&self, key: &str) -> Option<Target> {
        let Machine::Cpu(cpu) = &self.machine else { return None };
        let width = *cpu.widths.as_ref()?.0.get(key)?;
        Some(self.clone().with_cpu(|cpu| cpu.vectors = Some(width)))
    }

    /// Any OpenCL 1.2 device: scalar work items, as much local memory as all of them have.
    pub fn gpu() -> Target {
        Target::gpu_with(GroupTile::ALL[0], Arc::default())
    }

    /// Like [`Target::gpu`], with another tile, or with what was measured.
    pub fn gpu_with(tile: GroupTile, measured: Arc<Measured>) -> Target {
        let gpu = Gpu { local_bytes: 32 << 10, group_items: 256, fusion: Fusion::Auto, tensor: false, tile, measured };
        Target { lanes: 1, machine: Machine::Gpu(gpu), ..Target::portable(true) }
    }

    /// Returns the target within the limits of a device.
    pub fn limited(self, local_bytes: u64, group_items: usize) -> Target {
        self.with_gpu(|gpu| {
            // A group that takes all of a large local memory would be alone on its unit.
            gpu.local_bytes = local_bytes.min(48 << 10) as usize;
            gpu.group_items = group_items.min(1024);
        })
    }

    /// Says whether steps of training multiply on tiles: not where Winograd's form, which reads float32, was asked for.
    pub fn trains_on_tiles(&self) -> bool {
        self.cpu().tiles && self.algorithm != Algorithm::Winograd
    }

    /// A processor with vectors of `isa`, and none of its optional instructions.
    pub fn with_vectors(self, isa: Isa) -> Target {
        let target = Target { machine: Machine::Cpu(Cpu::plain(isa)), ..self };
        match isa {
            Isa::Portable => target,
            Isa::Avx2 => Target { lanes: 8, fma: true, ..target },
            Isa::Avx512 => Target { lanes: 16, registers: 32, fma: true, ..target },
        }
    }

    /// Returns what a processor has; of a GPU, what a portable processor has.
    pub fn cpu(&self) -> Cpu {
        match &self.machine {
            Machine::Cpu(cpu) => cpu.clone(),
            Machine::Gpu(_) => Cpu::plain(Isa::Portable),
        }
    }

    /// Is it a GPU, on which iterations are work items?
    pub fn is_gpu(&self) -> bool {
        matches!(self.machine, Machine::Gpu(_))
    }

    /// Returns the target with a change of what a processor has; a GPU stays as it is.
    pub fn with_cpu(mut self, change: impl FnOnce(&mut Cpu)) -> Target {
        if let Machine::Cpu(cpu) = &mut self.machine {
            change(cpu);
        }
        self
    }

    /// Returns the target with a change of what a GPU's recipes know; a processor stays as it is.
    pub fn with_gpu(mut self, change: impl FnOnce(&mut Gpu)) -> Target {
        if let Machine::Gpu(gpu) = &mut self.machine {
            change(gpu);
        }
        self
    }
}

impl Isa {
    /// All instruction sets, from the narrowest to the widest.
    pub const ALL: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512];

    /// Returns the word of `--isa`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// Does this machine run it?
    pub fn present(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Isa::Portable => true,
            Isa::Avx2 => std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma"),
            Isa::Avx512 => {
                Isa::Avx2.present()
                    && std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512dq")
                    && std::is_x86_feature_detected!("avx512vl")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == Isa::Portable;
    }
}

impl Target {
    /// The machine that this runs on, with its widest vectors.
    pub fn host() -> Target {
        let best = Isa::ALL.into_iter().rev().find(|isa| isa.present());
        Target::host_with(best.unwrap_or(Isa::Portable)).with_cpu(|cpu| cpu.parts = cpu.tiles)
    }

    /// The machine that this runs on, with vectors of `isa`, which it must have.
    pub fn host_with(isa: Isa) -> Target {
        let cache = host_caches().unwrap_or([32 << 10, 1 << 20, 16 << 20]);
        let least = if cfg!(target_arch = "aarch64") { Target::neon() } else { Target::portable(host_fma()) };
        let portable = Target { cache, ..least };
        let plain = Cpu { vnni: host_vnni(isa), ..Cpu::plain(isa) };
        let machine = match isa {
            Isa::Avx512 => Cpu { bf16: host_bf16(), tiles: host_tiles(), ..plain },
            _ => plain,
        };
        Target { machine: Machine::Cpu(machine), ..portable.with_vectors(isa) }
    }
}

/// Are products of bf16 pairs fast? Intel's processors multiply them at half the rate of multiply-adds on float32.
fn host_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512bf16") && !ninc_runtime::tiles::by_intel();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn host_tiles() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512bf16") && ninc_runtime::tiles::permitted();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn host_vnni(isa: Isa) -> bool {
    #[cfg(target_arch = "x86_64")]
    return match isa {
        Isa::Avx512 => std::is_x86_feature_detected!("avx512vnni"),
        Isa::Avx2 => std::is_x86_feature_detected!("avxvnni"),
        Isa::Portable => false,
    };
    #[cfg(not(target_arch = "x86_64"))]
    return {
        let _ = isa;
        false
    };
}

fn host_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("fma") && std::is_x86_feature_detected!("avx");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// Bytes of the last level of cache that count for each of the processors that share it.
const SHARE: usize = 4 << 20;

/// The sizes of caches that a training counts on. A virtual machine sees a server's last level whole, whose other parts
/// its neighbours fill: of that level 4 MiB count for each processor of this machine that shares it.
pub fn own_caches([first, second, last]: [usize; 3]) -> [usize; 3] {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list");
    let share = list.ok().and_then(|list| listed(list.trim())).map_or(last, |processors| processors * SHARE);
    [first, second, last.min(share)]
}

/// The number of processors in a list like `0-3,8`.
fn listed(text: &str) -> Option<usize> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some((last.checked_sub(first)?) + 1)
    };
    text.split(',').map(count).sum()
}

/// Sizes of the data caches of the first processor, as Linux tells them.
fn host_caches() -> Option<[usize; 3]> {
    let mut sizes = [0; 3];
    for entry in std::fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?.flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
        let (Some(level), Some(kind), Some(size)) = (read("level"), read("type"), read("size")) else { continue };
        let Some(size) = parse_size(size.trim()) else { continue };
        if let (Ok(level @ 1..=3), "Data" | "Unified") = (level.trim().parse::<usize>(), kind.trim()) {
            sizes[level - 1] = size;
        }
    }
    // A machine without a third level: its second one is the last.
    if sizes[2] == 0 {
        sizes[2] = sizes[1];
    }
    (sizes[0] > 0 && sizes[1] > 0).then_some(sizes)
}

/// Sizes of the first, second and last level of data cache from a text like `48K,2M,32M`.
pub fn parse_caches(text: &str) -> Option<[usize; 3]> {
    let sizes: Option<Vec<usize>> = text.split(',').map(|size| parse_size(size.trim())).collect();
    // Below a kilobyte no tile fits; beyond a terabyte sizes could overflow when recipes multiply them.
    let possible = |size: &usize| (1 << 10..=1 << 40).contains(size);
    sizes?.try_into().ok().filter(|sizes: &[usize; 3]| sizes.iter().all(possible))
}

/// Reads `48K`, `2M` or a number of bytes.
fn parse_size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix(['K', 'M']) {
        Some(digits) => (digits, if text.ends_with('K') { 1 << 10 } else { 1 << 20 }),
        None => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}
