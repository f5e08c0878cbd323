//! Operators that are several nodes.

use super::super::error::ExportError;
use super::Writer;
use super::messages::{float, int, list, text};
use super::nodes::{activation, convolution};
use crate::graph::NodeId;
use crate::io::onnx::proto::AttributeProto;
use crate::ops::mlpconv::MlpConv;
use crate::ops::prepare::{PixelStep, Pixelwise};
use crate::ops::window::Window;
use crate::recipes::prepare::ROUNDING;

/// Below this nothing is divided by.
const LEAST: f32 = 1e-37;

impl Writer<'_> {
    /// A step of a layer, which is named after it.
    fn step(&mut self, layer: &str, step: &str, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = format!("{layer}.{step}");
        self.add(&name, op, inputs, &name, attributes)
    }

    /// A convolution and 1x1 convolutions, each with its activation.
    pub(super) fn mlpconv(&mut self, name: &str, op: &MlpConv, operands: &[&str]) {
        let mut parameters = operands[1..].iter();
        let mut value = operands[0].to_string();
        for (i, stage) in op.stages.iter().enumerate() {
            let last = i + 1 == op.stages.len();
            let own = if i == 0 { format!("{name}.conv") } else { format!("{name}.cccp{i}") };
            let count = if stage.bias { 2 } else { 1 };
            let mut inputs = vec![value.clone()];
            inputs.extend(parameters.by_ref().take(count).map(|name| name.to_string()));
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let (window, groups) = if i == 0 { (op.window, op.groups) } else { (Window::ONE, 1) };
            let output = if last && stage.activation.is_none() { name.to_string() } else { own.clone() };
            let made = self.add(&own, "Conv", &inputs, &output, convolution(&window, groups));
            self.doc("mlpconv");
            value = match stage.activation {
                None => made,
                Some(function) => {
                    let node = format!("{own}.{}", activation(function).0.to_lowercase());
                    let output = if last { name.to_string() } else { node.clone() };
                    self.activation(&node, function, &made, &output)
                }
            };
        }
    }

    /// The mean over masks of a fully connected layer.
    pub(super) fn drop_connect(&mut self, id: NodeId, keep: f64) -> Result<(), ExportError> {
        let name = self.name(id);
        let operands: Vec<String> = self.graph().operands(id).iter().map(|&o| self.name(o)).collect();
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        self.add(&name, "Gemm", &operands, &name, vec![int("transB", 1), float("alpha", keep), float("beta", keep)]);
        self.doc("drop_connect");
        Ok(())
    }

    /// `x·Φ(x)`, which has an operator since set 20.
    pub(super) fn gelu(&mut self, name: &str, x: &str, approximate: bool) {
        if self.export.opset >= 20 {
            let word = if approximate { "tanh" } else { "none" };
            self.add(name, "Gelu", &[x], name, vec![text("approximate", word)]);
            return;
        }
        let half = self.constant("ninc.half", &[], &[0.5]);
        let one = self.constant("ninc.one", &[], &[1.0]);
        let inner = if approximate {
            let cubic = self.constant("ninc.gelu.cubic", &[], &[0.044715]);
            let factor = self.constant("ninc.gelu.factor", &[], &[(2.0 / std::f64::consts::PI).sqrt() as f32]);
            let square = self.step(name, "square", "Mul", &[x, x], vec![]);
            let cube = self.step(name, "cube", "Mul", &[&square, x], vec![]);
            let part = self.step(name, "part", "Mul", &[&cube, &cubic], vec![]);
            let sum = self.step(name, "inner", "Add", &[x, &part], vec![]);
            let scaled = self.step(name, "scaled", "Mul", &[&sum, &factor], vec![]);
            self.step(name, "tanh", "Tanh", &[&scaled], vec![])
        } else {
            let root = self.constant("ninc.gelu.root", &[], &[std::f32::consts::SQRT_2]);
            let scaled = self.step(name, "scaled", "Div", &[x, &root], vec![]);
            self.step(name, "erf", "Erf", &[&scaled], vec![])
        };
        let sum = self.step(name, "sum", "Add", &[&inner, &one], vec![]);
        let product = self.step(name, "product", "Mul", &[x, &sum], vec![]);
        self.add(name, "Mul", &[&product, &half], name, vec![]);
    }

    /// Slopes `[C, 1, 1]`, which all engines read as the channels'.
    pub(super) fn prelu(&mut self, name: &str, (x, slopes): (&str, &str), rank: usize) {
        let mut slopes = slopes.to_string();
        if rank > 1
            && let Some(tensor) = self.export.tensors.get(&slopes)
        {
            let dims = [&tensor.dims[..], &vec![1; rank - 1]].concat();
            self.constants.retain(|c| c.name() != slopes);
            self.known.remove(&slopes);
            slopes = self.constant(&slopes, &dims, &tensor.data);
        }
        self.add(name, "PRelu", &[x, &slopes], name, vec![]);
    }

    /// Maxima over an axis of pieces.
    pub(super) fn maxout(&mut self, name: &str, x: &str, pieces: usize, dims: &[usize]) {
        let cut = self.reshape(&format!("{name}.pieces"), x, &[&[dims[0], pieces], &dims[1..]].concat());
        self.reduce(name, "ReduceMax", &cut, &[2], false);
    }

    /// A reduction over axes, which are an operand since set 18.
    fn reduce(&mut self, name: &str, op: &str, x: &str, axes: &[usize], kept: bool) -> String {
        let kept = int("keepdims", i64::from(kept));
        if self.export.opset < 18 {
            return self.add(name, op, &[x], name, vec![list("axes", axes), kept]);
        }
        let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
        let axes = self.ints(&format!("{name}.axes"), &axes);
        self.add(name, op, &[x, &axes], name, vec![kept])
    }

    /// A value under another shape of its images.
    pub(super) fn reshape(&mut self, name: &str, x: &str, image: &[usize]) -> String {
        let sizes: Vec<i64> = std::iter::once(-1).chain(image.iter().map(|&size| size as i64)).collect();
        let shape = self.ints(&format!("{name}.shape"), &sizes);
        self.add(name, "Reshape", &[x, &shape], name, vec![])
    }

    /// An unshared convolution: a convolution takes each window apart, and each place has a matrix for its windows of
    /// all images.
    pub(super) fn local_conv(
        &mut self,
        name: &str,
        window: &Window,
        operands: &[&str],
        image: &[usize],
        dims: &[usize],
    ) {
        let (inputs, taps, places) = (image[0], window.kernel[0] * window.kernel[1], dims[1] * dims[2]);
        let mut unit = vec![0.0; inputs * taps * taps];
        (0..inputs * taps).for_each(|i| unit[i * taps + i % taps] = 1.0);
        let unit =
            self.constant(&format!("{name}.taps"), &[inputs * taps, 1, window.kernel[0], window.kernel[1]], &unit);
        let cells = self.step(name, "windows", "Conv", &[operands[0], &unit], convolution(window, inputs));
        let cells = self.reshape(&format!("{name}.places"), &cells, &[inputs * taps, places]);
        let turned = || vec![list("perm", &[2, 1, 0])];
        let cells = self.step(name, "columns", "Transpose", &[&cells], turned());
        let matrices = self.reshape(&format!("{name}.matrices"), operands[1], &[dims[0], inputs * taps]);
        let made = self.step(name, "products", "MatMul", &[&matrices, &cells], vec![]);
        let mut made = self.step(name, "rows", "Transpose", &[&made], turned());
        if let Some(bias) = operands.get(2) {
            made = self.step(name, "sums", "Add", &[&made, bias], vec![]);
        }
        self.reshape(name, &made, dims);
    }

    /// The mean of a window's values under the probabilities that they are themselves.
    pub(super) fn stochastic_pool(&mut self, name: &str, x: &str, window: Vec<AttributeProto>) {
        let window = [window, vec![int("count_include_pad", 0)]].concat();
        let above = self.step(name, "above", "Relu", &[x], vec![]);
        let squares = self.step(name, "squares", "Mul", &[&above, &above], vec![]);
        let sum = self.step(name, "sum", "AveragePool", &[&above], window.clone());
        let squared = self.step(name, "squared", "AveragePool", &[&squares], window);
        let least = self.constant("ninc.least", &[], &[LEAST]);
        let sum = self.step(name, "divisor", "Max", &[&sum, &least], vec![]);
        self.add(name, "Div", &[&squared, &sum], name, vec![]);
    }

    /// A pool over the whole map, without the sizes of 1 that ONNX keeps.
    pub(super) fn global(&mut self, name: &str, op: &str, x: &str) {
        self.add(name, op, &[x], &format!("{name}.map"), vec![]);
        self.add(&format!("{name}.flatten"), "Flatten", &[&format!("{name}.map")], name, vec![int("axis", 1)]);
    }

    /// Dropout at inference: nothing, or the factor of the paper's code.
    pub(super) fn dropout(&mut self, name: &str, x: &str, (rate, inverted): (f64, bool)) {
        if inverted {
            let ratio = self.constant(&format!("{name}.ratio"), &[], &[rate as f32]);
            self.add(name, "Dropout", &[x, &ratio], name, vec![]);
        } else {
            let factor = self.constant(&format!("{name}.factor"), &[], &[(1.0 - rate) as f32]);
            self.add(name, "Mul", &[x, &factor], name, vec![]);
            self.doc("dropout");
        }
    }

    /// Local response normalisation; engines disagree about even sizes, which are written out.
    pub(super) fn lrn(&mut self, name: &str, x: &str, size: usize, [alpha, beta, k]: [f64; 3], dims: &[usize]) {
        if size % 2 == 1 && dims.len() == 3 {
            let numbers = vec![float("alpha", alpha), float("beta", beta), float("bias", k), int("size", size as i64)];
            self.add(name, "LRN", &[x], name, numbers);
            return;
        }
        let (before, after) = ((size - 1) / 2, size / 2);
        let rows = [1, dims[0], dims[1..].iter().product()];
        let pads = self.ints(&format!("{name}.pads"), &[0, 0, before as i64, 0, 0, 0, after as i64, 0]);
        let number = |w: &mut Self, what: &str, value: f64| w.constant(&format!("{name}.{what}"), &[], &[value as f32]);
        let (alpha, k, beta) = (number(self, "alpha", alpha), number(self, "k", k), number(self, "beta", beta));
        let squares = self.step(name, "squares", "Mul", &[x, x], vec![]);
        let squares = self.reshape(&format!("{name}.rows"), &squares, &rows);
        let squares = self.step(name, "padded", "Pad", &[&squares, &pads], vec![text("mode", "constant")]);
        let window = vec![list("kernel_shape", &[size, 1]), list("strides", &[1, 1])];
        let mean = self.step(name, "mean", "AveragePool", &[&squares], window);
        let mean = self.reshape(&format!("{name}.means"), &mean, dims);
        let scaled = self.step(name, "scaled", "Mul", &[&mean, &alpha], vec![]);
        let base = self.step(name, "base", "Add", &[&scaled, &k], vec![]);
        let power = self.step(name, "power", "Pow", &[&base, &beta], vec![]);
        self.add(name, "Div", &[x, &power], name, vec![]);
    }

    /// Steps of a preparation that look at one number at a time.
    pub(super) fn pixelwise(&mut self, name: &str, op: &Pixelwise, operands: &[&str], rank: usize) {
        let mut numbers = operands[1..].iter();
        let mut value = operands[0].to_string();
        for (i, step) in op.steps.iter().enumerate() {
            let words: &[&str] = match step {
                PixelStep::Scale => &["Mul"],
                PixelStep::Divide => &["Div"],
                PixelStep::Centre => &["Sub"],
                PixelStep::Standardise => &["Sub", "Div"],
            };
            for (word, number) in words.iter().zip(numbers.by_ref().take(step.numbers())) {
                let number = self.per_channel(number, rank);
                value = self.step(name, &format!("{i}.{}", word.to_lowercase()), word, &[&value, &number], vec![]);
            }
        }
        self.add(name, "Identity", &[&value], name, vec![]);
    }

    /// Numbers of channels under a shape that is broadcast over their maps.
    fn per_channel(&mut self, name: &str, rank: usize) -> String {
        match self.export.tensors.get(name) {
            Some(tensor) if tensor.data.len() > 1 && rank > 1 && tensor.dims.len() == 1 => {
                let dims = [&tensor.dims[..], &vec![1; rank - 1]].concat();
                self.constant(&format!("{name}.channels"), &dims, &tensor.data)
            }
            _ => name.to_string(),
        }
    }

    /// Global contrast normalisation: minus the mean, to the norm `scale`; images of one colour become zeros.
    pub(super) fn contrast(&mut self, name: &str, (x, scale): (&str, &str), rank: usize, elements: usize) {
        let axes: Vec<usize> = (1..=rank).collect();
        let reduce =
            |w: &mut Self, what: &str, op, value: &str| w.reduce(&format!("{name}.{what}"), op, value, &axes, true);
        let mean = reduce(self, "mean", "ReduceMean", x);
        let centred = self.step(name, "centred", "Sub", &[x, &mean], vec![]);
        let norm = reduce(self, "norm", "ReduceL2", &centred);
        // What rounding leaves of an image of one colour is no contrast.
        let sizes = elements as f32;
        let rounding = self.constant(&format!("{name}.rounding"), &[], &[ROUNDING * sizes.sqrt()]);
        let size = self.step(name, "size", "Abs", &[x], vec![]);
        let largest = reduce(self, "largest", "ReduceMax", &size);
        let least = self.step(name, "least", "Mul", &[&largest, &rounding], vec![]);
        let there = self.step(name, "there", "Greater", &[&norm, &least], vec![]);
        let there = self.step(name, "factor", "Cast", &[&there], vec![int("to", 1)]);
        let tiny = self.constant("ninc.least", &[], &[LEAST]);
        let norm = self.step(name, "divisor", "Max", &[&norm, &tiny], vec![]);
        let unit = self.step(name, "unit", "Div", &[&centred, &norm], vec![]);
        let unit = self.step(name, "contrast", "Mul", &[&unit, &there], vec![]);
        self.add(name, "Mul", &[&unit, scale], name, vec![]);
    }
}
