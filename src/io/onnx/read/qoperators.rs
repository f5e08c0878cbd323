//! Operators on bytes, taken apart into what they mean: floats of the bytes, the operator, bytes of its result.

use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::{AttributeProto, NodeProto};
use super::net::Node;

/// Where ONNX Runtime's own operators are defined.
const MICROSOFT: &str = "com.microsoft";

/// How an operator on bytes lists its operands: each is three of them, bytes with their scale and zero.
struct Form {
    /// The operator on floats.
    op: &'static str,
    /// Where each operand begins.
    operands: Vec<usize>,
    /// The axis of the second operand along which its scales lie, if it is weights.
    axis: i64,
    /// Where the biases stand, in units of both operands' scales.
    bias: Option<usize>,
    /// Where the result's scale and zero begin.
    result: usize,
}

/// Takes all operators on bytes apart, of networks with this set of ONNX's operators.
pub fn apart(nodes: Vec<Node>, opset: i64) -> Vec<Node> {
    let one = |node: Node| match form(&node, opset) {
        Some(form) => form.nodes(node),
        None => vec![node],
    };
    nodes.into_iter().flat_map(one).collect()
}

fn form(node: &Node, opset: i64) -> Option<Form> {
    let plain = |op, count: usize| Form {
        op,
        operands: (0..count).map(|i| 3 * i).collect(),
        axis: 0,
        bias: None,
        result: 3 * count,
    };
    if node.int("channels_last").unwrap_or(0) != 0 {
        return None;
    }
    Some(match (node.domain.as_str(), node.op.as_str()) {
        ("", "QLinearConv") => Form { bias: Some(8), ..plain("Conv", 2) },
        ("", "QLinearMatMul") => Form { axis: 1, ..plain("MatMul", 2) },
        (MICROSOFT, "QGemm") => {
            let axis = if node.int("transB").unwrap_or(0) != 0 { 0 } else { 1 };
            Form { axis, bias: Some(6), result: 7, ..plain("Gemm", 2) }
        }
        (MICROSOFT, "QLinearAdd") => plain("Add", 2),
        (MICROSOFT, "QLinearMul") => plain("Mul", 2),
        (MICROSOFT, "QLinearAveragePool") => plain("AveragePool", 1),
        (MICROSOFT, "QLinearGlobalAveragePool") => plain("GlobalAveragePool", 1),
        (MICROSOFT, "QLinearSigmoid") => plain("Sigmoid", 1),
        (MICROSOFT, "QLinearLeakyRelu") => plain("LeakyRelu", 1),
        (MICROSOFT, "QLinearSoftmax") => {
            // What it means depends on a set of its own; over the last axis all sets agree.
            let own = node.int("opset").unwrap_or(opset);
            let last = node.int("axis").unwrap_or(-1) == -1;
            (last || (own < 13) == (opset < 13)).then(|| plain("Softmax", 1))?
        }
        (MICROSOFT, "QLinearConcat") => {
            let operands = (2..node.inputs.len()).step_by(3).collect();
            Form { operands, result: 0, ..plain("Concat", 0) }
        }
        _ => return None,
    })
}

impl Form {
    fn nodes(&self, mut node: Node) -> Vec<Node> {
        let input = |i: usize| node.inputs.get(i).cloned().unwrap_or_default();
        // Results have names that are there once; nodes need not.
        let stem = node.outputs.first().cloned().unwrap_or_default();
        let value = |what: &str| format!("{stem}#{what}");
        let mut nodes = Vec::new();
        let mut floats = Vec::new();
        for (i, &at) in self.operands.iter().enumerate() {
            let axis = if i == 1 { self.axis } else { 0 };
            let operands = [input(at), input(at + 1), input(at + 2)];
            nodes.push(made("DequantizeLinear", &operands, value(&i.to_string()), Some(axis)));
            floats.push(value(&i.to_string()));
        }
        if let Some(bias) = self.bias.map(input).filter(|name| !name.is_empty()) {
            nodes.push(made("Mul", &[input(1), input(4)], value("unit"), None));
            nodes.push(made("DequantizeLinear", &[bias, value("unit")], value("bias"), Some(0)));
            floats.push(value("bias"));
        }
        let (scale, zero) = (input(self.result), input(self.result + 1));
        let attributes = node.attributes();
        if self.op == "Softmax" && !attributes.contains_key("axis") {
            attributes.insert("axis".into(), int("axis", -1));
        }
        attributes.retain(|name, _| !["channels_last", "opset"].contains(&name.as_str()));
        (node.op, node.domain, node.inputs) = (self.op.into(), String::new(), floats);
        if scale.is_empty() {
            nodes.push(node);
            return nodes;
        }
        let result = std::mem::replace(&mut node.outputs, vec![value("result")]);
        nodes.push(node);
        let bytes = [value("result"), scale, zero];
        let mut last = made("QuantizeLinear", &bytes, String::new(), None);
        last.outputs = result;
        nodes.push(last);
        nodes
    }
}

/// Makes a node, which has the name of its result.
fn made(op: &str, inputs: &[String], output: String, axis: Option<i64>) -> Node {
    Node::new(NodeProto {
        name: Some(output.clone()),
        op_type: Some(op.into()),
        input: inputs.to_vec(),
        output: vec![output],
        attribute: axis.map(|axis| int("axis", axis)).into_iter().collect(),
        ..NodeProto::default()
    })
}

fn int(name: &str, value: i64) -> AttributeProto {
    let kind = Some(AttributeType::Int as i32);
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: kind, ..AttributeProto::default() }
}
