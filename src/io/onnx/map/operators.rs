//! Which operator is translated where.

use super::super::read::Node;
use super::{Map, Mapped, Value};

/// Operators that are translated, whatever their operands are.
const KNOWN: [&str; 68] = [
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "ConstantOfShape",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Elu",
    "Equal",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "If",
    "LRN",
    "LeakyRelu",
    "LogSoftmax",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "PRelu",
    "Pad",
    "Pow",
    "QuantizeLinear",
    "Range",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Resize",
    "Selu",
    "Shape",
    "Sigmoid",
    "Size",
    "Slice",
    "Softmax",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Upsample",
];

/// Is the node's operator translated?
pub fn known(node: &Node) -> bool {
    node.domain.is_empty() && KNOWN.contains(&node.op.as_str())
}

/// Says that an operator is not.
pub fn unknown(node: &Node) -> String {
    match node.domain.as_str() {
        "" => "the language has no counterpart of this operator".into(),
        domain => format!("it is an operator of `{domain}`; only ONNX's own are read"),
    }
}

impl<'n> Map<'n> {
    /// Translates a node that has a value of the network among its operands.
    pub(super) fn operator(&mut self, node: &'n Node) -> Mapped<Vec<Value>> {
        if !known(node) {
            return Err(unknown(node).into());
        }
        self.refuse_bytes(node)?;
        let view = match node.op.as_str() {
            "Shape" | "Size" | "Split" => return self.special(node),
            "Identity" | "Dropout" | "Cast" | "CastLike" => self.unchanged(node)?,
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Expand" => self.reshaping(node)?,
            "Conv" => self.conv(node)?,
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.mat_mul(node)?,
            "MaxPool" => self.max_pool(node)?,
            "AveragePool" => self.average_pool(node)?,
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(node)?,
            "ReduceMean" | "ReduceMax" | "ReduceSum" | "ReduceMin" => self.reduce(node)?,
            "BatchNormalization" => self.batch_norm(node)?,
            "LRN" => self.lrn(node)?,
            "Softmax" | "LogSoftmax" => self.softmax(node)?,
            "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Mean" | "Max" | "Min" | "Neg" | "Pow" => self.arithmetic(node)?,
            "Concat" => self.concat(node)?,
            "Pad" => self.pad(node)?,
            "Slice" | "Gather" => self.slice(node)?,
            "Resize" | "Upsample" => self.resize(node)?,
            "PRelu" => self.prelu(node)?,
            "QuantizeLinear" => self.quantize(node)?,
            "DequantizeLinear" => self.dequantize(node)?,
            _ => self.activation(node)?,
        };
        self.keep_bytes(node);
        Ok(vec![Value::View(view)])
    }
}
