//! Elements of constants by their places.

use super::super::read::{Const, Data, Node};
use super::reshape::picked;
use super::{Folded, MOST, count, given, ints};
use std::rc::Rc;

/// Returns the places that `start`, `end` and `step` of a Slice mean on an axis of this size.
pub fn range(start: i64, end: i64, step: i64, size: usize) -> Folded<Vec<usize>> {
    let size = i64::try_from(size).map_err(|_| "its axis is too large")?;
    if step == 0 {
        return Err("its step is 0".into());
    }
    if size == 0 {
        return Ok(vec![]);
    }
    let from_front = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (start, end) = match step > 0 {
        true => (from_front(start).clamp(0, size), from_front(end).clamp(0, size)),
        false => (from_front(start).clamp(0, size - 1), from_front(end).clamp(-1, size - 1)),
    };
    if start.abs_diff(end) / step.unsigned_abs() > MOST as u64 {
        return Err(format!("it takes more than {MOST} elements of an axis"));
    }
    let mut places = Vec::new();
    let mut at = start;
    while if step > 0 { at < end } else { at > end } {
        places.push(at as usize);
        at = at.saturating_add(step);
    }
    Ok(places)
}

fn axis(given: i64, rank: usize) -> Folded<usize> {
    let axis = usize::try_from(if given < 0 { given.saturating_add(rank as i64) } else { given }).ok();
    axis.filter(|a| *a < rank).ok_or_else(|| format!("its axis is {given} of {rank} dimensions"))
}

/// Takes elements of an axis.
fn taken(x: &Const, axis: usize, which: &[usize]) -> Folded {
    let mut dims = x.dims.clone();
    dims[axis] = which.len();
    let total = if which.len() <= x.dims[axis] { dims.iter().product() } else { count(&dims)? };
    picked(x, &dims, total, |index| {
        let own = index.iter().enumerate().map(|(a, &i)| if a == axis { which[i] } else { i });
        own.zip(&x.dims).fold(0, |place, (i, size)| place * size + i)
    })
}

/// Computes Gather, Slice and Concat.
pub fn node(node: &Node, operands: &[Option<Rc<Const>>]) -> Folded {
    let x = given(operands, 0)?;
    match node.op.as_str() {
        "Gather" => {
            let places = given(operands, 1)?;
            let axis = axis(node.int("axis").unwrap_or(0), x.dims.len())?;
            let size = x.dims[axis] as i64;
            let place =
                |&at: &i64| usize::try_from(if at < 0 { at + size } else { at }).ok().filter(|p| *p < x.dims[axis]);
            let which: Option<Vec<usize>> = places.as_ints().and_then(|ints| ints.iter().map(place).collect());
            let made = taken(&x, axis, &which.ok_or("its places are not those of its constant")?)?;
            Ok(made.reshaped(&[&x.dims[..axis], &places.dims[..], &x.dims[axis + 1..]].concat()))
        }
        "Slice" => {
            let list = |i: usize, name: &str| ints(node, operands, i, name);
            let (starts, ends) = list(1, "starts")?.zip(list(2, "ends")?).ok_or("its ends are not given")?;
            let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
            let steps = list(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
            if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
                return Err("its starts, ends, axes and steps are not as many".into());
            }
            let mut made = (*x).clone();
            for i in 0..starts.len() {
                let axis = axis(axes[i], made.dims.len())?;
                made = taken(&made, axis, &range(starts[i], ends[i], steps[i], made.dims[axis])?)?;
            }
            Ok(made)
        }
        _ => {
            let parts: Vec<Rc<Const>> = (0..operands.len()).map(|i| given(operands, i)).collect::<Folded<_>>()?;
            joined(&parts, axis(node.int("axis").unwrap_or(0), x.dims.len())?)
        }
    }
}

fn joined(parts: &[Rc<Const>], axis: usize) -> Folded {
    let first = &parts[0];
    let others = |c: &Const| c.dims.iter().enumerate().filter(|(a, _)| *a != axis).map(|(_, d)| *d).collect::<Vec<_>>();
    if parts.iter().any(|c| c.dims.len() != first.dims.len() || others(c) != others(first)) {
        return Err("its constants do not fit each other".into());
    }
    let mut dims = first.dims.clone();
    dims[axis] = parts.iter().map(|c| c.dims[axis]).sum();
    let outer: usize = dims[..axis].iter().product();
    let whole = parts.iter().all(|c| c.as_ints().is_some());
    let (mut floats, mut numbers) = (Vec::new(), Vec::new());
    for i in 0..outer {
        for part in parts {
            let run = part.len() / outer.max(1);
            match &part.data {
                Data::Int(data) if whole => numbers.extend(&data[i * run..(i + 1) * run]),
                Data::Int(data) => floats.extend(data[i * run..(i + 1) * run].iter().map(|&v| v as f32)),
                Data::Float(data) => floats.extend(&data[i * run..(i + 1) * run]),
            }
        }
    }
    let data = if whole { Data::Int(numbers) } else { Data::Float(floats) };
    Ok(Const { dims, data, kind: first.kind })
}

/// Computes Split.
pub fn split(node: &Node, operands: &[Option<Rc<Const>>]) -> Folded<Vec<Const>> {
    let x = given(operands, 0)?;
    let axis = axis(node.int("axis").unwrap_or(0), x.dims.len())?;
    let parts = match ints(node, operands, 1, "split")? {
        Some(parts) => parts.iter().map(|&p| usize::try_from(p).unwrap_or(usize::MAX)).collect(),
        None => {
            let each = x.dims[axis].div_ceil(node.outputs.len().max(1));
            (0..node.outputs.len()).map(|i| each.min(x.dims[axis].saturating_sub(i * each))).collect::<Vec<_>>()
        }
    };
    if parts.iter().try_fold(0usize, |n, &p| n.checked_add(p)) != Some(x.dims[axis]) || parts.len() > MOST {
        return Err(format!("its parts are {parts:?} of {}", x.dims[axis]));
    }
    let mut at = 0;
    let part = |size: usize| {
        let which: Vec<usize> = (at..at + size).collect();
        at += size;
        taken(&x, axis, &which)
    };
    parts.into_iter().map(part).collect()
}
