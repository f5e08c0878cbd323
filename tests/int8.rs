//! Networks of bytes: the same bits on every instruction set and in the interpreter, and weights that are made, kept
//! and refused as they should be.

use crate::cli::Place;
use ninc::front;
use ninc::lower::target::{Algorithm, Isa, Target};
use ninc::model::Model;
use ninc::ops::Operator;
use ninc::pipeline::{Device, Options};
use ninc::quantize::ranges::Method;
use ninc::quantize::{Image, Network, Quantised, SCORES};
use ninc::types::DType;
use ninc_runtime::formats::LayerFormat;
use ninc_runtime::init::{self, Parameter};
use ninc_runtime::philox::Stream;
use ninc_runtime::store::{self, Store};
use ninc_runtime::{Feed, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// Few channels, a whole chain, poolings of both kinds, rows that fill no tile, a linear layer behind `flatten`.
pub const NETS: &[&str] = &[
    "network a { input image: [3, 12, 12]
        image |> mlpconv(kernel = 5, pad = 2, channels = [40, 20, 24]) as b |> max_pool(kernel = 3, stride = 2)
            |> conv(channels = 70, kernel = 3, pad = 1) as c |> relu |> avg_pool(kernel = 3, stride = 2, pad = 1)
            |> conv(channels = 33, kernel = 3, pad = 1, dilation = 2) as e
            |> cccp(channels = 10) as d |> global_avg_pool }",
    "network b { input image: [2, 16, 16]
        image |> conv(channels = 64, kernel = 3, pad = 1) as c |> relu
            |> conv(channels = 96, kernel = 2, stride = 2) as d
            |> relu |> flatten |> linear(features = 40) as e |> relu |> linear(features = 7) as f }",
    "network c { input image: [5, 13, 19]
        image |> conv(channels = 9, kernel = 7, pad = 3) as c |> relu |> conv(channels = 18, kernel = 4, pad = 1) as d
            |> relu |> conv(channels = 17, kernel = 2) as e |> relu |> conv(channels = 8, kernel = 3) as f |> relu
            |> conv(channels = 40, kernel = 5, pad = 4) as g |> relu |> conv(channels = 6, kernel = 6) as h
            |> global_avg_pool }",
    "network d { input image: [3, 23, 22]
        image |> conv(channels = 12, kernel = 5, stride = 2) as c |> relu
            |> conv(channels = 24, kernel = 3, pad = 2, dilation = 2) as d |> relu
            |> conv(channels = 20, kernel = 3, pad = 3, dilation = 3) as e |> relu
            |> conv(channels = 9, kernel = 3, pad = 1, stride = 3) as f |> global_avg_pool }",
];

pub fn load(text: &str) -> Model {
    let (model, diagnostics) = front::load(text, "test", &[]);
    model.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

pub fn fresh(model: &Model) -> BTreeMap<String, Tensor> {
    let graph = &model.graph;
    let all = graph.ids().into_iter().filter_map(|id| match graph.op(id) {
        Operator::Param(p) => {
            let parameter = Parameter { name: p.name.clone(), dims: p.dims.clone(), init: p.init, state: p.state };
            Some((p.name.clone(), init::values(&parameter, 7)))
        }
        _ => None,
    });
    all.collect()
}

const IMAGES: usize = 9;
const IMAGE: Image = Image { preparation: None, dtype: DType::F32 };

pub fn images(model: &Model) -> Vec<f32> {
    let size = model.graph.ids().iter().find_map(|&id| match model.graph.op(id) {
        Operator::Input(input) => Some(input.dims.iter().product::<usize>()),
        _ => None,
    });
    let mut random = Stream::new(3, 0, 0);
    (0..IMAGES * size.unwrap()).map(|_| random.normal()).collect()
}

fn quantised(model: &Model, method: Method) -> (Network, Quantised) {
    quantise(model, &fresh(model), method)
}

pub fn quantise(model: &Model, tensors: &BTreeMap<String, Tensor>, method: Method) -> (Network, Quantised) {
    let mut network = Network::new(model, tensors).unwrap();
    let images = images(model);
    let feed = |engine: &mut dyn ninc_runtime::Engine,
                names: &[&str],
                take: &mut dyn FnMut(Vec<Tensor>) -> ninc_runtime::Result<()>| {
        take(engine.run(IMAGES, &[("image", Feed::F32(&images))], names)?)
    };
    network.calibrate(&IMAGE, &Options::default(), &mut { feed }).unwrap();
    let quantised = all_of_bytes(&network, method);
    (network, quantised)
}

fn all_of_bytes(network: &Network, method: Method) -> Quantised {
    let layers = network.layers().into_iter().map(|name| (name, LayerFormat::Int8)).collect();
    network.quantised(&layers, method).unwrap()
}

fn scores(
    network: &Network,
    quantised: Option<&Quantised>,
    options: &Options,
    images: &[f32],
    count: usize,
) -> Vec<f32> {
    let mut program = network.program(quantised, &IMAGE, options).unwrap();
    let images = &images[..images.len() / IMAGES * count];
    program.engine.run(count, &[("image", Feed::F32(images))], &[SCORES]).unwrap().remove(0).data
}

/// What this machine can run, with the instructions for products of bytes and without.
fn targets() -> Vec<(String, Options)> {
    let mut all = vec![("interp".to_string(), Options { device: Device::Interp, ..Options::default() })];
    let mut add = |name: &str, target: Target| {
        all.push((name.into(), Options { target: Some(target), threads: 2, ..Options::default() }));
    };
    for isa in Isa::ALL.into_iter().filter(|isa| isa.present()) {
        let host = Target::host_with(isa);
        add(isa.name(), host.clone());
        add("without tiles", host.clone().with_cpu(|cpu| cpu.tiles = false));
        let plain = host.clone().with_cpu(|cpu| (cpu.tiles, cpu.vnni) = (false, false));
        add("without both", plain.clone());
        add("without both, winograd", Target { algorithm: Algorithm::Winograd, ..plain.clone() });
        add("without both, direct", Target { algorithm: Algorithm::Direct, ..plain });
        add("small caches", Target { cache: [4 << 10, 32 << 10, 1 << 20], ..host });
    }
    let portable = Target::portable(false);
    let small = Target { cache: [4 << 10, 32 << 10, 64 << 10], ..portable.clone() };
    add("no fma, winograd", Target { algorithm: Algorithm::Winograd, ..portable.clone() });
    add("no fma, winograd, small caches", Target { algorithm: Algorithm::Winograd, ..small });
    add("no fma", portable);
    all
}

#[test]
fn every_target_gives_the_same_bits() {
    for text in NETS {
        let model = load(text);
        let (images, (mut network, _)) = (images(&model), quantised(&model, Method::MinMax));
        for narrow in [4, 2, 1] {
            network.narrow = narrow;
            same_bits(&network, narrow, &images);
        }
        let stated = all_of_bytes(&network, Method::MinMax).formats.narrow;
        network.narrow = 4;
        let room: Vec<u8> = all_of_bytes(&network, Method::MinMax).formats.narrow.into_values().collect();
        let direct = ["cccp", "linear"].iter().map(|word| text.matches(word).count()).sum::<usize>();
        assert!(room.iter().filter(|&&terms| terms == 4).count() >= direct && stated.len() < room.len().max(1));
    }
}

fn same_bits(network: &Network, narrow: usize, images: &[f32]) {
    let quantised = all_of_bytes(network, Method::MinMax);
    let float = scores(network, None, &Options::default(), images, IMAGES);
    let mut expected: Option<Vec<u32>> = None;
    for (name, options) in targets() {
        let name = format!("{name}, room for {narrow}");
        let got = scores(network, Some(&quantised), &options, images, IMAGES);
        let bits: Vec<u32> = got.iter().map(|v| v.to_bits()).collect();
        let one = scores(network, Some(&quantised), &options, images, 1);
        let one: Vec<u32> = one.iter().map(|v| v.to_bits()).collect();
        let expected = expected.get_or_insert_with(|| bits.clone());
        assert_eq!(bits, *expected, "{name}: {:?}", network.layers());
        assert_eq!(one, expected[..one.len()], "{name}, one image: {:?}", network.layers());
        let (signal, noise) = got.iter().zip(&float).fold((0.0, 0.0), |(signal, noise), (got, float)| {
            (signal + float * float, noise + (got - float) * (got - float))
        });
        // Four terms cost up to 5 dB.
        let most = if narrow == 4 { 2e-3 } else { 1e-3 };
        assert!(noise < signal * most, "{name}: {noise} of {signal}");
    }
}

/// Sums in 16 bits that are as far from 0 as weights leave room for, of both signs.
#[test]
fn narrow_sums_at_their_bounds_are_exact() {
    for (narrow, most) in [(4, 32.0), (2, 64.0), (1, 127.0)] {
        for sign in [1.0, -1.0] {
            let model = load(
                "network narrow { input image: [3, 9, 11]
                    image |> conv(channels = 37, kernel = 3, pad = 1) as a |> relu
                        |> conv(channels = 44, kernel = 1) as b |> relu
                        |> conv(channels = 26, kernel = 1) as c |> relu
                        |> conv(channels = 7, kernel = 1) as d |> global_avg_pool }",
            );
            let mut tensors = fresh(&model);
            for (name, tensor) in &mut tensors {
                let value = match name.as_str() {
                    "c.weight" => 0.25 * sign,
                    "d.weight" => -0.25 * sign,
                    name if name.ends_with("weight") => 0.5,
                    "c.bias" if sign < 0.0 => 1e6,
                    _ => 0.0,
                };
                tensor.data.fill(value);
            }
            let (mut network, _) = quantise(&model, &tensors, Method::MinMax);
            network.narrow = narrow;
            let quantised = all_of_bytes(&network, Method::MinMax);
            for name in ["b.weight", "c.weight", "d.weight"] {
                let largest = quantised.tensors[name].data.iter().fold(0.0f32, |m, w| m.max(w.abs()));
                assert_eq!(largest, most, "{name}, room for {narrow}");
            }
            let images: Vec<f32> = images(&model).iter().map(|v| v.abs() + 100.0).collect();
            let mut expected: Option<Vec<u32>> = None;
            for (name, options) in targets() {
                let got = scores(&network, Some(&quantised), &options, &images, IMAGES);
                let bits: Vec<u32> = got.iter().map(|v| v.to_bits()).collect();
                assert!(got.iter().all(|v| v.abs() > 1.0), "{got:?}");
                let expected = expected.get_or_insert_with(|| bits.clone());
                assert_eq!(bits, *expected, "{name}: {sign}, room for {narrow}");
            }
        }
    }
}

/// The largest sums that there are, of both signs: every weight and every byte as far from 0 as it can be.
#[test]
fn sums_at_their_bounds_are_exact() {
    for sign in [1.0, -1.0] {
        let model = load(
            "network bounds { input image: [3, 9, 11]
                image |> conv(channels = 64, kernel = 3, pad = 1) as a |> relu
                    |> conv(channels = 40, kernel = 5, pad = 2) as b |> relu
                    |> conv(channels = 7, kernel = 3, pad = 1) as c |> global_avg_pool }",
        );
        let mut tensors = fresh(&model);
        for (name, tensor) in &mut tensors {
            let value = match name.as_str() {
                "b.weight" => 0.25 * sign,
                "c.weight" => -0.25 * sign,
                name if name.ends_with("weight") => 0.5,
                _ => 0.0,
            };
            tensor.data.fill(value);
        }
        let (network, quantised) = quantise(&model, &tensors, Method::MinMax);
        let images: Vec<f32> = images(&model).iter().map(|v| v.abs() + 100.0).collect();
        let mut expected: Option<Vec<u32>> = None;
        for (name, options) in targets() {
            let got = scores(&network, Some(&quantised), &options, &images, IMAGES);
            let bits: Vec<u32> = got.iter().map(|v| v.to_bits()).collect();
            let expected = expected.get_or_insert_with(|| bits.clone());
            assert_eq!(bits, *expected, "{name}: weights of {sign}");
        }
        let silent = expected.unwrap().iter().all(|bits| f32::from_bits(*bits) == 0.0);
        assert_eq!(silent, sign < 0.0, "the second layer's results are 0 behind its ReLU, or far from it");
    }
}

/// Layers that are not named stay what they were, and a value that both kinds read is there in both forms.
#[test]
fn formats_may_be_mixed() {
    let model = load(NETS[0]);
    let (images, (network, _)) = (images(&model), quantised(&model, Method::Mse));
    let float = scores(&network, None, &Options::default(), &images, IMAGES);
    for name in network.layers() {
        let layers = [(name.clone(), LayerFormat::Int8)].into_iter().collect();
        let one = network.quantised(&layers, Method::Mse).unwrap();
        assert_eq!(one.formats.layers.len(), 1);
        let got = scores(&network, Some(&one), &Options::default(), &images, IMAGES);
        let apart = got.iter().zip(&float).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        let largest = float.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(apart > 0.0 && apart < 0.05 * largest, "{name}: {apart} of {largest}");
    }
}

/// A micro-kernel that takes too many registers would run by narrow vectors, many times slower, and say nothing.
#[test]
#[cfg(target_arch = "x86_64")]
fn products_fit_the_registers() {
    use ninc::back::x86::{Features, emit};
    for text in NETS {
        let model = load(text);
        let (mut network, _) = quantised(&model, Method::MinMax);
        let machines = [(Isa::Avx2, false), (Isa::Avx2, true), (Isa::Avx512, false), (Isa::Avx512, true)];
        for (isa, vnni) in machines.into_iter().filter(|(isa, _)| isa.present()) {
            let target = Target::portable(true).with_vectors(isa).with_cpu(|cpu| cpu.vnni = vnni);
            let options = Options { target: Some(target), ..Options::default() };
            for narrow in [4, 2, 1] {
                network.narrow = narrow;
                let program = network.program(Some(&all_of_bytes(&network, Method::MinMax)), &IMAGE, &options).unwrap();
                let compiled = program.compiled.as_ref().unwrap();
                let kinds = if vnni { &["bytes_"][..] } else { &["words_", "fours_", "twos_", "whole_"] };
                let ours = |name: &str| kinds.iter().any(|kind| name.starts_with(kind));
                let products = compiled.module.micro_kernels.values().filter(|kernel| ours(&kernel.name));
                let mut count = 0;
                for kernel in products {
                    count += 1;
                    emit(kernel, isa, Features { vnni, ..Features::default() })
                        .unwrap_or_else(|e| panic!("{isa:?} {vnni} {}: {e}", kernel.name));
                }
                assert!(count > 3, "{isa:?} {vnni}: {count}");
            }
        }
    }
}

#[test]
fn weights_of_bytes_are_made_kept_and_refused() {
    let place = Place::new();
    let text = "network tiny { input image: [1, 8, 8]
        image |> conv(channels = 8, kernel = 3, pad = 1) as first |> relu
            |> conv(channels = 10, kernel = 3) as second |> global_avg_pool |> softmax as p }
        data { source = digits  prepare = [mean_std] }
        train { optimizer = sgd(rate = 0.05, momentum = 0.9)  batch = 32  steps = 100 }";
    fs::write(place.path("tiny.nin"), text).unwrap();
    place.good(&["train", "tiny.nin"]);
    let json = |text: String| -> Value { serde_json::from_str(text.trim()).unwrap() };
    let made = json(place.good(&["quantize", "tiny.nin", "--max-drop", "5", "--out", "q.safetensors", "--json"]));
    assert_eq!(made["layers"].as_array().unwrap().len(), 2, "{made}");
    assert!(made["snr_db"].as_f64().unwrap() > 20.0, "{made}");
    let bytes = fs::read(place.path("q.safetensors")).unwrap();
    let types = store::types(&bytes);
    assert_eq!(types["first.weight"], ("I8".to_string(), vec![8, 1, 3, 3]));
    assert_eq!(types["second.bias"].0, "I32");
    // What is written is what was read, and nothing is random.
    let stored = Store::read(&place.path("q.safetensors"), true).unwrap();
    assert!(stored.to_bytes() == bytes, "the file changes when it is read and written");
    place.good(&["quantize", "tiny.nin", "--max-drop", "5", "--out", "again.safetensors"]);
    assert!(fs::read(place.path("again.safetensors")).unwrap() == bytes, "two runs differ");

    let accuracy = |weights: &[&str]| {
        let all = [&["eval", "tiny.nin", "--json"], weights].concat();
        json(place.good(&all))["accuracy"].as_f64().unwrap()
    };
    let (float, whole) = (accuracy(&[]), accuracy(&["--weights", "q.safetensors"]));
    assert!((float - whole).abs() < 0.02, "{float} {whole}");
    place.good(&["compare", "tiny.nin", "--weights", "q.safetensors", "--device", "cpu", "--device", "interp"]);
    // What is asked for wins over what the weights state: the numbers that the whole ones stand for, and no bytes.
    for precision in ["f32", "bf16"] {
        let floats = accuracy(&["--weights", "q.safetensors", "--precision", precision]);
        assert!((floats - whole).abs() < 0.02, "{precision}: {floats} {whole}");
    }
    let sides = ["--precision", "auto", "--precision", "f32", "--tolerance", "0.05", "--json"];
    let both = json(place.good(&[&["compare", "tiny.nin", "--weights", "q.safetensors"][..], &sides].concat()));
    assert!(both["values"].as_array().unwrap().iter().any(|v| v["difference"].as_f64() > Some(0.0)), "{both}");
    for (args, says) in [
        (&["train", "tiny.nin", "--weights", "q.safetensors", "--out", "other"][..], "whole numbers do not learn"),
        (&["quantize", "tiny.nin", "--weights", "q.safetensors", "--out", "r"], "is quantised already"),
        (&["eval", "tiny.nin", "--precision", "int8"], "needs weights that are quantised"),
        (&["weights", "q.safetensors", "--dtype", "bf16", "--out", "r"], "is quantised"),
        (&["eval", "tiny.nin", "--weights", "q.safetensors", "--rename", "first=1"], "rename the float weights"),
    ] {
        place.bad(2, args, says);
    }
    // Before the work, which would be lost.
    place.bad(1, &["quantize", "tiny.nin", "--out", "none/r.safetensors"], "there is no folder none");
    place.bad_or_said(1, &["eval", "tiny.nin", "--report", "out"], "out: it is a folder");
}

/// Weights say how much room their sums leave in 16 bits, and a file that says so wrongly is refused: its sums would be
/// cut on some processors.
#[test]
fn room_that_is_not_there_is_refused() {
    let place = Place::new();
    let text = "network tiny { input image: [1, 8, 8]
        image |> mlpconv(kernel = 3, pad = 1, channels = [8, 10]) as m |> global_avg_pool |> softmax as p }
        data { source = digits  prepare = [mean_std] }
        train { loss = cross_entropy  optimizer = sgd(rate = 0.05)  batch = 32  steps = 20 }";
    fs::write(place.path("tiny.nin"), text).unwrap();
    place.good(&["train", "tiny.nin"]);
    for narrow in ["1", "2", "4"] {
        let made =
            ["quantize", "tiny.nin", "--max-drop", "100", "--out", "q.safetensors", "--narrow", narrow, "--json"];
        let made: Value = serde_json::from_str(&place.good(&made)).unwrap();
        let room: Vec<String> =
            made["layers"].as_array().unwrap().iter().map(|row| row["narrow"].to_string()).collect();
        assert_eq!(room, ["1", narrow]);
        let mut store = Store::read(&place.path("q.safetensors"), true).unwrap();
        let stated = format!("\"m.cccp1\":{narrow}");
        assert_eq!(store.metadata["formats"].contains(&stated), narrow != "1", "{}", store.metadata["formats"]);
        if narrow != "1" {
            store.tensors.get_mut("m.cccp1.weight").unwrap().data.fill(127.0);
            fs::write(place.path("bad.safetensors"), store.to_bytes()).unwrap();
            let says = format!("`m.cccp1` leave no room to add {narrow} terms in 16 bits");
            for command in ["eval", "compare", "build"] {
                place.bad(1, &[command, "tiny.nin", "--weights", "bad.safetensors"], &says);
            }
        } else {
            // Whole numbers that are not bytes, as a file of floats may hold them.
            store.whole.clear();
            store.tensors.get_mut("m.cccp1.weight").unwrap().data[3] = 128.0;
            fs::write(place.path("bad.safetensors"), store.to_bytes()).unwrap();
            let says = "weights of `m.cccp1` are not whole numbers from -128 to 127";
            place.bad(1, &["eval", "tiny.nin", "--weights", "bad.safetensors"], says);
        }
    }
    place.bad(2, &["quantize", "tiny.nin", "--out", "q.safetensors", "--narrow", "3"], "[possible values: 1, 2, 4]");
}
