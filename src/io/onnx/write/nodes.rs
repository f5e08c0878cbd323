//! Each operator's nodes.

use super::super::error::ExportError;
use super::super::proto::AttributeProto;
use super::Writer;
use super::messages::{float, int, list, text};
use crate::graph::NodeId;
use crate::ops::Operator;
use crate::ops::activation::Function;
use crate::ops::window::Window;

/// Attributes of a window whose last sides are padded as far as its windows reach.
pub fn windowed(window: &Window, image: [usize; 2], size: [usize; 2]) -> Vec<AttributeProto> {
    let end = |i: usize| {
        let span = window.dilation[i] * (window.kernel[i] - 1) + 1;
        ((size[i] - 1) * window.stride[i] + span).saturating_sub(image[i] + window.pad[i])
    };
    let pads = [window.pad[0], window.pad[1], end(0), end(1)];
    vec![list("kernel_shape", &window.kernel), list("strides", &window.stride), list("pads", &pads)]
}

impl Writer<'_> {
    /// Writes the nodes of a value.
    pub(super) fn node(&mut self, id: NodeId) -> Result<(), ExportError> {
        let operands = self.operands(id)?;
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        self.node_on(id, &self.name(id), &operands)?;
        self.rounded(id);
        Ok(())
    }

    /// Writes a value's nodes under a name, on operands of these names.
    pub(super) fn node_on(&mut self, id: NodeId, name: &str, operands: &[&str]) -> Result<(), ExportError> {
        let graph = self.graph();
        let dims = graph.ty(id).dims.clone();
        let first = graph.operands(id).first().map(|&o| graph.ty(o).dims.clone()).unwrap_or_default();
        let function = self.functions.get(&id).copied().unwrap_or_default();
        let plain = |w: &mut Self, op: &str, attributes| drop(w.add(name, op, operands, name, attributes));
        match graph.op(id) {
            Operator::Input(_) => {}
            Operator::Param(_) => self.parameter(id)?,
            Operator::Scale(op) => {
                let factor = self.constant(&format!("{name}.factor"), &[], &[op.factor as f32]);
                self.add(name, "Mul", &[operands[0], &factor], name, vec![]);
            }
            Operator::Conv2d(op) => {
                plain(self, "Conv", convolution(&op.window, op.groups));
                if function == "mlpconv" || (op.window == Window::ONE && op.groups == 1) {
                    self.doc(function);
                }
            }
            Operator::MlpConv(op) => self.mlpconv(name, op, operands),
            Operator::Linear(_) => plain(self, "Gemm", vec![int("transB", 1)]),
            Operator::DropConnect(op) => self.drop_connect(id, 1.0 - op.rate)?,
            Operator::LocalConv(op) => self.local_conv(name, &op.window, operands, &first, &dims),
            Operator::Activation(op) => {
                let label = self.label(id, name);
                self.activation(&label, op.function, operands[0], name);
            }
            Operator::Gelu(op) => self.gelu(name, operands[0], op.approximate),
            Operator::Silu(_) => {
                let gate = self.add(&format!("{name}.gate"), "Sigmoid", operands, &format!("{name}.gate"), vec![]);
                self.add(name, "Mul", &[operands[0], &gate], name, vec![]);
                self.doc("silu");
            }
            Operator::Prelu(_) => self.prelu(name, (operands[0], operands[1]), dims.len()),
            Operator::Maxout(op) => self.maxout(name, operands[0], op.pieces, &dims),
            Operator::Softmax(_) => plain(self, "Softmax", vec![int("axis", 1)]),
            Operator::LogSoftmax(_) => plain(self, "LogSoftmax", vec![int("axis", 1)]),
            Operator::MaxPool(op) => {
                plain(self, "MaxPool", windowed(&op.window, [first[1], first[2]], [dims[1], dims[2]]));
            }
            Operator::AvgPool(op) => {
                let mut attributes = windowed(&op.window, [first[1], first[2]], [dims[1], dims[2]]);
                attributes.push(int("count_include_pad", 0));
                plain(self, "AveragePool", attributes);
            }
            Operator::StochasticPool(op) => {
                let own = windowed(&op.window, [first[1], first[2]], [dims[1], dims[2]]);
                self.stochastic_pool(name, operands[0], own);
            }
            Operator::GlobalAvgPool(_) => self.global(name, "GlobalAveragePool", operands[0]),
            Operator::GlobalMaxPool(_) => self.global(name, "GlobalMaxPool", operands[0]),
            Operator::Dropout(op) => self.dropout(name, operands[0], (op.rate, op.inverted)),
            Operator::Lrn(op) => {
                let numbers = [op.alpha, op.beta, op.k];
                self.lrn(name, operands[0], op.size, numbers, &dims);
            }
            Operator::BatchNorm(op) => {
                plain(
                    self,
                    "BatchNormalization",
                    vec![float("epsilon", op.epsilon), float("momentum", 1.0 - op.momentum)],
                );
            }
            Operator::Add(_) if self.part_of_sum(id) => {}
            Operator::Add(_) => {
                let terms = self.terms(id);
                let terms: Vec<String> = terms.into_iter().map(|term| self.broadcast(name, term, dims.len())).collect();
                let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
                self.add(name, if terms.len() > 2 { "Sum" } else { "Add" }, &terms, name, vec![]);
            }
            Operator::Mul(_) => {
                let factors = graph.operands(id).to_vec();
                let [a, b] = [0, 1].map(|i| self.broadcast(name, factors[i], dims.len()));
                self.add(name, "Mul", &[&a, &b], name, vec![]);
            }
            Operator::Concat(_) => plain(self, "Concat", vec![int("axis", 1)]),
            Operator::Pad(op) => {
                let sides = [0, 0, op.top, op.left, 0, 0, op.bottom, op.right].map(|side| side as i64);
                let pads = self.ints(&format!("{name}.pads"), &sides);
                let value = self.constant(&format!("{name}.value"), &[], &[op.value as f32]);
                self.add(name, "Pad", &[operands[0], &pads, &value], name, vec![text("mode", "constant")]);
            }
            Operator::Reshape(_) => drop(self.reshape(name, operands[0], &dims)),
            Operator::Pixelwise(op) => self.pixelwise(name, op, operands, first.len()),
            Operator::GlobalContrast(_) => {
                self.contrast(name, (operands[0], operands[1]), first.len(), graph.ty(id).elements())
            }
            Operator::Fill(op) => drop(self.constant(name, &op.dims, &vec![op.value as f32; graph.ty(id).elements()])),
            _ => return Err(self.none(id, "ONNX has no operator for it")),
        }
        Ok(())
    }

    /// Writes an activation of `x`.
    pub(super) fn activation(&mut self, node: &str, function: Function, x: &str, output: &str) -> String {
        let mut inputs = vec![x.to_string()];
        if let Function::Clip { low, high } = function {
            for limit in [low, high] {
                let named = |v: f64| self.constant(&format!("ninc.limit.{v}"), &[], &[v as f32]);
                inputs.push(limit.map_or(String::new(), named));
            }
            while inputs.last().is_some_and(String::is_empty) {
                inputs.pop();
            }
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let (op, attributes) = activation(function);
        self.add(node, op, &inputs, output, attributes)
    }

    /// A term or factor of `layer`, a value of `rank` dimensions; features get sizes of 1, since ONNX aligns the last
    /// dimensions.
    fn broadcast(&mut self, layer: &str, operand: NodeId, rank: usize) -> String {
        let name = self.name(operand);
        let dims = self.graph().ty(operand).dims.clone();
        if dims.len() == rank {
            return name;
        }
        self.reshape(&format!("{layer}.{name}"), &name, &[dims[0], 1, 1])
    }

    /// Is it a sum of the first terms of a layer with more?
    fn part_of_sum(&self, id: NodeId) -> bool {
        let graph = self.graph();
        let users = graph.users(id);
        let inner =
            matches!(graph.op(id), Operator::Add(_)) && !self.functions.contains_key(&id) && !graph.is_result(id);
        inner && users.len() == 1 && matches!(graph.op(users[0]), Operator::Add(_))
    }

    /// The terms of a layer's sum.
    fn terms(&self, id: NodeId) -> Vec<NodeId> {
        let operands = self.graph().operands(id);
        let terms = |&term: &NodeId| if self.part_of_sum(term) { self.terms(term) } else { vec![term] };
        operands.iter().flat_map(terms).collect()
    }

    /// The error for a layer without a counterpart.
    pub(super) fn none(&self, id: NodeId, reason: &str) -> ExportError {
        let operator = self.graph().op(id).name().to_string();
        ExportError::Operator { layer: self.name(id), operator, reason: reason.into() }
    }
}

/// Attributes of a convolution.
pub fn convolution(window: &Window, groups: usize) -> Vec<AttributeProto> {
    let pads = [window.pad[0], window.pad[1], window.pad[0], window.pad[1]];
    vec![
        list("kernel_shape", &window.kernel),
        list("strides", &window.stride),
        list("pads", &pads),
        list("dilations", &window.dilation),
        int("group", groups as i64),
    ]
}

/// The operator of an activation.
pub fn activation(function: Function) -> (&'static str, Vec<AttributeProto>) {
    match function {
        Function::Relu => ("Relu", vec![]),
        Function::LeakyRelu { slope } => ("LeakyRelu", vec![float("alpha", slope)]),
        Function::Elu { alpha } => ("Elu", vec![float("alpha", alpha)]),
        Function::Sigmoid => ("Sigmoid", vec![]),
        Function::Tanh => ("Tanh", vec![]),
        // Its limits are operands.
        Function::Clip { .. } => ("Clip", vec![]),
    }
}
