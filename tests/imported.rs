//! Weights that hold no preparation, as imported ones: what the model's text says counts, in every command alike.

use crate::cli::{Place, texts};
use crate::odd::{echo, echoed};
use crate::support::files::{npy_bytes, zip_bytes};
use ninc_runtime::store::{Store, System};
use std::fs;
use std::path::Path;

fn floats(shape: &str, values: &[f32]) -> Vec<u8> {
    npy_bytes("<f4", shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

/// The weights at `from` without what `ninc` adds to tensors.
fn bare(from: &Path, to: &Path) {
    let store = Store::read(from, true).expect("ours");
    let tensors = store.tensors.into_iter().filter(|(name, _)| !name.starts_with("prepare")).collect();
    Store { tensors, ..Store::default() }.write(to, &System).expect("written");
}

/// Weights that hold the preparation, and the same without it, give the same: the text says it too.
#[test]
fn every_command_prepares_as_the_text_says() {
    for prepare in ["[scale, mean_std]", "[gcn(scale = 5), zca]", "[lcn]"] {
        let place = Place::new();
        let model = format!(
            "network tiny {{ input image: [1, 8, 8]  image |> flatten |> linear(features = 10) |> softmax }}
             data {{ source = digits  prepare = {prepare} }}
             train {{ optimizer = sgd(rate = 0.1)  batch = 300  steps = 3 }}"
        );
        fs::write(place.path("tiny.nin"), model).expect("written");
        place.good(&["train", "tiny.nin"]);
        bare(&place.path("out/tiny.safetensors"), &place.path("bare.safetensors"));
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digit-7.png"), place.path("7.png")).expect("copied");
        let told = |weights: &str| {
            [&["run", "tiny.nin", "7.png", "--json"][..], &["eval", "tiny.nin", "--json"], &["compare", "tiny.nin"]]
                .map(|command| place.good(&[command, &["--weights", weights]].concat()))
        };
        assert_eq!(told("out/tiny.safetensors"), told("bare.safetensors"), "{prepare}");
        place.good(&["build", "tiny.nin", "--weights", "out/tiny.safetensors", "-o", "own"]);
        place.good(&["build", "tiny.nin", "--weights", "bare.safetensors", "-o", "text"]);
        let library = |folder: &str| fs::read(place.path(folder).join("libtiny.so")).expect("a library");
        assert!(library("own") == library("text"), "{prepare}");
        let (_, said) = texts(&place.ninc(&["run", "tiny.nin", "7.png", "--weights", "bare.safetensors"]));
        assert!(said.contains("no data preparation; images are prepared as tiny.nin says"), "{said}");
    }
}

/// Steps whose numbers the text gives need no data. By hand: (0.5·x - 10)/4 of x = 0, 10, 100, 250.
#[test]
fn given_numbers_need_no_data() {
    let place = tempfile::tempdir().expect("a folder");
    let data = r#"data { source = folder("none")  prepare = [scale(0.5), mean_std(mean = [10], std = [4])] }"#;
    echo(place.path(), "[1, 2, 2]", data, &[]);
    image::GrayImage::from_raw(2, 2, vec![0, 10, 100, 250])
        .expect("fits")
        .save(place.path().join("p.png"))
        .expect("saved");
    let prepared = vec![-2.5, -1.25, 10.0, 28.75];
    assert_eq!(echoed(place.path(), &["p.png"]), Ok(prepared.clone()));
    fs::write(place.path().join("x.npy"), floats("(1, 1, 2, 2)", &[0.0, 10.0, 100.0, 250.0])).expect("written");
    assert_eq!(echoed(place.path(), &["x.npy"]), Ok(prepared));
    assert_eq!(echoed(place.path(), &["x.npy", "--raw"]), Ok(vec![0.0, 10.0, 100.0, 250.0]));
    // The folder's numbers are bytes: 0 to 1 is something else.
    fs::write(place.path().join("x.npy"), floats("(1, 1, 2, 2)", &[0.0, 0.1, 0.4, 1.0])).expect("written");
    assert!(echoed(place.path(), &["x.npy"]).expect_err("0 to 1").contains("give `x * 255`"));
    // Weights that hold their preparation go before the text.
    let set = [("prepare", r#"[{"scale":{"factor":2.0}}]"#), ("image", "[1, 2, 2]")];
    echo(place.path(), "[1, 2, 2]", data, &set);
    assert_eq!(echoed(place.path(), &["p.png"]), Ok(vec![0.0, 20.0, 200.0, 500.0]));
}

/// What is fitted needs the data. By hand: the four training numbers 1, 3, 5, 7 have the mean 4 and the deviation √5.
#[test]
fn fitted_numbers_come_from_the_data() {
    let place = tempfile::tempdir().expect("a folder");
    let arrays = [
        ("x.npy", floats("(4, 1, 1, 1)", &[1.0, 3.0, 5.0, 7.0])),
        ("y.npy", npy_bytes("|u1", "(4,)", &[0, 0, 0, 0])),
        ("x_test.npy", floats("(1, 1, 1, 1)", &[50.0])),
        ("y_test.npy", npy_bytes("|u1", "(1,)", &[0])),
    ];
    let data = r#"data { source = npz("d.npz")  prepare = [mean_std] }"#;
    echo(place.path(), "[1, 1, 1]", data, &[]);
    fs::write(place.path().join("x.npy"), floats("(2, 1, 1, 1)", &[4.0, 5.0])).expect("written");
    let error = echoed(place.path(), &["x.npy"]).expect_err("no data");
    assert!(error.contains("fitted to the training data, which cannot be read: there is no file or folder d.npz"));
    assert!(error.contains("--data PATH") && error.contains("mean_std(mean = [...]"), "{error}");
    fs::write(place.path().join("other.npz"), zip_bytes(&arrays)).expect("written");
    let close = |found: Vec<f32>, expected: [f32; 2]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
    };
    let fitted = echoed(place.path(), &["x.npy", "--data", "other.npz"]).expect("fitted");
    close(fitted, [0.0, 1.0 / 5f32.sqrt()]);
    // The range of the training data is known with them.
    fs::write(place.path().join("far.npy"), floats("(1, 1, 1, 1)", &[300.0])).expect("written");
    let error = echoed(place.path(), &["far.npy", "--data", "other.npz"]).expect_err("beyond");
    assert!(error.contains("the weights learned from 1 to 7"), "{error}");
    // One of the two given.
    let data = r#"data { source = npz("other.npz")  prepare = [mean_std(std = [2])] }"#;
    echo(place.path(), "[1, 1, 1]", data, &[]);
    close(echoed(place.path(), &["x.npy"]).expect("fitted"), [0.0, 0.5]);
}

/// A flat input does not say how many channels its images have; the data do. By hand: channels of 0, 2 and of 10, 30.
#[test]
fn images_of_a_flat_input_have_the_channels_of_the_data() {
    let place = Place::new();
    let arrays = [
        ("x.npy", floats("(2, 2, 1, 1)", &[0.0, 10.0, 2.0, 30.0])),
        ("y.npy", npy_bytes("|u1", "(2,)", &[0, 1])),
        ("x_test.npy", floats("(1, 2, 1, 1)", &[2.0, 10.0])),
        ("y_test.npy", npy_bytes("|u1", "(1,)", &[0])),
    ];
    fs::write(place.path("d.npz"), zip_bytes(&arrays)).expect("written");
    fs::write(place.path("x.npy"), floats("(1, 2, 1, 1)", &[2.0, 10.0])).expect("written");
    // Nothing to learn, so nothing to load.
    let model = r#"network flat { input image: [2]  image |> softmax }
        data { source = npz("d.npz")  prepare = [mean_std] }"#;
    fs::write(place.path("flat.nin"), model).expect("written");
    let out = place.good(&["run", "flat.nin", "x.npy", "--csv"]);
    // (2 - 1)/1 and (10 - 20)/10: 1/(1 + exp(-2)) = 0.880797.
    assert!(out.contains("x.npy,0,0.880797,1,0.119203"), "{out}");
    let out = place.good(&["eval", "flat.nin", "--json"]);
    assert!(out.contains(r#""accuracy":1.0"#), "{out}");
}
