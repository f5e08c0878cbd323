//! A batch that several devices share: which values they must add up, and an order of launches in which they seldom have to.
//!
//! A shared value made from values per image is a sum over the images (`tests/ops.rs` holds all operators to it), of which
//! a device has its part until all have met. Launches are sorted by how many such meetings they need before them: a network
//! without statistics of the batch meets once, between its gradients and the updates.

use super::PlanError;
use crate::kernel::ir::{Access, Elem, EntityRef, Module, PrimaryMap};
use crate::lower::{BufferId, ProgramBuilder};
use ninc_runtime::plan::{Place, Plan};

/// How far a value is, in meetings.
#[derive(Clone, Copy, Default)]
struct Level {
    /// After how many it is complete.
    ready: usize,
    /// The last launch so far that reads or writes it runs after so many.
    used: usize,
}

/// Sorts the draft's launches; `aliases` are values that share a parameter's place.
pub(super) fn sort(
    builder: &mut ProgramBuilder,
    module: &Module,
    aliases: &[(BufferId, BufferId)],
) -> Result<(), PlanError> {
    let place = |buffer: BufferId| aliases.iter().find(|a| a.1 == buffer).map_or(buffer, |a| a.0);
    let mut levels: PrimaryMap<BufferId, Level> = builder.buffers.keys().map(|_| Level::default()).collect();
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (i, launch) in builder.launches.iter().enumerate() {
        let args = || launch.args.iter().map(|s| place(*s)).zip(module.kernels[launch.kernel].buffers.values());
        let after = args().map(|(p, param)| match param.access {
            Access::Read => levels[p].ready,
            // Whoever reads the old value comes first.
            Access::Write | Access::ReadWrite => levels[p].ready.max(levels[p].used),
        });
        let level = after.max().unwrap_or(0);
        for (p, param) in args() {
            levels[p].used = levels[p].used.max(level);
            if param.access != Access::Read {
                levels[p].ready = level;
            }
        }
        for (_, sum) in builder.sums.iter().filter(|(last, _)| *last == i) {
            if builder.buffers[*sum].elem != Elem::F32 {
                return Err(format!("{} is not a sum of floats", builder.buffers[*sum].name).into());
            }
            levels[place(*sum)].ready = level + 1;
        }
        order.push((level, i));
    }
    order.sort();
    let mut number = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, (_, old))| number[*old] = new);
    builder.launches = order.iter().map(|(_, old)| builder.launches[*old].clone()).collect();
    builder.sums.iter_mut().for_each(|(last, _)| *last = number[*last]);
    Ok(())
}

/// Says in the plan which buffers are sums, and which are added to.
pub(super) fn mark(plan: &mut Plan, builder: &ProgramBuilder, module: &Module) {
    let mut sums: Vec<(usize, usize)> = builder.sums.iter().map(|(last, buffer)| (*last, buffer.index())).collect();
    // What nobody reads has lost its place to others.
    sums.retain(|&(last, sum)| {
        plan.launches[last + 1..].iter().any(|l| l.buffers.contains(&sum))
            || plan.outputs.iter().any(|o| o.buffer == sum)
            || matches!(plan.buffers[sum].place, Place::Persistent { .. })
    });
    sums.sort();
    plan.sums = sums;
    for (i, launch) in builder.launches.iter().enumerate().filter(|(_, l)| l.sums) {
        for (buffer, param) in launch.args.iter().zip(module.kernels[launch.kernel].buffers.values()) {
            if param.access == Access::ReadWrite && builder.buffers[*buffer].per_image == 0 {
                plan.grows.push((i, buffer.index()));
            }
        }
    }
}
