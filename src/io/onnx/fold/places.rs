//! Elements of constants by their places.

use super::super::axes::{Slice, axis_of, parts, places};
use super::super::read::{Const, Data, Node};
use super::reshape::picked;
use super::{Folded, count, given, ints};
use std::rc::Rc;

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
            let given = given(operands, 1)?;
            let axis = axis_of(node, 0, x.dims.len())?;
            let made = taken(&x, axis, &places(given.as_ints(), x.dims[axis])?)?;
            Ok(made.reshaped(&[&x.dims[..axis], &given.dims[..], &x.dims[axis + 1..]].concat()))
        }
        "Slice" => {
            let mut made = (*x).clone();
            for slice in Slice::of(|i, name| ints(node, operands, i, name))? {
                let (axis, places) = slice.places(&made.dims)?;
                made = taken(&made, axis, &places)?;
            }
            Ok(made)
        }
        _ => {
            let parts: Vec<Rc<Const>> = (0..operands.len()).map(|i| given(operands, i)).collect::<Folded<_>>()?;
            joined(&parts, axis_of(node, 0, x.dims.len())?)
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
    let axis = axis_of(node, 0, x.dims.len())?;
    let parts = parts(ints(node, operands, 1, "split")?, node.outputs.len(), x.dims[axis])?;
    let mut at = 0;
    let part = |size: usize| {
        let which: Vec<usize> = (at..at + size).collect();
        at += size;
        taken(&x, axis, &which)
    };
    parts.into_iter().map(part).collect()
}
