//! How many threads pay: what a plan costs by the model of costs, for the driver to decide by at each run.

use crate::kernel::count;
use crate::kernel::ir::{EntityRef, KernelId, Module};
use crate::lower::cost;
use crate::lower::target::Target;
use ninc_runtime::plan::Plan;

/// Images that work is counted for: as many as kernels share an iteration between.
const IMAGES: usize = 8;

/// Predicted cycles on one core.
pub struct Work {
    /// Cycles of each run.
    pub fixed: u64,
    /// Cycles of each image.
    pub per_image: u64,
    /// A further thread pays where each has at least this many: with fewer, the barriers take longer than it saves.
    pub worth: u64,
}

/// The work of a plan. Weights that are prepared in each run count as well.
pub fn work(plan: &Plan, module: &Module, target: &Target) -> Work {
    let images = plan.group_of(IMAGES);
    let cycles = |launch: &ninc_runtime::plan::Launch, images: usize| {
        let work = count::kernel(module, &module.kernels[KernelId::new(launch.kernel)], images);
        let bytes = launch.buffers.iter().map(|&b| plan.bytes(b, images)).sum();
        cost::cycles(target, &work, None, bytes)
    };
    let prepare = if plan.prepare_each_run { &plan.prepare[..] } else { &[] };
    let fixed: f64 = prepare.iter().map(|launch| cycles(launch, 1)).sum();
    let all: f64 = plan.launches.iter().map(|launch| cycles(launch, images)).sum();
    // A barrier stands after each launch. A second thread saves half of the work, which is the share of each.
    let barriers = cost::launches(prepare.len() + plan.launches.len());
    Work { fixed: fixed as u64, per_image: (all / images as f64) as u64, worth: barriers.max(1.0) as u64 }
}
