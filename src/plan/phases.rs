//! A training step in groups of images: which launches run for each group, and which once, at the end.
//!
//! A launch that sums over the images says that it adds to its results from the second group on
//! (`Launch::accumulates`). What depends on such sums, or changes a parameter, waits for the last group. Where a value
//! of an image needs the sums (statistics of the batch), the batch cannot be cut.

use crate::kernel::ir::{Access, Module, PrimaryMap};
use crate::lower::{BufferId, Launch, ProgramBuilder, Role};

/// Moves the launches of the end after the others and gives the number of the first of them; `None`: the batch must
/// stay whole, and nothing has changed. `updated` are values that share a parameter's place.
pub(super) fn split(builder: &mut ProgramBuilder, module: &Module, updated: &[(BufferId, BufferId)]) -> Option<usize> {
    let mut complete_late = builder.buffers.keys().map(|_| false).collect();
    let mut late = Vec::new();
    for launch in &builder.launches {
        let at_end = at_end(builder, module, launch, updated, &mut complete_late)?;
        late.push(at_end);
    }
    let launches = std::mem::take(&mut builder.launches).into_iter().zip(late);
    let (end, groups): (Vec<_>, Vec<_>) = launches.partition(|(_, late)| *late);
    let finish = groups.len();
    builder.launches = groups.into_iter().chain(end).map(|(launch, _)| launch).collect();
    Some(finish)
}

/// Does the launch belong to the end? Notes which of its results are complete only then.
fn at_end(
    builder: &ProgramBuilder,
    module: &Module,
    launch: &Launch,
    updated: &[(BufferId, BufferId)],
    complete_late: &mut PrimaryMap<BufferId, bool>,
) -> Option<bool> {
    let params = &module.kernels[launch.kernel].buffers;
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for (buffer, param) in launch.args.iter().zip(params.values()) {
        if param.access != Access::Write {
            reads.push(*buffer);
        }
        if param.access != Access::Read {
            writes.push(*buffer);
        }
    }
    let batched = |buffers: &[BufferId]| buffers.iter().any(|s| builder.buffers[*s].per_image > 0);
    let param = |s: &BufferId| builder.buffers[*s].role == Role::Param || updated.iter().any(|u| u.1 == *s);
    let waits = reads.iter().any(|s| complete_late[*s] && !writes.contains(s));
    let at_end = waits || writes.iter().any(param);
    if at_end && (batched(&reads) || batched(&writes)) {
        return None;
    }
    let fixed = writes.iter().filter(|s| builder.buffers[**s].per_image == 0);
    let reduces = batched(&reads) && fixed.clone().next().is_some();
    if reduces && !launch.accumulates {
        return None;
    }
    if at_end || reduces {
        fixed.for_each(|s| complete_late[*s] = true);
    }
    Some(at_end)
}

/// Images of a group: as many as keep the arena near the last cache, but enough that sums kept in memory (weights'
/// gradients) are not read and written for each image. A power of two.
pub(super) fn images(per_image: usize, last_cache: usize) -> usize {
    let fitting = last_cache * 2 / per_image.max(1);
    1 << fitting.clamp(8, 1 << 12).ilog2()
}
