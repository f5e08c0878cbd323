//! Where results are written: links, devices and permissions stay, what a command reads is not replaced, and neither is
//! work that it did not make.

use crate::cli::Place;
use crate::odd::echo;
use crate::support::files::{npy_bytes, zip_bytes};
use ninc_runtime::store::{Store, System};
use ninc_runtime::{Tensor, npy};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

const VALUES: [f32; 4] = [0.0, 10.0, 100.0, 250.0];

/// A network that gives its input back, and `x.npy` of four numbers for it.
fn place() -> Place {
    let place = Place::new();
    let set = [("prepare", "[]"), ("image", "[1, 2, 2]"), ("range", r#"{"low":0.0,"high":255.0}"#)];
    echo(&place.path(""), "[1, 2, 2]", "", &set);
    let bytes: Vec<u8> = VALUES.iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::write(place.path("x.npy"), npy_bytes("<f4", "(1, 1, 2, 2)", &bytes)).expect("written");
    place
}

#[test]
fn results_go_through_links_and_to_devices() {
    let place = place();
    fs::create_dir(place.path("far")).expect("made");
    symlink("far/y.npy", place.path("link.npy")).expect("linked");
    place.good(&["run", "echo.nin", "x.npy", "--output", "link.npy"]);
    assert!(place.path("link.npy").is_symlink());
    assert_eq!(npy::read(&place.path("far/y.npy")).expect("an array").data, VALUES);
    // A pipe.
    let run = ["run", "echo.nin", "x.npy", "--output", "/dev/stdout"];
    let out = Command::new(env!("CARGO_BIN_EXE_ninc")).args(run).current_dir(place.path("")).output().expect("runs");
    assert_eq!(out.stdout, fs::read(place.path("far/y.npy")).expect("there"));

    fs::write(place.path("m.nin"), "network m{input image:[1,2,2] image|>flatten}").expect("written");
    fs::set_permissions(place.path("m.nin"), PermissionsExt::from_mode(0o604)).expect("set");
    place.good(&["fmt", "m.nin"]);
    assert!(fs::read_to_string(place.path("m.nin")).expect("there").contains("network m {"));
    assert_eq!(place.path("m.nin").metadata().expect("there").permissions().mode() & 0o777, 0o604);
}

#[test]
fn what_is_read_is_not_replaced() {
    let place = place();
    symlink("x.npy", place.path("same.npy")).expect("linked");
    let before = fs::read(place.path("x.npy")).expect("there");
    for out in ["x.npy", "./x.npy", "same.npy", "echo.nin", "echo.safetensors"] {
        place.bad(2, &["run", "echo.nin", "x.npy", "--output", out], "is read by this command too");
    }
    place.bad(2, &["run", "echo.nin", "x.npy", "--output", "a", "--dump", "conv1=./a"], "gets two results");
    assert_eq!(fs::read(place.path("x.npy")).expect("there"), before);
    let weights = fs::read(place.path("echo.safetensors")).expect("there");
    let fold = ["fold", "echo.nin", "--weights", "echo.safetensors", "--into", "echo.nin", "--out"];
    for out in ["echo.safetensors", "echo.nin"] {
        place.bad(2, &[&fold[..], &[out]].concat(), "is read by this command too");
    }
    for out in ["echo.safetensors", "tiny.nin"] {
        place.bad(
            2,
            &["quantize", "tiny.nin", "--weights", "echo.safetensors", "-o", out],
            "is read by this command too",
        );
    }
    // The data that the text names.
    let array = |descr: &str, shape: &str, size: usize| npy_bytes(descr, shape, &vec![3; size]);
    let arrays = [("x.npy", array("|u1", "(9, 1, 8, 8)", 576)), ("y.npy", array("|u1", "(9,)", 9))];
    fs::write(place.path("d.npz"), zip_bytes(&arrays)).expect("written");
    let data = fs::read(place.path("d.npz")).expect("there");
    let text = fs::read_to_string(place.path("tiny.nin")).expect("there").replace("= digits", "= npz(\"d.npz\")");
    fs::write(place.path("tiny.nin"), text).expect("written");
    place.bad(2, &["train", "tiny.nin", "--preview", "d.npz"], "is read by this command too");
    place.bad(
        2,
        &["eval", "tiny.nin", "--weights", "echo.safetensors", "--report", "d.npz"],
        "is read by this command too",
    );
    assert_eq!(fs::read(place.path("d.npz")).expect("there"), data);
    place.bad(2, &["weights", "echo.safetensors", "-o", "echo.safetensors"], "is read by this command too");
    assert_eq!(fs::read(place.path("echo.safetensors")).expect("there"), weights);
}

/// A library beside trained weights of the network's name, and one over an earlier build, changed or not.
#[test]
fn build_replaces_only_what_builds_wrote() {
    let place = place();
    let weights = place.path("lib/echo.safetensors");
    fs::create_dir(place.path("lib")).expect("made");
    let build =
        |more: &[&'static str]| [&["build", "echo.nin", "--weights", "echo.safetensors", "-o", "lib"], more].concat();
    fs::write(&weights, "trained for a week").expect("written");
    place.bad(1, &build(&[]), "lib/echo.safetensors would be replaced");
    assert_eq!(fs::read_to_string(&weights).expect("there"), "trained for a week");
    assert_eq!(fs::read_dir(place.path("lib")).expect("there").count(), 1, "nothing is half-written");
    place.good(&build(&["--overwrite"]));
    assert!(Store::read(&weights, true).is_ok());

    // An earlier build is replaced by the next, whatever the weights; an example that was changed is not.
    let tensor = |dims: &[usize], v| Tensor::new(dims, vec![v]).expect("fits");
    let tensors = [("conv1.weight", tensor(&[1, 1, 1, 1], 2.0)), ("conv1.bias", tensor(&[1], 0.5))];
    let tensors = BTreeMap::from(tensors.map(|(name, tensor)| (name.to_string(), tensor)));
    let store = Store { tensors, ..Store::default() };
    store.write(&place.path("echo.safetensors"), &System).expect("written");
    place.good(&build(&[]));
    let example = place.path("lib/echo.h");
    let own = fs::read_to_string(&example).expect("there") + "// mine\n";
    fs::write(&example, &own).expect("written");
    place.bad(1, &build(&[]), "lib/echo.h would be replaced");
    assert_eq!(fs::read_to_string(&example).expect("there"), own);
}

/// The limit of a file's size is an error of writing; the old file stays.
#[test]
fn a_limit_of_size_is_an_error() {
    let place = place();
    let bytes: Vec<u8> = (0..40_000).flat_map(|_| 9f32.to_le_bytes()).collect();
    fs::write(place.path("x.npy"), npy_bytes("<f4", "(10000, 1, 2, 2)", &bytes)).expect("written");
    fs::write(place.path("y.npy"), "old").expect("written");
    let run = format!("ulimit -f 16; exec {} run echo.nin x.npy --output y.npy", env!("CARGO_BIN_EXE_ninc"));
    let out = Command::new("sh").args(["-c", &run]).current_dir(place.path("")).output().expect("runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write y.npy: File too large"), "{said}");
    assert_eq!(fs::read_to_string(place.path("y.npy")).expect("there"), "old");
}

/// One training at a time writes under a name in a folder; another name in the same folder is another training.
#[test]
fn a_second_training_in_the_folder_waits() {
    let place = Place::new();
    fs::create_dir(place.path("out")).expect("made");
    let first = fs::File::create(place.path("out/tiny.log")).expect("made");
    first.lock().expect("locked");
    let train = ["train", "tiny.nin", "--steps", "1"];
    place.bad(1, &train, "another training writes out/tiny.log");
    assert_eq!(fs::read_dir(place.path("out")).expect("there").count(), 1, "nothing is written");
    fs::write(
        place.path("other.nin"),
        fs::read_to_string(place.path("tiny.nin")).expect("there").replace("tiny", "other"),
    )
    .expect("written");
    place.good(&["train", "other.nin", "--steps", "1"]);
    drop(first);
    place.good(&train);
}
