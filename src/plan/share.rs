//! A batch that several devices or ranks share: which values they must add up (all-reduce), and an order of launches in
//! which they seldom have to.
//!
//! A value shared by the batch that is made from values per image is a sum over the images (`tests/ops.rs` holds all
//! operators to it). Each device holds a partial sum until an all-reduce completes it. Launches are sorted by the
//! number of all-reduces that they need before them: a network without statistics of the batch has one, between its
//! gradients and the updates.

use super::{Options, PlanError};
use crate::kernel::ir::{Access, Elem, EntityRef, Module, PrimaryMap};
use crate::lower::{BufferId, Launch, ProgramBuilder, Role};
use ninc_runtime::plan::{Place, Plan};
use ninc_runtime::shares::{Shares, Sum};

/// When a value is complete, as a number of all-reduces.
#[derive(Clone, Copy, Default)]
struct Level {
    /// It is complete after this many.
    complete_after: usize,
    /// The last launch so far that reads or writes it runs after this many.
    used_after: usize,
}

/// Sorts the program's launches and returns for each how many all-reduces it needs before it; `aliases` are values that
/// share a parameter's place.
pub(super) fn sort(
    builder: &mut ProgramBuilder,
    module: &Module,
    aliases: &[(BufferId, BufferId)],
) -> Result<Vec<usize>, PlanError> {
    let place = |buffer: BufferId| aliases.iter().find(|a| a.1 == buffer).map_or(buffer, |a| a.0);
    let mut levels: PrimaryMap<BufferId, Level> = builder.buffers.keys().map(|_| Level::default()).collect();
    let mut order: Vec<(usize, usize)> = Vec::new();
    // What the launches of a sum, which stay together, need before them.
    let mut floor = 0;
    for (i, launch) in builder.launches.iter().enumerate() {
        let args = |launch: &Launch| {
            let params = module.kernels[launch.kernel].buffers.values();
            launch.args.iter().map(|s| place(*s)).zip(params).collect::<Vec<_>>()
        };
        let after = |launch: &Launch, levels: &PrimaryMap<BufferId, Level>| {
            let after = args(launch).into_iter().map(|(p, param)| match param.access {
                Access::Read => levels[p].complete_after,
                // Whoever reads the old value comes first.
                Access::Write | Access::ReadWrite => levels[p].complete_after.max(levels[p].used_after),
            });
            after.max().unwrap_or(0)
        };
        if let Some(sum) = builder.partial_sums.iter().find(|sum| sum.begin == i) {
            floor = builder.launches[i..=sum.last].iter().map(|launch| after(launch, &levels)).max().unwrap_or(0);
        }
        let level = after(launch, &levels).max(floor);
        for (p, param) in args(launch) {
            levels[p].used_after = levels[p].used_after.max(level);
            if param.access != Access::Read {
                levels[p].complete_after = level;
            }
        }
        for sum in builder.partial_sums.iter().filter(|sum| sum.last == i) {
            if builder.buffers[sum.buffer].elem != Elem::F32 {
                return Err(format!("{} is not a sum of floats", builder.buffers[sum.buffer].name).into());
            }
            levels[place(sum.buffer)].complete_after = level + 1;
            floor = 0;
        }
        order.push((level, i));
    }
    order.sort();
    arrange(builder, &order.iter().map(|(_, old)| *old).collect::<Vec<_>>());
    // Of each launch in the new order.
    Ok(order.into_iter().map(|(level, _)| level).collect())
}

/// Puts the launches into this order of their numbers.
fn arrange(builder: &mut ProgramBuilder, order: &[usize]) {
    let mut number = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, old)| number[*old] = new);
    builder.launches = order.iter().map(|old| builder.launches[*old].clone()).collect();
    for sum in &mut builder.partial_sums {
        (sum.begin, sum.last) = (number[sum.begin], number[sum.last]);
    }
}

/// Sorts the program's launches for a step in shares. Returns the first launch of those that run once, after the last
/// share, where shares can go through the others one after the other: where no value of an image needs a sum.
pub(super) fn in_shares(
    builder: &mut ProgramBuilder,
    module: &Module,
    aliases: &[(BufferId, BufferId)],
) -> Result<Option<usize>, PlanError> {
    let mut levels = sort(builder, module, aliases)?;
    // What depends on no image, and what reads that: a new value of a parameter is made once.
    let mut once: PrimaryMap<BufferId, bool> = builder.buffers.keys().map(|_| false).collect();
    for (launch, level) in builder.launches.iter().zip(&mut levels) {
        let params = module.kernels[launch.kernel].buffers.values();
        let mut args = launch.args.iter().zip(params);
        let written = |buffer: BufferId| {
            builder.buffers[buffer].role == Role::Param || aliases.iter().any(|alias| alias.1 == buffer)
        };
        let late = args.clone().any(|(b, param)| once[*b] || param.access != Access::Read && written(*b));
        *level += usize::from(late && *level == 0);
        if *level > 0 {
            args.clone().filter(|(_, param)| param.access != Access::Read).for_each(|(b, _)| once[*b] = true);
            if args.any(|(b, _)| builder.buffers[*b].per_image > 0) {
                return Ok(None);
            }
        }
    }
    let (mut first, end): (Vec<_>, Vec<_>) = (0..levels.len()).partition(|i| levels[*i] == 0);
    let finish = first.len();
    first.extend(end);
    arrange(builder, &first);
    Ok(Some(finish))
}

/// Bytes, about, of the values of a group of images. They decide the order of sums, so that no cache may.
const GROUP: usize = 8 << 20;

/// Returns how a plan's batch is cut; `finish` is what [`in_shares`] gave.
pub(super) fn shares(
    plan: &Plan,
    builder: &ProgramBuilder,
    module: &Module,
    finish: Option<usize>,
    options: &Options,
) -> Shares {
    let sums = sums(plan, builder, module);
    let params = |i: usize| {
        let launch = &builder.launches[i];
        launch.args.iter().copied().zip(module.kernels[launch.kernel].buffers.values())
    };
    let batched = |buffer: BufferId| builder.buffers[buffer].per_image > 0;
    let mut clears: Vec<(usize, usize)> = Vec::new();
    for i in (0..builder.launches.len()).filter(|i| builder.launches[*i].accumulates) {
        let added = params(i).filter(|(buffer, param)| param.access == Access::ReadWrite && !batched(*buffer));
        clears.extend(added.map(|(buffer, _)| (i, buffer.index())));
    }
    let mut late: Vec<usize> = Vec::new();
    for sum in &builder.partial_sums {
        late.extend((sum.begin..=sum.last).rev().take_while(|i| params(*i).all(|(buffer, _)| !batched(buffer))));
    }
    late.sort();
    // What makes something of several images must add to it, or read what is complete.
    let cut = (0..finish.unwrap_or(0)).all(|i| {
        let reduces = params(i).any(|(buffer, param)| param.access != Access::Read && !batched(buffer));
        builder.launches[i].accumulates || !reduces || !params(i).any(|(buffer, _)| batched(buffer))
    });
    let fitting = (GROUP / plan.image_bytes.max(1)).clamp(4, 1 << 12);
    // The step that this one takes over from may have had all images of a share in memory.
    let cut = cut && finish.is_some() && options.cache.is_some();
    let group = cut.then(|| options.group.unwrap_or(1 << fitting.ilog2()));
    Shares { whole: finish.is_none(), group, sums, clears, late }
}

/// Returns the sums of a plan that shares add up, by their launches.
fn sums(plan: &Plan, builder: &ProgramBuilder, module: &Module) -> Vec<Sum> {
    let sums = builder.partial_sums.iter();
    let sums = sums.map(|sum| {
        let launches = builder.launches[sum.begin..=sum.last].iter();
        let args = launches.flat_map(|l| l.args.iter().zip(module.kernels[l.kernel].buffers.values()));
        let written = args.filter(|(b, param)| param.access != Access::Read && builder.buffers[**b].per_image == 0);
        let mut own: Vec<usize> = written.map(|(buffer, _)| buffer.index()).collect();
        own.sort();
        own.dedup();
        Sum { begin: sum.begin, last: sum.last, buffer: sum.buffer.index(), own }
    });
    let mut sums: Vec<Sum> = sums.filter(|sum| wanted(plan, sum.last, sum.buffer)).collect();
    sums.sort_by_key(|sum| sum.last);
    sums
}

/// Does anybody want this sum after its last launch? What nobody reads has lost its place to others.
fn wanted(plan: &Plan, last: usize, sum: usize) -> bool {
    plan.launches[last + 1..].iter().any(|l| l.buffers.contains(&sum))
        || plan.outputs.iter().any(|o| o.buffer == sum)
        || matches!(plan.buffers[sum].place, Place::Persistent { .. })
}

/// Says in the plan which buffers need an all-reduce, and which are added to.
pub(super) fn mark(plan: &mut Plan, builder: &ProgramBuilder, module: &Module) {
    let mut all_reduces: Vec<(usize, usize)> =
        builder.partial_sums.iter().map(|sum| (sum.last, sum.buffer.index())).collect();
    all_reduces.retain(|&(last, sum)| wanted(plan, last, sum));
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
