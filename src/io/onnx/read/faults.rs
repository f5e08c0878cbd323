//! Faults of nodes: operands that are missing or too many, attributes of another type, values made twice.

use super::super::error::Refusal;
use super::super::proto::AttributeProto;
use super::super::proto::attribute_proto::AttributeType;
use super::net::Node;
use std::collections::HashSet;

/// Least and most operands of operators.
const OPERANDS: [(usize, usize, &str); 11] = [
    (0, 0, "Constant"),
    (
        1,
        1,
        "Abs AveragePool Cast Ceil Celu ConstantOfShape Elu Erf Exp Flatten Floor Gelu GlobalAveragePool \
         GlobalMaxPool HardSigmoid HardSwish Identity LRN LeakyRelu Log LogSoftmax MaxPool Neg Not \
         Reciprocal Relu Round Selu Shape Sigmoid Sign Size Softmax Sqrt Tanh Transpose",
    ),
    (1, 2, "ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Split Squeeze Unsqueeze"),
    (1, 3, "Clip Dropout"),
    (1, 4, "Pad Resize"),
    (1, 5, "Slice"),
    (1, usize::MAX, "Concat If Max Mean Min Sum"),
    (
        2,
        2,
        "Add And CastLike Div Equal Expand Gather Greater GreaterOrEqual Less LessOrEqual MatMul Mod Mul Or \
         PRelu Pow Sub Tile",
    ),
    (2, 3, "Conv DequantizeLinear Gemm QuantizeLinear"),
    (3, 3, "Range Where"),
    (5, 5, "BatchNormalization"),
];

/// Types of the attributes that are read.
const ATTRIBUTES: [(AttributeType, &str); 6] = [
    (AttributeType::Float, "alpha beta gamma epsilon momentum ratio cubic_coeff_a bias value_float"),
    (
        AttributeType::Int,
        "allowzero antialias axis block_size ceil_mode count_include_pad end exclude_outside group keepdims \
         noop_with_empty_axes num_outputs size spatial start to training_mode transA transB value_int",
    ),
    (
        AttributeType::String,
        "approximate auto_pad coordinate_transformation_mode keep_aspect_ratio_policy mode nearest_mode",
    ),
    (
        AttributeType::Ints,
        "axes dilations ends kernel_shape paddings pads perm shape split starts steps strides value_ints",
    ),
    (AttributeType::Floats, "value_floats"),
    (AttributeType::Graph, "then_branch else_branch"),
];

/// Lists the nodes that are damaged in this set of operators; `known` are values that no node makes.
pub fn of(nodes: &[Node], known: impl Iterator<Item = String>, opset: i64) -> Vec<Refusal> {
    let mut made: HashSet<String> = known.collect();
    let mut faults = Vec::new();
    for node in nodes {
        let twice = node.outputs.iter().find(|name| !name.is_empty() && !made.insert((*name).clone()));
        let reason = twice.map(|name| format!("it makes `{name}`, which is there already"));
        let reason = reason.or_else(|| operands(node)).or_else(|| attributes(node, opset));
        faults.extend(reason.map(|reason| Refusal { node: node.label(), operator: node.op.clone(), reason }));
    }
    faults
}

fn operands(node: &Node) -> Option<String> {
    let of =
        OPERANDS.iter().find(|(_, _, names)| node.domain.is_empty() && names.split(' ').any(|name| name == node.op));
    let &(least, most, _) = of?;
    let count = node.inputs.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    let wanted = match most {
        usize::MAX => format!("{least} or more"),
        _ if least == most => least.to_string(),
        _ => format!("{least} to {most}"),
    };
    if count < least || count > most {
        return Some(format!("it has {count} operands, where it takes {wanted}"));
    }
    let absent = (0..least).find(|&i| node.input(i).is_none())?;
    Some(format!("its operand {} is left out, which it needs", absent + 1))
}

fn attributes(node: &Node, opset: i64) -> Option<String> {
    if let Some(name) = &node.twice {
        return Some(format!("its attribute `{name}` is there twice"));
    }
    let of = |name: &str| match (node.op.as_str(), name) {
        ("Constant" | "ConstantOfShape", "value") => Some(AttributeType::Tensor),
        ("Pad", "value") => Some(AttributeType::Float),
        _ => ATTRIBUTES.iter().find(|(_, names)| names.split(' ').any(|n| n == name)).map(|(kind, _)| *kind),
    };
    let known = OPERANDS.iter().any(|(_, _, names)| names.split(' ').any(|name| name == node.op));
    let wrong = |(name, a): (&String, &AttributeProto)| {
        let kind = of(name).filter(|kind| known && node.domain.is_empty() && !is(a, *kind))?;
        Some(format!("its attribute `{name}` is not of the type {}", kind.as_str_name()))
    };
    node.all().find_map(wrong).or_else(|| super::attributes::unknown(node, opset))
}

/// Is an attribute of this type? Old files do not state it.
fn is(a: &AttributeProto, kind: AttributeType) -> bool {
    let number = a.i.is_some() || a.f.is_some() || a.s.is_some() || a.t.is_some();
    match a.r#type.filter(|kind| *kind != 0) {
        Some(stated) => stated == kind as i32,
        None => match kind {
            AttributeType::Float => a.f.is_some(),
            AttributeType::Int => a.i.is_some(),
            AttributeType::String => a.s.is_some(),
            AttributeType::Tensor => a.t.is_some(),
            AttributeType::Graph => a.g.is_some(),
            AttributeType::Floats => !number && a.ints.is_empty(),
            _ => !number && a.floats.is_empty(),
        },
    }
}
