//! A training run frozen from an independent implementation: 20 steps of a small NIN, loss by loss.

use crate::nets;
use ninc::model::Model;
use ninc::pipeline::{self, Device, Options};
use ninc_runtime::{Feed, Tensor};
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;

const NETWORK: &str = "
network trace(classes = 10) {
    defaults { bias_decay = 1.0 }
    input image: [3, 16, 16]
    image
        |> mlpconv(kernel = 5, pad = 2, channels = [24, 20, 16]) as block1
        |> max_pool(kernel = 3, stride = 2)
        |> mlpconv(kernel = 5, pad = 2, channels = [24, 24, 24]) as block2
        |> max_pool(kernel = 3, stride = 2)
        |> mlpconv(kernel = 3, pad = 1, channels = [24, 24, classes]) as block3
        |> global_avg_pool
        |> softmax
}
train {
    loss = cross_entropy
    optimizer = sgd(rate = 0.005, momentum = 0.9, decay = 1e-4)
    batch = 16
    steps = 20
}
";

fn floats(file: &SafeTensors, name: &str) -> Tensor {
    let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Tensor::new(view.shape(), data).expect("a tensor of the file")
}

fn labels(file: &SafeTensors, name: &str) -> Vec<i32> {
    let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes")) as i32).collect()
}

pub fn check(device: Device) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors");
    let (Ok(list), Ok(bytes)) = (fs::read(folder.join("vectors.json")), fs::read(folder.join("vectors.safetensors")))
    else {
        eprintln!("skipped: no vectors in {}", folder.display());
        return;
    };
    let list: serde_json::Value = serde_json::from_slice(&list).expect("JSON");
    let case = list.as_array().and_then(|l| l.last()).expect("the trace is the last entry");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let losses: Vec<f64> =
        case["attrs"]["losses"].as_array().expect("losses").iter().map(|v| v.as_f64().expect("a number")).collect();
    let (model, diagnostics) = ninc::front::load(NETWORK, "trace.nin", &[]);
    let model: Model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let options = Options { device: device.clone(), threads: 2, ..Options::default() };
    let mut program = pipeline::training(&model, &options).expect("it compiles");
    let weights: Vec<String> = program.params.iter().filter(|p| !p.state).map(|p| p.name.clone()).collect();
    assert_eq!(weights.len(), 18, "weights and biases of nine convolutions");
    for name in &weights {
        program.engine.write(name, &floats(&file, &format!("sgd.before.{name}"))).expect("a start weight");
    }
    let (images, labels) = (floats(&file, "sgd.images"), labels(&file, "sgd.labels"));
    for (step, expected) in losses.iter().enumerate() {
        let loss =
            f64::from(program.engine.run(16, &feeds(&images, &labels, step), &["loss"]).expect("a step")[0].data[0]);
        assert!(
            (loss - expected).abs() <= 1e-4 * expected.abs(),
            "{device:?}: loss {loss} at step {step}, not {expected}"
        );
    }
    for name in &weights {
        let (found, expected) =
            (program.engine.read(name).expect("a weight"), floats(&file, &format!("sgd.after.{name}")));
        let distance = nets::distance(&found.data, &expected.data);
        assert!(distance <= 1e-3, "{device:?}: {name} differs by {distance} after the last step");
    }
    // One more step shows the logits that the end weights give.
    let logits = program.engine.run(16, &feeds(&images, &labels, 0), &["logits"]).expect("a step");
    let distance = nets::distance(&logits[0].data, &floats(&file, "sgd.logits_after").data);
    assert!(distance <= 1e-3, "{device:?}: the last logits differ by {distance}");
}

/// Step `step` of the frozen order.
fn feeds<'a>(images: &'a Tensor, labels: &'a [i32], step: usize) -> [(&'static str, Feed<'a>); 5] {
    let each = 16 * 3 * 16 * 16;
    [
        ("image", Feed::F32(&images.data[step * each..(step + 1) * each])),
        ("@labels", Feed::I32(&labels[step * 16..(step + 1) * 16])),
        ("@rate", Feed::F32(&[0.005])),
        ("@momentum", Feed::F32(&[0.9])),
        ("@decay", Feed::F32(&[1e-4])),
    ]
}

#[test]
fn interpreter_follows_the_trace() {
    check(Device::Interp);
}

#[test]
fn compiled_program_follows_the_trace() {
    check(Device::Cpu);
}
