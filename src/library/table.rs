//! What a build did, a row per launch.

use crate::kernel::count;
use crate::kernel::ir::{Access, Kernel, Module};
use ninc_runtime::plan::{Launch, Plan};
use serde::Serialize;

/// One launch for one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The value that it computes.
    pub result: String,
    /// How: `direct` and `winograd F(m,r)` are convolutions.
    pub algorithm: String,
    /// Rows and columns of the register tile, where there is one.
    pub tile: Option<String>,
    pub multiply_adds: u64,
    /// Of all that it reads and writes.
    pub bytes: u64,
}

pub fn rows(plan: &Plan, module: &Module) -> Vec<Row> {
    plan.launches.iter().map(|launch| row(plan, module, launch)).collect()
}

fn row(plan: &Plan, module: &Module, launch: &Launch) -> Row {
    let kernel = &module.kernels[launch.kernel];
    let multiply_adds = count::kernel(module, kernel, 1).multiply_adds;
    let most = count::main_leaf(module, kernel, 1);
    let written = kernel.buffers.iter().zip(&launch.buffers).rev().find(|(b, _)| b.access != Access::Read);
    let mut buffers = launch.buffers.clone();
    buffers.sort_unstable();
    buffers.dedup();
    let bytes = buffers.iter().map(|&b| (plan.buffers[b].fixed + plan.buffers[b].per_image) as u64).sum();
    let tile = most.and_then(|leaf| {
        let name = module.leaves[leaf.0 as usize].name.strip_prefix("contract_")?;
        Some(name.split(['v', '_']).next()?.to_string())
    });
    let result = written.map_or_else(String::new, |(_, &b)| plan.buffers[b].name.clone());
    Row { algorithm: algorithm(kernel, &result), result, tile, multiply_adds, bytes }
}

/// From the names that recipes give their kernels.
fn algorithm(kernel: &Kernel, result: &str) -> String {
    let name = &kernel.name;
    let form = name.split('_').find_map(|part| {
        let (m, r) = part.strip_prefix("thin").or(part.strip_prefix('f'))?.split_once('x')?;
        Some(format!("winograd F({},{})", m.parse::<u32>().ok()?, r.parse::<u32>().ok()?))
    });
    if let Some(form) = form {
        return form;
    }
    if name.starts_with("conv_") {
        return "direct".into();
    }
    let own = name.strip_prefix(result).map_or(name.as_str(), |rest| rest.trim_start_matches('.'));
    own.split(|c: char| c.is_ascii_digit()).next().unwrap_or(own).trim_end_matches('_').to_string()
}
