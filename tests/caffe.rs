//! Networks of Caffe against OpenCV 4.14.0's values (`tests/data/caffe`, which `make.py` there makes) and against the
//! models of the same networks.

use crate::cli::{Place, texts};
use ninc::front;
use ninc::graph::identity;
use ninc::io::caffe::{self, Channels};
use ninc::io::error::ImportError;
use ninc_runtime::store::Store;
use ninc_runtime::{Tensor, npy};
use std::fs;
use std::path::{Path, PathBuf};

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/caffe").join(name)
}

fn text_of(name: &str) -> String {
    own(name).to_str().expect("a path").into()
}

/// What a network's text becomes.
fn imported(text: &str) -> Result<(String, Vec<String>), ImportError> {
    let made = caffe::import(text.as_bytes(), Path::new("net.prototxt"), None, Channels::Bgr)?;
    Ok((front::format(&made.written.text).expect("a text of the language"), made.notes))
}

/// How far the largest result is off.
fn apart(place: &Place, arguments: &[&str], right: &Path) -> f32 {
    place.good(&[arguments, &["--raw", "--output", "out.npy"]].concat());
    let (out, right) = (npy::read(&place.path("out.npy")).expect("an array"), npy::read(right).expect("an array"));
    assert_eq!(out.data.len(), right.data.len(), "{arguments:?}");
    out.data.iter().zip(&right.data).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()))
}

/// Settings of weights and names are part of the text by which a network is known.
#[test]
fn the_networks_of_the_zoo_are_those_of_the_models() {
    for (name, model, dims) in
        [("nin_imagenet", "imagenet", [3, 224, 224]), ("nin_cifar10", "cifar10_caffe", [3, 32, 32])]
    {
        let bytes = fs::read(own(&format!("{name}.prototxt"))).expect("a file");
        let made = caffe::import(&bytes, Path::new(name), Some(&dims), Channels::Bgr).expect("imported");
        let right = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{model}.nin"));
        let right = fs::read_to_string(right).expect("a model");
        let resolved = |text: &str| {
            let graph = front::load(text, "net", &[]).0.expect("a model").graph;
            let text = identity::text(&graph);
            text.split_once('\n').expect("the graph's name").1.to_string()
        };
        assert_eq!(resolved(&made.written.text), resolved(&right), "{name}");
        assert!(made.written.tensors.is_empty() && made.notes[0].contains("mean.binaryproto"), "{:?}", made.notes);
    }
}

/// Every layer, the present format and the older one, with blobs of four sizes.
#[test]
fn values_are_those_of_opencv() {
    let place = Place::new();
    let (net, weights) = (text_of("new.prototxt"), text_of("new.caffemodel"));
    place.good(&["import", &net, "--weights", &weights, "--channels", "rgb", "-o", "new.nin"]);
    let input = text_of("new.in.npy");
    let run = ["run", "new.nin", &input, "--weights", "new.safetensors"];
    assert!(apart(&place, &run, &own("new.out.npy")) < 1e-6);
    assert_eq!(place.good(&["fmt", "--check", "new.nin"]), "");
    // As it is, too: some of its numbers are in the network's file.
    let colours = ["--channels", "rgb"];
    let run = [&["run", &net, &input, "--weights", &weights], &colours[..]].concat();
    assert!(apart(&place, &run, &own("new.out.npy")) < 1e-6);
    let both = ["compare", "new.nin", &net, "--weights", "new.safetensors", "--weights", &weights, "--tolerance", "0"];
    place.good(&[&both, &colours[..]].concat());
    place.good(&[&["export", &net, "--weights", &weights, "-o", "new.onnx"], &colours[..]].concat());

    // As it is, with the colours turned: so is the input.
    let mut x = npy::read(&own("old.in.npy")).expect("an array");
    x.data.chunks_mut(3 * 72).for_each(|image| {
        let (blue, rest) = image.split_at_mut(72);
        blue.swap_with_slice(&mut rest[72..]);
    });
    let x = Tensor::new(&x.dims, x.data).expect("fits");
    fs::write(place.path("rgb.npy"), npy::to_bytes(&x)).expect("written");
    let (net, weights) = (text_of("old.prototxt"), text_of("old.caffemodel"));
    let run = ["run", &net, "rgb.npy", "--weights", &weights];
    assert!(apart(&place, &run, &own("old.out.npy")) < 1e-6);
    let (_, said) = texts(&place.ninc(&[&run[..], &["--raw"]].concat()));
    assert!(said.contains("turned from Caffe's blue, green, red") && said.contains("`conv1`"), "{said}");
    let (plain, input) = (["--channels", "rgb"], text_of("old.in.npy"));
    let run = [&["run", &net, &input, "--weights", &weights], &plain[..]].concat();
    assert!(apart(&place, &run, &own("old.out.npy")) < 1e-6);
    assert!(place.good(&["inspect", &net]).contains("norm1"));
    let listed = place.good(&["weights", &weights]);
    assert!(listed.contains("ip1.weight") && listed.contains("[6, 16]"), "{listed}");
    place.bad_or_said(2, &["run", &net, "rgb.npy", "--raw"], "--weights NAME.caffemodel");
}

/// A person sees blue where a network sees its first channel: by hand, 3 weights of one pixel.
#[test]
fn colours_are_turned_with_their_means() {
    let text = r#"layer { name: "d" type: "Data" top: "data" transform_param {
            crop_size: 8 mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c"
            convolution_param { num_output: 1 kernel_size: 1 } }"#;
    let made = |order| {
        let made = caffe::import(text.as_bytes(), Path::new("n"), None, order).expect("imported");
        assert_eq!(made.input, [3, 8, 8]);
        made.metadata["ninc.prepare"].clone()
    };
    assert_eq!(made(Channels::Bgr), "[mean_std(mean = [123.0, 117.0, 104.0], std = [2.0, 2.0, 2.0])]");
    assert_eq!(made(Channels::Rgb), "[mean_std(mean = [104.0, 117.0, 123.0], std = [2.0, 2.0, 2.0])]");
    let weight = |order| {
        let read = caffe::weights(fs::read(own("old.caffemodel")).expect("a file"), order).expect("weights");
        read.tensors["conv1.weight"].data.clone()
    };
    let (bgr, rgb) = (weight(Channels::Bgr), weight(Channels::Rgb));
    // [4, 3, 3, 2]: six numbers for each colour.
    assert_eq!([&bgr[12..18], &bgr[6..12], &bgr[..6]].concat(), rgb[..18]);
    let place = Place::new();
    fs::write(place.path("n.prototxt"), text).expect("written");
    place.good(&["import", "n.prototxt", "-o", "n.nin"]);
    let text = fs::read_to_string(place.path("n.nin")).expect("a model");
    assert!(text.contains("prepare = [mean_std(mean = [123.0, 117.0, 104.0], std = [2.0, 2.0, 2.0])]"), "{text}");
    assert!(!place.path("n.safetensors").exists());
}

#[test]
fn what_has_no_counterpart_is_one_list() {
    let place = Place::new();
    let text = r#"input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
        layer { name: "up" type: "Deconvolution" bottom: "data" top: "up" }
        layer { name: "near" type: "LRN" bottom: "data" top: "near" lrn_param { norm_region: WITHIN_CHANNEL } }
        layer { name: "odd" type: "ReLU" bottom: "data" top: "odd" relu_param { leak: 0.1 } }
        layer { name: "behind" type: "ReLU" bottom: "up" top: "behind" }
        layer { name: "lost" type: "ReLU" bottom: "nobody" top: "lost" }
        layer { name: "own" type: "Mine" bottom: "data" top: "own" mine_param { a: 1 } }
        layer { name: "all" type: "Concat" bottom: "behind" bottom: "near" bottom: "odd" bottom: "lost" bottom: "own"
            top: "all" }"#;
    fs::write(place.path("n.prototxt"), text).expect("written");
    let output = place.ninc(&["import", "n.prototxt", "-o", "n.nin"]);
    let (_, said) = texts(&output);
    let rows = [
        "these layers have no counterpart:",
        "`up` (Deconvolution): the language has no counterpart of this type",
        "`near` (LRN): it normalises within channels, where `lrn` does across them",
        "`odd` (ReLU): its `leak` is no field that Caffe has",
        "`lost` (ReLU): it reads `nobody`, which nothing before it makes",
        "`own` (Mine): its `mine_param` is no field that Caffe has",
    ];
    assert!(rows.iter().all(|row| said.contains(row)) && !said.contains("behind"), "{said}");
    assert!(output.status.code() == Some(1) && !place.path("n.nin").exists());
    for (text, says) in [
        ("base_lr: 0.1", "line 1: a network has no field `base_lr`: is this another file, a solver's perhaps?"),
        ("layer {\n name: 5 }", "line 2: `name` is not a text in quotes"),
        ("layers { type: ODD }", "line 1: `type` is `ODD`, which is none of NONE, ACCURACY"),
        ("layers { layer { name: 'a' } }", "its layers have the form of 2013"),
        ("name: 'a'", "it holds no layers"),
        ("layer { type: 'ReLU' bottom: 'x' top: 'y' }", "it has no input"),
        ("layer { type: 'Data' top: 'x' }", "leaves sizes open: [?, ?, ?]"),
        ("input: 'a' input: 'b' layer { type: 'Sigmoid' }", "it has 2 inputs (a, b)"),
    ] {
        let error = imported(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

/// Losses and measures are left out; of three losses the one that counts most says the result.
#[test]
fn what_only_trains_is_left_out() {
    let head = |name: &str, weight: &str| {
        format!(
            r#"layer {{ name: "{name}/fc" type: "InnerProduct" bottom: "data" top: "{name}/fc"
                inner_product_param {{ num_output: 4 }} }}
            layer {{ name: "{name}" type: "SoftmaxWithLoss" bottom: "{name}/fc" bottom: "label" top: "{name}"
                loss_weight: {weight} }}
            layer {{ name: "{name}/top" type: "Accuracy" bottom: "{name}/fc" bottom: "label" top: "{name}/top"
                include {{ phase: TEST }} }}"#
        )
    };
    let data = r#"layer { name: "d" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 2 channels: 1 height: 3 width: 3 } }
        layer { name: "noise" type: "Dropout" bottom: "data" top: "data" include { phase: TRAIN } }"#;
    let text = [data, &head("one", "0.3"), &head("main", "1"), &head("two", "0.3")].concat();
    let (text, notes) = imported(&text).expect("imported");
    let right = "network net {
    input image: [1, 3, 3]

    image |> flatten |> linear(features = 4) as main_fc |> softmax as probabilities
}
";
    assert_eq!(text, right);
    assert_eq!(notes, ["the result is that of the loss `main`; what leads to `one`, `two` alone is left out"]);
}

/// Fillers, rates and decays: those that most layers share are the network's.
#[test]
fn settings_are_said_once() {
    let layer = |name: &str, below: &str, filler: &str, rates: &str| {
        format!(
            r#"layer {{ name: "{name}" type: "Convolution" bottom: "{below}" top: "{name}" {rates}
                convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ {filler} }} }} }}"#
        )
    };
    let usual = "param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }";
    let text = [
        r#"input: "data" input_dim: 1 input_dim: 2 input_dim: 12 input_dim: 12 "#,
        &layer("a", "data", "type: 'xavier'", usual),
        &layer("b", "a", "type: 'gaussian' std: 0.01", usual),
        &layer("c", "b", "type: 'msra'", "param { lr_mult: 0.5 decay_mult: 3 }"),
        &layer("d", "c", "type: 'bilinear'", usual),
    ]
    .concat();
    let (text, notes) = imported(&text).expect("imported");
    // Uniform within sqrt(3/(2·3·3)).
    let rows = [
        "defaults { bias_rate = 2.0 }",
        "conv(channels = 4, kernel = 3, init = uniform(limit = 0.4082483)) as a",
        "conv(channels = 4, kernel = 3, init = normal(std = 0.01)) as b",
        "conv(channels = 4, kernel = 3, rate = 0.5, decay = 3.0, bias_decay = 1.0, bias_rate = 1.0) as c",
        "conv(channels = 4, kernel = 3) as d",
    ];
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(rows.iter().all(|row| plain.contains(row)), "{text}");
    assert_eq!(notes, ["the weights' filler `bilinear` of `d` has no counterpart: a training begins with `he`"]);
}

/// Weights lie in another file under their names: a repeat keeps these, or is none.
#[test]
fn repeats_keep_the_names_of_weights() {
    let layer = |name: &str, below: &str| {
        format!(
            r#"layer {{ name: "{name}" type: "Convolution" bottom: "{below}" top: "{name}"
                convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}
            layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}"#
        )
    };
    let net = |names: [&str; 3]| {
        let input = r#"input: "data" input_dim: 1 input_dim: 4 input_dim: 12 input_dim: 12 "#;
        let layers = names.iter().zip(["data"].iter().chain(&names)).map(|(name, below)| layer(name, below));
        imported(&(input.to_string() + &layers.collect::<String>())).expect("imported").0
    };
    let text = net(["conv1_1", "conv1_2", "conv1_3"]);
    assert!(text.contains("repeat 3 { conv(channels = 4, kernel = 3, pad = 1) as conv1_ |> relu"), "{text}");
    let model = front::load(&text, "net", &[]).0.expect("a model");
    let convs: Vec<&str> = model.layers.iter().filter(|l| l.function == "conv").map(|l| l.name.as_str()).collect();
    assert_eq!(convs, ["conv1_1", "conv1_2", "conv1_3"]);
    assert!(!net(["conv1_1", "conv1_2", "conv1_4"]).contains("repeat"));
    assert!(!net(["first", "second", "third"]).contains("repeat"));
}

/// Means of windows in the padding, where Caffe leaves the last window out; values by hand.
#[test]
fn windows_are_caffes() {
    let pool = |n: usize, more: &str| {
        let text = format!(
            r#"input: "data" input_dim: 1 input_dim: 1 input_dim: {n} input_dim: {n}
            layer {{ name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param {{ {more} }} }}"#
        );
        imported(&text).map(|(text, _)| text.split_once("image\n").map_or(text.clone(), |(_, rest)| rest.to_string()))
    };
    let told = |n, more: &str| pool(n, more).expect(more).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told(5, "pool: AVE kernel_size: 3 stride: 2").contains("image |> avg_pool(kernel = 3, stride = 2) as p"));
    assert!(told(5, "pool: AVE kernel_size: 5").contains("image |> global_avg_pool as p"));
    assert!(told(5, "pool: MAX global_pooling: true").contains("image |> global_max_pool as p"));
    assert!(told(5, "kernel_size: 2 stride: 2 round_mode: FLOOR").contains("max_pool(kernel = 2, ceil = false)"));
    assert!(told(5, "kernel_size: 2 stride: 2 ceil_mode: false").contains("max_pool(kernel = 2, ceil = false)"));
    // (5 + 2 - 2)/3 is rounded up to 2, so that windows begin at -1, 2 and 5; the last begins in the padding.
    let made = told(5, "pool: AVE kernel_size: 2 stride: 3 pad: 1");
    assert!(made.contains("|> pad(pixels = 1) |> avg_pool(kernel = 2, stride = 3"), "{made}");
    let error = pool(5, "kernel_size: 1 stride: 3").expect_err("a window behind the image");
    let ImportError::Refused(list) = error else { panic!("{error}") };
    assert_eq!(list[0].reason, "its last window lies outside of the image");
}

/// A normalisation without its second half, sums over batches with their divisor; by hand.
#[test]
fn sums_are_divided() {
    let read = caffe::weights(fs::read(own("new.caffemodel")).expect("a file"), Channels::Rgb).expect("weights");
    let place = Place::new();
    place.good(&["weights", &text_of("new.caffemodel"), "--channels", "rgb", "-o", "w.safetensors"]);
    assert_eq!(Store::read(&place.path("w.safetensors"), false).expect("tensors").tensors, read.tensors);
    assert_eq!(read.tensors["bare.weight"].data, [1.0; 4]);
    assert_eq!(read.tensors["bare.bias"].data, [0.0; 4]);
    assert!(!read.tensors.contains_key("scale.weight"));
    assert_eq!(read.tensors["bn.running_var"].dims, [6]);
    assert_eq!(read.tensors["alone.weight"].dims, [2, 1, 1, 1]);
    let mut bytes = fs::read(own("new.caffemodel")).expect("a file");
    bytes.truncate(bytes.len() - 1);
    fs::write(place.path("cut.caffemodel"), bytes).expect("written");
    place.bad(1, &["weights", "cut.caffemodel"], "it is not a file of Caffe's, or damaged");
}
