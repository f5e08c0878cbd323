//! What `ninc check` accepts, every command that makes sense of it runs.

use crate::cli::Place;
use crate::support::files::npy_bytes;
use ninc_runtime::store::{Store, System};
use ninc_runtime::{Tensor, npy};
use std::collections::BTreeMap;
use std::fs;

fn write(place: &Place, name: &str, text: &str) {
    fs::write(place.path(name), text).expect("written");
    place.good(&["check", name]);
}

/// A network without parameters needs no weights. By hand: the means 1 and 3 of two channels give
/// 1/(1 + exp(2)) = 0.119203 and 0.880797.
#[test]
fn a_network_without_parameters_needs_no_weights() {
    let place = Place::new();
    write(&place, "means.nin", "network means { input image: [2, 1, 2]  image |> global_avg_pool |> softmax }");
    let bytes: Vec<u8> = [0.0f32, 2.0, 2.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::write(place.path("x.npy"), npy_bytes("<f4", "(1, 2, 1, 2)", &bytes)).expect("written");
    let out = place.good(&["run", "means.nin", "x.npy", "--csv"]);
    assert!(out.contains("x.npy,1,0.880797,0,0.119203"), "{out}");
    place.good(&["bench", "means.nin", "--rounds", "1", "--no-peak"]);
    place.good(&["compare", "means.nin", "--device", "cpu", "--device", "interp"]);
    place.good(&["build", "means.nin", "-o", "lib", "--embed"]);
    let header = fs::read_to_string(place.path("lib/means.h")).expect("a header");
    assert!(header.contains("means_prepare_picture") || header.contains("n x 2 x 1 x 2"), "{header}");
    place.bad(1, &["eval", "means.nin"], "has no `data");

    // Its text prepares, and its data are evaluated.
    let data = "data { source = digits  prepare = [scale(0.5)] }";
    write(&place, "d.nin", &format!("network d {{ input image: [1, 8, 8]  image |> flatten |> softmax }} {data}"));
    place.bad(1, &["eval", "d.nin"], "the network has 64 outputs");
    let rows = "image |> max_pool(kernel = [4, 2], stride = [4, 2]) |> flatten |> reshape(shape = [8])";
    write(
        &place,
        "d.nin",
        &format!("network d {{ input image: [1, 8, 8]  concat({rows}, {rows}) |> softmax }} {data}"),
    );
    place.bad(1, &["eval", "d.nin"], "the network has 16 outputs");
    let means = "image |> avg_pool(kernel = [8, 1], stride = [8, 1]) |> flatten";
    let peaks = "image |> max_pool(kernel = [8, 4], stride = [8, 4]) |> flatten";
    let ten = format!("concat({means}, {peaks})");
    write(&place, "d.nin", &format!("network d {{ input image: [1, 8, 8]  {ten} |> softmax }} {data}"));
    let out = place.good(&["eval", "d.nin", "--json"]);
    assert!(out.contains(r#""count":360"#), "{out}");
    place.good(&["compare", "d.nin"]);
    place.good(&["build", "d.nin", "-o", "d"]);
    // Weights that it cannot have are refused.
    Store { tensors: BTreeMap::from([("a".into(), Tensor::new(&[1], vec![0.0]).expect("fits"))]), ..Store::default() }
        .write(&place.path("w.safetensors"), &System)
        .expect("written");
    place.bad(1, &["run", "means.nin", "x.npy", "--weights", "w.safetensors"], "not in the network: `a`");
}

/// One number for each class is `[classes]` or `[classes, 1, 1]`, with or without a reshape behind the softmax.
#[test]
fn results_of_one_position_are_classes() {
    let place = Place::new();
    let sections = "data { source = digits  prepare = [scale] }
        train { optimizer = sgd(rate = 0.1)  batch = 100  steps = 4  seed = 5 }";
    let outcome = |end: &str| {
        let body = format!("image |> conv(channels = 10, kernel = 8, init = he) |> {end}");
        write(&place, "d.nin", &format!("network d {{ input image: [1, 8, 8]  {body} }} {sections}"));
        place.good(&["train", "d.nin", "--overwrite"]);
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digit-7.png"), place.path("7.png")).expect("copied");
        place.good(&["build", "d.nin", "--weights", "out/d.safetensors"]);
        place.good(&["compare", "d.nin"]);
        [&["run", "d.nin", "7.png", "--json"][..], &["eval", "d.nin", "--json"]].map(|command| place.good(command))
    };
    let expected = outcome("flatten |> softmax");
    for end in ["softmax", "softmax |> flatten", "flatten |> softmax |> reshape(shape = [10, 1, 1])"] {
        assert_eq!(outcome(end), expected, "{end}");
    }
}

/// A loss as a layer gives its number; what needs classes says so before it computes.
#[test]
fn a_loss_as_a_layer_runs() {
    let place = Place::new();
    let body = "let x = image |> flatten  cross_entropy(x, x |> softmax)";
    write(&place, "loss.nin", &format!("network loss {{ input image: [2, 1, 1]  {body} }}"));
    let bytes: Vec<u8> = [1.0f32, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::write(place.path("x.npy"), npy_bytes("<f4", "(1, 2, 1, 1)", &bytes)).expect("written");
    place.bad(1, &["run", "loss.nin", "x.npy"], "`--output FILE.npy` writes it as it is");
    place.good(&["run", "loss.nin", "x.npy", "--output", "y.npy"]);
    // -Σ p·ln p of the probabilities 0.119203 and 0.880797.
    let expected = -(0.119_202_92f64 * 0.119_202_92f64.ln() + 0.880_797_08 * 0.880_797_08f64.ln());
    let found = npy::read(&place.path("y.npy")).expect("an array");
    assert!(found.dims == [1] && (f64::from(found.data[0]) - expected).abs() < 1e-6, "{found:?}");
    place.good(&["bench", "loss.nin", "--rounds", "1", "--no-peak"]);
    place.good(&["compare", "loss.nin", "--device", "cpu", "--device", "interp"]);
    place.good(&["build", "loss.nin"]);
    place.bad(1, &["eval", "loss.nin"], "not one number a class");
}
