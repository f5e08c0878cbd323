//! The shared vectors against the interpreter: values, gradients, and twenty steps of training.

use crate::support::draw::error;
use crate::support::vectors::{self, Trace, Vector};
use ninc::graph::interp::{Tensor, Value, run};
use ninc::graph::{Graph, NodeId};
use ninc::ops::activation::Activation;
use ninc::ops::conv::Conv2d;
use ninc::ops::cross_entropy::{CrossEntropy, OneHot};
use ninc::ops::global_pool::GlobalAvgPool;
use ninc::ops::pool::MaxPool;
use ninc::ops::reduce::LossMean;
use ninc::ops::update::Update;
use ninc::passes::autodiff;
use std::collections::HashMap;

const TOLERANCE: f64 = 1e-5;

fn wide(data: &[f32]) -> Vec<f64> {
    data.iter().map(|v| f64::from(*v)).collect()
}

/// The worst relative error of the result and of each gradient.
fn errors(vector: &Vector) -> Vec<(String, f64)> {
    let (mut graph, operands, y) = vectors::graph(vector);
    let sum = vectors::weighted(&mut graph, y);
    let gradients = autodiff::gradients(&mut graph, sum, &operands).unwrap();
    for ((name, _), id) in vector.inputs.iter().zip(gradients) {
        graph.outputs.push((format!("d{name}"), id.expect("the result depends on all operands")));
    }
    let batch = vector.inputs[0].1.dims[0];
    let results = run::<f32>(&graph, batch, |name, ty| {
        let given = vector.inputs.iter().find(|(n, _)| n == name).map(|(_, t)| t);
        match (name, given) {
            ("labels", _) => Value::Int(Tensor { dims: vec![batch], data: vector.labels.clone().unwrap() }),
            ("dy", _) => Value::new(&ty.full_dims(batch), vector.output_grad.data.clone()),
            (_, Some(tensor)) => Value::new(&tensor.dims, tensor.data.clone()),
            _ => panic!("an unknown input {name}"),
        }
    });
    let compare = |name: &str, expected: &[f32]| {
        let got = wide(&results[name].real().data);
        (name.to_string(), error(&wide(expected), &got, 1e-3))
    };
    let mut errors = vec![compare("y", &vector.output.data)];
    errors.extend(vector.input_grads.iter().map(|(name, t)| compare(&format!("d{name}"), &t.data)));
    errors
}

#[test]
fn operators_agree() {
    let Some(vectors) = vectors::load() else {
        return;
    };
    let mut wrong = Vec::new();
    for vector in &vectors.operators {
        for (name, error) in errors(vector) {
            if error > TOLERANCE {
                wrong.push(format!("{} {} {name}: {error:e}", vector.case, vector.op));
            }
        }
    }
    assert!(vectors.operators.len() >= 32, "vectors are missing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The network of the trace, hand-written; parameters in the order of use.
struct Net {
    graph: Graph,
    params: Vec<(String, NodeId)>,
    logits: NodeId,
}

fn net(trace: &Trace) -> Net {
    let mut graph = Graph::new("trace");
    let mut x = vectors::input(&mut graph, "image", &trace.images.dims[1..], false);
    let mut params = Vec::new();
    for block in 1..=3 {
        for stage in ["conv", "cccp1", "cccp2"] {
            let mut operands = vec![x];
            for kind in ["weight", "bias"] {
                let name = format!("block{block}.{stage}.{kind}");
                operands.push(vectors::param(&mut graph, &name, &trace.before[&name].dims));
                params.push((name, operands[operands.len() - 1]));
            }
            let pad = (graph.ty(operands[1]).dims[2] - 1) / 2;
            let conv = Conv2d { stride: [1, 1], pad: [pad, pad], dilation: [1, 1], groups: 1 };
            x = graph.add(conv, &operands).unwrap();
            x = graph.add(Activation { function: "relu".into(), slope: 0.0 }, &[x]).unwrap();
        }
        if block < 3 {
            let pool = MaxPool { kernel: [3, 3], stride: [2, 2], pad: [0, 0], ceil: true };
            x = graph.add(pool, &[x]).unwrap();
        }
    }
    let logits = graph.add(GlobalAvgPool {}, &[x]).unwrap();
    Net { graph, params, logits }
}

/// Adds loss, gradients and updates; the optimiser's numbers are the shared inputs `rate`, `momentum` and `decay`.
fn training_step(net: &mut Net) {
    let graph = &mut net.graph;
    let labels = vectors::input(graph, "labels", &[], true);
    let target = graph.add(OneHot { classes: 10, smoothing: 0.0 }, &[labels]).unwrap();
    let losses = graph.add(CrossEntropy {}, &[net.logits, target]).unwrap();
    let loss = graph.add(LossMean {}, &[losses]).unwrap();
    graph.outputs = vec![("loss".into(), loss), ("logits".into(), net.logits)];
    let numbers = ["rate", "momentum", "decay"].map(|name| vectors::param(graph, name, &[]));
    let weights: Vec<NodeId> = net.params.iter().map(|(_, id)| *id).collect();
    let gradients = autodiff::gradients(graph, loss, &weights).unwrap();
    for ((name, w), g) in net.params.iter().zip(gradients) {
        let dims = graph.ty(*w).dims.clone();
        let v = vectors::param(graph, &format!("{name}.velocity"), &dims);
        let rule = |rule: &str| Update { rule: rule.into(), rate: 1.0, decay: 1.0 };
        let velocity = [*w, g.expect("a gradient"), v, numbers[1], numbers[2]];
        let velocity = graph.add(rule("sgd_velocity"), &velocity).unwrap();
        let weight = graph.add(rule("sgd_step"), &[*w, velocity, numbers[0]]).unwrap();
        graph.updates.extend([(v, velocity), (*w, weight)]);
    }
}

#[test]
fn training_agrees() {
    let Some(vectors::Vectors { trace, .. }) = vectors::load() else {
        return;
    };
    let mut net = net(&trace);
    training_step(&mut net);
    let mut state: HashMap<String, Value<f32>> = HashMap::new();
    for (name, tensor) in &trace.before {
        state.insert(name.clone(), Value::new(&tensor.dims, tensor.data.clone()));
        state.insert(format!("{name}.velocity"), Value::new(&tensor.dims, vec![0.0; tensor.data.len()]));
    }
    for (name, number) in [("rate", trace.rate), ("momentum", trace.momentum), ("decay", trace.decay)] {
        state.insert(name.into(), Value::new(&[], vec![number as f32]));
    }
    let each = trace.images.dims[1..].iter().product::<usize>();
    let mut step = |i: usize, state: &HashMap<String, Value<f32>>| {
        let rows = i * trace.batch..(i + 1) * trace.batch;
        run::<f32>(&net.graph, trace.batch, |name, ty| match name {
            "image" => {
                let pixels = rows.start * each..rows.end * each;
                Value::new(&ty.full_dims(trace.batch), trace.images.data[pixels].to_vec())
            }
            "labels" => Value::Int(Tensor { dims: vec![trace.batch], data: trace.labels[rows.clone()].to_vec() }),
            _ => state[name].clone(),
        })
    };
    for (i, expected) in trace.losses.iter().enumerate() {
        let mut results = step(i, &state);
        let loss = f64::from(results["loss"].real().data[0]);
        assert!((loss - expected).abs() <= 1e-4 * expected, "loss of step {i}: {loss}, not {expected}");
        results.retain(|name, _| state.contains_key(name));
        state.extend(results);
    }
    for (name, tensor) in &trace.after {
        let error = error(&wide(&tensor.data), &wide(&state[name].real().data), 1e-3);
        assert!(error <= 1e-3, "{name} after the last step: {error:e}");
    }
    let logits = step(0, &state).remove("logits").unwrap();
    let error = error(&wide(&trace.logits.data), &wide(&logits.real().data), 1e-3);
    assert!(error <= 1e-3, "logits after the last step: {error:e}");
}
