//! The shared test vectors, computed in f64 by PyTorch: operators with their gradients.

use ninc::graph::{Graph, NodeId};
use ninc::ops::Operator;
use ninc::ops::activation::{Activation, Function};
use ninc::ops::arithmetic::{Add, Mul};
use ninc::ops::batch_norm::BatchNorm;
use ninc::ops::batch_norm::{BatchMean, BatchVariance};
use ninc::ops::concat::Concat;
use ninc::ops::conv::Conv2d;
use ninc::ops::cross_entropy::{CrossEntropy, OneHot};
use ninc::ops::global_pool::GlobalAvgPool;
use ninc::ops::linear::Linear;
use ninc::ops::lrn::Lrn;
use ninc::ops::maxout::Maxout;
use ninc::ops::pool::{AvgPool, MaxPool};
use ninc::ops::reduce::LossMean;
use ninc::ops::softmax::Softmax;
use ninc::ops::source::{Init, Input, Param};
use ninc::ops::window::{Window, pooling};
use ninc::types::DType;
use ninc_runtime::Tensor;
use ninc_runtime::plan::Role;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// One operator with operands, result and gradients.
pub struct Vector {
    pub case: String,
    pub op: String,
    pub attrs: Json,
    /// In the order of the operator's operands.
    pub inputs: Vec<(String, Tensor)>,
    pub labels: Option<Vec<i32>>,
    pub output: Tensor,
    /// The gradient that flows in, and those that must come out.
    pub output_grad: Tensor,
    pub input_grads: BTreeMap<String, Tensor>,
}

/// All vectors, or nothing (said aloud) where they are not at hand.
pub fn load() -> Option<Vec<Vector>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors");
    let Ok(index) = std::fs::read_to_string(folder.join("vectors.json")) else {
        eprintln!("skipped: no shared test vectors");
        return None;
    };
    let bytes = std::fs::read(folder.join("vectors.safetensors")).expect("tensors beside vectors.json");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let index: Vec<Json> = serde_json::from_str(&index).expect("a list of cases");
    // The last entry is the training trace.
    let operators = &index[..index.len() - 1];
    Some(operators.iter().map(|case| vector(case, &tensors)).collect())
}

fn floats(tensors: &SafeTensors, name: &str) -> Tensor {
    let view = tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(view.dtype(), Dtype::F32, "{name}");
    let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Tensor::new(view.shape(), data).unwrap()
}

fn integers(tensors: &SafeTensors, name: &str) -> Vec<i32> {
    let view = tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(view.dtype(), Dtype::I64, "{name}");
    view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as i32).collect()
}

fn text(json: &Json) -> &str {
    json.as_str().expect("a text")
}

fn vector(case: &Json, tensors: &SafeTensors) -> Vector {
    let named = |key: &str| -> BTreeMap<String, Tensor> {
        let map = case[key].as_object().expect("names of tensors");
        map.iter().map(|(name, tensor)| (name.clone(), floats(tensors, text(tensor)))).collect()
    };
    let mut inputs = named("inputs");
    let order = ["x", "other", "weight", "bias"];
    Vector {
        case: text(&case["case"]).into(),
        op: text(&case["op"]).into(),
        attrs: case["attrs"].clone(),
        inputs: order.iter().filter_map(|n| Some((n.to_string(), inputs.remove(*n)?))).collect(),
        labels: case["attrs"]["labels"].as_str().map(|name| integers(tensors, name)),
        output: floats(tensors, text(&case["output"])),
        output_grad: floats(tensors, text(&case["output_grad"])),
        input_grads: named("input_grads"),
    }
}

/// A number for both directions, or one for each.
fn pair(json: &Json) -> [usize; 2] {
    let number = |j: &Json| j.as_u64().expect("a whole number") as usize;
    match json.as_array() {
        Some(list) => [number(&list[0]), number(&list[1])],
        None => [number(json); 2],
    }
}

/// The graph of a vector: input `x` (and `other`), parameters `weight` and `bias`, input `labels` where there are any;
/// output `y`. Gives the operands, in the vector's order, and the result.
pub fn graph(vector: &Vector) -> (Graph, Vec<NodeId>, NodeId) {
    let mut graph = Graph::new(&vector.case);
    let mut operands = Vec::new();
    for (name, tensor) in &vector.inputs {
        let id = if matches!(name.as_str(), "weight" | "bias") {
            param(&mut graph, name, &tensor.dims)
        } else {
            input(&mut graph, name, &tensor.dims[1..], false)
        };
        operands.push(id);
    }
    let y = if let Some(op) = operator(vector) {
        graph.add(op, &operands).unwrap()
    } else if vector.op == "softmax_cross_entropy" {
        let labels = input(&mut graph, "labels", &[], true);
        let classes = vector.inputs[0].1.dims[1];
        let target = graph.add(OneHot { classes, smoothing: 0.0 }, &[labels]).unwrap();
        let losses = graph.add(CrossEntropy {}, &[operands[0], target]).unwrap();
        graph.add(LossMean {}, &[losses]).unwrap()
    } else {
        assert_eq!(vector.op, "batch_norm_train", "an operator that this test does not know");
        let epsilon = vector.attrs["eps"].as_f64().unwrap();
        let mean = graph.add(BatchMean {}, &operands[..1]).unwrap();
        let variance = graph.add(BatchVariance {}, &[operands[0], mean]).unwrap();
        let all = [operands[0], operands[1], operands[2], mean, variance];
        graph.add(BatchNorm::plain(epsilon, 0.1), &all).unwrap()
    };
    graph.outputs.push(("y".into(), y));
    (graph, operands, y)
}

fn operator(vector: &Vector) -> Option<Operator> {
    let attrs = &vector.attrs;
    let pair = |name: &str| pair(&attrs[name]);
    let real = |name: &str| attrs[name].as_f64().unwrap();
    let whole = |name: &str| attrs[name].as_u64().unwrap() as usize;
    let window = || pooling(pair("kernel"), pair("stride"), pair("pad"));
    let ceil = attrs["ceil"].as_bool().unwrap_or(false);
    Some(match vector.op.as_str() {
        "conv2d" => {
            let &[_, _, kh, kw] = vector.inputs[1].1.dims.as_slice() else { return None };
            let window = Window { kernel: [kh, kw], stride: pair("stride"), pad: pair("pad"), dilation: [1, 1] };
            Conv2d { window, groups: 1 }.into()
        }
        "max_pool2d" => MaxPool { window: window(), ceil }.into(),
        "avg_pool2d" => AvgPool { window: window(), ceil }.into(),
        "global_avg_pool" => GlobalAvgPool {}.into(),
        "relu" | "tanh" | "sigmoid" => Activation { function: Function::named(&vector.op)? }.into(),
        "leaky_relu" => Activation { function: Function::LeakyRelu { slope: real("slope") } }.into(),
        "maxout" => Maxout { pieces: whole("pieces") }.into(),
        "linear" => Linear {}.into(),
        "softmax" => Softmax {}.into(),
        "lrn" => Lrn { size: whole("size"), alpha: real("alpha"), beta: real("beta"), k: real("k") }.into(),
        "add" => Add {}.into(),
        "concat" => Concat {}.into(),
        _ => return None,
    })
}

/// Makes the graph's output a sum whose gradient is the one that flows in: autodiff then starts with `output_grad`,
/// which is the input (or, for a shared result, the parameter) `dy`.
pub fn weighted(graph: &mut Graph, y: NodeId) -> NodeId {
    let ty = graph.ty(y).clone();
    let dy = if ty.batched { input(graph, "dy", &ty.dims, false) } else { param(graph, "dy", &ty.dims) };
    graph.add(Mul {}, &[y, dy]).unwrap()
}

pub fn input(graph: &mut Graph, name: &str, dims: &[usize], ints: bool) -> NodeId {
    let dtype = if ints { DType::I32 } else { DType::F32 };
    graph.add(Input { name: name.into(), role: Role::Tensor, dtype, batched: true, dims: dims.to_vec() }, &[]).unwrap()
}

pub fn param(graph: &mut Graph, name: &str, dims: &[usize]) -> NodeId {
    graph.add(Param::new(name, dims, Init::Constant { value: 0.0 }), &[]).unwrap()
}
