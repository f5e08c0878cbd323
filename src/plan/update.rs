//! Where a parameter's new value goes: in place if that is safe, else by a copy at the end of the run.
//!
//! In place is safe if one launch writes the new value, nothing reads the old one after it, and that launch itself
//! reads of the old value only what it is about to overwrite. The last point is proved from its kernel: the calls'
//! pieces are disjoint, and inside the micro-kernel each load of the old value is followed by a store to the same
//! elements.

use super::PlanError;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::*;
use crate::lower::{BufferId, Launch, ProgramBuilder, Role, code};

/// Elements that one iteration of a copy moves.
const CHUNK: usize = 1 << 14;

/// Decides for each `(parameter, new value)`; appends copies to the program and returns those that share a place.
pub(super) fn resolve(
    builder: &mut ProgramBuilder,
    updates: &[(BufferId, BufferId)],
) -> Result<Vec<(BufferId, BufferId)>, PlanError> {
    let mut aliases: Vec<(BufferId, BufferId)> = Vec::new();
    let mut copies = Vec::new();
    for (i, &(param, value)) in updates.iter().enumerate() {
        let (p, v) = (&builder.buffers[param], &builder.buffers[value]);
        if p.role != Role::Param || updates[..i].iter().any(|u| u.0 == param) {
            return Err(format!("{} cannot be updated by {}", p.name, v.name).into());
        }
        if param == value {
            continue;
        }
        if (p.elem, p.fixed, p.per_image) != (v.elem, v.fixed, v.per_image) {
            return Err(format!("{} is updated by {}, which has another size", p.name, v.name).into());
        }
        if updates.iter().any(|u| u.0 == value) {
            return Err(format!("{} is updated by {}, which is updated itself", p.name, v.name).into());
        }
        let fresh = v.role == Role::Temp && aliases.iter().all(|a| a.1 != value);
        if fresh && in_place(builder, param, value) {
            aliases.push((param, value))
        } else {
            copies.push((param, value))
        }
    }
    for (param, value) in copies {
        append_copy(builder, param, value);
    }
    Ok(aliases)
}

fn in_place(builder: &ProgramBuilder, param: BufferId, value: BufferId) -> bool {
    let writes = |launch: &Launch| {
        let params = &builder.module.kernels[launch.kernel].buffers;
        launch.args.iter().zip(params.values()).any(|(s, p)| *s == value && p.access != Access::Read)
    };
    let mut writers = builder.launches.iter().enumerate().filter(|(_, l)| writes(l));
    let (Some((at, writer)), None) = (writers.next(), writers.next()) else { return false };
    if builder.launches[at + 1..].iter().any(|l| l.args.contains(&param)) {
        return false;
    }
    // Written from outside as well, or read before: then it is not a simple value.
    if builder.prepare.iter().any(|l| l.args.contains(&value)) {
        return false;
    }
    let position = |buffer: BufferId| {
        let params = builder.module.kernels[writer.kernel].buffers.keys().zip(&writer.args);
        let mut found = params.filter(|(_, arg)| **arg == buffer).map(|(param, _)| param);
        (found.next(), found.next().is_none())
    };
    let kernel = &builder.module.kernels[writer.kernel];
    match (position(param), position(value)) {
        ((None, _), _) => true,
        ((Some(old), true), (Some(new), true)) => elementwise(&builder.module, kernel, old, new),
        _ => false,
    }
}

/// Does the kernel read from buffer `old` only elements that the same micro-kernel call writes to `new` afterwards?
fn elementwise(module: &Module, kernel: &Kernel, old: KBuffer, new: KBuffer) -> bool {
    let mut spans = Vec::new();
    let mut vars = kernel.start([1, 0, 1]);
    if !calls(module, kernel, &mut vars, [Memory::Buffer(old), Memory::Buffer(new)], &mut spans) {
        return false;
    }
    spans.sort_unstable();
    spans.windows(2).all(|w| w[0].1 <= w[1].0)
}

/// Visits all calls as they would run and notes which elements each one touches. `false` if a call is not elementwise.
fn calls(module: &Module, kernel: &Kernel, vars: &mut KVars, memory: [Memory; 2], spans: &mut Vec<(i64, i64)>) -> bool {
    let visited = run(&kernel.body, vars, &mut |stmt, vars| {
        let Stmt::Call { micro_kernel, args } = stmt else { return Err(()) };
        let micro_kernel = &module.micro_kernels[*micro_kernel];
        let find = |wanted: Memory| {
            let mut found = micro_kernel.params.keys().zip(args).filter_map(|(param, a)| match a {
                Arg::Pointer { memory, offset } if *memory == wanted => Some((param, offset)),
                _ => None,
            });
            (found.next(), found.next().is_some())
        };
        match memory.map(find) {
            [(None, _), (None, _)] => Ok(()),
            [(Some((old, a)), false), (Some((new, b)), false)] if a == b => {
                let base = a.eval(vars);
                let (low, high) = span(micro_kernel, old, new).ok_or(())?;
                spans.push((base + low, base + high));
                Ok(())
            }
            _ => Err(()),
        }
    });
    visited.is_ok()
}

/// The elements `low..high` that the micro-kernel loads through `old` and stores through `new`, if it does so piece by
/// piece.
fn span(micro_kernel: &MicroKernel, old: Param, new: Param) -> Option<(i64, i64)> {
    let mut pieces = Vec::new();
    if !body_pieces(micro_kernel, &micro_kernel.body, None, old, new, &mut pieces) {
        return None;
    }
    pieces.sort_unstable();
    let disjoint = pieces.windows(2).all(|w| w[0].1 <= w[1].0);
    let high = pieces.iter().map(|p| p.1).max()?;
    disjoint.then_some((pieces[0].0, high))
}

fn body_pieces(
    micro_kernel: &MicroKernel,
    body: &[Inst],
    counter: Option<(Var, i64)>,
    old: Param,
    new: Param,
    pieces: &mut Vec<(i64, i64)>,
) -> bool {
    // Loads of the old value that no store has answered yet.
    let mut open: Vec<(&Index, u32)> = Vec::new();
    for inst in body {
        match inst {
            Inst::Let { op, .. } => match op {
                Op::Load { from, ty, count } if from.base == old => open.push((&from.index, count.unwrap_or(ty.lanes))),
                op if op.address().is_some_and(|from| from.base == old || from.base == new) => return false,
                _ => {}
            },
            Inst::Store { to, value, count } if to.base == new => {
                let width = count.unwrap_or(micro_kernel.values[*value].lanes);
                let Some(at) = open.iter().position(|o| *o == (&to.index, width)) else { return false };
                open.remove(at);
                // All pieces of a loop together: one follows the other.
                let (low, width) = (to.index.offset, i64::from(width));
                let high = match (to.index.terms.as_slice(), counter) {
                    ([], None) => low + width,
                    (&[(var, step)], Some((v, iterations))) if var == v && step == width => low + step * iterations,
                    _ => return false,
                };
                pieces.push((low, high));
            }
            Inst::Store { to, .. } | Inst::StoreTile { to, .. } if to.base == old => return false,
            Inst::StoreTile { to, .. } if to.base == new => return false,
            Inst::Store { .. } | Inst::StoreTile { .. } | Inst::Prefetch { .. } => {}
            Inst::Loop { var, count, body, .. } => {
                let touches = touches(body, old) || touches(body, new);
                let iterations = count.constant().map(|count| count.max(0));
                match iterations {
                    _ if !touches => {}
                    Some(iterations) if counter.is_none() => {
                        if !body_pieces(micro_kernel, body, Some((*var, iterations)), old, new, pieces) {
                            return false;
                        }
                    }
                    _ => return false,
                }
            }
        }
    }
    open.is_empty()
}

fn touches(body: &[Inst], param: Param) -> bool {
    instructions(body).filter_map(Inst::address).any(|address| address.base == param)
}

/// A launch at the end of the run that copies `value` to `param`.
fn append_copy(builder: &mut ProgramBuilder, param: BufferId, value: BufferId) {
    let (elem, len) = (builder.buffers[param].elem, builder.buffers[param].fixed);
    let name = format!("update {}", builder.buffers[param].name);
    let mut kernel = KernelBuilder::new(name);
    let (from, to) = (kernel.buffer("from", elem, Access::Read), kernel.buffer("to", elem, Access::Write));
    let (whole, rest) = (len / CHUNK, len % CHUNK);
    let mut micro_kernel = |count: usize| {
        builder.micro_kernel(code(format!("copy {elem} {count}"), (elem, count), |&(elem, count), b| {
            let (from, to) = (b.pointer("from", elem, Access::Read), b.pointer("to", elem, Access::Write));
            b.elements(count, 4, |b, index, lanes| {
                let value = b.load(from, index.clone(), lanes);
                b.store(to, index, value);
            });
        }))
    };
    let chunk = (whole > 0).then(|| micro_kernel(CHUNK));
    let last = (rest > 0).then(|| micro_kernel(rest));
    kernel.parallel("chunk", whole + usize::from(rest > 0), |k, c| {
        let call = |k: &mut KernelBuilder, micro_kernel| k.call(micro_kernel, [from.at(&c * CHUNK), to.at(&c * CHUNK)]);
        match (chunk, last) {
            (Some(chunk), Some(last)) => {
                k.when(c.lt(whole), |k| call(k, chunk));
                k.when(c.equals(whole), |k| call(k, last));
            }
            (Some(micro_kernel), None) | (None, Some(micro_kernel)) => call(k, micro_kernel),
            (None, None) => {}
        }
    });
    let kernel = builder.kernel(kernel.finish(), "copy");
    builder.launches.push(Launch { kernel, args: vec![value, param], accumulates: false });
}
