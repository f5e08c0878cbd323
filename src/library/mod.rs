//! `ninc build`: a compiled network as an ordinary library, which needs nothing but the C library and threads.
//!
//! The kernels' code is that of the JIT. Around it stands a driver (`driver/`) in a small language of its own, compiled with
//! it, which reads the plan from a table (`blob`). So a library behaves like `ninc run`, to the last bit, on every processor
//! that code can be made for, and building one needs no compiler but this.

use crate::back::cranelift::Object;
use crate::back::{driver, x86};
use crate::kernel::ir::Module;
use crate::kernel::target::{Isa, Target};
use crate::verified::Verified;
use blob::{Blob, Extras};
use ninc_runtime::data::lcn;
use ninc_runtime::plan::Plan;
use ninc_runtime::{Error, Result};

pub mod archive;
pub mod blob;
pub mod files;
pub mod header;
pub mod levels;
pub mod shared;

/// The driver's text, a page per subject.
const DRIVER: [&str; 4] = [
    include_str!("driver/load.driver"),
    include_str!("driver/prepare.driver"),
    include_str!("driver/run.driver"),
    include_str!("driver/api.driver"),
];
const CPU_X86: &str = include_str!("driver/cpu_x86.driver");

/// One set of kernels with its plan: a library has one for each level of processors.
pub struct Part<'a> {
    pub plan: &'a Plan,
    pub module: &'a Verified<Module>,
    pub target: &'a Target,
}

/// What the driver must find to use a target's code, as the bits of `cpu_x86.driver`.
fn needs(target: &Target) -> i64 {
    let level = match target.isa {
        Isa::Portable if target.fma => 3,
        Isa::Portable => 0,
        Isa::Avx2 => 3,
        Isa::Avx512 => 7,
    };
    level + if target.bf16 { 8 } else { 0 } + if target.vnni { 16 } else { 0 }
}

/// The object file of a network and the bytes of its machine code. `parts` go from the least to the most demanding.
pub fn object(name: &str, triple: &str, parts: &[Part], extras: &Extras) -> Result<(Vec<u8>, usize)> {
    let failed = |e: String| Error::new(format!("code: {e}"));
    let least = parts.first().ok_or_else(|| Error::new("a library of no code"))?.target;
    let base = Target { isa: Isa::Portable, ..least.clone() };
    let mut object = Object::new(name, triple, &base).map_err(failed)?;
    let x86 = triple.starts_with("x86_64");
    let mut names = driver::Names { prefix: name, ..driver::Names::default() };
    let mut choose = String::from("fn choose() {\n    let found = cpu();\n");
    let mut data = Vec::new();
    for (i, part) in parts.iter().enumerate().rev() {
        let wide = x86::leaf_code(part.target);
        let none = |_: &crate::kernel::ir::Leaf| None;
        let prefix = format!("{name}.{i}.");
        let kernels =
            object.kernels(&prefix, part.module, part.target, if x86 { &wide } else { &none }).map_err(failed)?;
        let Blob { bytes, kernels: places } = blob::build(part.plan, extras)?;
        let places: Vec<_> = places.iter().map(|&(at, kernel)| (at, kernels[kernel])).collect();
        data.push((format!("plan{i}"), object.data(&format!("{name}.data.plan{i}"), bytes, &places).map_err(failed)?));
        let need = if x86 { needs(part.target) } else { 0 };
        choose += &format!("    if (found & {need}) == {need} {{ return @plan{i}; }}\n");
    }
    choose += "    return 0;\n}\n";
    // Names, shapes and classes are the same in all parts.
    data.push(("plan".into(), data.last().expect("there is a part").1));
    data.push(("crc".into(), object.data(&format!("{name}.data.crc"), crc_tables(), &[]).map_err(failed)?));
    let (raw, total) = lcn::gaussian();
    let gauss = raw.iter().chain([&total]).flat_map(|v| v.to_le_bytes()).collect();
    data.push(("gauss".into(), object.data(&format!("{name}.data.gauss"), gauss, &[]).map_err(failed)?));
    names.data.extend(data.iter().map(|(n, id)| (n.as_str(), *id)));
    let constants = blob::constants();
    names.constants.extend(constants.iter().map(|(n, v)| (n.as_str(), *v)));
    let mut text = if x86 {
        names.functions.push(("cpuid", object.bytes(&format!("{name}.cpuid"), 3, &CPUID).map_err(failed)?));
        names.functions.push(("xgetbv", object.bytes(&format!("{name}.xgetbv"), 0, &XGETBV).map_err(failed)?));
        CPU_X86.to_string()
    } else {
        "fn cpu() { return 0; }\n".to_string()
    };
    text += &choose;
    DRIVER.into_iter().for_each(|part| text += part);
    let (_, bytes) = driver::emit(&mut object.module, &text, &names).map_err(|e| Error::new(format!("driver: {e}")))?;
    let code = object.code_bytes + bytes;
    Ok((object.finish().map_err(failed)?, code))
}

/// `cpuid(leaf, subleaf, registers)`: `push rbx; mov eax, edi; mov ecx, esi; mov r8, rdx; cpuid`, the four registers to
/// memory, `pop rbx; ret`.
const CPUID: [u8; 27] = [
    0x53, 0x89, 0xf8, 0x89, 0xf1, 0x49, 0x89, 0xd0, 0x0f, 0xa2, 0x41, 0x89, 0x00, 0x41, 0x89, 0x58, 0x04, 0x41, 0x89,
    0x48, 0x08, 0x41, 0x89, 0x50, 0x0c, 0x5b, 0xc3,
];

/// `xor ecx, ecx; xgetbv; shl rdx, 32; or rax, rdx; ret`
const XGETBV: [u8; 13] = [0x31, 0xc9, 0x0f, 0x01, 0xd0, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3];

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
