//! Expands each mlpconv into convolutions, activations and its pooling.

use super::{dce, name_once};
use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::activation::Activation;
use crate::ops::conv::Conv2d;
use crate::ops::mlpconv::MlpConv;
use crate::ops::pool::{AvgPool, MaxPool};

/// Takes fused chains apart into convolutions, activations and poolings.
pub fn run(graph: &mut Graph) -> Result<(), String> {
    for id in graph.order() {
        if let Operator::MlpConv(op) = graph.op(id).clone() {
            let last = expand(graph, id, &op)?;
            graph.replace(id, last);
        }
    }
    dce::run(graph)
}

fn expand(graph: &mut Graph, id: NodeId, op: &MlpConv) -> Result<NodeId, String> {
    let operands = graph.operands(id).to_vec();
    let mut rest = operands.iter().copied();
    let mut take = || rest.next().ok_or_else(|| "mlpconv has fewer operands than its stages need".to_string());
    let mut value = take()?;
    let stages = op.activations.len();
    for i in 0..stages {
        let conv = match i {
            0 => Conv2d { stride: op.stride, pad: op.pad, dilation: op.dilation, groups: op.groups },
            _ => Conv2d { stride: [1, 1], pad: [0, 0], dilation: [1, 1], groups: 1 },
        };
        let weight = take()?;
        let mut inputs = vec![value, weight];
        if op.biases[i] {
            inputs.push(take()?);
        }
        value = graph.add(conv, &inputs)?;
        let last = i + 1 == stages && op.pool.is_empty();
        if op.activations[i] != "none" {
            name_after_weight(graph, value, weight);
            let function = op.activations[i].clone();
            value = graph.add(Activation { function, slope: op.slopes[i] }, &[value])?;
        } else if !last {
            name_after_weight(graph, value, weight);
        }
    }
    let (kernel, stride, pad, ceil) = (op.pool_kernel, op.pool_stride, op.pool_pad, op.pool_ceil);
    match op.pool.as_str() {
        "" => Ok(value),
        "max" => graph.add(MaxPool { kernel, stride, pad, ceil }, &[value]),
        "average" => graph.add(AvgPool { kernel, stride, pad, ceil }, &[value]),
        other => Err(format!("mlpconv joins no pooling `{other}`")),
    }
}

/// `block1.cccp1.weight` makes `block1.cccp1`: kernels and dumps are easier to read.
fn name_after_weight(graph: &mut Graph, value: NodeId, weight: NodeId) {
    if let Operator::Param(param) = graph.op(weight)
        && let Some(name) = param.name.strip_suffix(".weight").map(str::to_string)
    {
        name_once(graph, value, &name);
    }
}
