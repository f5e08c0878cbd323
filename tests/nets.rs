//! Random networks and values for the tests of passes and of compiled programs.

use ninc::graph::{Graph, NodeId};
use ninc::model::Model;
use ninc::ops::Operator;
use ninc::ops::activation::{Activation, Function};
use ninc::ops::arithmetic::{Add, Mul, Scale};
use ninc::ops::batch_norm::BatchNorm;
use ninc::ops::concat::{Concat, Slice};
use ninc::ops::conv::Conv2d;
use ninc::ops::drop_connect::DropConnect;
use ninc::ops::dropout::Dropout;
use ninc::ops::global_pool::{GlobalAvgPool, GlobalMaxPool};
use ninc::ops::linear::Linear;
use ninc::ops::local_conv::LocalConv;
use ninc::ops::lrn::Lrn;
use ninc::ops::maxout::Maxout;
use ninc::ops::mlpconv::{MlpConv, Stage};
use ninc::ops::pad::{Crop, Pad};
use ninc::ops::pool::{AvgPool, MaxPool};
use ninc::ops::prelu::Prelu;
use ninc::ops::reshape::Reshape;
use ninc::ops::softmax::{LogSoftmax, Softmax};
use ninc::ops::source::{Init, Input, Param};
use ninc::ops::stochastic_pool::StochasticPool;
use ninc::ops::window::Window;
use ninc::types::{DType, Type};
use ninc_runtime::philox::Stream;
use ninc_runtime::plan::{Port, Role};
use ninc_runtime::spec::{Length, Optimizer, Recipe, Schedule};
use ninc_runtime::{Engine, Feed};
use std::collections::HashMap;

/// Classes of every random network.
pub const CLASSES: usize = 5;

/// A small network of `2..8` random layers and a classifier on top.
pub fn random(seed: u64) -> Graph {
    let mut maker =
        Maker { graph: Graph::new(&format!("random{seed}")), random: Stream::new(seed, 1, 0), params: 0, layers: 0 };
    let dims = [1 + maker.below(4), 4 + maker.below(6), 4 + maker.below(6)].to_vec();
    let input = Input { name: "image".into(), role: Role::Image, dtype: DType::F32, batched: true, dims };
    let mut values = vec![maker.graph.add(input, &[]).expect("an input")];
    for _ in 0..2 + maker.below(6) {
        // Now and then an older value again, so that some have several users.
        let back = if maker.below(4) == 0 { maker.below(values.len()) } else { 0 };
        let x = values[values.len() - 1 - back];
        if let Some(value) = maker.layer(x, &values) {
            values.push(value);
        }
    }
    let last = values[values.len() - 1];
    let result = maker.classifier(last);
    maker.graph.set_name(result, "result");
    maker.graph.outputs.push(("result".into(), result));
    maker.graph
}

pub fn model(graph: Graph) -> Model {
    Model { name: graph.name.clone(), graph, layers: vec![], data: None, train: None, formats: None }
}

struct Maker {
    graph: Graph,
    random: Stream,
    params: usize,
    layers: u32,
}

impl Maker {
    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u32) as usize
    }

    fn pair(&mut self, least: usize, choices: usize) -> [usize; 2] {
        let first = least + self.below(choices);
        // Mostly square.
        if self.below(3) == 0 { [first, least + self.below(choices)] } else { [first, first] }
    }

    fn param(&mut self, kind: &str, dims: &[usize]) -> NodeId {
        self.params += 1;
        let trainable = !kind.starts_with("running") && self.below(12) > 0;
        let decay = self.below(2) as f64;
        let max_norm = (dims.len() > 1 && self.below(8) == 0).then_some(0.8);
        let rate = if self.below(5) == 0 { 2.0 } else { 1.0 };
        let name = format!("p{}.{kind}", self.params);
        let init = Init::Constant { value: 0.0 };
        let param = Param { trainable, rate, decay, max_norm, ..Param::new(name, dims, init) };
        self.graph.add(param, &[]).expect("a parameter")
    }

    fn stream(&mut self) -> u32 {
        self.layers += 1;
        self.layers
    }

    fn add(&mut self, op: impl Into<Operator>, operands: &[NodeId]) -> Option<NodeId> {
        self.graph.add(op, operands).ok()
    }

    fn function(&mut self) -> Function {
        let all = ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "relu6"];
        let name = all[if self.below(2) == 0 { 0 } else { self.below(all.len()) }];
        match Function::named(name).expect("a function") {
            Function::LeakyRelu { .. } => Function::LeakyRelu { slope: 0.1 },
            Function::Elu { .. } => Function::Elu { alpha: 0.7 },
            Function::RELU6 => Function::Clip { low: Some(-0.2), high: Some(0.6) },
            other => other,
        }
    }

    /// One layer on `x`; nothing where the draw does not fit its shape.
    fn layer(&mut self, x: NodeId, values: &[NodeId]) -> Option<NodeId> {
        let dims = self.graph.ty(x).dims.clone();
        let &[c, h, w] = dims.as_slice() else { return None };
        let value = match self.below(24) {
            0..=3 => self.conv(x, c),
            4 => self.mlpconv(x, c),
            5..=7 => {
                let function = self.function();
                self.add(Activation { function }, &[x])
            }
            8 => {
                let slope = self.param("slope", &[c]);
                self.add(Prelu {}, &[x, slope])
            }
            9 if c % 2 == 0 => self.add(Maxout { pieces: 2 }, &[x]),
            10..=12 => self.pool(x),
            13 => {
                let (rate, inverted, stream) = (0.4, self.below(2) == 0, self.stream());
                self.add(Dropout { rate, inverted, stream }, &[x])
            }
            14 => self.add(Lrn { size: 3, alpha: 0.3, beta: 0.75, k: 1.0 }, &[x]),
            15 | 16 => {
                let p = ["gamma", "beta", "running_mean", "running_var"].map(|kind| self.param(kind, &[c]));
                self.add(BatchNorm::plain(1e-3, 0.1), &[x, p[0], p[1], p[2], p[3]])
            }
            17 => {
                let other = self.same_type(x, values);
                self.add(Add {}, &[x, other])
            }
            18 => {
                let other =
                    if self.below(2) == 0 { self.add(GlobalAvgPool {}, &[x])? } else { self.same_type(x, values) };
                self.add(Mul {}, &[x, other])
            }
            19 => {
                let other = values.iter().copied().find(|&v| self.graph.ty(v).dims[1..] == [h, w]).unwrap_or(x);
                self.add(Concat {}, &[x, other])
            }
            20 => {
                let (top, bottom, left) = (self.below(3), self.below(2), self.below(2));
                self.add(Pad { top, bottom, left, right: left, value: 0.0 }, &[x])
            }
            21 if h > 2 && w > 2 => self.add(Crop { top: 1, left: 0, height: h - 2, width: w - 1 }, &[x]),
            21 => self.add(Slice { begin: c / 2, len: c - c / 2 }, &[x]),
            22 => {
                let factor = [1.0, 0.5, -2.0][self.below(3)];
                self.add(Scale { factor }, &[x])
            }
            _ => self.local_conv(x, [c, h, w]),
        }?;
        // Values that grow make the comparison harder than the compiler's work.
        (self.graph.ty(value).elements() <= 1200).then_some(value)
    }

    fn same_type(&mut self, x: NodeId, values: &[NodeId]) -> NodeId {
        values.iter().copied().find(|&v| v != x && self.graph.ty(v) == self.graph.ty(x)).unwrap_or(x)
    }

    fn conv(&mut self, x: NodeId, c: usize) -> Option<NodeId> {
        let groups = if c % 2 == 0 && self.below(4) == 0 { 2 } else { 1 };
        let out = groups * (1 + self.below(5));
        let plain = self.below(2) == 0;
        let (kernel, stride) = if plain { ([1, 1], [1, 1]) } else { (self.pair(1, 4), self.pair(1, 2)) };
        let (pad, dilation) = if plain { ([0, 0], [1, 1]) } else { (self.pair(0, 3), self.pair(1, 2)) };
        let weight = self.param("weight", &[out, c / groups, kernel[0], kernel[1]]);
        let mut operands = vec![x, weight];
        if self.below(3) > 0 {
            operands.push(self.param("bias", &[out]));
        }
        self.add(Conv2d { window: Window { kernel, stride, pad, dilation }, groups }, &operands)
    }

    fn mlpconv(&mut self, x: NodeId, c: usize) -> Option<NodeId> {
        let stages = 1 + self.below(3);
        let (pad, mut first) = (self.pair(0, 3), [1, 1]);
        let (mut operands, mut channels, mut list) = (vec![x], c, vec![]);
        for stage in 0..stages {
            let kernel = if stage == 0 { self.pair(1, 4) } else { [1, 1] };
            if stage == 0 {
                first = kernel;
            }
            let out = 1 + self.below(6);
            operands.push(self.param("weight", &[out, channels, kernel[0], kernel[1]]));
            let bias = self.below(4) > 0;
            if bias {
                operands.push(self.param("bias", &[out]));
            }
            let activation = if self.below(5) == 0 { None } else { Some(self.function()) };
            list.push(Stage { bias, activation, round: None });
            channels = out;
        }
        let window = Window { kernel: first, pad, ..Window::ONE };
        self.add(MlpConv { window, groups: 1, stages: list, pool: None }, &operands)
    }

    fn pool(&mut self, x: NodeId) -> Option<NodeId> {
        let (kernel, stride, ceil) = (self.pair(2, 2), self.pair(1, 2), self.below(3) > 0);
        let pad = if self.below(3) == 0 { [1, 1] } else { [0, 0] };
        let window = Window { kernel, stride, pad, ..Window::ONE };
        match self.below(5) {
            0 | 1 => self.add(MaxPool { window, ceil }, &[x]),
            2 | 3 => self.add(AvgPool { window, ceil }, &[x]),
            _ => {
                let stream = self.stream();
                self.add(StochasticPool { window, ceil, stream }, &[x])
            }
        }
    }

    fn local_conv(&mut self, x: NodeId, [c, h, w]: [usize; 3]) -> Option<NodeId> {
        let (kernel, out) = (2, 1 + self.below(3));
        if h < kernel || w < kernel || h * w > 60 {
            return None;
        }
        let positions = (h - kernel + 1) * (w - kernel + 1);
        let weight = self.param("weight", &[positions, out, c, kernel, kernel]);
        let bias = self.param("bias", &[out, positions]);
        let window = Window { kernel: [kernel; 2], ..Window::ONE };
        self.add(LocalConv { window }, &[x, weight, bias])
    }

    fn classifier(&mut self, x: NodeId) -> NodeId {
        let features = match self.below(3) {
            0 => self.add(GlobalAvgPool {}, &[x]),
            1 => self.add(GlobalMaxPool {}, &[x]),
            _ => self.add(Reshape { dims: vec![self.graph.ty(x).elements()] }, &[x]),
        };
        let features = features.expect("any image is pooled or flattened");
        let count = self.graph.ty(features).elements();
        let weight = self.param("weight", &[CLASSES, count]);
        let bias = self.param("bias", &[CLASSES]);
        let logits = if self.below(4) == 0 {
            let stream = self.stream();
            self.add(DropConnect { rate: 0.3, stream }, &[features, weight, bias])
        } else {
            self.add(Linear {}, &[features, weight, bias])
        };
        let logits = logits.expect("shapes fit");
        match self.below(4) {
            0 => logits,
            1 => self.add(LogSoftmax {}, &[logits]).expect("a vector"),
            _ => self.add(Softmax {}, &[logits]).expect("a vector"),
        }
    }
}

/// Values for everything that a graph takes from outside, drawn by name: the same before and after a pass.
pub struct Values {
    seed: u64,
    fixed: HashMap<String, f32>,
}

impl Values {
    pub fn new(seed: u64) -> Values {
        let hyper = [
            ("@rate", 0.5),
            ("@momentum", 0.9),
            ("@decay", 0.01),
            ("@beta1", 0.9),
            ("@beta2", 0.99),
            ("@epsilon", 1e-3),
            ("@alpha", 0.9),
            ("@step", 1.0),
            ("@clip", 0.7),
        ];
        Values { seed, fixed: hyper.map(|(name, value)| (name.to_string(), value)).into() }
    }

    fn stream(&self, name: &str) -> Stream {
        let hash = name.bytes().fold(17u32, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
        Stream::new(self.seed, hash, 2)
    }

    pub fn floats(&self, name: &str, ty: &Type, batch: usize) -> Vec<f32> {
        if let Some(&value) = self.fixed.get(name) {
            return vec![value];
        }
        let mut stream = self.stream(name);
        let spread = match ty.dims.len() {
            _ if ty.batched => 1.0,
            // Products with many terms stay near 1.
            2.. => 1.5 / (ty.elements() as f32 / ty.dims[0] as f32).sqrt(),
            _ => 0.3,
        };
        let count = ty.full_dims(batch).iter().product();
        let draw = (0..count).map(|_| spread * stream.normal());
        // Running variances and optimiser states that hold squares are positive.
        let positive = name.ends_with("var") || name.contains("squares") || name.contains("adam_v");
        if positive { draw.map(|v| 0.5 + v.abs()).collect() } else { draw.collect() }
    }

    pub fn ints(&self, name: &str, ty: &Type, batch: usize) -> Vec<i32> {
        let mut stream = self.stream(name);
        let count: usize = ty.full_dims(batch).iter().product();
        let bound = if name == "@key" { 1 << 30 } else { CLASSES as u32 };
        (0..count).map(|_| stream.below(bound) as i32).collect()
    }
}

/// The largest difference, relative to the largest number (or 1).
pub fn distance(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len(), "elements");
    let largest = left.iter().chain(right).fold(1f32, |m, v| m.max(v.abs()));
    let differ = |(l, r): (&f32, &f32)| if l == r || (l.is_nan() && r.is_nan()) { 0.0 } else { (l - r).abs() };
    // A NaN on one side only is an infinite difference.
    let differ = |pair| {
        let d: f32 = differ(pair);
        if d.is_nan() { f32::INFINITY } else { d }
    };
    left.iter().zip(right).map(differ).fold(0f32, f32::max) / largest
}

/// Everything an engine needs for one run: parameters written, inputs fed, all outputs and parameters read back.
pub fn run_engine(engine: &mut dyn Engine, values: &Values, batch: usize) -> Vec<(String, Vec<f32>)> {
    let ty = |p: &Port| Type { dtype: p.dtype, batched: p.batched, dims: p.dims.clone() };
    let params = engine.params().to_vec();
    for port in &params {
        let value =
            ninc_runtime::Tensor::new(&port.dims, values.floats(&port.name, &ty(port), batch)).expect("a tensor");
        engine.write(&port.name, &value).expect("a parameter");
    }
    let inputs = engine.inputs().to_vec();
    let floats: Vec<_> = inputs
        .iter()
        .map(|p| if p.dtype == DType::I32 { vec![] } else { values.floats(&p.name, &ty(p), batch) })
        .collect();
    let ints: Vec<_> = inputs
        .iter()
        .map(|p| if p.dtype == DType::I32 { values.ints(&p.name, &ty(p), batch) } else { vec![] })
        .collect();
    let feed = |i: usize| if inputs[i].dtype == DType::I32 { Feed::I32(&ints[i]) } else { Feed::F32(&floats[i]) };
    let feeds: Vec<(&str, Feed)> = (0..inputs.len()).map(|i| (inputs[i].name.as_str(), feed(i))).collect();
    let outputs: Vec<String> = engine.outputs().iter().map(|p| p.name.clone()).collect();
    let wanted: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let results = engine.run(batch, &feeds, &wanted).expect("a run");
    let mut found: Vec<_> = outputs.into_iter().zip(results.into_iter().map(|t| t.data)).collect();
    for port in &params {
        found.push((port.name.clone(), engine.read(&port.name).expect("a parameter").data));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Panics at the first value that differs by more than `tolerance`. Values that only one side has (parameters that a
/// pass removed) are left out, unless all are.
pub fn assert_close(what: &str, left: &[(String, Vec<f32>)], right: &[(String, Vec<f32>)], tolerance: f32) {
    let mut compared = 0;
    for (name, value) in left {
        if let Some((_, other)) = right.iter().find(|(n, _)| n == name) {
            let d = distance(value, other);
            assert!(d <= tolerance, "{what}: `{name}` differs by {d:e}");
            compared += 1;
        }
    }
    assert!(compared > 0, "{what}: nothing to compare");
}

/// Recipes of all kinds, by number.
pub fn recipe(number: usize) -> Recipe {
    let optimizers = [
        Optimizer::Sgd { rate: 0.5, momentum: 0.0, decay: 0.0, nesterov: false, rate_inside: false },
        Optimizer::Sgd { rate: 0.5, momentum: 0.9, decay: 0.01, nesterov: false, rate_inside: false },
        Optimizer::Sgd { rate: 0.5, momentum: 0.9, decay: 0.01, nesterov: false, rate_inside: true },
        Optimizer::Sgd { rate: 0.5, momentum: 0.9, decay: 0.01, nesterov: true, rate_inside: false },
        Optimizer::Adam { rate: 0.5, beta1: 0.9, beta2: 0.99, epsilon: 1e-3, decay: 0.01, decoupled: false },
        Optimizer::Adam { rate: 0.5, beta1: 0.9, beta2: 0.99, epsilon: 1e-3, decay: 0.01, decoupled: true },
        Optimizer::RmsProp { rate: 0.5, alpha: 0.9, epsilon: 1e-3, momentum: 0.0, decay: 0.01 },
        Optimizer::RmsProp { rate: 0.5, alpha: 0.9, epsilon: 1e-3, momentum: 0.9, decay: 0.01 },
    ];
    Recipe {
        label_smoothing: if number % 3 == 0 { 0.1 } else { 0.0 },
        optimizer: optimizers[number % optimizers.len()].clone(),
        schedule: Schedule::Constant,
        warmup: 0.0,
        batch: 3,
        length: Length::Steps(1),
        shuffle: false,
        seed: 0,
        clip: (number % 5 == 1).then_some(0.7),
        accumulate: 1,
        average: None,
        patience: None,
        ramp: None,
        balance: false,
        class_weights: None,
        convolutions: None,
        lookahead: None,
        groups: vec![],
        precision: None,
    }
}
