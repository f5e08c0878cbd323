//! Names of the kernel IR as unique C identifiers: letters, digits and underscores, never a keyword of the language.

use crate::kernel::ir::{KernelId, MicroKernelId, Module, PrimaryMap};
use std::collections::HashSet;

pub(super) struct Names {
    /// Names of the functions of micro-kernels.
    pub micro_kernels: PrimaryMap<MicroKernelId, String>,
    /// Names of kernels.
    pub kernels: PrimaryMap<KernelId, String>,
}

impl Names {
    /// Chooses names, all different, from those in the module.
    pub fn new(module: &Module) -> Names {
        let mut taken = HashSet::new();
        let micro_kernels = module.micro_kernels.values().map(|l| distinct(&mut taken, &clean(&l.name))).collect();
        // A prefix, so that no kernel is called like a function of the language.
        let kernels = module.kernels.values().map(|k| distinct(&mut taken, &format!("k_{}", clean(&k.name)))).collect();
        Names { micro_kernels, kernels }
    }
}

fn distinct(taken: &mut HashSet<String>, name: &str) -> String {
    let mut candidate = name.to_string();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

/// Replaces everything but letters, digits and underscores in a name. Long names (of fused chains) are cut and told
/// apart by a hash of the whole.
pub(super) fn clean(name: &str) -> String {
    const MOST: usize = 96;
    let text: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if text.len() <= MOST {
        return text;
    }
    format!("{}_{:016x}", &text[..MOST - 17], ninc_runtime::init::fnv(name.as_bytes()))
}
