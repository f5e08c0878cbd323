//! One meaning of an input: arrays are prepared as the training data were, and what looks like something else is said.

use crate::odd::{echo, echoed};
use crate::support::files::{npy_bytes, zip_bytes};
use ninc_runtime::data::{self, Values, layout, range, range::Range};
use ninc_runtime::spec::{DataSpec, Source};
use ninc_runtime::store::{Store, System};
use ninc_runtime::weights::FORMAT;
use ninc_runtime::{Result, Tensor, npy};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn array(place: &TempDir, descr: &str, shape: &str, contents: &[u8]) {
    fs::write(place.path().join("x.npy"), npy_bytes(descr, shape, contents)).expect("written");
}

fn floats(place: &TempDir, shape: &str, values: &[f32]) {
    array(place, "<f4", shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
}

/// A step that only this test does.
const STEPS: &str = r#"[{"scale":{"factor":0.5}}]"#;

#[test]
fn arrays_are_prepared_as_pictures_are() {
    let place = folder();
    let set = [("prepare", STEPS), ("image", "[1, 2, 2]"), ("range", r#"{"low":0.0,"high":255.0}"#)];
    echo(place.path(), "[1, 2, 2]", "", &set);
    image::GrayImage::from_raw(2, 2, vec![0, 10, 100, 250])
        .expect("fits")
        .save(place.path().join("p.png"))
        .expect("saved");
    let prepared = Ok(vec![0.0, 5.0, 50.0, 125.0]);
    assert_eq!(echoed(place.path(), &["p.png"]), prepared);
    array(&place, "|u1", "(1, 1, 2, 2)", &[0, 10, 100, 250]);
    assert_eq!(echoed(place.path(), &["x.npy"]), prepared);
    assert_eq!(echoed(place.path(), &["x.npy", "--raw"]), Ok(vec![0.0, 10.0, 100.0, 250.0]));
    // Without the number of images, and without the channel too.
    for shape in ["(1, 2, 2)", "(2, 2)", "(4,)"] {
        floats(&place, shape, &[0.0, 10.0, 100.0, 250.0]);
        assert_eq!(echoed(place.path(), &["x.npy"]), prepared, "{shape}");
    }
    // Arrays beside pictures.
    let both = echoed(place.path(), &["x.npy", "p.png"]).expect("runs");
    assert_eq!(both[..4], both[4..]);
    let error = echoed(place.path(), &["x.npy", "p.png", "--raw"]).expect_err("a picture");
    assert!(error.contains("--raw is for arrays, and p.png is a picture"), "{error}");

    // Numbers that look like something else.
    floats(&place, "(1, 1, 2, 2)", &[0.0, 0.04, 0.4, 1.0]);
    let error = echoed(place.path(), &["x.npy"]).expect_err("0 to 1");
    assert!(error.contains("x.npy holds numbers from 0 to 1, but the weights learned from 0 to 255"), "{error}");
    assert!(error.contains("x * 255"), "{error}");
    // A dark picture all the same.
    assert_eq!(echoed(place.path(), &["x.npy", "--range", "0,255"]), Ok(vec![0.0, 0.02, 0.2, 0.5]));
    floats(&place, "(1, 1, 2, 2)", &[-0.5, 0.04, 0.4, 1.0]);
    assert!(echoed(place.path(), &["x.npy"]).expect_err("below 0").contains("looks prepared already"));
    assert_eq!(echoed(place.path(), &["x.npy", "--raw"]), Ok(vec![-0.5, 0.04, 0.4, 1.0]));
}

/// Arrays of blue, green, red: said where the colours of many images are those of the training data backwards.
#[test]
fn another_order_of_the_channels_is_noted() {
    let place = folder();
    let data = r#"data { source = npz("none")  prepare = [scale(0.5), mean_std(mean = [60, 50, 40], std = [1])] }"#;
    fs::write(
        place.path().join("n.nin"),
        format!("network n {{ input image: [3, 1, 2]  image |> global_avg_pool |> softmax }} {data}"),
    )
    .expect("written");
    // Learned: 120, 100, 80. Each image is somewhat brighter or darker, and a little red or blue.
    let bytes = |means: [u8; 3], count: u8| -> Vec<u8> {
        let image = |i: u8| means.iter().zip([i % 5, 2, i % 3]).flat_map(move |(m, d)| [m + d + i % 7, m + d - i % 4]);
        (0..count).flat_map(|i| image(i).collect::<Vec<u8>>()).collect()
    };
    let note = |means: [u8; 3], count: u8| {
        array(&place, "|u1", &format!("({count}, 3, 1, 2)"), &bytes(means, count));
        let arguments = ["run", "n.nin", "x.npy", "--range", "0,255", "--csv"];
        let output = Command::new(env!("CARGO_BIN_EXE_ninc")).args(arguments).current_dir(place.path()).output();
        let output = output.expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = note([80, 100, 120], 40);
    assert!(said.contains("note: x.npy looks like blue, green, red: its channels' means are 8"), "{said}");
    assert!(said.contains("learned from 120.0000, 100.0000, 80.0000; if it is, give `x[:, ::-1]`"), "{said}");
    for (means, count) in [([120, 100, 80], 40), ([80, 100, 120], 15), ([40, 90, 200], 40), ([100, 100, 100], 40)] {
        assert_eq!(note(means, count), "", "{means:?}");
    }
}

/// Weights that learned from 0 to 1: bytes are pictures, which become 0 to 1.
#[test]
fn bytes_become_what_the_training_data_were() {
    let place = folder();
    let set = [("prepare", "[]"), ("image", "[1, 1, 3]"), ("range", r#"{"low":0.0,"high":1.0}"#)];
    echo(place.path(), "[1, 1, 3]", "", &set);
    let one = [0.0, 51.0 / 255.0, 1.0];
    array(&place, "|u1", "(1, 1, 1, 3)", &[0, 51, 255]);
    assert_eq!(echoed(place.path(), &["x.npy"]), Ok(one.to_vec()));
    image::GrayImage::from_raw(3, 1, vec![0, 51, 255]).expect("fits").save(place.path().join("p.png")).expect("saved");
    assert_eq!(echoed(place.path(), &["p.png"]), Ok(one.to_vec()));
    floats(&place, "(1, 1, 1, 3)", &[0.0, 51.0, 255.0]);
    assert!(echoed(place.path(), &["x.npy"]).expect_err("0 to 255").contains("x / 255"));

    // The option is for weights that do not say it.
    assert!(echoed(place.path(), &["x.npy", "--range", "0,255"]).expect_err("not so").contains("leave --range out"));

    // Standardised numbers: nobody knows how a picture became them.
    let set = [set[0], set[1], ("range", r#"{"low":-2.0,"high":2.5}"#)];
    echo(place.path(), "[1, 1, 3]", "", &set);
    assert!(echoed(place.path(), &["p.png"]).expect_err("a picture").contains("numbers of -2 to 2.5"));
    floats(&place, "(1, 1, 1, 3)", &[-1.0, 0.0, 2.0]);
    assert_eq!(echoed(place.path(), &["x.npy"]), Ok(vec![-1.0, 0.0, 2.0]));
}

/// Weights of a former version: `scale` means bytes, else the user is asked.
#[test]
fn older_weights_say_it_by_their_preparation() {
    let place = folder();
    floats(&place, "(1, 1, 1, 1)", &[1.0]);
    let run = |steps: &str, data: &str, more: &[&str]| {
        let factor = [("prepare", steps), ("image", "[1, 1, 1]")];
        echo(place.path(), "[1, 1, 1]", data, &factor);
        echoed(place.path(), &[&["x.npy"][..], more].concat())
    };
    let scale = r#"[{"scale":{"factor":0.00392156862745098}}]"#;
    assert!(run(scale, "", &[]).expect_err("0 to 1").contains("learned from 0 to 255"));
    let half = r#"[{"scale":{"factor":0.5}}]"#;
    let error = run(half, "", &[]).expect_err("nobody knows");
    assert!(error.contains("--range 0,255") && error.contains("--raw"), "{error}");
    assert_eq!(run(half, "", &["--range", "0,1"]), Ok(vec![0.5]));
    assert_eq!(run(half, "", &["--raw"]), Ok(vec![1.0]));
    // Folders hold bytes.
    assert!(run(half, r#"data { source = folder("x") }"#, &[]).expect_err("0 to 1").contains("learned from 0 to 255"));
}

#[test]
fn ranges_that_agree_and_others() {
    let range = |low, high| Range { low, high };
    for (found, learned) in [
        (range(0.0, 0.9), range(0.0, 1.0)),
        (range(0.0, 1.02), range(0.0, 1.0)),
        (range(3.0, 90.0), Range::BYTES),
        (range(-1.0, 1.0), range(-2.1, 2.6)),
        (range(0.0, 0.0), Range::BYTES),
        (range(0.0, 4000.0), range(0.0, 65535.0)),
        (range(0.0, 20.0), range(0.0, 10.0)),
    ] {
        found.check("x", learned).unwrap_or_else(|e| panic!("{found} {learned}: {e}"));
    }
    for (found, learned, help) in [
        (range(0.0, 1.0), Range::BYTES, "x * 255"),
        (Range::BYTES, range(0.0, 1.0), "x / 255"),
        (range(0.0, 65535.0), Range::BYTES, "x / 257"),
        (range(0.0, 65535.0), range(0.0, 1.0), "x / 65535"),
        (range(-2.0, 2.0), Range::BYTES, "prepared already"),
        (range(0.0, 1.0), range(-2.1, 2.6), "what was done to the training data"),
        (range(-128.0, 127.0), range(-1.0, 1.0), "what was done to the training data"),
        (range(0.0, 90.0), range(0.0, 10.0), "what was done to the training data"),
        (range(0.0, 200.0), range(0.0, 10.0), "what was done to the training data"),
        (range(0.0, 1.0), range(0.0, 10.0), "what was done to the training data"),
    ] {
        let error = found.check("x", learned).expect_err(help);
        assert!(error.help.as_ref().is_some_and(|h| h.contains(help)), "{error}");
    }
}

/// The same numbers in every type that NumPy may save them in, and what they mean.
#[test]
fn integers_are_bytes_or_numbers_whatever_their_type() {
    let numbers = |descr: &str, contents: Vec<u8>| {
        range::numbers(npy::parse(npy_bytes(descr, "(3,)", &contents), Path::new("x.npy")).expect("reads"))
    };
    let types: [(&str, fn(u8) -> Vec<u8>); 4] = [
        ("|u1", |v| vec![v]),
        ("<i2", |v| i16::from(v).to_le_bytes().to_vec()),
        ("<i8", |v| i64::from(v).to_le_bytes().to_vec()),
        ("<u8", |v| u64::from(v).to_le_bytes().to_vec()),
    ];
    for (descr, bytes) in types {
        let of = |values: [u8; 3]| numbers(descr, values.into_iter().flat_map(bytes).collect());
        assert_eq!(of([0, 2, 255]), Values::Bytes(vec![0, 2, 255]), "{descr}");
        assert_eq!(of([0, 1, 1]), Values::Floats(vec![0.0, 1.0, 1.0]), "{descr}");
    }
    assert_eq!(numbers("|b1", vec![0, 1, 1]), Values::Floats(vec![0.0, 1.0, 1.0]));
    assert_eq!(numbers("|i1", vec![0, 255, 7]), Values::Floats(vec![0.0, -1.0, 7.0]));
    assert_eq!(numbers("<u2", vec![0, 0, 0, 1, 7, 0]), Values::Floats(vec![0.0, 256.0, 7.0]));
    let halves = numbers("<f4", [0.0f32, 2.0, 255.0].iter().flat_map(|v| v.to_le_bytes()).collect());
    assert_eq!(halves, Values::Floats(vec![0.0, 2.0, 255.0]));
}

/// An archive of four images of two pixels in each part, these bytes or floats over and over.
fn archive(path: &Path, parts: &[(&str, &str, &[u8])]) {
    let mut files = Vec::new();
    for (part, descr, contents) in parts {
        let name = |array: &str| format!("{array}{part}.npy");
        files.push((name("x"), npy_bytes(descr, "(4, 1, 1, 2)", &contents.repeat(4))));
        files.push((name("y"), npy_bytes("|u1", "(4,)", &[0, 1, 0, 1])));
    }
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    fs::write(path, zip_bytes(&files)).expect("written");
}

/// Parts of one file mean one thing: bytes become what the training part is, else both must look alike.
#[test]
fn a_test_part_of_another_kind_is_brought_to_the_training_part_or_refused() {
    let place = folder();
    let path = place.path().join("d.npz");
    let two = |values: [f32; 2]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let load = |train: (&str, &[u8]), test: (&str, &[u8])| {
        archive(&path, &[("", train.0, train.1), ("_test", test.0, test.1)]);
        data::load(&DataSpec::of(Source::Npz), Some(&path), &[1, 1, 2])
    };
    let values = |set: &data::Dataset| set.values(0..1).expect("in memory");
    let (unit, bytes, dark) = (two([0.2, 1.0]), [0u8, 51], two([0.0, 90.0]));
    let sets = load(("<f4", &unit), ("|u1", &bytes)).expect("bytes of pictures");
    assert_eq!(values(&sets.test), Values::Floats(vec![0.0, 0.2]));
    let sets = load(("|u1", &bytes), ("<f4", &dark)).expect("dark bytes");
    assert_eq!(
        (values(&sets.train), values(&sets.test)),
        (Values::Floats(vec![0.0, 51.0]), Values::Floats(vec![0.0, 90.0]),)
    );
    let sets = load(("|u1", &bytes), ("<i8", &[0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0])).expect("bytes");
    assert_eq!(values(&sets.test), Values::Bytes(vec![0, 9]));
    for (train, test, help) in [
        (("|u1", &bytes[..]), ("<f4", &unit[..]), "x * 255"),
        (("<f4", &unit), ("<f4", &dark), "what was done"),
        (("<f4", &two([-1.0, 1.0])), ("|u1", &bytes), "what was done"),
        (("|u1", &bytes), ("|u1", &[0, 1]), "x * 255"),
    ] {
        let error = load(train, test).map(drop).expect_err(help);
        assert!(
            error.message.contains("`x_test` in") && error.message.contains("d.npz holds numbers from 0"),
            "{error}"
        );
        assert!(error.help.as_ref().is_some_and(|h| h.contains(help)), "{error}");
    }
}

/// A part for validation, which `valid` cuts off where there is none; without a part for tests it is that, as of
/// folders.
#[test]
fn an_archive_may_have_a_part_for_validation() {
    let place = folder();
    let path = place.path().join("d.npz");
    let load =
        |valid: Option<f64>| data::load(&DataSpec { valid, ..DataSpec::of(Source::Npz) }, Some(&path), &[1, 1, 2]);
    let values = |set: &data::Dataset| set.values(0..1).expect("in memory");
    let floats: Vec<u8> = [0.0f32, 50.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let [train, valid, test] = [("", "|u1", &[0u8, 200][..]), ("_valid", "<f4", &floats), ("_test", "|u1", &[0, 100])];
    archive(&path, &[train, valid, test]);
    let sets = load(None).expect("three parts");
    let second = [&sets.train, sets.valid.as_ref().expect("there"), &sets.test].map(values);
    // Where one part is of floats, all are.
    assert_eq!(second, [200.0, 50.0, 100.0].map(|v| Values::Floats(vec![0.0, v])));
    assert!(load(Some(0.5)).expect_err("twice").message.contains("a part for validation already"));
    archive(&path, &[train, valid]);
    let sets = load(None).expect("two parts");
    assert!(sets.valid.is_none() && sets.test.len() == 4 && sets.train.len() == 4);
}

/// `eval` reads bytes as `run` does. By hand: 51/255 = 0.2 and 1 - 0.2 through the identity and softmax; the class of
/// the larger is right.
#[test]
fn eval_divides_bytes_as_run_does() {
    let place = folder();
    let model =
        "network n { input image: [2, 1, 1]  image |> flatten |> linear(features = 2, bias = false) |> softmax }";
    fs::write(place.path().join("n.nin"), format!("{model} data {{ source = npz(\"d.npz\") }}")).expect("written");
    let set = [("format", FORMAT), ("prepare", "[]"), ("image", "[2, 1, 1]"), ("range", r#"{"low":0.0,"high":1.0}"#)];
    let identity = Tensor::new(&[2, 2], vec![1.0, 0.0, 0.0, 1.0]).expect("fits");
    let store = Store {
        tensors: BTreeMap::from([("linear1.weight".to_string(), identity)]),
        metadata: set.map(|(k, v)| (k.to_string(), v.to_string())).into(),
        ..Store::default()
    };
    store.write(&place.path().join("n.safetensors"), &System).expect("written");
    let parts = |descr: &str, contents: Vec<u8>| {
        let x = npy_bytes(descr, "(2, 2, 1, 1)", &contents);
        let y = npy_bytes("|u1", "(2,)", &[1, 0]);
        fs::write(place.path().join("d.npz"), zip_bytes(&[("x.npy", x), ("y.npy", y)])).expect("written");
        let arguments = ["eval", "n.nin", "--weights", "n.safetensors", "--part", "all", "--json"];
        let output = Command::new(env!("CARGO_BIN_EXE_ninc")).args(arguments).current_dir(place.path()).output();
        let output = output.expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    };
    let bytes = parts("|u1", vec![51, 204, 204, 51]).expect("evaluated");
    let floats = [0.2f32, 0.8, 0.8, 0.2].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(bytes, parts("<f4", floats).expect("evaluated"));
    // softmax(0.2, 0.8): ln(1 + exp(-0.6)) = 0.43749.
    assert!(bytes.contains("0.4374") && bytes.contains("\"accuracy\":1.0"), "{bytes}");
    let large = [0.0f32, 9.0, 9.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert!(parts("<f4", large).expect_err("another unit").contains("the weights learned from 0 to 1"));
}

#[test]
fn layouts_are_recognised() {
    let image = [3, 8, 6];
    assert_eq!(layout::count("x", &[5, 3, 8, 6], image), Ok(5));
    assert_eq!(layout::count("x", &[3, 8, 6], image), Ok(1));
    assert_eq!(layout::count("x", &[7, 144], image), Ok(7));
    assert_eq!(layout::count("x", &[7, 8, 6], [1, 8, 6]), Ok(7));
    for (found, image, help) in [
        (&[5, 8, 6, 3][..], image, "x.transpose(0, 3, 1, 2)"),
        (&[8, 6, 3], image, "x.transpose(2, 0, 1)"),
        (&[5, 3, 6, 8], image, "x.transpose(0, 1, 3, 2)"),
        (&[5, 6, 8, 3], image, "x.transpose(0, 3, 2, 1)"),
        (&[5, 4, 8, 6], image, "x[..., :3, :, :]"),
        (&[5, 8, 6], image, "x[:, None].repeat(3, axis=1)"),
        (&[5, 1, 8, 6], image, "x.repeat(3, axis=-3)"),
        (&[5, 3, 8, 6], [1, 8, 6], "0.587"),
        (&[5, 3, 9, 6], image, "change `input`"),
    ] {
        let error = layout::count("x", found, image).expect_err(help);
        assert!(error.help.as_ref().is_some_and(|h| h.contains(help)), "{found:?}: {error}");
    }
}

/// The labels of an archive whose `x` are four images of one pixel.
fn labels(place: &TempDir, descr: &str, shape: &str, contents: &[u8]) -> Result<Vec<u32>> {
    let path = place.path().join("d.npz");
    let x = npy_bytes("|u1", "(4, 1, 1, 1)", &[1, 2, 3, 4]);
    fs::write(&path, zip_bytes(&[("x.npy", x), ("y.npy", npy_bytes(descr, shape, contents))])).expect("written");
    let spec = DataSpec::of(Source::Npz);
    Ok(data::load(&spec, Some(&path), &[1, 1, 1])?.train.labels.to_vec())
}

#[test]
fn labels_as_people_save_them() {
    let place = folder();
    let four = |values: [f32; 4]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(labels(&place, "<i8", "(4, 1)", &[0i64, 2, 1, 2].map(i64::to_le_bytes).concat()), Ok(vec![0, 2, 1, 2]));
    assert_eq!(labels(&place, "<f4", "(4,)", &four([0.0, 2.0, 1.0, 2.0])), Ok(vec![0, 2, 1, 2]));
    assert_eq!(labels(&place, "|b1", "(4,)", &[1, 0, 0, 1]), Ok(vec![1, 0, 0, 1]));
    assert_eq!(labels(&place, "|u1", "(4, 3)", &[1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]), Ok(vec![0, 2, 1, 2]));
    // 0.0, 2.0, 1.0, 2.0 as float16, by NumPy.
    assert_eq!(labels(&place, "<f2", "(4,)", &[0, 0, 0, 0x40, 0, 0x3c, 0, 0x40]), Ok(vec![0, 2, 1, 2]));
    for (descr, shape, contents, what, help) in [
        ("|u1", "(4, 2)", vec![1, 0, 1, 1, 0, 1, 0, 1], "d.npz: y[1] is not one 1", "argmax"),
        ("<f4", "(4,)", four([0.0, 0.5, 1.0, 1.0]), "y[1] is 0.5", "not numbers"),
        ("<f4", "(4,)", four([0.0, f32::NAN, 1.0, 1.0]), "y[1] is NaN", "not numbers"),
        ("|i1", "(4,)", vec![0, 255, 1, 1], "y[1] is -1: labels start at 0", "numpy.unique"),
        ("|u1", "(3,)", vec![0, 1, 1], "there are 4 images", "[N, 1]"),
        ("<U1", "(4,)", vec![0; 16], "`<U1`", "numpy.unique"),
        ("|O", "(4,)", vec![0; 32], "`|O`", "Python objects"),
    ] {
        let error = labels(&place, descr, shape, &contents).expect_err(what);
        assert!(error.message.contains(what), "{error}");
        assert!(error.help.as_ref().is_some_and(|h| h.contains(help)), "{error}");
    }
}

/// No help may lead to a network that learns nonsense.
#[test]
fn labels_beyond_the_network_say_what_they_are() {
    let set = |labels: Vec<u32>| {
        let bytes = vec![0; labels.len()];
        data::Dataset::new(data::Images { dims: [1, 1, 1], pixels: data::Pixels::Bytes(bytes) }, labels)
    };
    for (all, help) in [
        (vec![1, 2, 3], "the labels are 3 classes, from 1 to 3: number them from 0: `y - 1`"),
        (vec![5, 6, 7, 8, 8], "number them from 0: `y - 5`, and give the network 4 outputs (`--set classes=4`"),
        (vec![0, 1, 2, 3], "from 0 to 3: give the network 4 outputs (`--set classes=4`, if that is a parameter"),
        (vec![0, 10, 20], "number them without gaps"),
        (vec![5, 7, 9], "from 5 to 9: number them without gaps"),
    ] {
        let error = set(all).check("training", &[1, 1, 1], 3).expect_err(help);
        assert!(error.help.as_ref().is_some_and(|h| h.contains(help)), "{error}");
    }
}

/// Bytes that NumPy writes, and the numbers that it reads.
#[test]
fn halves_and_old_headers() {
    let read = |descr: &str, shape: &str, contents: &[u8]| {
        npy::parse(npy_bytes(descr, shape, contents), Path::new("x.npy"))
            .map(|array| (array.dims.clone(), array.floats()))
    };
    // numpy.array([0.1, -2, 65504, 6e-8, -0.0, inf], "<f2").tobytes()
    let bytes = [0x66, 0x2e, 0x00, 0xc0, 0xff, 0x7b, 0x01, 0x00, 0x00, 0x80, 0x00, 0x7c];
    let (dims, values) = read("<f2", "(6,)", &bytes).expect("reads");
    assert_eq!(dims, [6]);
    assert_eq!(values, [0.099_975_586, -2.0, 65504.0, 5.960_464_5e-8, -0.0, f32::INFINITY]);
    assert!(read("<f2", "(1,)", &[1, 0x7e]).expect("reads").1[0].is_nan());
    // As NumPy under Python 2 wrote shapes.
    assert_eq!(read("|u1", "(2L, 3L)", &[1, 2, 3, 4, 5, 6]).expect("reads").0, [2, 3]);
    assert_eq!(read(">f2", "(1L,)", &[0x3c, 0]).expect("reads").1, [1.0]);
}
