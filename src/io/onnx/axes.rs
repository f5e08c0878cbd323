//! Axes, sizes and places as nodes give them, for constants and for values of the network alike: counted from the front
//! or, below 0, from the back.

use super::fold::MOST;
use super::read::Node;
use std::ops::Range;

type Found<T> = Result<T, String>;

/// Returns a place among `size`, or the end, counted from the front.
fn from_front(given: i64, size: usize) -> Option<usize> {
    let at = if given < 0 { given.saturating_add(i64::try_from(size).ok()?) } else { given };
    usize::try_from(at).ok().filter(|at| *at <= size)
}

/// Returns an axis of `rank`, counted from the front.
pub fn axis(given: i64, rank: usize) -> Found<usize> {
    let axis = from_front(given, rank).filter(|axis| *axis < rank);
    axis.ok_or_else(|| format!("its axis is {given} of {rank} dimensions"))
}

/// Returns a node's axis.
pub fn axis_of(node: &Node, default: i64, rank: usize) -> Found<usize> {
    axis(node.int("axis").unwrap_or(default), rank)
}

/// Returns axes counted from the front, in the order in which they are given.
pub fn in_turn(given: &[i64], rank: usize) -> Found<Vec<usize>> {
    given.iter().map(|&a| axis(a, rank)).collect()
}

/// Returns axes counted from the front, each once, in order.
pub fn axes(given: &[i64], rank: usize) -> Found<Vec<usize>> {
    let mut axes =
        in_turn(given, rank).map_err(|_| format!("its axes {given:?} are not those of {rank} dimensions"))?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// Returns how many axes a Flatten puts together in front.
pub fn front(node: &Node, rank: usize) -> Found<usize> {
    let given = node.int("axis").unwrap_or(1);
    from_front(given, rank).ok_or_else(|| format!("its axis is {given} of {rank} dimensions"))
}

/// Returns the axis of a node on rounded numbers, which means nothing where one scale is all.
pub fn of_scales(node: &Node, rank: usize) -> usize {
    from_front(node.int("axis").unwrap_or(1), rank).unwrap_or(0)
}

/// Returns the order of axes of a Transpose.
pub fn order(node: &Node, rank: usize) -> Found<Vec<usize>> {
    let Some(given) = node.ints("perm") else { return Ok((0..rank).rev().collect()) };
    let order: Vec<usize> = given.iter().filter_map(|&axis| usize::try_from(axis).ok()).collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    match sorted == (0..rank).collect::<Vec<_>>() && given.len() == rank {
        true => Ok(order),
        false => Err(format!("its axes are {given:?}")),
    }
}

/// Returns the sizes that a Shape states.
pub fn stated(node: &Node, rank: usize) -> Range<usize> {
    let end = |name: &str, default: i64| {
        let at = node.int(name).unwrap_or(default);
        (if at < 0 { at.saturating_add(rank as i64) } else { at }).clamp(0, rank as i64) as usize
    };
    let (start, end) = (end("start", 0), end("end", rank as i64));
    start..end.max(start)
}

/// Returns sizes without those of these axes, which must be 1.
pub fn squeezed(own: &[usize], axes: &[usize]) -> Found<Vec<usize>> {
    match axes.iter().all(|&axis| own[axis] == 1) {
        true => Ok((0..own.len()).filter(|axis| !axes.contains(axis)).map(|axis| own[axis]).collect()),
        false => Err("it removes dimensions that are not 1".into()),
    }
}

/// Returns sizes with those of 1 on these axes of the result.
pub fn unsqueezed(own: &[usize], given: &[i64]) -> Found<Vec<usize>> {
    let all = own.len() + given.len();
    let axes = axes(given, all)?;
    if axes.len() < given.len() {
        return Err(format!("its axes {given:?} are some of them the same"));
    }
    let mut sizes = own.iter();
    Ok((0..all).map(|a| if axes.contains(&a) { 1 } else { sizes.next().copied().unwrap_or(1) }).collect())
}

/// Returns the places that a Gather takes.
pub fn places(given: Option<&[i64]>, size: usize) -> Found<Vec<usize>> {
    let place = |&at: &i64| from_front(at, size).filter(|at| *at < size);
    let places: Option<Vec<usize>> = given.and_then(|given| given.iter().map(place).collect());
    places.ok_or_else(|| format!("its places are not those of an axis of {size}"))
}

/// Returns the sizes of a Split's parts, which may be given.
pub fn parts(given: Option<Vec<i64>>, count: usize, size: usize) -> Found<Vec<usize>> {
    let parts: Vec<usize> = match &given {
        Some(parts) => parts.iter().map(|&p| usize::try_from(p).unwrap_or(usize::MAX)).collect(),
        None => {
            let each = size.div_ceil(count.max(1));
            (0..count).map(|i| each.min(size.saturating_sub(i * each))).collect()
        }
    };
    match parts.iter().try_fold(0usize, |n, &p| n.checked_add(p)) == Some(size) && parts.len() <= MOST {
        true => Ok(parts),
        false => Err(format!("its parts {parts:?} are not {size}")),
    }
}

/// What a Slice takes of an axis.
pub struct Slice {
    axis: i64,
    ends: [i64; 2],
    step: i64,
}

impl Slice {
    /// Reads what a Slice takes, by a function that gives its lists.
    pub fn of<E: From<&'static str>>(
        list: impl Fn(usize, &str) -> Result<Option<Vec<i64>>, E>,
    ) -> Result<Vec<Slice>, E> {
        let (starts, ends) = list(1, "starts")?.zip(list(2, "ends")?).ok_or("its ends are not given")?;
        let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = list(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()].iter().any(|&count| count != starts.len()) {
            return Err("its starts, ends, axes and steps are not as many".into());
        }
        let one = |i: usize| Slice { axis: axes[i], ends: [starts[i], ends[i]], step: steps[i] };
        Ok((0..starts.len()).map(one).collect())
    }

    /// Returns the axis of a tensor with these sizes, and the places on it.
    pub fn places(&self, sizes: &[usize]) -> Found<(usize, Vec<usize>)> {
        let axis = axis(self.axis, sizes.len())?;
        Ok((axis, range(self.ends, self.step, sizes[axis])?))
    }
}

/// Returns the places from one end to the other on an axis of this size.
fn range([start, end]: [i64; 2], step: i64, size: usize) -> Found<Vec<usize>> {
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
