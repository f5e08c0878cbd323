//! `ninc build`: a compiled network as an ordinary library, which needs nothing but the C library and threads.
//!
//! The kernels' code is that of the JIT. Around it stands a driver (`driver/`) in a small language of its own,
//! compiled with it, which reads the plan from an image of it (`image`). So a library for a machine gives the bits
//! of `ninc run` there; one can be made for every processor that code can be made for, and building one needs no
//! compiler but this.

use crate::back::cranelift::Object;
use crate::back::{MicroKernelCode, driver, x86};
use crate::kernel::ir::{MicroKernel, Module};
use crate::lower::target::{Cpu, Isa, Target};
use crate::verified::Verified;
use cranelift_module::{DataId, FuncId};
use error::LibraryError;
use image::{Extras, Image};
use ninc_runtime::plan::Plan;
use systems::{Processor, System};

pub mod archive;
mod contents;
pub mod error;
pub mod files;
pub mod header;
pub mod image;
pub mod levels;
pub mod opencl;
pub mod records;
pub mod shared;
pub mod systems;
pub mod table;
pub mod web;
mod worth;

/// The driver's text, a page per subject. What differs between systems is in pages of `systems`.
const DRIVER: [&str; 6] = [
    include_str!("driver/load.driver"),
    include_str!("driver/prepare.driver"),
    include_str!("driver/picture.driver"),
    include_str!("driver/team.driver"),
    include_str!("driver/run.driver"),
    include_str!("driver/api.driver"),
];
const TRAIN: &str = include_str!("driver/train.driver");
const EMBEDDED: &str = include_str!("driver/embedded.driver");
const CPU_X86: &str = include_str!("driver/cpu_x86.driver");
const TILES_LINUX: &str = include_str!("driver/tiles_linux.driver");

/// A program compiled for one level of processors.
pub struct Variant<'a> {
    /// What to launch.
    pub plan: &'a Plan,
    /// The kernels.
    pub module: &'a Verified<Module>,
    /// What they are compiled for.
    pub target: &'a Target,
}

/// What the driver must find to use a target's code, as the bits of `cpu_x86.driver`.
fn needs(target: &Target) -> i64 {
    let Cpu { isa, bf16, vnni, tiles, .. } = target.cpu();
    let level = match isa {
        Isa::Portable if target.fma => 3,
        Isa::Portable => 0,
        Isa::Avx2 => 3,
        Isa::Avx512 => 7,
    };
    let vnni = match isa {
        _ if !vnni => 0,
        Isa::Avx512 => 16,
        _ => 32,
    };
    level + if bf16 || tiles { 8 } else { 0 } + vnni + if tiles { TILES } else { 0 }
}

/// The bit of processors with tiles.
const TILES: i64 = 64;
/// The bit of processors that multiply pairs of bf16 faster than float32.
const FAST_PAIRS: i64 = 128;

/// A program for all levels, and what belongs to it.
pub struct ProgramVariants<'a> {
    /// The programs, from the least to the most demanding level.
    pub variants: Vec<Variant<'a>>,
    /// What belongs to the program at all levels.
    pub extras: Extras<'a>,
}

/// Bytes of memory for the teams of threads.
const TEAMS: usize = 0x10000;

/// What a library holds.
pub struct LibraryContents<'a> {
    /// The network's inference.
    pub inference: ProgramVariants<'a>,
    /// The program that brings pictures to what the network was trained on, where it takes any. Its parameters are the
    /// preparation's tensors, in their order.
    pub preparation: Option<ProgramVariants<'a>>,
    /// A step of its training.
    pub training: Option<ProgramVariants<'a>>,
    /// A weights file to put inside.
    pub embedded: Option<Vec<u8>>,
}

/// An object under way with what its driver may name.
struct Maker {
    object: Object,
    name: String,
    system: System,
    data: Vec<(String, DataId)>,
    text: String,
}

/// The object file of a network and the bytes of its machine code.
pub fn object(name: &str, system: System, contents: LibraryContents) -> Result<(Vec<u8>, usize), LibraryError> {
    let least = contents.inference.variants.first();
    let least = least.ok_or_else(|| LibraryError::internal("a library without code"))?.target;
    let base = least.clone().with_vectors(Isa::Portable);
    let object = Object::new(name, system.triple, &base)?;
    let mut maker = Maker { object, name: name.into(), system, data: vec![], text: String::new() };
    maker.program("", &contents.inference)?;
    match &contents.preparation {
        Some(preparation) => maker.program("_prepare", preparation)?,
        None => maker.text += "fn choose_prepare() { return 0; }\n",
    }
    DRIVER.into_iter().chain(system.driver(contents.training.is_some())).for_each(|page| maker.text += page);
    if let Some(training) = &contents.training {
        maker.program("_train", training)?;
        maker.text += TRAIN;
    }
    let mut constants = image::constants();
    constants.extend(system.constants());
    if let Some(weights) = contents.embedded {
        constants.push(("WEIGHTS_BYTES".into(), weights.len() as i64));
        maker.data("weights", weights, &[])?;
        maker.text += EMBEDDED;
    }
    // Whole pages, however large they are, because the system clears whole ones in a child.
    constants.push(("TEAMS_BYTES".into(), TEAMS as i64));
    let page = if system.pages_are_larger() { TEAMS as u64 } else { 0x1000 };
    let teams = maker.object.zeros(&format!("{name}.data.teams"), TEAMS, page)?;
    maker.data.push(("teams".into(), teams));
    for name in system.linker_data() {
        maker.data.push(((*name).into(), maker.object.import(name)?));
    }
    maker.data("crc", crc_tables(), &[])?;
    maker.finish(&constants)
}

impl Maker {
    fn data(&mut self, name: &str, bytes: Vec<u8>, functions: &[(usize, FuncId)]) -> Result<(), LibraryError> {
        let id = self.object.data(&format!("{}.data.{name}", self.name), bytes, functions)?;
        self.data.push((name.into(), id));
        Ok(())
    }

    /// Kernels and plans of all levels, and the function that chooses one by what the processor has.
    fn program(&mut self, suffix: &str, program: &ProgramVariants) -> Result<(), LibraryError> {
        let mut choose = format!("fn choose{suffix}() {{\n    let found = cpu();\n");
        for (i, variant) in program.variants.iter().enumerate().rev() {
            let wide = x86::micro_kernel_code(variant.target);
            let none = |_: &MicroKernel| None;
            let prefix = format!("{}{suffix}.{i}.", self.name);
            let code: &MicroKernelCode = if self.system.x86() { &wide } else { &none };
            let kernels = self.object.kernels(&prefix, variant.module, variant.target, code)?;
            let Image { bytes, kernels: places } =
                image::build(variant.plan, variant.module, variant.target, &program.extras)?;
            let places: Vec<_> = places.iter().map(|&(at, kernel)| (at, kernels[kernel])).collect();
            // Names, shapes and classes are the same at all levels: the first, least one is `@plan`.
            let plan = if i == 0 { format!("plan{suffix}") } else { format!("plan{suffix}{i}") };
            self.data(&plan, bytes, &places)?;
            let mut need = if self.system.x86() { needs(variant.target) } else { 0 };
            // Where there is a choice, pairs have to be worth it.
            if program.variants.len() > 1 && variant.target.cpu().bf16 {
                need |= FAST_PAIRS;
            }
            let taken = match need & TILES {
                0 => format!("return @{plan};"),
                _ => format!("if tiles_permitted() {{ return @{plan}; }}"),
            };
            choose += &format!("    if (found & {need}) == {need} {{ {taken} }}\n");
        }
        self.text += &choose;
        self.text += "    return 0;\n}\n";
        Ok(())
    }

    fn finish(mut self, constants: &[(String, i64)]) -> Result<(Vec<u8>, usize), LibraryError> {
        let pause = match self.system.processor {
            Processor::X86_64 => &PAUSE_X86[..],
            Processor::Aarch64 => &YIELD_ARM[..],
            Processor::Riscv64 => &PAUSE_RISCV[..],
        };
        let pause = self.object.bytes(&format!("{}.pause", self.name), 0, pause)?;
        let (symbols, near) = (self.system.symbols(), self.system.windows());
        let mut names = driver::Names { prefix: &self.name, symbols, near, ..driver::Names::default() };
        names.data.extend(self.data.iter().map(|(n, id)| (n.as_str(), *id)));
        names.constants.extend(constants.iter().map(|(n, v)| (n.as_str(), *v)));
        names.functions.push(("pause", pause));
        if self.system.x86() {
            let name = |what: &str| format!("{}.{what}", self.name);
            names.functions.push(("cpuid", self.object.bytes(&name("cpuid"), 3, &CPUID)?));
            names.functions.push(("xgetbv", self.object.bytes(&name("xgetbv"), 0, &XGETBV)?));
            self.text += CPU_X86;
            self.text += if self.system.has_tiles() { TILES_LINUX } else { "fn tiles_permitted() { return 0; }\n" };
        } else {
            self.text += "fn cpu() { return 0; }\n";
        }
        let emitted = driver::emit(&mut self.object.module, &self.text, &names)?;
        let unload = emitted.function("unload");
        let unload = unload.ok_or_else(|| LibraryError::internal("the driver has no function `unload`"))?;
        self.object.add(emitted.bytes, emitted.unwind);
        let code = self.object.code_bytes;
        Ok((self.object.finish(unload)?, code))
    }
}

/// `cpuid(leaf, subleaf, registers)`: `push rbx; mov eax, edi; mov ecx, esi; mov r8, rdx; cpuid`, the four
/// registers to memory, `pop rbx; ret`.
const CPUID: [u8; 27] = [
    0x53, 0x89, 0xf8, 0x89, 0xf1, 0x49, 0x89, 0xd0, 0x0f, 0xa2, 0x41, 0x89, 0x00, 0x41, 0x89, 0x58, 0x04, 0x41, 0x89,
    0x48, 0x08, 0x41, 0x89, 0x50, 0x0c, 0x5b, 0xc3,
];

/// `xor ecx, ecx; xgetbv; shl rdx, 32; or rax, rdx; ret`
const XGETBV: [u8; 13] = [0x31, 0xc9, 0x0f, 0x01, 0xd0, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3];

/// `pause; ret`: a thread that polls leaves the core's units to others.
const PAUSE_X86: [u8; 3] = [0xf3, 0x90, 0xc3];

/// `pause; ret`, which older processors take for a fence.
const PAUSE_RISCV: [u8; 8] = [0x0f, 0x00, 0x00, 0x01, 0x67, 0x80, 0x00, 0x00];

/// `yield; ret`
const YIELD_ARM: [u8; 8] = [0x3f, 0x20, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6];

/// Tables for CRC-32 (polynomial 0xEDB88320), eight bytes at a time: table k is that of a byte with k bytes behind it.
fn crc_tables() -> Vec<u8> {
    let mut tables = [[0u32; 256]; 8];
    for byte in 0..256u32 {
        let step = |v: u32| if v & 1 == 1 { v >> 1 ^ 0xedb8_8320 } else { v >> 1 };
        tables[0][byte as usize] = (0..8).fold(byte, |v, _| step(v));
    }
    for k in 1..8 {
        for byte in 0..256 {
            let below = tables[k - 1][byte];
            tables[k][byte] = below >> 8 ^ tables[0][(below & 255) as usize];
        }
    }
    tables.as_flattened().iter().flat_map(|v| v.to_le_bytes()).collect()
}
