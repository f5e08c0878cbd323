//! The shared vectors against the interpreter: values and gradients. The training trace among them is `trace`'s.

use crate::support::draw::error;
use crate::support::vectors::{self, Vector};
use ninc::graph::interp::{Tensor, Value, run};
use ninc::passes::autodiff;

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
    for vector in &vectors {
        for (name, error) in errors(vector) {
            if error > TOLERANCE {
                wrong.push(format!("{} {} {name}: {error:e}", vector.case, vector.op));
            }
        }
    }
    assert!(vectors.len() >= 32, "vectors are missing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
