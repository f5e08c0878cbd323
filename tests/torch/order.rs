//! Layers of a state dict found for those of a network by their order: `tests/data/torch/blocks.pt`, which PyTorch's
//! `make.py` there makes with its results.

use super::own;
use crate::cli::Place;
use crate::onnx::engines::able;
use ninc_runtime::npy;
use serde_json::Value;
use std::fs;
use std::process::Command;

/// The network of `make.py` in the language, with names of its own. `short` and `inner` are written in either order.
fn network(first_short: bool) -> String {
    let branches = [
        "let short = x |> unit(channels = 6, kernel = 1, stride = 2)",
        "let inner = x |> unit(channels = 4, stride = 2) |> relu |> unit(channels = 6, kernel = 1)",
    ];
    let [one, other] = if first_short { branches } else { [branches[1], branches[0]] };
    format!(
        "block unit(x, channels, kernel = 3, stride = 1) {{
            return x
                |> conv(channels = channels, kernel = kernel, stride = stride, pad = (kernel - 1) / 2, bias = false)
                |> batch_norm
        }}
        block plain(x, channels) {{
            let inner = x |> unit(channels = channels) |> relu |> unit(channels = channels, kernel = 1)
            return x + inner |> relu
        }}
        block down(x) {{
            {one}
            {other}
            return inner + short |> relu
        }}
        network blocks {{
            input image: [3, 8, 8]
            image |> unit(channels = 4) as stem |> relu |> repeat 2 {{ plain(channels = 4) }} |> down
                |> plain(channels = 6) |> global_avg_pool |> linear(features = 5) as head
        }}"
    )
}

fn state() -> String {
    own("blocks.pt").to_str().expect("a path").to_string()
}

#[test]
fn the_results_are_those_of_pytorch() {
    for first_short in [true, false] {
        let place = Place::new();
        fs::write(place.path("net.nin"), network(first_short)).expect("written");
        let said = place.good(&["weights", &state(), "--for", "net.nin", "-o", "net.safetensors"]);
        assert!(
            said.contains("21 layers found by order; 0 layers of the file and 0 layers of the network stay"),
            "{said}"
        );
        let found = place.good(&["weights", &state(), "--for", "net.nin", "--json"]);
        let found: Value = serde_json::from_str(&found).expect("JSON");
        let rows = found["layers"].as_array().expect("rows");
        let of = |theirs: &str| {
            let row = rows.iter().find(|row| row["file"] == theirs).expect("a row");
            row["network"].as_str().expect("a name").to_string()
        };
        let unit = |number: usize| [format!("down1.unit{number}.conv1"), format!("down1.unit{number}.batch_norm1")];
        let [short, last] = if first_short { [unit(1), unit(3)] } else { [unit(3), unit(2)] };
        assert_eq!(["layer2.0.downsample.0", "layer2.0.downsample.1"].map(of), short, "{rows:?}");
        assert_eq!(["layer2.0.conv2", "layer2.0.bn2"].map(of), last, "{rows:?}");
        let image = own("blocks.in.npy");
        let image = image.to_str().expect("a path");
        place.good(&["run", "net.nin", image, "--raw", "--weights", "net.safetensors", "--output", "out.npy"]);
        let out = npy::read(&place.path("out.npy")).expect("an array");
        let right = npy::read(&own("blocks.out.npy")).expect("an array");
        assert_eq!(out.data.len(), right.data.len());
        let apart = out.data.iter().zip(&right.data).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(apart < 1e-5, "{apart:e}");
    }
}

/// What is not certain is refused, with what can be done.
#[test]
fn what_is_not_certain_is_refused() {
    let place = Place::new();
    let text = network(true);
    let bad = |text: &str, more: &[&str], says: &str| {
        fs::write(place.path("net.nin"), text).expect("written");
        let file = state();
        place.bad(1, &[&["weights", &file, "--for", "net.nin", "-o", "w.safetensors"], more].concat(), says);
        assert!(!place.path("w.safetensors").exists());
    };
    bad(&text.replace("|> batch_norm", ""), &[], "`bn1` is its first), and the network has none");
    bad(
        &text.replace(", bias = false", ""),
        &[],
        "`stem.conv1` of the network has bias [4], weight [4, 3, 3, 3]; `conv1`",
    );
    bad(
        &text.replace("repeat 2", "repeat 3"),
        &[],
        "weight [4, 4, 1, 1] the file has 2 (`layer1.0.conv2`, `layer1.1.conv2`), the network 3",
    );
    let bare =
        text.replace("unit(channels = 4) as stem", "conv(channels = 4, kernel = 3, pad = 1, bias = false) as stem");
    bad(&bare, &[], "`bn1` of the file follows `conv1`, and the network has no batch_norm behind `stem`");
    bad(
        &text.replace("channels = 4", "channels = 7").replace("channels = 6", "channels = 9"),
        &[],
        "no layer of the file has tensors of the names and shapes",
    );
    // Without the name, either branch may be the one that was made first; a name says it again.
    let side = ["--rename", "layer2.0.downsample=layer2.0.side"];
    bad(&text, &side, "`down1.unit1.conv1` and `down1.unit3.conv1` of the network have tensors of the same shapes");
    let named = [&side[..], &["--rename", "layer2.0.side.0=down1.unit1.conv1"]].concat();
    let file = state();
    place.good(&[&["weights", &file, "--for", "net.nin", "-o", "named.safetensors"][..], &named].concat());
    place.good(&["weights", &file, "--for", "net.nin", "-o", "own.safetensors"]);
    let read = |name: &str| fs::read(place.path(name)).expect("weights");
    assert!(read("named.safetensors") == read("own.safetensors"));
    // Names that are equal by chance say nothing: here `conv1` is the short branch, `conv2` the module's `conv1`.
    let chance = "network n { input image: [3, 8, 8]
        let short = image |> conv(channels = 3, kernel = 3, pad = 1, bias = false)
        let inner = image |> relu |> conv(channels = 3, kernel = 3, pad = 1, bias = false)
        short + inner }";
    fs::write(place.path("chance.nin"), chance).expect("written");
    let twins = own("twins.pt");
    let twins = twins.to_str().expect("a path");
    place.bad(
        1,
        &["weights", twins, "--for", "chance.nin"],
        "`conv1` and `conv2` of the network have tensors of the same",
    );
    let said = ["--rename", "conv1=conv2", "--rename", "side=conv1"];
    place.good(&[&["weights", twins, "--for", "chance.nin"][..], &said].concat());
    // Its tensors are in another order.
    place.bad(2, &["weights", "own.safetensors", "--for", "net.nin"], "is not a state dict of PyTorch");
    // A file that a copy cut off is a damaged one, not another kind.
    let whole = fs::read(state()).expect("read");
    fs::write(place.path("cut.pth"), &whole[..whole.len() / 2]).expect("written");
    place.bad(1, &["weights", "cut.pth", "--for", "net.nin"], "the archive is damaged or cut off");
}

/// A head for other classes has no counterpart: it is said, and left to training.
#[test]
fn another_head_stays_alone() {
    let place = Place::new();
    fs::write(place.path("net.nin"), network(true).replace("features = 5", "features = 3")).expect("written");
    let said = place.good(&["weights", &state(), "--for", "net.nin", "-o", "net.safetensors"]);
    assert!(said.contains("20 layers found by order; 1 layer of the file and 1 layer of the network stay"), "{said}");
    let listed = place.good(&["weights", "net.safetensors"]);
    assert!(listed.contains("stem.conv1.weight") && !listed.contains("head"), "{listed}");
    let image = own("blocks.in.npy");
    let image = image.to_str().expect("a path");
    place.bad_or_said(1, &["run", "net.nin", image, "--raw", "--weights", "net.safetensors"], "head.weight");
}

/// Networks of torchvision and timm with random weights, beside the same written in the language. Part of
/// `tests/slow.sh`.
#[test]
#[ignore = "slow: PyTorch"]
fn networks_of_torchvision_and_timm() {
    let Some(python) = able("torch, torchvision, timm, numpy") else { return };
    let place = Place::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torch/networks.py");
    let all = [
        ("resnet18", "torchvision.resnet18", 41),
        ("resnet18", "timm.resnet18", 41),
        ("resnet50", "torchvision.resnet50", 107),
        ("resnet50", "timm.resnet50", 107),
        ("mobilenet_v2", "torchvision.mobilenet_v2", 105),
        ("mobilenet_v2", "timm.mobilenetv2_100", 105),
        ("densenet121", "torchvision.densenet121", 242),
    ];
    for (name, source, layers) in all {
        let word = format!("net={source}");
        let ran = Command::new(&python).arg("-B").arg(script).arg(place.path("")).arg(word).output().expect("runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let model = own("networks").join(format!("{name}.nin"));
        let model = model.to_str().expect("a path");
        let said = place.good(&["weights", "net.pth", "--for", model, "-o", "net.safetensors"]);
        assert!(said.contains(&format!("{layers} layers found by order; 0 layers of the file and 0 ")), "{said}");
        place.good(&["run", model, "image.npy", "--raw", "--weights", "net.safetensors", "--output", "out.npy"]);
        let out = npy::read(&place.path("out.npy")).expect("an array");
        let right = npy::read(&place.path("net.npy")).expect("an array");
        let largest = right.data.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let apart = out.data.iter().zip(&right.data).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest;
        println!("{source}: {apart:.1e} of the largest number");
        assert!(apart < 1e-5 && out.data.len() == right.data.len(), "{source}: {apart:e}");
        fs::remove_file(place.path("net.safetensors")).expect("there");
        fs::remove_file(place.path("out.npy")).expect("there");
    }
}
