//! `ninc build --target wasm32`: the program of a page gives the bits of portable code that rounds products and sums
//! apart, in an interpreter of WebAssembly and in Node; what cannot be built is said.

use crate::cli::Place;
use crate::library::have;
use crate::support::wasm::Running;
use ninc::lower::target::Target;
use ninc::pipeline::{self, Options};
use ninc::prepare;
use ninc::types::DType;
use ninc_runtime::spec::{Pictures, Resize};
use ninc_runtime::tensor::to_memory;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Feed, image};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A page, and what its description says.
struct Page {
    place: Place,
    about: Value,
}

impl Page {
    /// Builds the page of one of the models, whose weights lie beside it.
    fn of(name: &str) -> Page {
        let place = Place::new();
        let (model, weights) = (root(&format!("models/{name}.nin")), root(&format!("models/{name}.safetensors")));
        let (model, weights) = (model.display().to_string(), weights.display().to_string());
        place.good(&["build", &model, "--weights", &weights, "--target", "wasm32", "-o", "page"]);
        let about = fs::read_to_string(place.path(&format!("page/{name}.json"))).expect("written");
        Page { about: serde_json::from_str(&about).expect("JSON"), place }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.place.path(&format!("page/{name}"))
    }
}

/// The bytes of a picture as a network gets them, channel by channel, and its result by compiled code.
fn native(name: &str, picture: &Path) -> (Vec<u8>, Vec<u32>) {
    let text = fs::read_to_string(root(&format!("models/{name}.nin"))).expect("a model");
    let model = ninc::front::load(&text, name, &[]).0.expect("valid");
    let weights = Weights::read(&root(&format!("models/{name}.safetensors"))).expect("reads");
    let preparation = weights.preparation.as_ref().expect("trained on prepared pictures");
    let pictures = preparation.pictures().unwrap_or(Pictures::former(Resize::Stretch));
    let bytes = image::picture(picture, preparation.dims(), &pictures).expect("a picture");
    let options = Options { target: Some(Target::portable(false)), ..Options::default() };
    let program = pipeline::prepared_inference(&model, preparation.form(), DType::U8, &options).expect("compiles");
    let mut engine = program.engine;
    prepare::write(&mut *engine, preparation).expect("fits");
    weights.tensors.iter().for_each(|(name, value)| engine.write(name, value).expect("fits"));
    let (input, output) = (engine.inputs()[0].name.clone(), engine.outputs()[0].name.clone());
    let results = engine.run(1, &[(&input, Feed::U8(&bytes))], &[&output]).expect("runs");
    (bytes, results[0].data.iter().map(|v| v.to_bits()).collect())
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().expect("a list").iter().map(|v| v.as_u64().expect("a number") as usize).collect()
}

/// A value's address, and its bytes.
fn span(value: &Value) -> (usize, usize) {
    let elements: usize = numbers(&value["shape"]).iter().product();
    let bytes = if value["type"] == "uint8" { 1 } else { 4 };
    (value["at"].as_u64().expect("an address") as usize, elements * bytes)
}

#[test]
fn the_whole_program_of_digits_gives_the_bits_of_portable_code() {
    let page = Page::of("digits");
    let mut running = Running::new(&fs::read(page.file("digits.wasm")).expect("written"));
    ["run_prepare", "prepare_prepare"].into_iter().for_each(|name| running.call(name));
    let (bytes, expected) = native("digits", &root("tests/data/digit-7.png"));
    let pictures = &page.about["pictures"];
    let mut memory = bytes.clone();
    to_memory(&numbers(&pictures["input"]["shape"]), &numbers(&pictures["input"]["order"]), &bytes, &mut memory);
    running.write(span(&pictures["input"]).0, &memory);
    running.call("prepare");
    assert_eq!(pictures["output"]["order"], page.about["input"]["order"]);
    let (at, count) = span(&pictures["output"]);
    let prepared = running.read(at, count);
    running.write(span(&page.about["input"]).0, &prepared);
    running.call("run");
    let (at, count) = span(&page.about["output"]);
    let words = |bytes: Vec<u8>| -> Vec<u32> {
        bytes.chunks_exact(4).map(|w| u32::from_le_bytes(w.try_into().expect("four"))).collect()
    };
    assert_eq!(words(running.read(at, count)), expected);
    // Launch by launch it is the same.
    running.write(at, &vec![0; count]);
    running.write(span(&page.about["input"]).0, &prepared);
    let layers = page.about["layers"].as_array().expect("rows").len();
    (0..layers).for_each(|i| running.call_with("run_launch", i as i32));
    assert_eq!(words(running.read(at, count)), expected);
}

#[test]
fn several_threads_give_the_bits_of_one_in_node() {
    if !have("node") {
        return;
    }
    let place = Place::new();
    let (model, weights) = (root("models/digits.nin"), root("models/digits.safetensors"));
    let (model, weights) = (model.display().to_string(), weights.display().to_string());
    let line = ["build", &model, "--weights", &weights, "--target", "wasm32", "-o", "page"];
    place.good(&[&line[..], &["--threads", "4"]].concat());
    let output = Command::new("node").arg(root("tests/web/threads.mjs")).arg(place.path("page/digits.js")).output();
    let output = output.expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["threads"], 4);
    // The module is what an engine with threads takes, and only that.
    let module = fs::read(place.path("page/digits.wasm")).expect("written");
    let valid = |features| wasmparser::Validator::new_with_features(features).validate_all(&module).is_ok();
    let all = wasmparser::WasmFeatures::default() | wasmparser::WasmFeatures::THREADS;
    assert!(valid(all) && !valid(all - wasmparser::WasmFeatures::THREADS));
}

/// What Node makes of pictures by the page's script.
fn in_node(page: &Page, name: &str, pictures: &[PathBuf]) -> Value {
    let mut command = Command::new("node");
    command.arg(root("tests/web/classify.mjs")).arg(page.file(&format!("{name}.js")));
    for (i, picture) in pictures.iter().enumerate() {
        let decoded = ::image::open(picture).expect("a picture");
        let raw = page.place.path(&format!("{i}.raw"));
        fs::write(&raw, decoded.as_bytes()).expect("written");
        command.arg(format!("{}x{}", decoded.width(), decoded.height())).arg(raw);
    }
    let output = command.output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_belongs_to_another_build_and_what_is_no_picture_is_refused() {
    if !have("node") {
        return;
    }
    let page = Page::of("digits");
    let (model, weights) = (root("models/digits.nin"), root("models/digits.safetensors"));
    let (model, weights) = (model.display().to_string(), weights.display().to_string());
    let line = ["build", &model, "--weights", &weights, "--target", "wasm32", "--precision", "bf16", "-o", "other"];
    page.place.good(&line);
    let mut command = Command::new("node");
    command.arg(root("tests/web/refused.mjs")).arg(page.file("digits.js")).arg(page.place.path("other/digits.wasm"));
    let output = command.output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let bytes = "bytes as its data (Uint8Array or Uint8ClampedArray), not";
    let mut expected = vec![
        ("cut", "Error: digits.wasm is not whole: 900 of ".to_owned()),
        ("empty", "Error: digits.wasm is not whole: 0 of ".to_owned()),
        ("html", "Error: digits.wasm is not a module of WebAssembly".to_owned()),
        ("floats", format!("{bytes} Float32Array")),
        ("words", format!("{bytes} Uint16Array")),
        ("list", format!("{bytes} object")),
        ("half", "whole numbers of at most 32768".to_owned()),
        ("negative", "not 64 bytes for -8 x -8 pixels".to_owned()),
        ("doubles_run", "TypeError: prepared numbers come in a Float32Array, not Float64Array".to_owned()),
        ("top", "RangeError: top is".to_owned()),
        ("runs", "RangeError: runs are 1 or more, not 0".to_owned()),
        ("map_after_profile", "no maps before a run".to_owned()),
        ("map_beyond", "RangeError: maps have the numbers 0 to 9, not 10".to_owned()),
        ("map_below", "RangeError: maps have the numbers 0 to 9, not -1".to_owned()),
    ];
    let other = ["other", "other_bytes", "other_module"];
    expected.extend(other.map(|name| (name, "digits.wasm is of another build than digits.js".to_owned())));
    expected.extend(["nothing", "doubles", "read"].map(|name| (name, format!("{bytes} undefined; prepared numbers"))));
    for (name, sentence) in &expected {
        assert!(said[name].as_str().is_some_and(|own| own.contains(sentence)), "{name}: {}", said[name]);
    }
    assert_eq!(said.as_object().expect("a table").len(), expected.len() + 1);
    assert_eq!(numbers(&said["good"]), [5, 16]);
}

fn answers_in_node(name: &str, pictures: &[&str], sizes: [u64; 3]) {
    let page = Page::of(name);
    let bytes = |key: &str| page.about["bytes"][key].as_u64().expect("a number");
    let own = bytes("module") - bytes("parameters");
    assert!(own <= sizes[0], "{name}.wasm has {own} bytes without its weights");
    let length = |file: &str| fs::metadata(page.file(file)).expect("written").len();
    let all = own + length(&format!("{name}.js")) + length("index.html");
    assert!(all <= sizes[1], "the page of {name} has {all} bytes without its weights");
    let memory = page.about["memory"].as_u64().expect("a number");
    assert!(memory <= sizes[2], "{name} takes {memory} bytes of memory");
    if !have("node") {
        return;
    }
    let pictures: Vec<PathBuf> = pictures.iter().map(|name| root("tests/data").join(name)).collect();
    let said = in_node(&page, name, &pictures);
    assert_eq!(said["classes"], page.about["classes"]);
    for (picture, said) in pictures.iter().zip(said["pictures"].as_array().expect("a list")) {
        let (bytes, expected) = native(name, picture);
        let shape = numbers(&page.about["pictures"]["input"]["shape"]);
        let mut memory = bytes.clone();
        to_memory(&shape, &[1, 2, 0], &bytes, &mut memory);
        assert_eq!(numbers(&said["bytes"]), memory.into_iter().map(usize::from).collect::<Vec<_>>(), "{picture:?}");
        let bits: Vec<usize> = expected.iter().map(|&bits| bits as usize).collect();
        assert_eq!(numbers(&said["bits"]), bits, "{picture:?}");
    }
    let errors: Vec<&str> = said["errors"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(errors[0].starts_with("TypeError") && errors[0].ends_with("not 3"), "{errors:?}");
    assert_eq!(errors[1], "RangeError: the input holds a number that is not finite");
    assert!(errors[2].contains("1 to 4 bytes for each pixel"), "{errors:?}");
    assert_eq!(said["times"], page.about["layers"].as_array().expect("rows").len());
}

#[test]
fn what_no_page_can_have_is_said() {
    let place = Place::new();
    let model = root("models/digits.nin").display().to_string();
    let weights = root("models/digits.safetensors").display().to_string();
    let bad = |more: &[&str], says: &str| {
        let base = ["build", &model, "--weights", &weights, "-o", "page"];
        place.bad(2, &[&base[..], more].concat(), says);
    };
    bad(&["--target", "wasm32", "--cpu", "native"], "--cpu does not go with --target wasm32");
    bad(&["--target", "wasm32", "--fat"], "--fat does not go with --target wasm32");
    bad(&["--target", "wasm32", "--embed"], "the weights are inside the module anyway");
    bad(&["--target", "wasm32", "--train"], "pages only classify");
    bad(&["--target", "wasm32", "--threads", "33"], "at most 32 threads");
    bad(&["--target", "wasm32", "--emit", "asm"], "neither Cranelift's IR nor machine code");
    bad(&["--relaxed"], "add `--target wasm32`");
    bad(&["--target", "wasm64"], "pages for wasm32");
    place.bad(2, &["build", &model, "--target", "wasm32", "-o", "page"], "add `--weights FILE`");
    let other = root("models/mnist.safetensors").display().to_string();
    place.bad(
        1,
        &["build", &model, "--weights", &other, "--target", "wasm32", "-o", "page"],
        "the weights were trained on images of [1, 28, 28]",
    );
    assert!(!place.path("page").exists());
    // A page that was changed by hand is kept.
    let build = ["build", &model, "--weights", &weights, "--target", "wasm32", "-o", "page"];
    place.good(&build);
    fs::write(place.path("page/index.html"), "mine").expect("written");
    place.bad(1, &build, "no build wrote it as it is");
    place.good(&[&build[..], &["--overwrite"]].concat());
}

#[test]
fn relaxed_pages_use_relaxed_instructions() {
    let place = Place::new();
    let model = root("models/digits.nin").display().to_string();
    let weights = root("models/digits.safetensors").display().to_string();
    place.good(&["build", &model, "--weights", &weights, "--target", "wasm32", "--relaxed", "-o", "page"]);
    let module = fs::read(place.path("page/digits.wasm")).expect("written");
    Running::new(&module);
    // f32x4.relaxed_madd
    assert!(module.windows(3).any(|bytes| bytes == [0xfd, 0x85, 0x02]));
}

#[test]
fn digits_in_node() {
    answers_in_node("digits", &["digit-7.png"], [60_000, 60_000, 1_000_000]);
}

#[test]
fn mnist_in_node() {
    answers_in_node("mnist", &["mnist-7.png"], [120_000, 160_000, 4_000_000]);
}

#[test]
fn cifar10_in_node() {
    answers_in_node("cifar10", &["cat.png", "horse.png", "ship.png"], [120_000, 160_000, 12_500_000]);
}
