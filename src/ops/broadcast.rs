//! Which shapes meet in element-wise arithmetic: two of one type, or an image `[C, H, W]` with a number for each of its
//! channels, `[C]` or `[C, 1, 1]`, which is taken at every pixel (the gates of squeeze-and-excitation).

use super::arithmetic::Scale;
use super::error::{ShapeError, TrainingError};
use super::global_pool::GlobalAvgPool;
use super::reference;
use super::reshape::Reshape;
use super::{GradCx, Operator, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::types::Type;

/// Whether `small` has a number for each channel of the images `large`.
fn per_channel(small: &Type, large: &Type) -> bool {
    let (&[channels, ..], 3) = (large.dims.as_slice(), large.dims.len()) else { return false };
    small.batched && large.batched && small != large && matches!(small.dims[..], [c] | [c, 1, 1] if c == channels)
}

/// Returns the type of the result of an element-wise operator; an error names both shapes.
pub fn infer(operands: &[Type]) -> Result<Type, ShapeError> {
    let [a, b] = check::exactly(operands)?;
    check::floats(a)?;
    check::floats(b)?;
    match (per_channel(b, a), per_channel(a, b)) {
        (true, _) => Ok(a.clone()),
        (_, true) => Ok(b.clone()),
        _ => check::same(a, b).map(|()| a.clone()),
    }
}

/// Computes `f` of the operands' elements.
pub fn eval<T: Real>(cx: &EvalCx, operands: [&Value<T>; 2], f: impl Fn([f64; 2]) -> f64) -> Value<T> {
    let count = cx.ty.elements() * if cx.ty.batched { cx.batch } else { 1 };
    let read = operands.map(|operand| {
        let data = operand.real().data.as_slice();
        (data, count / data.len().max(1))
    });
    reference::result(cx, (0..count).map(|i| f(read.map(|(data, places)| data[i / places].f64()))).collect())
}

/// Brings the gradient of a result to the type of operand `i`, by sums over the pixels.
pub fn gradient(cx: &mut GradCx, i: usize, grad: NodeId) -> Result<Option<NodeId>, TrainingError> {
    let (own, whole) = (cx.operand_type(i), cx.graph.ty(grad).clone());
    if own == whole {
        return Ok(Some(grad));
    }
    let pixels = whole.elements() / own.elements();
    let mean = cx.graph.add(GlobalAvgPool {}, &[grad])?;
    let sum = cx.graph.add(Scale { factor: pixels as f64 }, &[mean])?;
    if cx.graph.ty(sum) == &own {
        return Ok(Some(sum));
    }
    Ok(Some(cx.graph.add(Reshape { dims: own.dims }, &[sum])?))
}

/// Adds the gradient of operand `i` if it is wanted: `op` of the operands, brought to its type.
pub fn wanted(
    cx: &mut GradCx,
    i: usize,
    op: impl Into<Operator>,
    operands: &[NodeId],
) -> Result<Option<NodeId>, TrainingError> {
    match cx.wanted(i, op, operands)? {
        Some(grad) => gradient(cx, i, grad),
        None => Ok(None),
    }
}

/// Types that tests try.
pub fn tried() -> Vec<[Type; 2]> {
    let image = Type::batched(&[20, 3, 5]);
    let large = Type::batched(&[5, 40, 41]);
    let equal = [Type::batched(&[3, 4, 5]), Type::batched(&[17]), Type::shared(&[4, 3, 2, 2]), Type::batched(&[])];
    let mut tried: Vec<[Type; 2]> = equal.into_iter().map(|ty| [ty.clone(), ty]).collect();
    tried.extend([
        [image.clone(), Type::batched(&[20, 1, 1])],
        [Type::batched(&[20]), image],
        [large, Type::batched(&[5])],
        [Type::batched(&[1, 1, 1]), Type::batched(&[1, 6, 7])],
        [Type::batched(&[4, 1, 1]), Type::batched(&[4])],
    ]);
    tried
}
