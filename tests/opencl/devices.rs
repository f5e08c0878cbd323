//! Training across devices, and devices on the command line.

use super::{options, present};
use ninc::graph::Graph;
use ninc::ops::source::Input;
use ninc::ops::stochastic_pool::StochasticPool;
use ninc::ops::window::pooling;
use ninc::ops::{Operator, TrainCx, dropout::Dropout};
use ninc::pipeline::{self, Options};
use ninc::types::DType;
use ninc_runtime::Feed;
use ninc_runtime::plan::Role;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

pub const MODEL: &str = "network tiny {
    input image: [1, 8, 8]
    image |> conv(kernel = 3, pad = 1, channels = 8, init = he) |> relu |> max_pool(kernel = 2, stride = 2)
        |> dropout(0.1) |> conv(kernel = 3, pad = 1, channels = 10, init = he) |> global_avg_pool |> softmax
}
data {
    source = digits
    prepare = [scale, mean_std]
    augment = [shift(1)]
}
train {
    loss = cross_entropy
    optimizer = sgd(rate = 0.2, momentum = 0.9)
    batch = 50
    steps = 30
    seed = 3
}
";

pub fn ninc(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
    command.args(arguments).current_dir(folder).env("NINC_CACHE", folder.join("cache"));
    command
}

pub fn good(folder: &Path, arguments: &[&str]) -> String {
    let output = ninc(folder, arguments).output().expect("ninc starts");
    assert!(output.status.success(), "{arguments:?}: {}", err(&output));
    String::from_utf8_lossy(&output.stdout).into()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into()
}

pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    fs::write(folder.path().join("tiny.nin"), MODEL).expect("written");
    folder
}

/// Loss and accuracy of the last line of a training's log.
pub fn outcome(text: &str) -> (f64, f64) {
    let line: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    let number = |key: &str| line[key].as_f64().expect("a number");
    (number("loss"), number("accuracy"))
}

/// Random numbers, order of data and augmentation are those of the CPU, so that a training goes on anywhere: all of it
/// on the CPU, or a third there, a third on the device, the rest on the CPU again.
#[test]
fn a_training_moves_between_devices() {
    if !present() {
        return;
    }
    let place = folder();
    let at = place.path();
    let train = |out: &str, device: &str, steps: &str, resume: bool| {
        let mut arguments = vec!["train", "tiny.nin", "--json", "--out", out, "--device", device, "--steps", steps];
        if resume {
            arguments.push("--resume");
        }
        outcome(&good(at, &arguments))
    };
    let straight = train("straight", "cpu", "90", false);
    train("moved", "cpu", "30", false);
    train("moved", "opencl", "60", true);
    let moved = train("moved", "cpu", "90", true);
    assert!((straight.0 - moved.0).abs() < 2e-3, "loss {} and {}", straight.0, moved.0);
    assert!((straight.1 - moved.1).abs() < 0.02, "accuracy {} and {}", straight.1, moved.1);
    let eval = ["eval", "tiny.nin", "--json", "--weights", "moved/tiny.safetensors", "--device", "opencl"];
    let tested = outcome(&good(at, &eval));
    assert!((tested.0 - moved.0).abs() < 1e-4 && (tested.1 - moved.1).abs() < 0.01, "{tested:?} and {moved:?}");
}

#[test]
fn devices_are_listed_and_benched() {
    if !present() {
        return;
    }
    let place = folder();
    let table = good(place.path(), &["devices"]);
    assert!(table.contains("opencl:0") && table.contains("GFLOP/s") && table.contains("cannot have"), "{table}");
    let profile = good(place.path(), &["bench", "tiny.nin", "--device", "opencl:0", "--batch", "2", "--profile"]);
    assert!(profile.contains("conv_"), "{profile}");
}

/// Masks and choices are the same bits as the CPU's.
#[test]
fn random_numbers_are_the_cpus() {
    if !present() {
        return;
    }
    let ops: [Operator; 2] = [
        Dropout { rate: 0.37, inverted: true, stream: 3 }.into(),
        StochasticPool { window: pooling([2, 2], [2, 2], [0, 0]), ceil: false, stream: 4 }.into(),
    ];
    for op in ops {
        let mut graph = Graph::new("random");
        let key = Input { name: "key".into(), role: Role::Key, dtype: DType::I32, batched: false, dims: vec![4] };
        let key = graph.add(key, &[]).expect("a key");
        let image =
            Input { name: "image".into(), role: Role::Image, dtype: DType::F32, batched: true, dims: vec![5, 6, 6] };
        let image = graph.add(image, &[]).expect("an image");
        let mut cx = TrainCx { graph: &mut graph, operands: vec![image], key };
        let value = op.training(&mut cx).expect("it trains").expect("another form");
        graph.outputs.push(("y".into(), value));
        let pixels: Vec<f32> = (0..7 * 180).map(|i| 0.5 + (i % 13) as f32).collect();
        let run = |options: &Options| {
            let mut program = pipeline::graph(&graph, options).expect("it compiles");
            let feeds = [("key", Feed::I32(&[5, -6, 7, 8])), ("image", Feed::F32(&pixels))];
            program.engine.run(7, &feeds, &["y"]).expect("a run")[0].data.clone()
        };
        let (cpu, context) = (run(&Options::default()), run(&options()));
        assert!(cpu.iter().any(|v| *v != 0.0), "{op:?} gives zeros only");
        assert_eq!(cpu, context, "{op:?}");
    }
}
