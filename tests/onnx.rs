//! ONNX files, imported and run as they are: against values of other engines.

pub mod engines;
mod export;
mod faults;
mod int8;
mod repeats;
mod retrain;
mod sampling;
mod sources;
mod tuning;

use crate::cli::{Place, texts};
use ninc_runtime::npy;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of `tests/data/onnx`, which `make.py` there makes.
fn own(name: &str) -> String {
    format!("{}/tests/data/onnx/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Sample files of exporters and engines that lie beside the repository.
fn samples() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/foreign");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: there are no sample files in {}", folder.display());
    None
}

/// Runs a file on an array, and gives how far the largest number is off, as a part of the largest right one.
fn apart(place: &Place, model: &str, input: &str, right: &Path, more: &[&str]) -> f32 {
    place.good(&[&["run", model, input, "--raw", "--output", "out.npy"], more].concat());
    let (out, right) = (npy::read(&place.path("out.npy")).expect("an array"), npy::read(right).expect("an array"));
    assert_eq!(out.data.len(), right.data.len(), "{model}");
    let largest = right.data.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    out.data.iter().zip(&right.data).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn an_imported_network_reads_like_a_written_one() {
    let place = Place::new();
    place.good(&["import", &own("small.onnx"), "-o", "small.nin", "--prepare", "[scale(1/255)]", "--resize", "crop"]);
    let text = fs::read_to_string(place.path("small.nin")).expect("a model");
    let right = r#"//! Imported from small.onnx.

network small {
    input x: [3, 8, 8]

    x
        |> mlpconv(kernel = 3, pad = 1, channels = [6, 5]) as features_0
        |> max_pool(kernel = 2)
        |> global_avg_pool
        |> linear(features = 4)                            as fc
        |> softmax
}

data {
    source  = folder("data", resize = "crop")
    prepare = [scale(1 / 255)]
}
"#;
    assert_eq!(text, right);
    assert_eq!(place.good(&["fmt", "--check", "small.nin"]), "");
    let weights = ["--weights", "small.safetensors"];
    let right = own("small.out.npy");
    assert!(apart(&place, "small.nin", &own("small.in.npy"), Path::new(&right), &weights) < 1e-6);
    place.bad_or_said(2, &["import", &own("small.onnx"), "-o", "small.nin"], "small.nin is there already");
    place.good(&["import", &own("small.onnx"), "-o", "small.nin", "--overwrite"]);
    assert!(!fs::read_to_string(place.path("small.nin")).expect("a model").contains("data {"));
}

/// Its weights are looked for by the name of its file, wherever those of the network's own name lie.
#[test]
fn an_imported_network_has_the_name_of_its_file() {
    let place = Place::new();
    fs::create_dir(place.path("out")).expect("a folder");
    fs::write(place.path("out/small.safetensors"), "of another training").expect("a file");
    place.good(&["import", &own("small.onnx"), "-o", "other.nin"]);
    assert!(fs::read_to_string(place.path("other.nin")).expect("a model").contains("\nnetwork other {\n"));
    let right = own("small.out.npy");
    assert!(apart(&place, "other.nin", &own("small.in.npy"), Path::new(&right), &[]) < 1e-6);
}

#[test]
fn a_file_is_a_model_with_its_weights() {
    let place = Place::new();
    let (file, right) = (own("small.onnx"), own("small.out.npy"));
    assert!(apart(&place, &file, &own("small.in.npy"), Path::new(&right), &[]) < 1e-6);
    assert!(apart(&place, &own("external.onnx"), &own("small.in.npy"), Path::new(&right), &[]) < 1e-6);
    assert!(place.good(&["inspect", &file]).contains("features_0        mlpconv"));
    // Channels last, computed shapes, moved values, LRN as eight nodes.
    let right = own("moves.out.npy");
    assert!(apart(&place, &own("moves.onnx"), &own("moves.in.npy"), Path::new(&right), &[]) < 1e-6);
    let cat = format!("{}/tests/data/cat.png", env!("CARGO_MANIFEST_DIR"));
    place.bad_or_said(2, &["run", &file, &cat], "does not say how pictures are prepared");
    place.good(&["run", &file, &cat, "--prepare", "none"]);
    place.bad_or_said(1, &["eval", &file, "--data", "pictures"], "does not say how images are prepared for it");
    for class in ["a", "b", "c", "d"] {
        fs::create_dir_all(place.path("pictures/test").join(class)).expect("made");
        fs::copy(&cat, place.path("pictures/test").join(class).join("cat.png")).expect("copied");
    }
    let tested = place.good(&["eval", &file, "--data", "pictures", "--prepare", "none"]);
    assert!(tested.contains("25.00 %"), "{tested}");
    fs::write(place.path("names.txt"), "cat\ndog\ncow\n\nhen\n").expect("written");
    let told = place.good(&["run", &file, &cat, "--prepare", "[scale]", "--classes", "names.txt", "--top", "4"]);
    assert!(["cat", "dog", "cow", "hen"].iter().all(|name| told.contains(name)), "{told}");
    fs::write(place.path("few.txt"), "cat\ndog\n").expect("written");
    let few = ["run", &file, &cat, "--prepare", "[scale]", "--classes", "few.txt"];
    place.bad_or_said(2, &few, "few.txt names 2 classes, but");
    place.bad_or_said(1, &["check", &file], "is a network in ONNX, not the text of a model");
    place.bad_or_said(2, &["train", &file], "ninc import");
    place.bad_or_said(
        2,
        &["run", &file, &cat, "--prepare", "[scale(]"],
        "`--prepare '[scale(]'`: this `(` is not closed",
    );
    place.bad_or_said(2, &["run", "tiny.nin", &cat, "--prepare", "[scale]"], "--prepare is for networks of other");
    fs::write(place.path("m.onnx"), [0x08, 0x0a, 0x12, 0x07, b'p', b'y', b't', b'o', b'r', b'c', b'h'])
        .expect("written");
    place.bad_or_said(1, &["weights", "m.onnx"], "is not an ONNX model, or damaged: it holds no graph");
    assert!(place.good(&["weights", &file]).contains("features_0.cccp1.weight"));
    place.bad_or_said(2, &["check", "tiny.nin", "--shape", "3,8,8"], "does nothing with --shape");
}

#[test]
fn what_has_no_counterpart_is_one_list() {
    let place = Place::new();
    let output = place.ninc(&["import", &own("refused.onnx"), "-o", "refused.nin"]);
    let (_, said) = texts(&output);
    let list = "\n  `strange` (Erf): the language has no counterpart of this operator\
                \n  `wide` (MaxPool): its window is dilated, which pools of the language are not";
    assert!(said.contains(list), "{said}");
    assert_eq!(output.status.code(), Some(1));
    assert!(!place.path("refused.nin").exists() && !place.path("refused.safetensors").exists());
}

/// Values of a model lie in its folder, in no other and behind no link.
#[test]
fn values_outside_are_read_from_the_folder_alone() {
    let place = Place::new();
    let bytes = fs::read(own("external.onnx")).expect("a file");
    let named = |name: &[u8]| {
        let mut bytes = bytes.clone();
        let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"external.bin")).collect();
        assert_eq!(places.len(), 3);
        places.iter().for_each(|&at| bytes[at..at + name.len()].copy_from_slice(name));
        bytes
    };
    fs::create_dir(place.path("in")).expect("made");
    fs::copy(own("external.bin"), place.path("external.bin")).expect("copied");
    fs::copy(own("external.bin"), place.path("in/external.bin")).expect("copied");
    let bad = |name: &[u8], says: &str| {
        fs::write(place.path("in/net.onnx"), named(name)).expect("written");
        place.bad_or_said(1, &["inspect", "in/net.onnx"], says);
    };
    fs::write(place.path("in/net.onnx"), named(b"external.bin")).expect("written");
    place.good(&["inspect", "in/net.onnx"]);
    bad(b"../ernal.bin", "not in the model's folder");
    bad(b"/xternal.bin", "not in the model's folder");
    bad(b"absent12.bin", "which cannot be read");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../external.bin", place.path("in/linked12.bin")).expect("linked");
        bad(b"linked12.bin", "which is a link");
    }
    fs::write(place.path("in/shorter1.bin"), [0; 100]).expect("written");
    bad(b"shorter1.bin", "which has 100 bytes, fewer than");
}

/// Four exporters' forms of the same things, and files by hand: values of onnxruntime 1.32.0.
#[test]
fn files_of_other_programs_give_the_values_beside_them() {
    let Some(folder) = samples() else { return };
    let place = Place::new();
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("a folder")
        .filter_map(|e| Some(e.expect("an entry").file_name().to_str()?.strip_suffix(".onnx")?.to_string()))
        .collect();
    names.sort();
    assert_eq!(names.len(), 24);
    for name in names {
        let model = folder.join(format!("{name}.onnx"));
        let model = model.to_str().expect("a path");
        let refused = [("torch_maxpool_dilated", "`node_max_pool2d` (MaxPool)")];
        if let Some((_, says)) = refused.iter().find(|(refused, _)| *refused == name) {
            place.bad_or_said(1, &["inspect", model], says);
            continue;
        }
        let (input, right) = (folder.join(format!("{name}.in.npy")), folder.join(format!("{name}.out.npy")));
        // Keras's inputs have their channels last; here they come first.
        let input = if name.starts_with("keras") { channels_first(&place, &input) } else { input };
        let open: &[&str] = if name == "keras_tf_dynamic" { &["--shape", "32,32,3"] } else { &[] };
        let off = apart(&place, model, input.to_str().expect("a path"), &right, open);
        if name == "ort_qoperator" {
            // Its last operator, QLinearSoftmax, rounds to 256ths; results here are not rounded. That is all: rounded
            // alike, every one is the same.
            let (out, right) = (npy::read(&place.path("out.npy")), npy::read(&right));
            let (out, right) = (out.expect("an array").data, right.expect("an array").data);
            let rounded: Vec<f32> = out.iter().map(|v| (v * 256.0).round_ties_even() / 256.0).collect();
            assert_eq!(rounded, right, "{name}");
            continue;
        }
        assert!(off < 1e-5, "{name}: {off:e}");
    }
}

fn channels_first(place: &Place, path: &Path) -> PathBuf {
    let array = npy::read(path).expect("an array");
    let [n, h, w, c] = array.dims[..] else { panic!("an array [N, H, W, C]") };
    let mut turned = ninc_runtime::Tensor::zeros(&[n, c, h, w]);
    for (i, value) in array.data.iter().enumerate() {
        let (image, pixel, channel) = (i / (h * w * c), i / c % (h * w), i % c);
        turned.data[(image * c + channel) * h * w + pixel] = *value;
    }
    fs::write(place.path("turned.npy"), npy::to_bytes(&turned)).expect("written");
    place.path("turned.npy")
}

/// The operator tests of onnx 1.22.0, the last version whose package holds their data: each case passes or is refused,
/// as `tests/onnx/operators.txt` says.
#[test]
fn the_standards_operator_tests_are_as_listed() {
    let list = include_str!("onnx/operators.txt");
    let passed = list.lines().filter(|line| line.starts_with("passed ")).count();
    assert!(passed >= 299 && !list.contains("failed "), "{passed} passed");
    let python = crate::odd::python();
    let version = Command::new(&python).args(["-c", "import onnx, numpy; print(onnx.__version__)"]).output();
    if !version.is_ok_and(|o| o.stdout.starts_with(b"1.22.")) {
        eprintln!("skipped: {python} has no onnx 1.22 (NINC_PYTHON names another)");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/operators.py");
    let ran = Command::new(&python).args(["-B", script, env!("CARGO_BIN_EXE_ninc")]).output().expect("runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}
