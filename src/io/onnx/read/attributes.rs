//! Attributes of operators, by the sets of operators that have them: those of onnx 1.22.

use super::net::Node;

/// Operators with their attributes; `name+11-17` is there from set 11 to set 17.
const ATTRIBUTES: [(&str, &str); 38] = [
    ("Abs Ceil Exp Floor Log Max Mean Min Neg PRelu Reciprocal Relu Sigmoid Sqrt Sum Tanh", "consumed_inputs-5"),
    ("Add Div Mul Sub", "axis-6 broadcast-6 consumed_inputs-5"),
    ("And Equal Greater Less Or Pow", "axis-6 broadcast-6"),
    ("AveragePool", "auto_pad ceil_mode+10 count_include_pad+7 dilations+19 kernel_shape pads strides"),
    ("BatchNormalization", "consumed_inputs-5 epsilon is_test-6 momentum spatial-8 training_mode+14"),
    ("Cast", "round_mode+24 saturate+19 to"),
    ("CastLike", "round_mode+24 saturate+19"),
    ("Celu", "alpha"),
    ("Clip", "consumed_inputs-5 max-10 min-10"),
    ("Concat Flatten Gather LogSoftmax Softmax", "axis"),
    (
        "Constant",
        "sparse_value+11 value value_float+12 value_floats+12 value_int+12 value_ints+12 value_string+12 \
         value_strings+12",
    ),
    ("ConstantOfShape", "value"),
    ("Conv", "auto_pad dilations group kernel_shape pads strides"),
    ("DequantizeLinear", "axis+13 block_size+21 output_dtype+23"),
    ("Dropout", "consumed_inputs-5 is_test-6 ratio-11 seed+12"),
    ("Elu LeakyRelu", "alpha consumed_inputs-5"),
    (
        "Erf Expand GlobalAveragePool GlobalMaxPool GreaterOrEqual HardSwish Identity LessOrEqual MatMul \
         Not Round Sign Size Tile Where",
        "",
    ),
    ("Gelu", "approximate"),
    ("Gemm", "alpha beta broadcast-6 transA transB"),
    ("HardSigmoid", "alpha beta consumed_inputs-5"),
    ("If", "else_branch then_branch"),
    ("LRN", "alpha beta bias size"),
    ("MaxPool", "auto_pad ceil_mode+10 dilations+10 kernel_shape pads storage_order+8 strides"),
    ("Mod", "fmod"),
    ("Pad", "mode paddings-1 pads+2-10 value-10"),
    ("QuantizeLinear", "axis+13 block_size+21 output_dtype+21 precision+23 saturate+19"),
    ("Range", "stash_type+27"),
    ("ReduceMax ReduceMean ReduceMin ReduceProd", "axes-17 keepdims noop_with_empty_axes+18"),
    ("ReduceSum", "axes-12 keepdims noop_with_empty_axes+13"),
    ("Reshape", "allowzero+14 consumed_inputs-4 shape-4"),
    (
        "Resize",
        "antialias+18 axes+18 coordinate_transformation_mode+11 cubic_coeff_a+11 exclude_outside+11 \
         extrapolation_value+11 keep_aspect_ratio_policy+18 mode nearest_mode+11",
    ),
    ("Selu", "alpha consumed_inputs-5 gamma"),
    ("Shape", "end+15 start+15"),
    ("Slice", "axes-9 ends-9 starts-9"),
    ("Split", "axis num_outputs+18 split-12"),
    ("Squeeze Unsqueeze", "axes-12"),
    ("Transpose", "perm"),
    ("Upsample", "height_scale-6 mode scales+7-8 width_scale-6"),
];

/// Says which attribute of a node its operator does not have in this set of operators.
pub fn unknown(node: &Node, opset: i64) -> Option<String> {
    let of = |(names, _): &&(&str, &str)| node.domain.is_empty() && names.split(' ').any(|name| name == node.op);
    let (_, known) = ATTRIBUTES.iter().find(of)?;
    let has = |wanted: &str| known.split(' ').any(|attribute| there(attribute, wanted, opset));
    let (name, _) = node.all().find(|(name, _)| !has(name))?;
    Some(format!("its attribute `{name}` is none that this operator has in operator set {opset}"))
}

/// Is it the attribute of this name, in this set of operators?
fn there(attribute: &str, wanted: &str, opset: i64) -> bool {
    let (rest, last) = attribute.split_once('-').map_or((attribute, None), |(rest, last)| (rest, last.parse().ok()));
    let (name, first) = rest.split_once('+').map_or((rest, None), |(name, first)| (name, first.parse().ok()));
    name == wanted && first.is_none_or(|first: i64| opset >= first) && last.is_none_or(|last: i64| opset <= last)
}
