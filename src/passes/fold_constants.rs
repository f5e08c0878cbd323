//! Constant folding and identities: work that can be done now, or need not be done at all.

use super::dce;
use super::error::PassError;
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::activation::{Activation, Function};
use crate::ops::arithmetic::Scale;
use crate::ops::conv::Conv2d;
use crate::ops::error::ShapeError;
use crate::ops::reshape::Reshape;
use crate::ops::source::Fill;
use crate::ops::window::Window;

/// Merges neighbouring pads, scales and reshapes, and drops those without effect.
pub fn run(graph: &mut Graph) -> Result<(), PassError> {
    for id in graph.order() {
        // A rewrite may open another one at the same place, such as a scale of a scale that makes a scale by 1.
        let mut current = id;
        while let Some(simpler) = simplify(graph, current)? {
            graph.replace(current, simpler);
            current = simpler;
        }
    }
    dce::run(graph)
}

/// Finds a cheaper value equal to `id`. Never `id` itself, and never a form that leads back to it.
fn simplify(graph: &mut Graph, id: NodeId) -> Result<Option<NodeId>, ShapeError> {
    let operands = graph.operands(id).to_vec();
    let op = graph.op(id).clone();
    let fill = |i: usize| constant(graph, operands[i]);
    let constant_result = match &op {
        Operator::Scale(s) => fill(0).map(|x| s.factor * x),
        Operator::Add(_) => fill(0).zip(fill(1)).map(|(a, b)| a + b),
        Operator::Mul(_) => fill(0).zip(fill(1)).map(|(a, b)| a * b),
        Operator::ScaleBy(_) => fill(0).zip(fill(1)).map(|(x, s)| x * s),
        Operator::Mix(m) => fill(0).zip(fill(1)).map(|(a, b)| a + m.weight * (b - a)),
        Operator::Reshape(_) => fill(0),
        _ => None,
    };
    if let Some(value) = constant_result {
        let ty = graph.ty(id).clone();
        return graph.add(Fill { value, batched: ty.batched, dims: ty.dims }, &[]).map(Some);
    }
    match op {
        Operator::Scale(s) if s.factor == 1.0 => Ok(Some(operands[0])),
        Operator::Scale(outer) => match *graph.op(operands[0]) {
            Operator::Scale(Scale { factor }) => {
                let x = graph.operands(operands[0])[0];
                graph.add(Scale { factor: outer.factor * factor }, &[x]).map(Some)
            }
            _ => Ok(None),
        },
        // Where a constant is the image and the other value has a number for each channel, both are needed.
        Operator::Add(_) | Operator::Mul(_) if operands.iter().any(|&o| graph.ty(o) != graph.ty(id)) => Ok(None),
        Operator::Add(_) => Ok(neutral(graph, &operands, 0.0)),
        Operator::Mul(_) => match (neutral(graph, &operands, 1.0), fill(0), fill(1)) {
            (Some(x), ..) => Ok(Some(x)),
            (_, Some(factor), _) => graph.add(Scale { factor }, &[operands[1]]).map(Some),
            (_, _, Some(factor)) => graph.add(Scale { factor }, &[operands[0]]).map(Some),
            _ => Ok(None),
        },
        Operator::ScaleBy(_) => match fill(1) {
            Some(factor) => graph.add(Scale { factor }, &[operands[0]]).map(Some),
            None => Ok(None),
        },
        Operator::Reshape(reshape) => simplify_reshape(graph, id, operands[0], reshape),
        Operator::Activation(outer) => match graph.op(operands[0]).clone() {
            Operator::Activation(inner) => limit_once(graph, operands[0], inner.function, outer.function),
            _ => Ok(None),
        },
        Operator::Conv2d(conv) => absorb_pad(graph, &operands, &conv),
        Operator::Pad(_) | Operator::Crop(_) | Operator::Slice(_) | Operator::Concat(_) => {
            // With the operand's own shape these move nothing.
            Ok((operands.len() == 1 && graph.ty(id) == graph.ty(operands[0])).then_some(operands[0]))
        }
        _ => Ok(None),
    }
}

/// Limits a value once where `x` limits it already.
fn limit_once(graph: &mut Graph, x: NodeId, inner: Function, outer: Function) -> Result<Option<NodeId>, ShapeError> {
    let (Some([low, high]), Some([least, most])) = (inner.limits(), outer.limits()) else { return Ok(None) };
    // Below the inner limits the outer ones may be what decides, so they must leave something between them.
    let low = low.into_iter().chain(least).reduce(f64::max);
    let high = high.into_iter().chain(most).reduce(f64::min);
    match Function::limited([low, high]) {
        Some(function) if function == inner => Ok(Some(x)),
        Some(function) => graph.add(Activation { function }, &[graph.operands(x)[0]]).map(Some),
        None => Ok(None),
    }
}

fn constant(graph: &Graph, id: NodeId) -> Option<f64> {
    match graph.op(id) {
        Operator::Fill(fill) => Some(fill.value),
        _ => None,
    }
}

/// The other operand, where one is the neutral element.
fn neutral(graph: &Graph, operands: &[NodeId], element: f64) -> Option<NodeId> {
    let is = |i: usize| constant(graph, operands[i]) == Some(element);
    if is(0) { Some(operands[1]) } else { is(1).then_some(operands[0]) }
}

fn simplify_reshape(graph: &mut Graph, id: NodeId, x: NodeId, reshape: Reshape) -> Result<Option<NodeId>, ShapeError> {
    if graph.ty(id) == graph.ty(x) {
        return Ok(Some(x));
    }
    match graph.op(x) {
        Operator::Reshape(_) => {
            let source = graph.operands(x)[0];
            graph.add(reshape, &[source]).map(Some)
        }
        _ => Ok(None),
    }
}

/// Makes a symmetric border of zeros before a convolution its padding.
fn absorb_pad(graph: &mut Graph, operands: &[NodeId], conv: &Conv2d) -> Result<Option<NodeId>, ShapeError> {
    let Operator::Pad(pad) = graph.op(operands[0]) else { return Ok(None) };
    if pad.value != 0.0 || pad.top != pad.bottom || pad.left != pad.right {
        return Ok(None);
    }
    let pad = [conv.window.pad[0] + pad.top, conv.window.pad[1] + pad.left];
    let wider = Conv2d { window: Window { pad, ..conv.window }, ..conv.clone() };
    let mut inputs = operands.to_vec();
    inputs[0] = graph.operands(operands[0])[0];
    // The operator may refuse a padding as wide as its window; then the pad stays.
    Ok(graph.add(wider, &inputs).ok())
}
