//! Shapes of constants, and constants of shapes.

use super::super::axes;
use super::super::read::{Const, Data, Node, tensor};
use super::{Folded, count, given, ints};
use crate::io::onnx::read::external::Files;
use std::rc::Rc;

/// Computes a node.
pub fn node(node: &Node, operands: &[Option<Rc<Const>>]) -> Folded {
    let first = given(operands, 0)?;
    let rank = first.dims.len();
    match node.op.as_str() {
        "Shape" => {
            let sizes: Vec<i64> = first.dims[axes::stated(node, rank)].iter().map(|&d| d as i64).collect();
            Ok(Const::ints(&[sizes.len()], sizes))
        }
        "Size" => Ok(Const::ints(&[], vec![first.len() as i64])),
        "Reshape" => {
            let target = ints(node, operands, 1, "shape")?.ok_or("its shape is not given")?;
            reshaped(&first, &target, node.int("allowzero").unwrap_or(0) != 0)
        }
        "Flatten" => {
            let at = axes::front(node, rank)?;
            Ok(first.reshaped(&[first.dims[..at].iter().product(), first.dims[at..].iter().product()]))
        }
        "Squeeze" => {
            let axes = match ints(node, operands, 1, "axes")? {
                Some(given) => axes::axes(&given, rank)?,
                None => (0..rank).filter(|&a| first.dims[a] == 1).collect(),
            };
            Ok(first.reshaped(&axes::squeezed(&first.dims, &axes)?))
        }
        "Unsqueeze" => {
            let given = ints(node, operands, 1, "axes")?.ok_or("it has no axes")?;
            Ok(first.reshaped(&axes::unsqueezed(&first.dims, &given)?))
        }
        "Transpose" => transposed(&first, &axes::order(node, rank)?),
        "ConstantOfShape" => {
            let dims = sizes(first.as_ints())?;
            let value = node.tensor("value").map(|v| tensor::read(v, &mut Files::of(None)).map_err(|e| e.to_string()));
            let value = value.transpose()?.unwrap_or_else(|| Const::floats(&[1], vec![0.0]));
            if value.len() != 1 {
                return Err("its value is not one number".into());
            }
            repeated(&value.reshaped(&[]), &dims)
        }
        "Expand" => {
            let target = sizes(given(operands, 1)?.as_ints())?;
            let long = target.len().max(rank);
            let own = [vec![1; long - rank], first.dims.clone()].concat();
            let target = [vec![1; long - target.len()], target].concat();
            let dims: Vec<usize> = own.iter().zip(&target).map(|(&o, &t)| if o == 1 { t } else { o }).collect();
            repeated(&first.reshaped(&own), &dims)
        }
        "Tile" => {
            let times = sizes(given(operands, 1)?.as_ints())?;
            if first.len() != 1 || times.len() != rank {
                return Err("it repeats more than one number".into());
            }
            repeated(&first.reshaped(&[]), &times)
        }
        _ => range(&first, operands),
    }
}

fn sizes(ints: Option<&[i64]>) -> Folded<Vec<usize>> {
    let sizes = ints.and_then(|ints| ints.iter().map(|&v| usize::try_from(v).ok()).collect());
    sizes.ok_or_else(|| "its shape is not a list of sizes".into())
}

fn reshaped(x: &Const, target: &[i64], zeros: bool) -> Folded {
    let wrong = || format!("it makes {target:?} of a constant of {:?}", x.dims);
    let dims = target_sizes(&x.dims, target, zeros).ok_or_else(wrong)?;
    let known = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    let all: Option<usize> = known.map(|_| dims.iter().product());
    match all == Some(x.len()) {
        true => Ok(x.reshaped(&dims)),
        false => Err(wrong()),
    }
}

/// Returns the sizes that a Reshape makes of others, where it can: a 0 keeps a size unless `zeros` says that it is one,
/// and a -1, once, is what the others leave.
pub fn target_sizes(own: &[usize], target: &[i64], zeros: bool) -> Option<Vec<usize>> {
    let size = |(i, &size): (usize, &i64)| match size {
        0 if !zeros => own.get(i).copied(),
        -1 => Some(1),
        size => usize::try_from(size).ok(),
    };
    let mut sizes: Vec<usize> = target.iter().enumerate().map(size).collect::<Option<_>>()?;
    let open: Vec<usize> = (0..target.len()).filter(|&i| target[i] == -1).collect();
    match open[..] {
        [] => Some(sizes),
        [at] => {
            let known = sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|known| *known > 0)?;
            // Sizes beside a 0 may be of any number.
            let all = own.iter().fold(1usize, |n, &size| n.saturating_mul(size));
            sizes[at] = all.is_multiple_of(known).then_some(all / known)?;
            Some(sizes)
        }
        _ => None,
    }
}

/// Repeats a tensor to another shape: sizes of 1 become others.
fn repeated(x: &Const, dims: &[usize]) -> Folded {
    let total = count(dims)?;
    let own = [vec![1; dims.len() - x.dims.len().min(dims.len())], x.dims.clone()].concat();
    if own.len() != dims.len() || own.iter().zip(dims).any(|(&o, &d)| o != d && o != 1) {
        return Err(format!("it repeats {:?} to {dims:?}", x.dims));
    }
    picked(x, dims, total, |index| {
        let mut place = 0;
        for (axis, &size) in own.iter().enumerate() {
            place = place * size + if size > 1 { index[axis] } else { 0 };
        }
        place
    })
}

fn transposed(x: &Const, order: &[usize]) -> Folded {
    let rank = x.dims.len();
    let dims: Vec<usize> = order.iter().map(|&a| x.dims[a]).collect();
    picked(x, &dims, x.len(), |index| {
        let mut own = vec![0; rank];
        order.iter().zip(index).for_each(|(&axis, &i)| own[axis] = i);
        own.iter().zip(&x.dims).fold(0, |place, (i, size)| place * size + i)
    })
}

/// Makes a tensor of elements of another, each by its index.
pub fn picked(x: &Const, dims: &[usize], total: usize, place: impl Fn(&[usize]) -> usize) -> Folded {
    let mut index = vec![0; dims.len()];
    let mut places = Vec::with_capacity(total);
    for _ in 0..total {
        places.push(place(&index));
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    let data = match &x.data {
        Data::Float(data) => Data::Float(places.iter().map(|&p| data[p]).collect()),
        Data::Int(data) => Data::Int(places.iter().map(|&p| data[p]).collect()),
    };
    Ok(Const { dims: dims.to_vec(), data, kind: x.kind })
}

fn range(start: &Const, operands: &[Option<Rc<Const>>]) -> Folded {
    let number = |c: &Const| c.as_ints().and_then(|ints| ints.first().copied());
    let (limit, step) = (given(operands, 1)?, given(operands, 2)?);
    let ends = (number(start), number(&limit), number(&step));
    let (Some(start), Some(limit), Some(step)) = ends else { return Err("its ends are no whole numbers".into()) };
    if step == 0 {
        return Err("its step is 0".into());
    }
    let distance = i128::from(limit) - i128::from(start);
    let steps = (distance + i128::from(step) - i128::from(step.signum())) / i128::from(step);
    let total = count(&[usize::try_from(steps.max(0)).unwrap_or(usize::MAX)])?;
    Ok(Const::ints(&[total], (0..total as i64).map(|i| start + i * step).collect()))
}
