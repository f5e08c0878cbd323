//! What a build did, a row per launch.

use crate::kernel::count::{self, Work};
use crate::kernel::ir::{Access, EntityRef, KernelId, Module};
use crate::lower::target::Target;
use crate::lower::{Origins, cost};
use ninc_runtime::plan::{Launch, Plan};
use serde::Serialize;
use std::ops::Add;

/// Images of the batch that rows are counted for: at least as many as kernels share an iteration between.
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
    /// Multiply-adds that the kernel does: with those of padded tiles, and without those that an algorithm saves.
    pub executed: u64,
    /// Bytes that it reads and writes for one image.
    pub bytes: u64,
    /// The part of a core's multiply-adds that the model of costs predicts, in thousandths; nothing where none are
    /// done.
    pub of_peak: Option<f64>,
}

/// A row for each launch of a run.
pub fn rows(plan: &Plan, module: &Module, target: &Target, origins: &Origins) -> Vec<Row> {
    plan.launches.iter().map(|launch| row(plan, module, target, origins, launch)).collect()
}

fn row(plan: &Plan, module: &Module, target: &Target, origins: &Origins, launch: &Launch) -> Row {
    let kernel = &module.kernels[KernelId::new(launch.kernel)];
    let images = plan.group_of(IMAGES);
    let works = count::by_micro_kernel(module, kernel, images);
    let whole = works.iter().map(|(_, work)| *work).fold(Work::default(), Add::add);
    let (work, most) = (whole / images as u64, count::main_micro_kernel(&works));
    let written = kernel.buffers.values().zip(&launch.buffers).rev().find(|(b, _)| b.access != Access::Read);
    let mut buffers = launch.buffers.clone();
    buffers.sort_unstable();
    buffers.dedup();
    let bytes = |images: usize| {
        let sizes = buffers.iter().map(|&b| plan.buffers[b].fixed / images + plan.buffers[b].per_image);
        sizes.sum::<usize>()
    };
    let tile = most.and_then(|id| origins.tiles.get(&module.micro_kernels[id].name).copied());
    let share = cost::share_of_peak(target, &work, tile, bytes(images));
    let result = written.map_or_else(String::new, |(_, &b)| plan.buffers[b].name.clone());
    Row {
        algorithm: origins.method(&kernel.name),
        result,
        tile: tile.map(|t| format!("{}x{}", t.rows, t.columns())),
        executed: work.multiply_adds,
        bytes: bytes(1) as u64,
        of_peak: share.map(|share| (1e3 * share).round() / 1e3),
    }
}
