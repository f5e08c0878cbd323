//! A batch that several devices share: which values they must add up (all-reduce), and an order of launches in which
//! they seldom have to.
//!
//! A value shared by the batch that is made from values per image is a sum over the images (`tests/ops.rs` holds all
//! operators to it). Each device holds a partial sum until an all-reduce completes it. Launches are sorted by the
//! number of all-reduces that they need before them: a network without statistics of the batch has one, between its
//! gradients and the updates.

use super::PlanError;
use crate::kernel::ir::{Access, Elem, EntityRef, Module, PrimaryMap};
use crate::lower::{BufferId, ProgramBuilder};
use ninc_runtime::plan::{Place, Plan};

/// When a value is complete, as a number of all-reduces.
#[derive(Clone, Copy, Default)]
struct Level {
    /// It is complete after this many.
    complete_after: usize,
    /// The last launch so far that reads or writes it runs after this many.
    used_after: usize,
}

/// Sorts the program's launches; `aliases` are values that share a parameter's place.
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
            Access::Read => levels[p].complete_after,
            // Whoever reads the old value comes first.
            Access::Write | Access::ReadWrite => levels[p].complete_after.max(levels[p].used_after),
        });
        let level = after.max().unwrap_or(0);
        for (p, param) in args() {
            levels[p].used_after = levels[p].used_after.max(level);
            if param.access != Access::Read {
                levels[p].complete_after = level;
            }
        }
        for (_, sum) in builder.partial_sums.iter().filter(|(last, _)| *last == i) {
            if builder.buffers[*sum].elem != Elem::F32 {
                return Err(format!("{} is not a sum of floats", builder.buffers[*sum].name).into());
            }
            levels[place(*sum)].complete_after = level + 1;
        }
        order.push((level, i));
    }
    order.sort();
    let mut number = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, (_, old))| number[*old] = new);
    builder.launches = order.iter().map(|(_, old)| builder.launches[*old].clone()).collect();
    builder.partial_sums.iter_mut().for_each(|(last, _)| *last = number[*last]);
    Ok(())
}

/// Says in the plan which buffers need an all-reduce, and which are added to.
pub(super) fn mark(plan: &mut Plan, builder: &ProgramBuilder, module: &Module) {
    let mut all_reduces: Vec<(usize, usize)> =
        builder.partial_sums.iter().map(|(last, buffer)| (*last, buffer.index())).collect();
    // What nobody reads has lost its place to others.
    all_reduces.retain(|&(last, sum)| {
        plan.launches[last + 1..].iter().any(|l| l.buffers.contains(&sum))
            || plan.outputs.iter().any(|o| o.buffer == sum)
            || matches!(plan.buffers[sum].place, Place::Persistent { .. })
    });
    all_reduces.sort();
    plan.all_reduces = all_reduces;
    for (i, launch) in builder.launches.iter().enumerate().filter(|(_, l)| l.accumulates) {
        for (buffer, param) in launch.args.iter().zip(module.kernels[launch.kernel].buffers.values()) {
            if param.access == Access::ReadWrite && builder.buffers[*buffer].per_image == 0 {
                plan.accumulates.push((i, buffer.index()));
            }
        }
    }
}
