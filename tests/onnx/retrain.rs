//! Weights go to PyTorch, learn there, and come back.

use super::engines::able;
use crate::cli::Place;
use crate::support::files::{npy_bytes, zip_bytes};
use ninc_runtime::data::{Dataset, digits};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// Images and labels of a part as arrays.
fn arrays(part: &str, set: &Dataset) -> [(String, Vec<u8>); 2] {
    let values = set.values(0..set.len()).expect("in memory").into_floats();
    let pixels: Vec<u8> = values.into_iter().map(|v| v as u8).collect();
    let labels: Vec<u8> = (0..set.len()).map(|item| set.label(item) as u8).collect();
    let count = set.len();
    let (x, y) = (format!("({count}, 1, 8, 8)"), format!("({count},)"));
    [(format!("x{part}.npy"), npy_bytes("|u1", &x, &pixels)), (format!("y{part}.npy"), npy_bytes("|u1", &y, &labels))]
}

/// Part of `tests/slow.sh`.
#[test]
#[ignore = "slow: PyTorch"]
fn digits_learn_in_pytorch_and_come_back() {
    let Some(python) = able("torch, onnx, onnxscript, numpy") else { return };
    let place = Place::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.nin");
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.safetensors");
    place.good(&["export", model, "--weights", weights, "-o", "digits.onnx"]);
    let sets = digits::load().expect("embedded");
    let members = [arrays("", &sets.train), arrays("_test", &sets.test)].concat();
    let members: Vec<(&str, Vec<u8>)> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    fs::write(place.path("data.npz"), zip_bytes(&members)).expect("written");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/retrain.py");
    let trained = Command::new(python).arg("-B").arg(script).arg(place.path("")).output().expect("runs");
    let (said, wrong) = (String::from_utf8_lossy(&trained.stdout), String::from_utf8_lossy(&trained.stderr));
    assert!(trained.status.success(), "{said}{wrong}");
    let line = said.lines().find(|line| line.starts_with("0.9")).expect("accuracies");
    let [before, after] = line.split(' ').map(|v| v.parse().expect("a number")).collect::<Vec<f64>>()[..] else {
        panic!("{line}")
    };

    let accuracy = |arguments: &[&str]| -> f64 {
        let found: Value = serde_json::from_str(&place.good(&[arguments, &["--json"]].concat())).expect("JSON");
        found["accuracy"].as_f64().expect("a number")
    };
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(accuracy(&["eval", model, "--weights", weights]), before), "{before}");
    assert!(after > before - 0.01, "{before} {after}");
    // The state dict, and both exporters' files as they are and imported.
    assert!(near(accuracy(&["eval", model, "--weights", &place.path("state.pt").to_string_lossy()]), after));
    let prepare = fs::read_to_string(place.path("prepare.txt")).expect("written");
    let how = ["--source", "digits", "--prepare", &prepare];
    for name in ["again", "older"] {
        let (file, text) = (format!("{name}.onnx"), format!("{name}.nin"));
        assert!(near(accuracy(&[&["eval", &file][..], &how].concat()), after), "{name}");
        place.good(&[&["import", &file, "-o", &text][..], &how].concat());
        assert!(near(accuracy(&["eval", &text, "--weights", &format!("{name}.safetensors")]), after), "{name}");
    }
    // Value by value and gradient by gradient; the weights that it began with are others.
    let state = place.path("state.pt").to_string_lossy().into_owned();
    let agree = place.good(&["compare", model, "values.npz", "--weights", &state, "--grad", "--tolerance", "1e-4"]);
    assert!(agree.contains("grad/block1.conv.weight"), "{agree}");
    place.bad_or_said(1, &["compare", model, "values.npz", "--weights", weights], "`block1` is the first value");
}
