//! OpenCL C 1.2 from verified kernel modules: a pure string, the same on every machine.
//!
//! A CPU kernel's parallel loop becomes work items that take its iterations in turns; a GPU kernel's group and item
//! loops become the work groups and their items. Micro-kernels become C functions, one for each combination of address
//! spaces that they are called with, because OpenCL C 1.2 has no pointers into any memory.
//!
//! I32 values are `uint`, whose overflow wraps; operations that look at the sign say so. Vector masks are all ones or
//! zero in each lane, scalar ones 1 or 0. Multiplication and addition are never contracted behind our back, so that the
//! only fused ones are those that the kernel IR asks for, and bits agree with the processor's wherever the driver
//! rounds correctly.

use crate::back::EmitError;
use crate::kernel::interp::scratch_offsets;
use crate::kernel::ir::*;
use crate::verified::Verified;
use ninc_runtime::opencl::{Entry, Source};
use std::collections::BTreeMap;
use std::fmt::Write;

mod micro_kernel;
mod names;
mod nest;
mod tensor;

/// Scratch arrays of a work item that are larger than this lie in global memory: a device keeps few bytes an item.
const PRIVATE_BYTES: usize = 2048;

/// Lists what this back end cannot say in OpenCL C, by the feature's name; recipes for GPUs do without. `ninc devices`
/// prints it.
pub fn unsupported() -> Vec<&'static str> {
    micro_kernel::MISSING.to_vec()
}

/// Where a pointer argument points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Area {
    Global,
    Local,
    Private,
}

impl Area {
    fn word(self) -> &'static str {
        match self {
            Area::Global => "__global ",
            Area::Local => "__local ",
            Area::Private => "",
        }
    }

    fn letter(self) -> char {
        match self {
            Area::Global => 'g',
            Area::Local => 'l',
            Area::Private => 'p',
        }
    }
}

/// Writes the text of a module, and what the runtime has to know of its kernels. An error names what is not supported.
pub fn emit(module: &Verified<Module>) -> Result<Source, EmitError> {
    let names = names::Names::new(module);
    let mut variants: BTreeMap<(MicroKernelId, Vec<Area>), String> = BTreeMap::new();
    let mut kernels = String::new();
    let mut entries = Vec::new();
    for (id, kernel) in &module.kernels {
        let mut nest = nest::Nest::new(module, kernel, &names, &mut variants);
        nest.kernel(&names.kernels[id], &mut kernels);
        let (_, bytes) = scratch_offsets(spilled(kernel).map(|s| (s.elem, s.len)));
        entries.push(Entry {
            name: names.kernels[id].clone(),
            items: kernel.groups().map(|g| g.items as usize),
            workspace_bytes: bytes,
        });
    }
    let mut text = String::from(HEAD);
    if module.micro_kernels.values().any(|l| l.warp_cooperative.is_some()) {
        text.push_str(&tensor::head());
    }
    for ((micro_kernel, areas), name) in &variants {
        micro_kernel::function(&module.micro_kernels[*micro_kernel], name, areas, &mut text)?;
    }
    text.push_str(&kernels);
    Ok(Source { text, kernels: entries, optimise: true })
}

/// Iterates over the scratch arrays that lie in global memory.
fn spilled(kernel: &Kernel) -> impl Iterator<Item = &Scratch> {
    kernel.scratch.values().filter(|s| area(s) == Area::Global)
}

fn area(scratch: &Scratch) -> Area {
    match scratch.space {
        Space::Local => Area::Local,
        Space::Private => Area::Private,
        Space::Cache if scratch.len * scratch.elem.bytes() <= PRIVATE_BYTES => Area::Private,
        Space::Cache => Area::Global,
    }
}

/// Returns what elements are called in memory.
fn memory_type(elem: Elem) -> &'static str {
    match elem {
        Elem::F32 => "float",
        Elem::I32 | Elem::Mask => "uint",
        Elem::Bf16 => "ushort",
        Elem::I16 => "short",
        Elem::U8 => "uchar",
        Elem::I8 => "char",
    }
}

fn line(text: &mut String, depth: usize, what: impl std::fmt::Display) {
    writeln!(text, "{:1$}{what}", "", 4 * depth).expect("strings take all text");
}

/// Arrays of an item are registers only where every index is a constant, that is, where short loops over them are
/// written out.
const UNROLL: &str = "#pragma unroll";
const SHORT: i64 = 8;

/// Does a loop with these bounds have few iterations?
fn short(begin: &str, end: &str) -> bool {
    matches!((begin.parse::<i64>(), end.parse::<i64>()), (Ok(begin), Ok(end)) if end - begin <= SHORT)
}

/// Writes the head of a loop.
fn repeat(text: &mut String, depth: usize, index: &str, name: &str, begin: &str, end: &str) {
    line(text, depth, format_args!("for ({index} {name} = {begin}; {name} < {end}; ++{name}) {{"));
}

const HEAD: &str = "\
// OpenCL C 1.2, written by ninc. Indices count elements and are `idx`: 32 bits unless the build says otherwise.
#pragma OPENCL FP_CONTRACT OFF
#ifndef IDX
#define IDX long
#endif
typedef IDX idx;

// Divisions that round down, by a positive number.
#define FLOOR_DIV(a, b) ((a) >= 0 ? (a) / (b) : -(((b) - 1 - (a)) / (b)))
#define FLOOR_REM(a, b) ((a) - FLOOR_DIV(a, b) * (b))
// Rounded once where the device has it in hardware.
#ifdef FP_FAST_FMAF
#define FMA(a, b, c) fma(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

";
