//! Each of the operators that the paper compares with learns something real, and the shipped weights are what they
//! claim.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Trains a network of these steps on the digits and gives its test accuracy.
fn accuracy(layers: &str, rate: f64, options: &[&str]) -> f64 {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let text = format!(
        "network net {{ input image: [1, 8, 8]  image {layers} |> softmax }}
         data {{ source = digits  prepare = [mean_std] }}
         train {{ optimizer = sgd(rate = {rate:?}, momentum = 0.9)  schedule = cosine  batch = 32  steps = 250  seed = 1 }}"
    );
    fs::write(folder.path().join("net.nin"), text).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_ninc"))
        .args(["train", "net.nin", "--json"])
        .args(options)
        .current_dir(folder.path())
        .output()
        .expect("ninc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let done: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    done["accuracy"].as_f64().expect("a number")
}

#[track_caller]
fn learns(layers: &str, rate: f64, least: f64) {
    let reached = accuracy(layers, rate, &[]);
    eprintln!("{:.2} % {layers}", reached * 100.0);
    assert!(reached >= least, "{reached} of the test images with {layers}");
}

#[test]
fn maxout_learns() {
    learns(
        "|> conv(channels = 24, kernel = 3, pad = 1) |> maxout(pieces = 2) |> max_pool(kernel = 2, stride = 2) |> flatten |> linear(features = 10)",
        0.05,
        0.93,
    );
}

#[test]
fn stochastic_pooling_learns() {
    learns(
        "|> conv(channels = 16, kernel = 3, pad = 1) |> relu |> stochastic_pool(kernel = 2, stride = 2) |> flatten |> linear(features = 10)",
        0.05,
        0.9,
    );
}

#[test]
fn drop_connect_learns() {
    learns(
        "|> conv(channels = 16, kernel = 3, pad = 1) |> relu |> max_pool(kernel = 2, stride = 2) |> flatten |> drop_connect(features = 64, rate = 0.5) |> relu |> linear(features = 10)",
        0.05,
        0.9,
    );
}

#[test]
fn local_response_normalisation_learns() {
    learns(
        "|> conv(channels = 16, kernel = 3, pad = 1) |> relu |> lrn(size = 5, alpha = 0.5, beta = 0.75, k = 2.0) |> max_pool(kernel = 2, stride = 2) |> flatten |> linear(features = 10)",
        0.05,
        0.93,
    );
}

#[test]
fn local_convolution_learns() {
    learns(
        "|> conv(channels = 8, kernel = 3, pad = 1) |> relu |> max_pool(kernel = 2, stride = 2) |> local_conv(channels = 16, kernel = 3, pad = 1) |> relu |> flatten |> linear(features = 10)",
        0.05,
        0.92,
    );
}

/// Products of bf16, forward and in both gradients; parameters and their updates in float32: as good as all in float32.
#[test]
fn bf16_learns_as_well() {
    let layers = "|> conv(channels = 16, kernel = 3, pad = 1) |> relu |> cccp(16) |> relu |> max_pool(kernel = 2, stride = 2) |> flatten |> linear(features = 10)";
    let [full, half] = ["f32", "bf16"].map(|precision| accuracy(layers, 0.05, &["--precision", precision]));
    eprintln!("{:.2} % in float32, {:.2} % in bf16", full * 100.0, half * 100.0);
    assert!(full > 0.93 && half > full - 0.02, "{half} in bf16, {full} in float32");
}

/// Shipped models, pictures of the data sets' test parts, and what they show.
const PICTURES: &[(&str, &str, &str)] = &[
    ("digits", "digit-7.png", "7"),
    ("mnist", "mnist-7.png", "7"),
    ("cifar10", "cat.png", "cat"),
    ("cifar10", "horse.png", "horse"),
    ("cifar10", "ship.png", "ship"),
    ("fast94", "cat.png", "cat"),
    ("fast94", "horse.png", "horse"),
    ("fast94", "ship.png", "ship"),
];

/// From a fresh clone, before any training.
#[test]
fn shipped_weights_work_where_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = tempfile::tempdir().expect("a folder for temporary files");
    fs::create_dir(place.path().join("models")).expect("made");
    let ninc = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
        let output = command.args(args).current_dir(place.path()).output().expect("ninc runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    for (model, picture, class) in PICTURES {
        for name in [format!("{model}.nin"), format!("{model}.safetensors")] {
            fs::copy(root.join("models").join(&name), place.path().join("models").join(&name)).expect("shipped");
        }
        let picture = root.join("tests/data").join(picture).display().to_string();
        let (out, err) = ninc(&["run", &format!("models/{model}.nin"), &picture, "--top", "1"]);
        let note = format!("weights: models/{model}.safetensors");
        assert!(err.contains(&note) && err.lines().count() == 1, "{err}");
        let said = out.lines().nth(1).and_then(|line| line.split_whitespace().next());
        assert_eq!(said, Some(*class), "{model} {picture}: {out}");
        let size = fs::metadata(place.path().join(format!("models/{model}.safetensors"))).expect("there").len();
        assert!(size < 4 << 20, "{size} bytes");
    }
}

#[test]
fn the_cards_tell_the_accuracy_of_the_shipped_weights() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let card = fs::read_to_string(root.join("models/README.md")).expect("there");
    // The data of the first is in the program; the others are checked where the data sets are.
    let shared = root.join("../shared/data").display().to_string();
    for (model, data, count) in [
        ("digits", None, 360),
        ("mnist", Some(&shared), 10_000),
        ("cifar10", Some(&shared), 10_000),
        ("fast94", Some(&shared), 10_000),
    ] {
        if data.is_some_and(|data| !Path::new(data).is_dir()) {
            eprintln!("skipped: the accuracy of {model}, whose data set is not there");
            continue;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
        command.args(["eval", &format!("models/{model}.nin"), "--json"]).current_dir(root);
        command.args(["--weights", &format!("models/{model}.safetensors")]);
        command.args(data.iter().flat_map(|data| ["--data", data]));
        let output = command.output().expect("ninc runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let accuracy = value["accuracy"].as_f64().expect("a number");
        let row = format!("| `{model}.safetensors` |");
        let row = card.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{model} has no card"));
        let said = row.split_once(" %").and_then(|(before, _)| before.split(' ').next_back()?.parse::<f64>().ok());
        let said = said.unwrap_or_else(|| panic!("no accuracy in {row}")) / 100.0;
        // Of images that lie on the border between two classes, another order of sums may move two. The card has two
        // digits.
        let close = (said - accuracy).abs() * f64::from(count) <= 2.0 + 5e-5 * f64::from(count);
        assert!(value["count"] == count && close, "{value}: the card says {row}");
    }
}
