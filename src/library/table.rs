//! What a build did, a row per launch.

use crate::kernel::count;
use crate::kernel::ir::{Access, EntityRef, Kernel, KernelId, Module};
use crate::lower::cost;
use crate::lower::target::Target;
use crate::recipes::contraction::Tile;
use ninc_runtime::plan::{Launch, Plan};
use serde::Serialize;

/// Images of the batch that rows are counted for: at least as many as kernels share a round between.
const IMAGES: usize = 8;

/// One launch, for an image of a batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The value that it computes.
    pub result: String,
    /// How: `direct` and `winograd F(m,r)` are convolutions.
    pub algorithm: String,
    /// Rows and columns of the register tile, where there is one.
    pub tile: Option<String>,
    pub multiply_adds: u64,
    /// Of all that it reads and writes for one image.
    pub bytes: u64,
    /// The part of a core's multiply-adds that the model of costs predicts, in thousandths; nothing where none are done.
    pub of_peak: Option<f64>,
}

pub fn rows(plan: &Plan, module: &Module, target: &Target) -> Vec<Row> {
    plan.launches.iter().map(|launch| row(plan, module, target, launch)).collect()
}

fn row(plan: &Plan, module: &Module, target: &Target, launch: &Launch) -> Row {
    let kernel = &module.kernels[KernelId::new(launch.kernel)];
    let images = plan.group_of(IMAGES);
    let work = count::kernel(module, kernel, images) / images as u64;
    let most = count::main_micro_kernel(module, kernel, images);
    let written = kernel.buffers.values().zip(&launch.buffers).rev().find(|(b, _)| b.access != Access::Read);
    let mut buffers = launch.buffers.clone();
    buffers.sort_unstable();
    buffers.dedup();
    let bytes = |images: usize| {
        let sizes = buffers.iter().map(|&b| plan.buffers[b].fixed / images + plan.buffers[b].per_image);
        sizes.sum::<usize>()
    };
    let tile = most.and_then(|micro_kernel| tile(&module.micro_kernels[micro_kernel].name));
    let share = cost::share_of_peak(target, &work, tile, bytes(images));
    let result = written.map_or_else(String::new, |(_, &b)| plan.buffers[b].name.clone());
    Row {
        algorithm: algorithm(kernel, &result),
        result,
        tile: tile.map(|t| format!("{}x{}", t.rows, t.columns())),
        multiply_adds: work.multiply_adds,
        bytes: bytes(1) as u64,
        of_peak: share.map(|share| (1e3 * share).round() / 1e3),
    }
}

/// The register tile in the name of a micro-kernel that multiplies matrices: `contract_6x16v8_…` has 6 rows and two vectors of 8.
fn tile(micro_kernel: &str) -> Option<Tile> {
    let form = micro_kernel.strip_prefix("contract_")?.split('_').next()?;
    let (rows, rest) = form.split_once('x')?;
    let (columns, lanes) = rest.split_once('v')?;
    let (rows, columns, lanes) = (rows.parse().ok()?, columns.parse::<usize>().ok()?, lanes.parse::<u32>().ok()?);
    Some(Tile { rows, vectors: columns.div_ceil(lanes.max(1) as usize), lanes })
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
