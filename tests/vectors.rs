//! The shared vectors against the interpreter: values and gradients. The training trace among them is `trace`'s.

use crate::support::compiled;
use crate::support::draw::error;
use crate::support::vectors::{self, Vector};
use ninc::graph::interp::{Tensor, Value, run};
use ninc::lower::target::{Isa, Target};
use ninc::passes::autodiff;
use ninc::pipeline::Options;
use ninc::types::Type;

/// Bounds on relative errors: of the interpreter in f32, and of compiled programs, which sum in another order.
const TOLERANCE: f64 = 1e-5;
const TOLERANCE_COMPILED: f64 = 2e-5;

fn wide(data: &[f32]) -> Vec<f64> {
    data.iter().map(|v| f64::from(*v)).collect()
}

/// The worst relative error of the result and of each gradient, of the interpreter or of a compiled program.
pub fn errors(vector: &Vector, options: Option<&Options>) -> Vec<(String, f64)> {
    let (mut graph, operands, y) = vectors::graph(vector);
    let sum = vectors::weighted(&mut graph, y);
    let gradients = autodiff::gradients(&mut graph, sum, &operands).unwrap();
    for ((name, _), id) in vector.inputs.iter().zip(gradients) {
        graph.outputs.push((format!("d{name}"), id.expect("the result depends on all operands")));
    }
    let batch = vector.inputs[0].1.dims[0];
    let source = |name: &str, ty: &Type| {
        let given = vector.inputs.iter().find(|(n, _)| n == name).map(|(_, t)| t);
        match (name, given) {
            ("labels", _) => Value::Int(Tensor { dims: vec![batch], data: vector.labels.clone().unwrap() }),
            ("dy", _) => Value::new(&ty.full_dims(batch), vector.output_grad.data.clone()),
            (_, Some(tensor)) => Value::new(&tensor.dims, tensor.data.clone()),
            _ => panic!("an unknown input {name}"),
        }
    };
    let results = match options {
        None => run::<f32>(&graph, batch, source),
        Some(options) => compiled::run_with(&graph, batch, options, source),
    };
    let compare = |name: &str, expected: &[f32]| {
        let got = wide(&results[name].real().data);
        (name.to_string(), error(&wide(expected), &got, 1e-3))
    };
    let mut errors = vec![compare("y", &vector.output.data)];
    errors.extend(vector.input_grads.iter().map(|(name, t)| compare(&format!("d{name}"), &t.data)));
    errors
}

fn check(isa: Option<Isa>, tolerance: f64) {
    let Some(vectors) = vectors::load() else {
        return;
    };
    let mut wrong = Vec::new();
    let options = isa.map(|isa| Options { target: Some(Target::host_with(isa)), threads: 2, ..Options::default() });
    for vector in &vectors {
        for (name, error) in errors(vector, options.as_ref()) {
            if error > tolerance {
                wrong.push(format!("{} {} {name}: {error:e}", vector.case, vector.op));
            }
        }
    }
    assert!(vectors.len() >= 32, "vectors are missing");
    assert!(wrong.is_empty(), "{isa:?}: {}", wrong.join("\n"));
}

#[test]
fn operators_agree() {
    check(None, TOLERANCE);
}

#[test]
fn compiled_operators_agree() {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.present()) {
        check(Some(isa), TOLERANCE_COMPILED);
    }
}
