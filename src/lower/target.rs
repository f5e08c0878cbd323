//! What a recipe may know of the machine that its code will run on. Never the number of threads: nothing that decides
//! a rounding may depend on it.

use crate::types::Format;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which instructions micro-kernels are encoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Cranelift, 128-bit vectors, any processor it knows.
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
    Direct,
    /// Where it applies (square unstrided windows), else direct.
    Winograd,
}

/// The batches that a plan is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Batch {
    /// Each thread has whole images.
    #[default]
    Many,
    /// Threads share an image: shorter rounds, more launches.
    Few,
    /// A step of training: rounds of several images, one layer a launch, weights that change each time.
    Training,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub isa: Isa,
    /// Float32 lanes of a vector register.
    pub lanes: u32,
    /// Vector registers.
    pub registers: u32,
    /// A fused multiply-add exists.
    pub fma: bool,
    /// VDPBF16PS exists.
    pub bf16: bool,
    /// VPDPBUSD exists.
    pub vnni: bool,
    /// Data cache sizes in bytes: first level and second level of a core, third level shared.
    pub cache: [usize; 3],
    pub algorithm: Algorithm,
    pub batch: Batch,
    /// Kernels are for a GPU: many work items, each with few bytes of its own.
    pub gpu: Option<Gpu>,
}

/// What recipes know of a GPU. Only tiles differ between devices, and they decide no rounding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gpu {
    /// Memory that the items of a group share, in bytes.
    pub local_bytes: usize,
    /// The most items of a group.
    pub group_items: usize,
    pub fusion: Fusion,
    /// 32 neighbouring items multiply matrices of bf16 numbers together.
    pub tensor: bool,
    /// The tile of products for which nothing was measured.
    pub tile: GroupTile,
    pub measured: Arc<Measured>,
}

/// What `ninc tune` found best on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Measured {
    /// By the product's name.
    pub tiles: BTreeMap<String, GroupTile>,
    /// By the chain's name.
    pub chains: BTreeMap<String, Fusion>,
}

/// Whether chains of convolutions become one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fusion {
    /// Where it costs less.
    #[default]
    Auto,
    /// Wherever the device has room for it.
    Always,
    /// The same, with so many pixels in a group.
    Rows(usize),
    Never,
}

impl Fusion {
    /// Those that `ninc tune` measures.
    pub const ROWS: [usize; 3] = [64, 32, 16];

    /// What was measured, as a word.
    pub fn name(self) -> String {
        match self {
            Fusion::Auto => "auto".into(),
            Fusion::Always => "fused".into(),
            Fusion::Rows(rows) => format!("rows{rows}"),
            Fusion::Never => "apart".into(),
        }
    }

    pub fn named(name: &str) -> Option<Fusion> {
        let measured = Fusion::ROWS.map(Fusion::Rows).into_iter().chain([Fusion::Never]);
        measured.into_iter().find(|f| f.name() == name)
    }
}

impl Measured {
    /// What `name` is kept as. It was measured with this precision, which memory and units that products use depend on.
    pub fn key(name: &str, precision: Option<Format>) -> String {
        precision.map_or(String::new(), |format| format!("{} ", format.name())) + name
    }

    /// From words by key, as they are kept, those of this precision; and how many of them say nothing here.
    pub fn from_words(
        words: &BTreeMap<String, String>,
        precision: Option<Format>,
        group_items: usize,
    ) -> (Measured, usize) {
        let mut measured = Measured::default();
        let begin = Measured::key("", precision);
        // Names have no spaces.
        let own = |key: &'_ String| key.strip_prefix(&begin).filter(|name| !name.contains(' ')).map(String::from);
        let words: Vec<_> = words.iter().filter_map(|(key, word)| Some((own(key)?, word))).collect();
        for (name, word) in &words {
            if let Some(tile) = GroupTile::named(word).filter(|tile| tile.items() <= group_items) {
                measured.tiles.insert(name.clone(), tile);
            } else if let Some(fusion) = Fusion::named(word) {
                measured.chains.insert(name.clone(), fusion);
            }
        }
        let lost = words.len() - measured.tiles.len() - measured.chains.len();
        (measured, lost)
    }
}

/// The tile of a product that a work group computes, and the part of it that each item keeps in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupTile {
    pub rows: usize,
    pub columns: usize,
    pub item_rows: usize,
    pub item_columns: usize,
    /// Terms of the sum that a group loads at a time.
    pub depth: usize,
}

impl GroupTile {
    /// Those that `ninc tune` measures, the usual one first.
    pub const ALL: [GroupTile; 7] = [
        GroupTile::new([64, 64], [4, 4], 16),
        GroupTile::new([32, 32], [2, 2], 16),
        GroupTile::new([32, 64], [4, 4], 16),
        GroupTile::new([64, 32], [4, 2], 16),
        GroupTile::new([64, 16], [4, 1], 16),
        GroupTile::new([128, 64], [8, 4], 8),
        GroupTile::new([128, 128], [8, 8], 8),
    ];

    const fn new([rows, columns]: [usize; 2], [item_rows, item_columns]: [usize; 2], depth: usize) -> GroupTile {
        GroupTile { rows, columns, item_rows, item_columns, depth }
    }

    /// Items of a group.
    pub fn items(&self) -> usize {
        (self.rows / self.item_rows) * (self.columns / self.item_columns)
    }

    /// `64x64x16_4x4`
    pub fn name(&self) -> String {
        format!("{}x{}x{}_{}x{}", self.rows, self.columns, self.depth, self.item_rows, self.item_columns)
    }

    /// The measured tile of this name.
    pub fn named(name: &str) -> Option<GroupTile> {
        GroupTile::ALL.into_iter().find(|t| t.name() == name)
    }
}

impl Target {
    /// 128-bit vectors with or without fused multiply-add, common cache sizes.
    pub fn portable(fma: bool) -> Target {
        Target {
            isa: Isa::Portable,
            lanes: 4,
            registers: 16,
            fma,
            bf16: false,
            vnni: false,
            cache: [32 << 10, 1 << 20, 16 << 20],
            algorithm: Algorithm::Auto,
            batch: Batch::Many,
            gpu: None,
        }
    }

    /// Any OpenCL 1.2 device: scalar work items, as much local memory as all of them have.
    pub fn gpu() -> Target {
        Target::gpu_with(GroupTile::ALL[0], Arc::default())
    }

    /// The same with another tile, or with what was measured.
    pub fn gpu_with(tile: GroupTile, measured: Arc<Measured>) -> Target {
        let gpu = Gpu { local_bytes: 32 << 10, group_items: 256, fusion: Fusion::Auto, tensor: false, tile, measured };
        Target { lanes: 1, gpu: Some(gpu), ..Target::portable(true) }
    }

    /// The same within the limits of a device.
    pub fn limited(self, local_bytes: u64, group_items: usize) -> Target {
        self.with_gpu(|gpu| {
            // A group that takes all of a large local memory would be alone on its unit.
            gpu.local_bytes = local_bytes.min(48 << 10) as usize;
            gpu.group_items = group_items.min(1024);
        })
    }

    /// The same with a change of what a GPU's recipes know.
    pub fn with_gpu(mut self, change: impl FnOnce(&mut Gpu)) -> Target {
        if let Some(gpu) = &mut self.gpu {
            change(gpu);
        }
        self
    }
}

impl Isa {
    /// From the narrowest to the widest.
    pub const ALL: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512];

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
        Target::host_with(best.unwrap_or(Isa::Portable))
    }

    /// The machine that this runs on, with vectors of `isa`, which it must have.
    pub fn host_with(isa: Isa) -> Target {
        let cache = host_caches().unwrap_or([32 << 10, 1 << 20, 16 << 20]);
        let portable = Target { cache, ..Target::portable(host_fma()) };
        match isa {
            Isa::Portable => portable,
            Isa::Avx2 => Target { isa, lanes: 8, fma: true, ..portable },
            Isa::Avx512 => {
                Target { isa, lanes: 16, registers: 32, fma: true, bf16: host_bf16(), vnni: host_vnni(), ..portable }
            }
        }
    }
}

fn host_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn host_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn host_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("fma") && std::is_x86_feature_detected!("avx");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
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

/// `48K`, `2M` or bytes.
fn parse_size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix(['K', 'M']) {
        Some(digits) => (digits, if text.ends_with('K') { 1 << 10 } else { 1 << 20 }),
        None => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}
