//! What `ninc export` writes, computed by other engines: the same numbers.

use super::export::{exported, load, models, random_images, random_weights, results, texts};
use crate::odd::python;
use ninc::model::Model;
use ninc::ops::Operator;
use ninc::ops::softmax::scores;
use ninc_runtime::init::{self, Init, Parameter};
use ninc_runtime::npy;
use ninc_runtime::weights::Weights;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Python with modules, or a word that the test is skipped.
pub fn able(modules: &str) -> Option<String> {
    let python = python();
    let imported = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if imported.is_ok_and(|o| o.status.success()) {
        return Some(python);
    }
    eprintln!("SKIPPED: {python} has not all of {modules} (NINC_PYTHON names another)");
    None
}

/// Writes a network as operator sets, with images and right results.
fn write(folder: &Path, name: &str, model: &Model, weights: &Weights, opsets: &[i64]) {
    let dims = model.graph.ids().into_iter().find_map(|id| match model.graph.op(id) {
        Operator::Input(input) => Some(input.dims.clone()),
        _ => None,
    });
    let images = random_images(&dims.expect("an input"));
    let write = |name: String, bytes: &[u8]| fs::write(folder.join(name), bytes).expect("written");
    write(format!("{name}.in.npy"), &npy::to_bytes(&images));
    for (k, result) in results(model, weights, &images).iter().enumerate() {
        write(format!("{name}.out{k}.npy"), &npy::to_bytes(result));
    }
    for opset in opsets {
        write(format!("{name}.{opset}.onnx"), &exported(model, weights, *opset));
    }
}

/// Runs the script on a folder; every file must agree. Returns what it says.
fn check(python: &str, folder: &Path, files: usize) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/check.py");
    let checked = Command::new(python).arg("-B").arg(script).arg(folder).output().expect("runs");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    assert!(said.contains(&format!("{files} files agree")), "{said}");
    said
}

/// ONNX's own checker, with strict inference of shapes, and ONNX Runtime on all that is written.
#[test]
fn other_engines_read_what_is_written() {
    let Some(python) = able("onnx, onnxruntime") else { return };
    let place = tempfile::tempdir().expect("a folder");
    for (i, text) in texts().iter().enumerate() {
        let model = load(text);
        write(place.path(), &i.to_string(), &model, &random_weights(&model).0, &[13, 17, 18, 20, 22]);
    }
    check(&python, place.path(), 5 * texts().len());
}

/// The weights that come with a model, or random ones through which values neither fade nor grow.
fn lively_weights(name: &str, model: &Model) -> Weights {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.safetensors"));
    if shipped.exists() {
        return Weights::read(&shipped).expect("weights");
    }
    let (mut weights, _) = random_weights(model);
    for id in model.graph.ids() {
        let Operator::Param(p) = model.graph.op(id) else { continue };
        if p.dims.len() > 1 {
            let fan_in: usize = p.dims[1..].iter().product();
            let init = Init::Normal { std: (2.0 / fan_in as f64).sqrt() };
            let parameter = Parameter { name: p.name.clone(), dims: p.dims.clone(), init, state: false };
            weights.tensors.insert(p.name.clone(), init::values(&parameter, 3));
        }
    }
    weights
}

/// Part of `tests/slow.sh`. What a softmax reads is a result too: it hides differences.
#[test]
#[ignore = "slow: large networks"]
fn other_engines_agree_on_every_model() {
    let Some(python) = able("onnx, onnxruntime, openvino") else { return };
    let place = tempfile::tempdir().expect("a folder");
    let models = models();
    for (name, model) in &models {
        let mut model = model.clone();
        let (_, result) = model.graph.outputs[0].clone();
        let scores = scores(&model.graph, result);
        if scores != result {
            model.graph.outputs.push(("scores".into(), scores));
        }
        write(place.path(), name, &model, &lively_weights(name, &model), &[17]);
    }
    println!("{}", check(&python, place.path(), models.len()));
}
