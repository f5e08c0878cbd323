//! Weights from elsewhere: files that are not weights are recognised, texts of other programs stop nothing, names and
//! types are translated.

use crate::cli::{Place, texts};
use crate::support::files::zip_bytes;
use ninc_runtime::Tensor;
use ninc_runtime::store::{Numbers, Store, System};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

const MODEL: &str = "network tiny {
    input image: [1, 8, 8]
    image |> conv(channels = 6, kernel = 3) as conv1 |> batch_norm as norm |> relu
        |> conv(channels = 10, kernel = 3) as conv2 |> global_avg_pool |> softmax
}
data { source = digits  prepare = [mean_std] }
train { optimizer = sgd(rate = 0.05)  batch = 50  steps = 20 }
";

fn trained() -> Place {
    let place = Place::new();
    fs::write(place.path("tiny.nin"), MODEL).expect("written");
    place.good(&["train", "tiny.nin"]);
    fs::rename(place.path("out/tiny.safetensors"), place.path("w")).expect("moved");
    place
}

/// A safetensors file as another program writes it: a header in its own order, no checksums.
fn foreign(tensors: &[(&str, &str, &[usize], Vec<u8>)], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), vec![]);
    for (name, kind, dims, bytes) in tensors {
        let start = data.len();
        data.extend(bytes);
        let entry = json!({ "dtype": kind, "shape": dims, "data_offsets": [start, data.len()] });
        header.insert((*name).into(), entry);
    }
    header.insert("__metadata__".into(), json!(metadata));
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// The weights `w` as another program writes them, each name changed.
fn saved_by_another(place: &Place, name: impl Fn(&str) -> String, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let store = Store::read(&place.path("w"), true).expect("ours");
    let mut named: Vec<(String, &Tensor)> = store.tensors.iter().map(|(n, t)| (name(n), t)).collect();
    named.sort_by(|a, b| b.0.cmp(&a.0));
    let bytes = |t: &Tensor| t.data.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensors: Vec<_> = named.iter().map(|(n, t)| (n.as_str(), "F32", t.dims.as_slice(), bytes(t))).collect();
    foreign(&tensors, metadata)
}

fn evaluate(place: &Place, more: &[&str]) -> Value {
    let out = place.good(&[&["eval", "tiny.nin", "--json"], more].concat());
    serde_json::from_str(out.trim()).expect("JSON")
}

#[test]
fn what_is_no_safetensors_file_is_recognised() {
    let place = Place::new();
    let text = |text: &str| text.as_bytes().to_vec();
    let torch = [("archive/data.pkl", vec![0x80, 2, b'.']), ("archive/data/0", vec![0; 16])];
    let cases: &[(&str, Vec<u8>, &str, &str)] = &[
        ("a.pth", zip_bytes(&torch), "a PyTorch file", "torch.load('a.pth'"),
        ("renamed.bin", zip_bytes(&torch), "a PyTorch file", "torch.load('renamed.bin'"),
        ("old.pt", vec![0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20], "a pickle", "torch.load"),
        ("new.pkl", vec![0x80, 4, 0x95, 0, 0, 0, 0, 0, 0, 0, 0], "a pickle", "torch.load"),
        ("m.keras", zip_bytes(&[("model.weights.h5", vec![1])]), "a Keras model", "ascontiguousarray"),
        ("m.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0".to_vec(), "HDF5", "Keras"),
        ("m.npz", zip_bytes(&[("conv1.weight.npy", vec![1])]), "an .npz archive", "numpy.load('m.npz')"),
        ("m.npy", b"\x93NUMPY\x01\x00v\x00".to_vec(), "a NumPy array", "numpy"),
        ("m.zip", zip_bytes(&[("readme.txt", vec![1])]), "a zip archive", "unpack"),
        ("cut.pth", zip_bytes(&torch)[..60].to_vec(), "cut short", "again"),
        ("onnx", vec![0x08, 0x07, 0x3a, 0x80, 0x01, 0, 0, 0, 0, 0], "an ONNX model", "ninc import"),
        ("page.safetensors", text("\n<!DOCTYPE html>\n<html><body>Sign in</body></html>"), "a web page", "again"),
        ("page2", text("<HTML><head></head></HTML>"), "a web page", "again"),
        (
            "lfs.safetensors",
            text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n"),
            "a Git LFS pointer",
            "git lfs pull",
        ),
        ("m.gguf", text("GGUF\x03\0\0\0\0\0\0\0"), "a GGUF file", "before"),
        ("m.gz", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0], "gzip", "gunzip m.gz"),
        ("nothing.safetensors", vec![], "an empty file", "again"),
        ("tiny.nin", text("network tiny {"), "a model file", "ninc train"),
    ];
    fs::write(place.path("net.nin"), MODEL).expect("written");
    let again = fs::read(place.path("tiny.nin")).expect("there");
    for (name, bytes, what, help) in cases {
        // `tiny.nin` in the folder stays the model that it is.
        let bytes = if *name == "tiny.nin" { &again } else { bytes };
        fs::write(place.path(name), bytes).expect("written");
        let output = place.ninc(&["weights", name]);
        let (_, err) = texts(&output);
        assert!(output.status.code() == Some(1) && err.contains(&format!("{name} is ")), "{name}: {err}");
        assert!(err.contains(what) && err.contains("not a safetensors file"), "{name}: {err}");
        assert!(err.split("help: ").nth(1).is_some_and(|h| h.contains(help)), "{name}: {err}");
    }
    for command in [
        &["run", "net.nin", "x.npy"][..],
        &["eval", "net.nin"],
        &["compare", "net.nin"],
        &["build", "net.nin"],
        &["fold", "net.nin", "--into", "net.nin", "-o", "o.safetensors"],
        &["train", "net.nin"],
    ] {
        place.bad(1, &[command, &["--weights", "a.pth"]].concat(), "a PyTorch file");
    }
    // What is neither is said to be damaged, as before.
    fs::write(place.path("noise"), [7; 64]).expect("written");
    place.bad(1, &["weights", "noise"], "damaged");
}

#[test]
fn texts_of_other_programs_stop_nothing() {
    let place = trained();
    let right = evaluate(&place, &["--weights", "w"]);
    // Ours, saved by another program: with the preparation and the sums that it did not understand.
    let ours = fs::read(place.path("w")).expect("there");
    let count = u64::from_le_bytes(ours[..8].try_into().expect("8 bytes")) as usize;
    let header: Value = serde_json::from_slice(&ours[8..8 + count]).expect("JSON");
    let metadata: BTreeMap<String, String> = serde_json::from_value(header["__metadata__"].clone()).expect("texts");
    assert!(metadata.contains_key("checksum") && metadata.contains_key("crc32"));
    fs::write(place.path("again"), saved_by_another(&place, str::to_string, &metadata)).expect("written");
    assert_eq!(evaluate(&place, &["--weights", "again"]), right);
    // Of another program, with our words for its own things. There is no preparation in it: it is fitted, to the same.
    let keys = ["recipe", "classes", "prepare", "image", "pictures", "range", "epoch", "model", "checksum", "crc32"];
    let mut texts: BTreeMap<String, String> = keys.map(|key| (key.into(), "{not \u{fc} for us".into())).into();
    texts.insert("format".into(), "pt".into());
    let store = Store::read(&place.path("w"), true).expect("ours");
    let plain = Store {
        tensors: store.tensors.into_iter().filter(|(n, _)| !n.starts_with("prepare")).collect(),
        ..Store::default()
    };
    plain.write(&place.path("w"), &System).expect("written");
    fs::write(place.path("other"), saved_by_another(&place, str::to_string, &texts)).expect("written");
    assert_eq!(evaluate(&place, &["--weights", "other"]), right);
}

#[test]
fn every_command_renames() {
    let place = trained();
    let right = evaluate(&place, &["--weights", "w"]);
    let store = Store::read(&place.path("w"), true).expect("ours");
    let other = |name: &str| match name {
        name if name.starts_with("prepare") => name.to_string(),
        name => format!("module.{}", name.replace("conv", "features.").replace("norm", "bn")),
    };
    let tensors = store.tensors.iter().map(|(name, tensor)| (other(name), tensor.clone())).collect();
    Store { tensors, ..store }.write(&place.path("o"), &System).expect("written");
    place.bad(1, &["eval", "tiny.nin", "--weights", "o"], "missing");
    // A prefix, a text that both sides share, a layer.
    let names = ["--rename", "module.=", "--rename", "features.*=conv*", "--rename", "bn=norm", "--weights", "o"];
    assert_eq!(evaluate(&place, &names), right);
    fs::write(place.path("x.npy"), ninc_runtime::npy::to_bytes(&Tensor { dims: vec![1, 8, 8], data: vec![0.5; 64] }))
        .expect("written");
    let plain = MODEL.replace("|> batch_norm as norm ", "").replace("network tiny", "network plain");
    fs::write(place.path("plain.nin"), plain).expect("written");
    for command in [
        &["run", "tiny.nin", "--raw", "x.npy"][..],
        &["compare", "tiny.nin"],
        &["build", "tiny.nin"],
        &["fold", "tiny.nin", "--into", "plain.nin", "-o", "f.safetensors"],
        &["train", "tiny.nin", "--out", "more", "--steps", "1"],
        &["weights", "o"],
    ] {
        let names = if command[0] == "weights" { &names[..6] } else { &names };
        place.good(&[command, names].concat());
    }
    // A name alone that has a prefix too many is understood, mistakes are said.
    place.bad(
        1,
        &["eval", "tiny.nin", "--weights", "o", "--rename", "module.features.*=conv*", "--rename", "module.bn=x.norm"],
        "--rename x.=",
    );
    let eval = ["eval", "tiny.nin", "--weights", "o", "--rename"];
    place.bad(
        2,
        &[&eval[..], &["module.features.1=module.features.2"]].concat(),
        "of both `module.features.1.bias` and",
    );
    place.bad(2, &[&eval[..], &["module.features.*.bias=same"]].concat(), "1 and 0 `*`");
    place.bad(2, &[&eval[..], &["*.*=*.x"]].concat(), "2 and 1 `*`");
    place.bad(2, &[&eval[..], &["modul.=x."]].concat(), "no `modul.` to rename");
    place.bad(2, &["train", "tiny.nin", "--rename", "a=b"], "--weights FILE");
}

#[test]
fn a_tensor_of_another_type_is_not_missing() {
    let place = trained();
    let store = Store::read(&place.path("w"), true).expect("ours");
    let bytes = |t: &Tensor| t.data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut tensors: Vec<(&str, &str, &[usize], Vec<u8>)> =
        store.tensors.iter().map(|(n, t)| (n.as_str(), "F32", t.dims.as_slice(), bytes(t))).collect();
    let at = tensors.iter().position(|t| t.0 == "conv1.bias").expect("there");
    tensors[at] = ("conv1.bias", "I32", &[6], vec![0; 24]);
    tensors.push(("norm.num_batches_tracked", "I64", &[], vec![1; 8]));
    fs::write(place.path("ints"), foreign(&tensors, &store.metadata)).expect("written");
    let output = place.ninc(&["eval", "tiny.nin", "--weights", "ints"]);
    let (_, err) = texts(&output);
    assert!(err.contains("`conv1.bias` is there, but as I32, not as floats") && !err.contains("missing"), "{err}");
    assert!(!err.contains("num_batches_tracked"), "{err}");
    let output = place.ninc(&["train", "tiny.nin", "--weights", "ints", "--out", "more", "--steps", "1"]);
    assert!(texts(&output).1.contains("initialised: the file's is of I32"), "{}", texts(&output).1);
    let listed = place.good(&["weights", "ints"]);
    assert!(listed.contains("norm.num_batches_tracked") && listed.contains("I64"), "{listed}");
}

#[test]
fn weights_are_listed_and_converted() {
    let place = trained();
    let value: Value = serde_json::from_str(&place.good(&["weights", "w", "--json"])).expect("JSON");
    let store = Store::read(&place.path("w"), true).expect("ours");
    for tensor in value["tensors"].as_array().expect("a list") {
        let found = &store.tensors[tensor["name"].as_str().expect("a name")];
        assert_eq!((&tensor["type"], &tensor["shape"]), (&json!("F32"), &json!(found.dims)));
        let low = found.data.iter().fold(f32::INFINITY, |m, v| m.min(*v));
        assert_eq!(tensor["range"][0].as_f64().map(|v| v as f32), Some(low));
    }
    assert_eq!(value["metadata"]["model"], "tiny");
    let listed = place.good(&["weights", "w"]);
    assert!(
        listed.contains("conv1.weight") && listed.contains("[6, 1, 3, 3]") && listed.contains("prepare: "),
        "{listed}"
    );

    // Half the bytes, the same answers but for a rounding, in every command that reads weights.
    let right = evaluate(&place, &["--weights", "w"])["loss"].as_f64().expect("a number");
    for (dtype, apart) in [("f32", 0.0), ("f16", 1e-3), ("bf16", 2e-2)] {
        place.good(&["weights", "w", "--dtype", dtype, "-o", dtype, "--rename", "conv1=c"]);
        let read = Store::read(&place.path(dtype), true).expect("whole, with checksums");
        assert!(read.metadata == store.metadata && read.tensors.contains_key("c.weight"));
        assert_eq!(read.tensors["prepare.0.mean"], store.tensors["prepare.0.mean"], "fitted numbers stay");
        let loss = evaluate(&place, &["--weights", dtype, "--rename", "c=conv1"])["loss"].as_f64().expect("a number");
        assert!((loss - right).abs() <= apart, "{dtype}: {loss} {right}");
        place.good(&[
            "train",
            "tiny.nin",
            "--weights",
            dtype,
            "--rename",
            "c=conv1",
            "--out",
            &format!("{dtype}o"),
            "--steps",
            "1",
        ]);
        place.good(&["build", "tiny.nin", "--weights", dtype, "--rename", "c=conv1"]);
    }
    place.bad(2, &["weights", "w", "-o", "w"], "is read by this command too");
    place.bad(2, &["weights", "out/tiny.checkpoint", "-o", "x"], "is a checkpoint");
    place.bad(2, &["weights", "w", "--dtype", "f16"], "--out");
    let mut store = store;
    store.tensors.insert("big".into(), Tensor { dims: vec![1], data: vec![70000.0] });
    store.write(&place.path("big"), &System).expect("written");
    place.bad(1, &["weights", "big", "--dtype", "f16", "-o", "x"], "`big` of big holds numbers beyond 65504");
    place.good(&["weights", "big", "--dtype", "bf16", "-o", "x"]);
}

/// float64 of other programs: said where it is rounded, refused where float32 has no such number.
#[test]
fn wide_numbers_are_not_narrowed_unsaid() {
    let place = Place::new();
    let write = |value: f64| {
        let header = r#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &value.to_le_bytes()].concat();
        fs::write(place.path("wide"), bytes).expect("written");
    };
    let said = |arguments: &[&str]| {
        let output = place.ninc(arguments);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    write(0.1);
    assert_eq!(said(&["weights", "wide", "-o", "x"]), "note: float64 is rounded to float32: `a`\n");
    assert_eq!(said(&["weights", "wide", "-o", "y", "--dtype", "f32"]), "", "it was asked for");
    assert_eq!(Store::read(&place.path("x"), true).expect("whole").tensors["a"].data, [0.1]);
    write(1e39);
    place.bad(1, &["weights", "wide", "-o", "z"], "beyond 3.4e38");
    assert!(!place.path("z").exists());
    place.good(&["weights", "wide"]);
}

/// Nearest, of two equally near ones the even one: values by hand, from the formats' definitions.
#[test]
fn smaller_numbers_are_the_nearest() {
    let rounded = |numbers: Numbers, value: f32| {
        let tensors = [("a".to_string(), Tensor { dims: vec![1], data: vec![value] })].into();
        let bytes = Store { tensors, ..Store::default() }.to_bytes_of(numbers);
        Store::from_bytes(&bytes, "x".as_ref(), true).expect("whole").tensors["a"].data[0]
    };
    let cases = [
        (Numbers::Bf16, 1.0 + 1.0 / 256.0, 1.0),
        (Numbers::Bf16, 1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
        (Numbers::Bf16, 3e38, f32::from_bits(0x7f62_0000)),
        (Numbers::F16, 1.0 + 1.0 / 2048.0, 1.0),
        (Numbers::F16, 1.0 + 3.0 / 2048.0, 1.0 + 4.0 / 2048.0),
        (Numbers::F16, 65519.0, 65504.0),
        (Numbers::F16, 2f32.powi(-24), 2f32.powi(-24)),
        (Numbers::F16, 2f32.powi(-25), 0.0),
        (Numbers::F16, -1.5 * 2f32.powi(-24), -2.0 * 2f32.powi(-24)),
        (Numbers::F32, 0.1, 0.1),
    ];
    for (numbers, value, right) in cases {
        assert_eq!(rounded(numbers, value), right, "{numbers:?} {value}");
    }
}
