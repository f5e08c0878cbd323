//! Networks to ONNX and back: the same text, rows and bits.

use crate::cli::Place;
use ninc::front;
use ninc::io::onnx::{self, Export};
use ninc::model::Model;
use ninc::ops::Operator;
use ninc::pipeline::{self, Options};
use ninc_runtime::init::{self, Init, Parameter};
use ninc_runtime::philox::Stream;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Feed, Tensor};
use std::fs;
use std::path::{Path, PathBuf};

/// Makes numbers for a model's parameters, and gives its input's shape.
pub fn random_weights(model: &Model) -> (Weights, Vec<usize>) {
    let graph = &model.graph;
    let (mut weights, mut input) = (Weights::default(), vec![]);
    for id in graph.ids() {
        match graph.op(id) {
            Operator::Param(p) => {
                let positive = p.name.ends_with("running_var") || p.name.ends_with("slope");
                let init = if positive { Init::Constant { value: 1.5 } } else { Init::Normal { std: 0.1 } };
                let parameter = Parameter { name: p.name.clone(), dims: p.dims.clone(), init, state: false };
                weights.tensors.insert(p.name.clone(), init::values(&parameter, 3));
            }
            Operator::Input(op) => input = op.dims.clone(),
            _ => {}
        }
    }
    (weights, input)
}

pub fn load(text: &str) -> Model {
    let (model, diagnostics) = front::load(text, "model", &[]);
    model.unwrap_or_else(|| panic!("{text}: {diagnostics:?}"))
}

/// Makes two random images.
pub fn random_images(dims: &[usize]) -> Tensor {
    let mut random = Stream::new(5, 0, 0);
    let dims = [&[2], dims].concat();
    let values = (0..dims.iter().product()).map(|_| random.normal()).collect();
    Tensor::new(&dims, values).expect("fits")
}

/// A row for each layer, as import names them: points become `_`, and numbers that only count a kind are left out. A
/// `flatten` that changes nothing is none.
fn rows(model: &Model) -> Vec<(String, String, Vec<usize>, usize)> {
    let graph = &model.graph;
    let mut rows = Vec::new();
    for layer in &model.layers {
        let (name, function) = (&layer.name, &layer.function);
        let parameters: usize = layer.params.iter().map(|&p| graph.ty(p).elements()).sum();
        // Layers of blocks keep their names where tensors have them.
        let numbered = match name.contains('.') {
            true => parameters == 0,
            false => name.strip_prefix(function).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit())),
        };
        let name = if numbered { function.clone() } else { name.replace('.', "_") };
        let dims = graph.ty(layer.value).dims.clone();
        if function != "flatten" || graph.ty(layer.operands[0]).dims != dims {
            rows.push((name, function.clone(), dims, parameters));
        }
    }
    rows
}

pub fn models() -> Vec<(String, Model)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).expect("models").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "nin"));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_string();
        (name, load(&fs::read_to_string(path).expect("a model")))
    };
    paths.iter().map(read).collect()
}

/// There and back: the same rows, and the same text again. `bits`: the same bits of results as well.
fn there_and_back(name: &str, model: &Model, bits: bool) {
    let (weights, dims) = random_weights(model);
    let file = exported(model, &weights, 17);
    let back = onnx::import(file, Path::new("net.onnx"), None).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let again = load(&back.written.text);
    let (right, found) = (rows(model), rows(&again));
    let differ = right.iter().zip(&found).find(|(a, b)| a != b);
    assert!(right == found, "{name}: {differ:?}");
    let tensors = Weights { tensors: back.written.tensors, ..Weights::default() };
    let file = exported(&again, &tensors, 17);
    let third = onnx::import(file, Path::new("net.onnx"), None).expect("a file of ours");
    assert_eq!(back.written.text, third.written.text, "{name}");
    assert!(tensors.tensors == third.written.tensors, "{name}: other tensors");
    if bits {
        let images = random_images(&dims);
        assert!(results(model, &weights, &images) == results(&again, &tensors, &images), "{name}: other bits");
    }
}

#[test]
fn every_model_comes_back_as_it_was() {
    let models = models();
    assert!(models.len() >= 9);
    for (name, model) in &models {
        if name != "imagenet" {
            there_and_back(name, model, ["digits", "lenet5", "residual"].contains(&name.as_str()));
        }
    }
}

/// Part of `tests/slow.sh`.
#[test]
#[ignore = "slow: large networks"]
fn every_model_comes_back_with_its_bits() {
    models().iter().for_each(|(name, model)| there_and_back(name, model, true));
}

#[test]
fn what_is_exported_says_its_preparation_and_classes() {
    let place = Place::new();
    let model = |file: &str| format!("{}/models/{file}", env!("CARGO_MANIFEST_DIR"));
    let weights = model("digits.safetensors");
    let from = model("digits.nin");
    let seven = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digit-7.png");
    let right = place.good(&["run", &from, seven, "--weights", &weights]);
    place.good(&["export", &from, "--weights", &weights, "-o", "digits.onnx"]);
    assert_eq!(place.good(&["run", "digits.onnx", seven]), right);
    let refused = ["export", &from, "--weights", &weights, "-o", "digits.onnx"];
    place.bad_or_said(2, &refused, "digits.onnx is there already");
    place.bad_or_said(2, &[&refused[..], &["--overwrite", "--opset", "12"]].concat(), "--opset 12 is not written");
    // Behind its preparation the file takes pictures' own numbers.
    place.good(&["export", &from, "--weights", &weights, "-o", "whole.onnx", "--with-preparation"]);
    assert_eq!(place.good(&["run", "whole.onnx", seven]), right);
    // Two files are compared value by value.
    let agree = place.good(&["compare", &from, "digits.onnx", "--weights", &weights]);
    assert!(agree.contains("block1") && agree.contains("digits.onnx agree within"), "{agree}");
    place.bad_or_said(2, &["compare", "digits.onnx", "whole.onnx", "--weights", &weights], "is for no network");
    place.good(&["compare", "digits.onnx", "whole.onnx"]);
    let unprepared = ["compare", "digits.onnx", "whole.onnx", "--prepare", "none"];
    place.bad_or_said(1, &unprepared, "is the first value that differs");
    place.good(&["import", "digits.onnx", "-o", "back.nin"]);
    assert_eq!(place.good(&["run", "back.nin", seven, "--weights", "back.safetensors"]), right);
    let lcn = r#"network n { input image: [1, 8, 8]  image |> global_avg_pool }
        data { source = folder("none")  prepare = [lcn] }"#;
    fs::write(place.path("lcn.nin"), lcn).expect("written");
    let refused = "(local_contrast) has no counterpart in ONNX";
    place.bad_or_said(1, &["export", "lcn.nin", "-o", "lcn.onnx", "--with-preparation"], refused);
    assert!(!place.path("lcn.onnx").exists());
}

/// Layers of the language, each behind an image of 4 x 7 x 6.
const LAYERS: [&str; 55] = [
    "conv(channels = 6, kernel = 3)",
    "conv(channels = 6, kernel = [3, 2], stride = [2, 1], pad = [1, 0], bias = false)",
    "conv(channels = 8, kernel = 3, pad = 2, dilation = 2, groups = 2)",
    "conv(channels = 4, kernel = 1, groups = 4)",
    "conv(channels = 5, kernel = 1)",
    "cccp(channels = 5)",
    "cccp(channels = 5, bias = false)",
    "mlpconv(kernel = 3, pad = 1, channels = [6, 5, 3])",
    "mlpconv(kernel = 3, channels = [6, 5], activation = tanh, last_activation = none)",
    "mlpconv(kernel = 1, channels = [6, 5, 4], activation = elu, last_activation = sigmoid, bias = false)",
    "local_conv(channels = 5, kernel = 3)",
    "local_conv(channels = 3, kernel = [3, 2], stride = [2, 1], pad = [1, 0], bias = false)",
    "local_conv(channels = 1, kernel = 1)",
    "flatten |> linear(features = 7)",
    "flatten |> linear(features = 7, bias = false)",
    "flatten |> drop_connect(features = 7, rate = 0.3)",
    "mlpconv(kernel = 3, channels = [6, 5], activation = relu6, last_activation = relu6)",
    "relu",
    "relu6",
    "clip(-0.5, 0.25)",
    "clip(high = 0.25)",
    "leaky_relu(slope = 0.2)",
    "leaky_relu",
    "elu",
    "elu(alpha = 0.7)",
    "sigmoid",
    "tanh",
    "gelu",
    "gelu(approximate = true)",
    "silu",
    "prelu",
    "maxout(pieces = 2)",
    "flatten |> linear(features = 8) |> maxout(pieces = 4)",
    "softmax",
    "log_softmax",
    "max_pool(kernel = 2)",
    "max_pool(kernel = 3, stride = 2, pad = 1)",
    "max_pool(kernel = 3, stride = 2, ceil = false)",
    "avg_pool(kernel = 3, stride = 2)",
    "avg_pool(kernel = [2, 3], stride = [3, 2], pad = [0, 1])",
    "stochastic_pool(kernel = 3, stride = 2)",
    "global_avg_pool",
    "global_max_pool",
    "dropout(rate = 0.3)",
    "dropout(rate = 0.3, inverted = false)",
    "lrn(size = 3, alpha = 0.5)",
    "lrn(size = 4, alpha = 0.5, k = 2.0)",
    "batch_norm",
    "batch_norm(epsilon = 1e-3, momentum = 0.01)",
    "pad(pixels = 1)",
    "pad(top = 1, left = 2, value = 0.5)",
    "pad(left = 2)",
    "pad(right = 1, value = 0.5)",
    "pad(bottom = 1)",
    "pad(left = 1, right = 2) |> conv(channels = 3, kernel = [1, 3], stride = [1, 2])",
];

/// Networks whose values have several users or results.
const NETWORKS: [&str; 7] = [
    "let gate = image |> sigmoid  image * gate",
    "let gate = image |> sigmoid  gate * image |> silu",
    "let a = image |> relu  let b = image |> tanh  a + b |> sigmoid",
    "let a = image |> relu  concat(a, image, a * image) |> conv(channels = 3, kernel = 3)",
    "let a = image |> conv(channels = 4, kernel = 3, pad = 1) as stem  add(a, image, stem |> relu) |> global_avg_pool",
    "let gate = image |> global_avg_pool |> linear(features = 4) |> sigmoid  image * gate + gate",
    "let a = image |> relu  output first = a |> global_avg_pool  output second = a |> flatten |> linear(features = 2)",
];

pub fn texts() -> Vec<String> {
    let of = |body: &str| format!("network net {{ input image: [4, 7, 6]  {body} }}");
    let layers = LAYERS.iter().map(|layer| of(&format!("image |> {layer}")));
    layers.chain(NETWORKS.iter().map(|network| of(network))).collect()
}

pub fn exported(model: &Model, weights: &Weights, opset: i64) -> Vec<u8> {
    let export = Export { model, graph: &model.graph, tensors: &weights.tensors, coded: None, opset, metadata: vec![] };
    onnx::export(&export).expect("exported")
}

pub fn results(model: &Model, weights: &Weights, images: &Tensor) -> Vec<Tensor> {
    let mut program = pipeline::inference(model, &Options::default()).expect("compiled");
    weights.load_into(&mut *program.engine).expect("loaded");
    let names: Vec<&str> = model.graph.outputs.iter().map(|(name, _)| name.as_str()).collect();
    program.engine.run(2, &[("image", Feed::F32(&images.data))], &names).expect("run")
}

/// Everything but `stochastic_pool` and `local_conv`, which are several nodes that nobody else writes.
#[test]
fn every_layer_comes_back() {
    for (i, text) in
        texts().iter().enumerate().filter(|(_, text)| !text.contains("stochastic") && !text.contains("local_conv"))
    {
        let model = load(text);
        let (weights, dims) = random_weights(&model);
        let opset = [13, 17, 18, 20, 22][i % 5];
        let file = exported(&model, &weights, opset);
        let back = onnx::import(file, Path::new("net.onnx"), None).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let again = load(&back.written.text);
        let shown = |model: &Model| -> Vec<String> {
            let layer =
                |l: &ninc::model::Layer| format!("{} {} {:?}", l.name, l.function, model.graph.ty(l.value).dims);
            model.layers.iter().map(layer).collect()
        };
        assert_eq!(shown(&model), shown(&again), "{text} as operator set {opset}: {}", back.written.text);
        let images = random_images(&dims);
        let tensors = Weights { tensors: back.written.tensors, ..Weights::default() };
        // Two factors of drop_connect's weights are one after the file.
        let (before, after) = (results(&model, &weights, &images), results(&again, &tensors, &images));
        assert!(before == after || text.contains("drop_connect"), "{text}: other bits");
    }
}
