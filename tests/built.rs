//! `ninc build -o FOLDER`: what lies there already stays or is replaced as a whole, also where two builds write there
//! at once; options and weights that a build can do nothing with are refused.

use crate::cli::{Place, json};
use crate::library::have;
use ninc_runtime::store::crc32;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A line that builds one of the models with its weights into a folder.
fn line<'a>(name: &str, folder: &'a str, more: &[&'a str]) -> Vec<String> {
    let file = |ending: &str| format!("{}/models/{name}.{ending}", env!("CARGO_MANIFEST_DIR"));
    let base = ["build", &file("nin"), "--weights", &file("safetensors"), "-o", folder].map(String::from);
    base.into_iter().chain(more.iter().map(|word| word.to_string())).collect()
}

fn good(place: &Place, name: &str, folder: &str, more: &[&str]) -> String {
    let line = line(name, folder, more);
    place.good(&line.iter().map(String::as_str).collect::<Vec<_>>())
}

fn bad(place: &Place, name: &str, folder: &str, more: &[&str], says: &str) {
    let line = line(name, folder, more);
    place.bad(1, &line.iter().map(String::as_str).collect::<Vec<_>>(), says);
}

fn description(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("digits.json")).expect("written")).expect("JSON")
}

/// Checks that a folder's files are those of its description; returns how many it states under a key.
fn whole(folder: &Path, key: &str) -> usize {
    let about = description(folder);
    let sums = about[key].as_object().cloned().unwrap_or_default();
    for (name, sum) in &sums {
        let bytes = fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(format!("{:08x}", crc32(&bytes)), sum.as_str().expect("a word"), "{name} is of another build");
    }
    sums.len()
}

#[test]
fn several_targets_in_one_folder_are_built_again() {
    let place = Place::new();
    let folder = place.path("lib");
    good(&place, "digits", "lib", &[]);
    let own = whole(&folder, "crc32");
    assert!(description(&folder)["crc32_beside"].is_null());
    good(&place, "digits", "lib", &["--target", "wasm32"]);
    whole(&folder, "crc32");
    assert_eq!(whole(&folder, "crc32_beside"), own, "all files of the library lie beside the page");
    good(&place, "digits", "lib", &["--algorithm", "direct"]);
    assert_eq!(whole(&folder, "crc32"), own);
    assert!(whole(&folder, "crc32_beside") >= 5, "the page lies beside the library");
    // What was changed since is kept, whoever built it.
    good(&place, "digits", "lib", &["--target", "wasm32"]);
    fs::write(folder.join("digits.h"), "mine").expect("written");
    bad(&place, "digits", "lib", &[], "digits.h would be replaced, and no build wrote it as it is");
}

#[test]
fn dumps_replace_only_what_a_build_wrote() {
    let place = Place::new();
    fs::create_dir(place.path("lib")).expect("made");
    fs::write(place.path("lib/digits.graph"), "precious").expect("written");
    let emit = ["--emit", "graph"];
    bad(&place, "digits", "lib", &emit, "digits.graph would be replaced, and no build wrote it as it is");
    assert_eq!(fs::read_to_string(place.path("lib/digits.graph")).expect("there"), "precious");
    assert_eq!(fs::read_dir(place.path("lib")).expect("there").count(), 1, "nothing else is written");
    good(&place, "digits", "lib", &["--emit", "graph", "--overwrite"]);
    assert_eq!(whole(&place.path("lib"), "crc32_beside"), 1);
    // Another text by a later build, with a build between that makes none.
    good(&place, "digits", "lib", &["--algorithm", "direct"]);
    fs::write(place.path("shown.nin"), "network digits { input x: [4]  x |> relu as y }").expect("written");
    place.good(&["build", "shown.nin", "--emit", "graph", "-o", "lib"]);
    assert!(fs::read_to_string(place.path("lib/digits.graph")).expect("there").contains("relu"));
}

#[test]
fn two_builds_into_one_folder_leave_one_of_them_whole() {
    let place = Place::new();
    for (round, more) in [(0, &["--target", "wasm32"][..]), (1, &[])] {
        let folder = format!("both{round}");
        for _ in 0..3 {
            let start = |algorithm: &str| {
                let line = line("digits", &folder, &[more, &["--algorithm", algorithm]].concat());
                let mut command = place.command(&line.iter().map(String::as_str).collect::<Vec<_>>());
                command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts")
            };
            for child in [start("auto"), start("direct")] {
                let output = child.wait_with_output().expect("ends");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            assert!(whole(&place.path(&folder), "crc32") >= 5);
            let hidden = fs::read_dir(place.path(&folder)).expect("there").flatten();
            let left = hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).count();
            assert_eq!(left, 0, "temporary files stay");
        }
    }
}

#[test]
fn the_page_of_another_network_stays() {
    let place = Place::new();
    good(&place, "digits", "page", &["--target", "wasm32"]);
    let page = fs::read(place.path("page/index.html")).expect("written");
    bad(&place, "mnist", "page", &["--target", "wasm32"], "index.html is the page of `digits`");
    assert!(!place.path("page/mnist.wasm").exists());
    assert!(fs::read(place.path("page/index.html")).expect("there") == page);
    // Without a page they lie side by side.
    good(&place, "mnist", "page", &[]);
    good(&place, "digits", "page", &["--target", "wasm32", "--algorithm", "direct"]);
}

#[test]
fn node_takes_the_script_for_a_module_in_any_package() {
    let place = Place::new();
    let package = |text: &str| fs::write(place.path("package.json"), text).expect("written");
    package(r#"{ "type": "commonjs" }"#);
    good(&place, "digits", "page", &["--target", "wasm32"]);
    let imports = |path: &str| {
        let script = format!("import {{ load }} from './{path}'; console.log((await load()).threads);");
        fs::write(place.path("use.mjs"), script).expect("written");
        let output = Command::new("node").arg(place.path("use.mjs")).output().expect("node runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    if have("node") {
        imports("page/digits.js");
    }
    // A package's own file stays, and is not said to be a build's.
    package(r#"{ "name": "mine" }"#);
    let words = line("digits", ".", &["--target", "wasm32"]);
    let output = place.ninc(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("package.json stays as it is"), "{said}");
    assert_eq!(fs::read_to_string(place.path("package.json")).expect("there"), r#"{ "name": "mine" }"#);
    assert!(description(&place.path("."))["crc32"]["package.json"].is_null());
    package(r#"{ "type": "module" }"#);
    let output = place.ninc(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_changes_nothing_in_a_build_is_refused() {
    let place = Place::new();
    let bad = |more: &[&str], says: &str| {
        let line = line("digits", "lib", more);
        place.bad(2, &line.iter().map(String::as_str).collect::<Vec<_>>(), says);
    };
    bad(&["--caches", "32K,1M,8M"], "--caches is about this machine");
    bad(&["--isa", "portable", "--cpu", "baseline"], "`--cpu LEVEL` says what a library may use");
    bad(&["--isa", "portable", "--target", "aarch64-apple-darwin"], "--isa is about this machine");
    bad(&["--isa", "portable", "--target", "wasm32"], "a page runs on any processor");
    bad(&["--algorithm", "split", "--target", "wasm32"], "WebAssembly has no matrix units");
    let windows = ["--algorithm", "split", "--fat", "--target", "x86_64-pc-windows-msvc"];
    bad(&windows, "leave it out, or build for Linux on x86-64");
    bad(&["--algorithm", "split", "--cpu", "baseline"], "--cpu x86-64-v4+amx, or --fat");
    bad(&["--data", "nowhere"], "--data is for weights that hold no preparation, and these hold one");
    bad(&["--channels", "bgr"], "--channels is for files of Caffe");
    bad(&["--device", "interp"], "--device interp changes nothing");
    assert!(!place.path("lib").exists());
    // What counts is taken.
    good(&place, "digits", "lib", &["--cpu", "native", "--isa", "portable", "--caches", "32K,1M,8M"]);
}

#[test]
fn weights_for_another_size_are_refused_as_by_run() {
    let place = Place::new();
    let file = |name: &str| format!("{}/models/{name}", env!("CARGO_MANIFEST_DIR"));
    let (model, weights) = (file("digits.nin"), file("mnist.safetensors"));
    let says = "the weights were trained on images of [1, 28, 28], the input is [1, 8, 8]";
    place.bad(1, &["run", &model, "--weights", &weights, "a.png"], says);
    for target in [&[][..], &["--target", "wasm32"]] {
        place.bad(1, &[&["build", &model, "--weights", &weights][..], target].concat(), says);
    }
    // Where the weights fit a network of any size, nothing else would say so.
    let text = |side: usize| {
        format!(
            "network wide {{ input image: [1, {side}, {side}]  image |> conv(kernel = 3, channels = 10) |> \
             global_avg_pool |> softmax as p }} data {{ source = digits  prepare = [scale] }} \
             train {{ loss = cross_entropy  optimizer = sgd(rate = 0.1)  batch = 8  epochs = 1  seed = 1 }}"
        )
    };
    fs::write(place.path("wide.nin"), text(8)).expect("written");
    place.good(&["train", "wide.nin", "--steps", "1", "--out", "w"]);
    fs::write(place.path("wide.nin"), text(12).split_once("data").expect("there").0).expect("written");
    for target in [&[][..], &["--target", "wasm32"]] {
        let line = ["build", "wide.nin", "--weights", "w/wide.safetensors", "-o", "lib"];
        place.bad(1, &[&line[..], target].concat(), "trained on images of [1, 8, 8], the input is [1, 12, 12]");
    }
    let line = ["export", "wide.nin", "--weights", "w/wide.safetensors", "-o", "wide.onnx"];
    place.bad(1, &line, "trained on images of [1, 8, 8], the input is [1, 12, 12]");
    assert!(!place.path("lib").exists() && !place.path("wide.onnx").exists());
}

#[test]
fn a_list_of_numbers_is_no_picture() {
    let place = Place::new();
    fs::write(place.path("plain.nin"), "network plain { input x: [12]  x |> softmax as p }").expect("written");
    place.good(&["build", "plain.nin", "--target", "wasm32", "-o", "page"]);
    assert!(place.path("page/plain.js").exists() && !place.path("page/index.html").exists());
    let cat = format!("{}/tests/data/cat.png", env!("CARGO_MANIFEST_DIR"));
    place.bad(1, &["run", "plain.nin", &cat], "the network takes no pictures: its input is a list of 12 numbers");
}

#[test]
fn launches_are_counted_as_they_are_listed() {
    let place = Place::new();
    for target in [&[][..], &["--target", "wasm32"]] {
        let said = json(&good(&place, "cifar10", "lib", &[target, &["--json"]].concat()));
        let listed = said["kernels"].as_array().expect("rows").len();
        assert_eq!(said["launches"].as_u64().expect("a number") as usize, listed);
    }
}
