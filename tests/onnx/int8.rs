//! Quantised networks to ONNX and back: the same formats, whole numbers and bits. `tests/onnx/int8.py` measures on real
//! data how often ONNX Runtime answers the same.

use super::export::random_weights;
use crate::cli::Place;
use crate::int8::{NETS, fresh, images, load, quantise};
use crate::support::files::{npy_bytes, zip_bytes};
use ninc::io::onnx::{self, Export};
use ninc::model::Model;
use ninc::pipeline::{self, Options};
use ninc::quantize::Quantised;
use ninc::quantize::coded::Coded;
use ninc::quantize::imported;
use ninc::quantize::ranges::Method;
use ninc_runtime::formats::{Formats, LayerFormat};
use ninc_runtime::npy;
use ninc_runtime::store::System;
use ninc_runtime::weights::load as load_weights;
use ninc_runtime::{Feed, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Values that are read as bytes and as floats, means of bytes, normalisation and factors that fold into weights, a
/// layer with groups, layers without bias.
const MORE: [&str; 4] = [
    "network c { input image: [4, 9, 9]
        let a = image |> conv(channels = 6, kernel = 3, pad = 1, bias = false) |> batch_norm as norm |> relu
        let p = a |> avg_pool(kernel = 2)  let q = p |> cccp(channels = 6) as q
        let r = p |> max_pool(kernel = 2) |> cccp(channels = 3) as r |> relu |> global_avg_pool
        concat(add(p, q) |> global_avg_pool |> linear(features = 5) as last, r) |> log_softmax }",
    "network d { input image: [3, 12, 12]
        image |> max_pool(kernel = 2) as pooled |> conv(channels = 8, kernel = 3) as first |> dropout(0.5, inverted = false)
            |> conv(channels = 8, kernel = 1, groups = 4) as grouped |> relu |> cccp(channels = 4) as second |> relu
            |> max_pool(kernel = 2) |> global_avg_pool |> softmax }",
    "network e { input image: [12]
        image |> linear(features = 9) as first |> relu |> linear(features = 4) as last |> log_softmax }",
    TWO,
];

/// Two results; what only the second reads is quantised, too.
const TWO: &str = "network f { input image: [1, 8, 8]
        let stem = image |> conv(channels = 8, kernel = 3, pad = 1) as stem |> relu
        output odds = stem |> conv(channels = 5, kernel = 3) as first |> global_avg_pool |> softmax
        output side = stem |> conv(channels = 4, kernel = 3) as second |> global_avg_pool |> linear(features = 3) as last }";

fn written(model: &Model, quantised: &Quantised, opset: i64) -> Vec<u8> {
    let coded = Coded::new(model, &quantised.formats, &quantised.tensors, |_| Ok(())).expect("coded");
    let (graph, tensors) = (&coded.graph, &coded.tensors);
    let export = Export { model, graph, tensors, coded: Some(&coded), opset, metadata: vec![] };
    onnx::export(&export).expect("exported")
}

fn read(file: Vec<u8>) -> (Model, Quantised, String) {
    let written = onnx::import(file, Path::new("net.onnx"), None).expect("imported").written;
    let (model, mut tensors) = (load(&written.text), written.tensors);
    let formats = imported::formats(&model, &mut tensors, &written.stated).expect("read");
    (model, Quantised { formats: formats.unwrap_or_default(), tensors }, written.text)
}

/// Computes all results, whose names may be others.
fn results(model: &Model, quantised: &Quantised, images: &[f32]) -> Vec<Tensor> {
    let model = Model { formats: Some(quantised.formats.clone()), ..model.clone() };
    let mut program = pipeline::inference(&model, &Options::default()).expect("compiled");
    load_weights(&quantised.tensors, &mut *program.engine).expect("loaded");
    let names: Vec<&str> = model.graph.outputs.iter().map(|(name, _)| name.as_str()).collect();
    program.engine.run(9, &[("image", Feed::F32(images))], &names).expect("run")
}

#[test]
fn quantised_networks_come_back_with_their_bits() {
    for (i, text) in NETS.iter().chain(&MORE).enumerate() {
        let model = load(text);
        let (network, all) = quantise(&model, &fresh(&model), Method::MinMax);
        let mut some = all.clone();
        if let Some(first) = network.layers().into_iter().nth(i % 3) {
            let layers = network.layers().into_iter().map(|name| {
                let format = if name == first { LayerFormat::F32 } else { LayerFormat::Int8 };
                (name, format)
            });
            some = network.quantised(&layers.collect(), Method::Mse).expect("quantised");
        }
        for quantised in [all, some] {
            let file = written(&model, &quantised, [13, 17, 21][i % 3]);
            let (again, back, again_text) = read(file);
            let int8 = |formats: &Formats| -> Vec<String> {
                formats.layers.keys().filter(|name| formats.is_int8(name)).cloned().collect()
            };
            assert_eq!(int8(&quantised.formats), int8(&back.formats), "{text}");
            assert_eq!(quantised.formats.narrow, back.formats.narrow, "{text}");
            let stated = |name: &String| !back.formats.zeros.contains_key(name);
            assert_eq!(quantised.formats.zeros.keys().find(|name| stated(name)), None, "{text}");
            let whole = |tensors: &BTreeMap<String, Tensor>, name: &str| tensors.get(name).cloned();
            for name in quantised.tensors.keys().filter(|name| quantised.formats.whole(name).is_some()) {
                assert!(whole(&quantised.tensors, name) == whole(&back.tensors, name), "{text}: {name}");
            }
            let images = images(&model);
            let (right, found) = (results(&model, &quantised, &images), results(&again, &back, &images));
            let apart = right[0].data.iter().zip(&found[0].data).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
            assert!(right == found, "{text}: {apart:e} apart in {again_text}");
        }
    }
}

/// `ninc quantize` measures all results, and what it writes runs and is exported.
#[test]
fn networks_of_several_results_are_quantised() {
    let place = Place::new();
    let model = load(TWO);
    random_weights(&model).0.write(&place.path("two.safetensors"), &System).expect("written");
    fs::write(place.path("two.nin"), format!("{TWO}\ndata {{ source = npz  prepare = [scale] }}\n")).expect("written");
    let pixels: Vec<u8> = (0..40 * 64).map(|at| (at * at % 251) as u8).collect();
    let labels: Vec<u8> = (0..40).map(|at| at % 5).collect();
    let x = [("x.npy", npy_bytes("|u1", "(40, 1, 8, 8)", &pixels)), ("y.npy", npy_bytes("|u1", "(40,)", &labels))];
    fs::write(place.path("d.npz"), zip_bytes(&x)).expect("written");
    let weights = ["--weights", "q.safetensors"];
    let told = ["quantize", "two.nin", "--data", "d.npz", "--max-drop", "100", "--out", "q.safetensors", "--json"];
    let told: Value = serde_json::from_str(&place.good(&told)).expect("JSON");
    let rows = told["layers"].as_array().expect("rows");
    let named: Vec<&str> = rows.iter().filter_map(|row| row["layer"].as_str()).collect();
    assert_eq!(named, ["stem", "first", "second", "last"]);
    for row in rows {
        // A layer that only the second result reads makes noise there.
        assert!(row["snr_db"].as_f64().is_some_and(|db| (20.0..90.0).contains(&db)), "{row}");
    }
    let agree = [&["compare", "two.nin", "--device", "cpu", "--device", "interp", "--data", "d.npz"][..], &weights];
    place.good(&agree.concat());
    place.good(&[&["export", "two.nin", "-o", "q.onnx"][..], &weights].concat());
    assert!(place.good(&[&["compare", "two.nin", "q.onnx"][..], &weights].concat()).contains("side"));
}

/// Files of ONNX Runtime's quantiser, with its values: every layer is int8, the ReLUs that it hid are there again.
#[test]
fn files_of_a_quantiser_become_layers_of_bytes() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx"));
    let image = npy::read(&folder.join("small.in.npy")).expect("an array");
    for form in ["qdq", "qoperator"] {
        let file = std::fs::read(folder.join(format!("int8_{form}.onnx"))).expect("a file");
        let (model, quantised, text) = read(file);
        let int8: Vec<&String> = quantised.formats.layers.keys().collect();
        assert_eq!(int8, ["fc", "features_0.cccp1", "features_0.conv"], "{form}: {text}");
        assert!(text.contains("mlpconv(kernel = 3, pad = 1, channels = [6, 5]) as features_0"), "{text}");
        let model = Model { formats: Some(quantised.formats.clone()), ..model };
        let mut program = pipeline::inference(&model, &Options::default()).expect("compiled");
        load_weights(&quantised.tensors, &mut *program.engine).expect("loaded");
        let (input, name) = (model.graph.ids()[0], &model.graph.outputs[0].0);
        let input = model.graph.node(input).name.clone().unwrap_or("x".into());
        let found = program.engine.run(2, &[(&input, Feed::F32(&image.data))], &[name]).expect("run").remove(0);
        let right = npy::read(&folder.join("int8.out.npy")).expect("an array");
        let apart = found.data.iter().zip(&right.data).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(apart <= 1e-6 && found.data.len() == right.data.len(), "{form}: {apart:e}");
    }
}
