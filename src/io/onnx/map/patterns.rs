//! Operators that exporters write as several nodes, known by their last one.

use super::super::axes::order;
use super::super::read::{Const, Node};
use super::view::View;
use super::{Map, Mapped, Value};
use crate::io::sheet::{Arg, Args};

impl<'n> Map<'n> {
    /// Translates a node that ends a pattern; `None` where it ends none.
    pub(super) fn pattern(&mut self, node: &'n Node) -> Option<Mapped> {
        if !node.domain.is_empty() {
            return None;
        }
        // Ours say what they were: a product or a sum that looks like a pattern was written as one.
        let ours = super::names::ours(self.net);
        match node.op.as_str() {
            "Div" => self.lrn_chain(node),
            "Transpose" => self.there_and_back(node),
            "Max" => self.strided_maximum(node),
            "Mul" if ours && node.doc != "silu" => self.gelu(node),
            "Mul" => self.silu(node).or_else(|| self.gelu(node)),
            "Add" if !ours => self.two_relus(node),
            _ => None,
        }
    }

    /// The node that makes a value, if it has this operator.
    fn maker(&self, name: &str, op: &str) -> Option<&'n Node> {
        let node = &self.net.nodes[*self.makers.get(name)?];
        (node.op == op && node.domain.is_empty()).then_some(node)
    }

    fn known_view(&self, name: &str) -> Option<View> {
        match self.values.get(name) {
            Some(Value::View(view)) => Some(view.clone()),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<f32> {
        match self.values.get(name) {
            Some(Value::Const(c)) if !self.dependent(name) => c.scalar(),
            _ => None,
        }
    }

    /// Takes a node's two operands apart: a number, and the name of the other.
    fn with_number(&self, node: &'n Node) -> Option<(f32, &'n str)> {
        let (a, b) = (node.inputs.first()?.as_str(), node.inputs.get(1)?.as_str());
        self.number(b).map(|v| (v, a)).or_else(|| self.number(a).map(|v| (v, b)))
    }

    /// Two exchanges of axes that only together leave the batch where it is.
    fn there_and_back(&mut self, node: &'n Node) -> Option<Mapped> {
        let first = self.maker(node.inputs.first()?, "Transpose")?;
        let view = self.known_view(first.inputs.first()?)?;
        let rank = view.shape.len();
        let (inner, outer) = (order(first, rank).ok()?, order(node, rank).ok()?);
        let both: Option<Vec<usize>> = outer.iter().map(|&axis| inner.get(axis).copied()).collect();
        both.and_then(|both| view.transposed(&both)).map(Ok)
    }

    /// PyTorch's LRN: the mean of squares over channels by a three-dimensional pool, times alpha, plus k, to a power.
    fn lrn_chain(&mut self, node: &'n Node) -> Option<Mapped> {
        let x = node.inputs[0].as_str();
        let power = self.maker(node.inputs.get(1)?, "Pow")?;
        let beta = self.number(power.inputs.get(1)?)?;
        let (k, scaled) = self.with_number(self.maker(&power.inputs[0], "Add")?)?;
        let (alpha, mean) = self.with_number(self.maker(scaled, "Mul")?)?;
        let mut pooled = mean;
        while let Some(before) = self.squeezed(pooled) {
            pooled = before;
        }
        let pool = self.maker(pooled, "AveragePool")?;
        let (mut size, mut before) = (None, 0);
        if let Some([channels, 1, 1] | [channels, 1]) = pool.ints("kernel_shape") {
            size = usize::try_from(*channels).ok().filter(|size| *size > 0);
        }
        let plain = |name: &str| pool.ints(name).is_none_or(|list| list.iter().all(|&v| v <= 1));
        if !plain("strides") || pool.ints("pads").is_some_and(|pads| pads.iter().any(|&p| p != 0)) {
            return None;
        }
        let mut name = pool.inputs.first()?.as_str();
        // Squares, brought to one more dimension and padded by channels.
        loop {
            if let Some(pad) = self.maker(name, "Pad") {
                let pads = match pad.input(1).and_then(|name| self.values.get(name)) {
                    Some(Value::Const(c)) if pad.input(1).is_some_and(|name| !self.dependent(name)) => {
                        c.as_ints()?.to_vec()
                    }
                    Some(Value::Const(_)) => return None,
                    _ => pad.ints("pads")?.to_vec(),
                };
                // [N, 1, C, …]: by channels alone, as many as windows reach over.
                let ends = [2, pads.len() / 2 + 2];
                let sides = ends.map(|i| pads.get(i).and_then(|&side| usize::try_from(side).ok()));
                let [Some(begin), Some(end)] = sides else { return None };
                let mut others = pads.iter().enumerate().filter(|(i, _)| !ends.contains(i));
                if others.any(|(_, &side)| side != 0) || size.is_some_and(|size| begin + end + 1 != size) {
                    return None;
                }
                before = begin;
                name = pad.inputs.first()?;
            } else if let Some(reshape) = self.maker(name, "Reshape").or_else(|| self.maker(name, "Unsqueeze")) {
                name = reshape.inputs.first()?;
            } else {
                break;
            }
        }
        let square = self.maker(name, "Mul").or_else(|| self.maker(name, "Pow"))?;
        let squares =
            square.inputs[0] == x && (square.inputs.get(1)? == x || self.number(&square.inputs[1]) == Some(2.0));
        let (size, view) = (size?, self.known_view(x)?);
        let high = before == (size - 1) / 2;
        if !squares || !(high || before == size / 2) {
            return None;
        }
        Some(self.lrn_of(&view, size, high, [alpha, beta, k]))
    }

    /// Adds a normalisation; one with its extra channel in front works on channels in reverse.
    fn lrn_of(&mut self, view: &View, size: usize, high: bool, numbers: [f32; 3]) -> Mapped {
        if view.shape[1] > 1 << 16 {
            return Err("it has too many channels".into());
        }
        if high {
            return self.lrn_layer(None, view, size, numbers);
        }
        let reversed: Vec<usize> = (0..view.shape[1]).rev().collect();
        let turned = self.taken(view, 1, &reversed)?;
        let made = self.lrn_layer(None, &turned, size, numbers)?;
        self.taken(&made, 1, &reversed)
    }

    /// Follows a value through a change of shape that removes a dimension, also one that a condition chooses.
    fn squeezed(&self, name: &'n str) -> Option<&'n str> {
        match self.maker(name, "If") {
            Some(node) => self.taken_branch(node)?.next(),
            None => {
                let node = self.maker(name, "Squeeze").or_else(|| self.maker(name, "Reshape"))?;
                node.inputs.first().map(String::as_str)
            }
        }
    }

    /// Max of strided slices of the channels, which together are all: maxout.
    fn strided_maximum(&mut self, node: &'n Node) -> Option<Mapped> {
        let pieces = node.inputs.len();
        let slices: Vec<&Node> = node.inputs.iter().map(|name| self.maker(name, "Slice")).collect::<Option<_>>()?;
        let view = self.known_view(slices.first()?.inputs.first()?)?;
        let channels = *view.shape.get(1)?;
        let mut seen = vec![false; pieces];
        for slice in &slices {
            let list = |i: usize, name: &str| -> Option<i64> {
                let own = self.ints(slice, i, name).ok()?;
                own.filter(|list| list.len() == 1).map(|list| list[0])
            };
            let (start, end) = (usize::try_from(list(1, "starts")?).ok()?, list(2, "ends")?);
            let step = list(4, "steps")?;
            let whole = slice.inputs[0] == slices[0].inputs[0] && list(3, "axes") == Some(1) && step == pieces as i64;
            if !whole || end < channels as i64 || start >= pieces || std::mem::replace(&mut seen[start], true) {
                return None;
            }
        }
        (pieces > 1 && channels.is_multiple_of(pieces)).then(|| {
            let (layer, dims) = self.image(&view)?;
            let dims = [&[dims[0] / pieces], &dims[1..]].concat();
            let layer = self.layer(node, "maxout", Args::default().with("pieces", Arg::Int(pieces)), layer, dims);
            let mut shape = view.shape.clone();
            shape[1] /= pieces;
            Ok(View::plain(layer, &shape))
        })
    }

    /// `x·sigmoid(x)`
    fn silu(&mut self, node: &'n Node) -> Option<Mapped> {
        let [a, b] = [node.inputs.first()?.as_str(), node.inputs.get(1)?.as_str()];
        let gate = |gate: &str, x: &str| self.maker(gate, "Sigmoid").is_some_and(|node| node.inputs[0] == x);
        let x = if gate(b, a) {
            a
        } else if gate(a, b) {
            b
        } else {
            return None;
        };
        let view = self.known_view(x)?;
        Some(self.simple(node, "silu", &view))
    }

    /// `x·(1 + erf(x/√2))/2` or its form with tanh, whichever factor stands where.
    fn gelu(&mut self, node: &'n Node) -> Option<Mapped> {
        let mut factors: Vec<&str> = Vec::new();
        let mut open: Vec<&'n str> = node.inputs.iter().map(String::as_str).collect();
        let (mut scale, mut gate) = (1.0f32, None);
        while let Some(name) = open.pop() {
            if let Some(number) = self.number(name) {
                scale *= number;
            } else if let Some(product) = self.maker(name, "Mul").filter(|_| factors.len() < 4) {
                open.extend(product.inputs.iter().map(String::as_str));
            } else if let Some(sum) = self.maker(name, "Add").filter(|_| gate.is_none()) {
                gate = self.with_number(sum).filter(|(one, _)| *one == 1.0).map(|(_, inner)| inner);
                gate?;
            } else {
                factors.push(name);
            }
        }
        let &[x] = &factors[..] else { return None };
        let approximate = match self.maker(gate?, "Erf") {
            Some(erf) if self.is_times(&erf.inputs[0], x, std::f32::consts::FRAC_1_SQRT_2) => false,
            _ => {
                let tanh = self.maker(gate?, "Tanh")?;
                if !self.is_gelu_argument(&tanh.inputs[0], x) {
                    return None;
                }
                true
            }
        };
        let view = self.known_view(x)?;
        let args = Args::default().unless("approximate", Arg::Bool(approximate), Arg::Bool(false));
        close(scale, 0.5).then(|| self.pointwise(node, "gelu", args, &view))
    }

    /// Is the value `x` times a number, or `x` divided by its inverse?
    fn is_times(&self, name: &str, x: &str, factor: f32) -> bool {
        let divided =
            self.maker(name, "Div").and_then(|n| Some((1.0 / self.number(&n.inputs[1])?, n.inputs[0].as_str())));
        let times = || self.maker(name, "Mul").and_then(|n| self.with_number(n));
        divided.or_else(times).is_some_and(|(number, of)| of == x && close(number, factor))
    }

    /// Is the value `√(2/π)·(x + 0.044715·x³)`?
    fn is_gelu_argument(&self, name: &str, x: &str) -> bool {
        let found = || {
            let (factor, sum) = self.with_number(self.maker(name, "Mul")?)?;
            let sum = self.maker(sum, "Add")?;
            let part = sum.inputs.iter().find(|name| *name != x)?;
            let (cubic, cube) = self.with_number(self.maker(part, "Mul")?)?;
            let power =
                self.maker(cube, "Pow").is_some_and(|n| n.inputs[0] == x && self.number(&n.inputs[1]) == Some(3.0));
            let product = || {
                let node = self.maker(cube, "Mul")?;
                let square = self.maker(node.inputs.iter().find(|name| *name != x)?, "Mul")?;
                Some(node.inputs.iter().any(|name| name == x) && square.inputs.iter().all(|name| name == x))
            };
            let fits = close(factor, 0.797_884_6) && close(cubic, 0.044_715) && sum.inputs.iter().any(|name| name == x);
            Some(fits && (power || product()?))
        };
        found().unwrap_or(false)
    }

    /// `relu(x) + (-slope)·relu(-x)`: PReLU as TensorFlow's converter writes it.
    fn two_relus(&mut self, node: &'n Node) -> Option<Mapped> {
        let [a, b] = [node.inputs.first()?.as_str(), node.inputs.get(1)?.as_str()];
        let (above, below) = match self.maker(a, "Relu") {
            Some(relu) => (relu, b),
            None => (self.maker(b, "Relu")?, a),
        };
        let x = above.inputs[0].as_str();
        let product = self.maker(below, "Mul")?;
        let (p, q) = (product.inputs.first()?.as_str(), product.inputs.get(1)?.as_str());
        let (relu, slopes) = match self.maker(p, "Relu") {
            Some(relu) => (relu, q),
            None => (self.maker(q, "Relu")?, p),
        };
        if self.dependent(slopes) {
            return None;
        }
        let Some(Value::Const(slopes)) = self.values.get(slopes).cloned() else { return None };
        if self.maker(&relu.inputs[0], "Neg")?.inputs[0] != x {
            return None;
        }
        let view = self.known_view(x)?;
        let negative = Const::floats(&slopes.dims, slopes.as_floats().iter().map(|v| -v).collect());
        Some(self.prelu_of(node, &view, &negative, None))
    }
}

/// Are two constants the same but for their rounding?
fn close(a: f32, b: f32) -> bool {
    (a - b).abs() < 1e-5
}
