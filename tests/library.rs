//! `ninc build`: libraries give what `ninc run` gives, bit for bit, to programs in C, Rust and Python; they are
//! reproducible, refuse what is wrong, and may be used by many threads at once.

mod builds;
mod elf;
mod learning;
mod linked;
pub mod loaded;
mod neon;
mod networks;
mod opencl;
mod pictures;
mod programs;
mod systems;
mod threads;
mod tiles;
mod weights;

use loaded::Loaded;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A network on small colour or grey pictures with the given preparation.
fn model(channels: usize, prepare: &str) -> String {
    format!(
        "network small {{
    input image: [{channels}, 8, 8]
    image
        |> mlpconv(kernel = 3, pad = 1, channels = [12, 8])
        |> max_pool(kernel = 2, stride = 2)
        |> conv(kernel = 3, pad = 1, channels = 10, init = he)
        |> global_avg_pool
        |> softmax as probabilities
}}
data {{ source = npz(\"data.npz\")  prepare = {prepare} }}
train {{ loss = cross_entropy  optimizer = sgd(rate = 0.05, momentum = 0.9)  batch = 20  epochs = 1  seed = 5 }}
"
    )
}

pub struct Place {
    folder: TempDir,
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a folder for temporary files") }
    }

    /// A trained network and a picture in two formats.
    fn trained(channels: usize, prepare: &str) -> Place {
        let place = Place::new();
        fs::write(place.path("small.nin"), model(channels, prepare)).expect("written");
        loaded::data(&place.path("data.npz"), channels);
        loaded::picture(&place.path("a"), channels);
        place.good("ninc", &["train", "small.nin", "--out", "w", "--threads", "1"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs what must succeed and gives its stdout.
    fn good(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.start(program, arguments).output().expect("starts");
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{program} {arguments:?}: {err}");
        out
    }

    fn start(&self, program: &str, arguments: &[&str]) -> Command {
        let program = if program == "ninc" { env!("CARGO_BIN_EXE_ninc") } else { program };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    fn build(&self, folder: &str, more: &[&str]) {
        let mut arguments = vec!["build", "small.nin", "--weights", "w/small.safetensors", "-o", folder];
        arguments.extend(more);
        self.good("ninc", &arguments);
    }

    /// The bits of what `ninc run` gives for the picture.
    fn expected(&self) -> String {
        self.good(
            "ninc",
            &["run", "small.nin", "--weights", "w/small.safetensors", "a.png", "--output", "r.npy", "--threads", "1"],
        );
        let result = ninc_runtime::npy::read(&self.path("r.npy")).expect("an array");
        result.data.iter().map(|v| format!("{:08x}\n", v.to_bits())).collect()
    }
}

/// Is there such a program? Says so where it is not.
pub fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no {program}");
    }
    found
}

#[test]
fn programs_in_three_languages_agree_with_run() {
    for (channels, prepare) in [(3, "[gcn(scale = 55), zca(epsilon = 0.1)]"), (1, "[lcn, scale, mean_std]")] {
        let place = Place::trained(channels, prepare);
        place.build("lib", &["--cpu", "native"]);
        let expected = place.expected();
        let raw = ["--raw", "lib/small.safetensors"];
        if have("cc") {
            place.good("cc", &["-O1", "-Wall", "-Werror", "lib/classify.c", "lib/libsmall.a", "-lpthread", "-o", "c"]);
            assert_eq!(place.good("./c", &[&raw[..], &["a.ppm"]].concat()), expected, "C, {prepare}");
            let text = place.good("./c", &["lib/small.safetensors", "a.ppm"]);
            assert!(text.starts_with("a.ppm: ") && text.contains("(class "), "{text}");
            if have("valgrind") && channels == 1 {
                // AVX-512 is not known to it.
                place.build("plain", &["--cpu", "x86-64-v3"]);
                place.good("cc", &["-O1", "plain/classify.c", "plain/libsmall.a", "-lpthread", "-o", "v"]);
                place.good("valgrind", &["-q", "--leak-check=full", "--error-exitcode=9", "./v", raw[1], "a.ppm"]);
            }
        }
        if have("rustc") {
            place.good("rustc", &["-O", "-L", "lib", "-l", "static=small", "lib/classify.rs", "-o", "r"]);
            assert_eq!(place.good("./r", &[&raw[..], &["a.ppm"]].concat()), expected, "Rust, {prepare}");
        }
        if have("python3") {
            let arguments = [&["lib/classify.py"], &raw[..], &["a.ppm"]].concat();
            assert_eq!(place.good("python3", &arguments), expected, "Python, {prepare}");
        }
    }
}

#[test]
fn wrong_weights_and_arguments_are_refused() {
    let place = Place::trained(1, "[scale, mean_std]");
    place.build("lib", &["--cpu", "native"]);
    let library = Loaded::open(&place.path("lib/libsmall.so"), "small");
    let good = fs::read(place.path("lib/small.safetensors")).expect("there");
    let bad = place.path("bad.safetensors");
    let refused = |bytes: &[u8], status: i32, says: &str| {
        fs::write(&bad, bytes).expect("written");
        let (found, text) = library.create(&bad).map(|_| ()).expect_err("must be refused");
        assert_eq!(found, status, "{text}");
        assert!(text.contains(says) && text.contains("bad.safetensors"), "{text}");
        // From memory as well.
        assert_eq!(library.create_from_memory(bytes).expect_err("must be refused").0, status);
    };
    // Every length, and a wrong bit at many places: never a crash, always refused.
    for length in (0..good.len()).step_by(good.len() / 60) {
        refused(&good[..length], 2, "");
    }
    for at in (0..good.len()).step_by(good.len() / 300) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&bad, &bytes).expect("written");
        let (status, text) = library.create(&bad).map(|_| ()).expect_err("a damaged file");
        assert!(status == 2 || status == 3, "{at}: {status} {text}");
    }
    let mut last = good.clone();
    *last.last_mut().expect("not empty") ^= 1;
    refused(&last, 2, "checksum of");
    // Weights of another network, and another preparation.
    let mut store = ninc_runtime::store::Store::read(&place.path("lib/small.safetensors"), true).expect("ours");
    let name = store.tensors.keys().next().expect("a tensor").clone();
    let taken = store.tensors.remove(&name).expect("there");
    refused(&store.to_bytes(), 3, &name);
    store
        .tensors
        .insert(name.clone(), ninc_runtime::Tensor { dims: vec![1, taken.data.len()], data: taken.data.clone() });
    refused(&store.to_bytes(), 3, &name);
    store.tensors.insert(name.clone(), taken);
    store.metadata.insert("prepare".into(), "[]".into());
    refused(&store.to_bytes(), 3, "preparation");

    // Right checksums, and a NaN.
    let mut store = ninc_runtime::store::Store::from_bytes(&good, &bad, true).expect("ours");
    for value in [f32::NAN, f32::NEG_INFINITY] {
        *store.tensors.get_mut(&name).expect("there").data.last_mut().expect("numbers") = value;
        refused(&store.to_bytes(), 2, &format!("holds NaN or an infinity: {name}"));
    }

    let (status, text) = library.create(&place.path("missing")).map(|_| ()).expect_err("no file");
    assert!(status == 1 && text.contains("missing") && text.contains("opened"), "{text}");
    let network = library.create(&place.path("lib/small.safetensors")).expect("good weights");
    for (n, threads) in [(0, 1), (-1, 1), (1, 0), (1, 5000)] {
        assert_eq!(library.status_of_run(network, n, threads), 6, "{n} images, {threads} threads");
    }
    assert_eq!(library.message(6), "an argument is missing or out of its range");
    // The last number of the last of three images; and numbers so large that the result overflows.
    let mut images = vec![0.5; 3 * 64];
    assert_eq!(library.status_of(network, 3, &images), 0);
    *images.last_mut().expect("numbers") = f32::NAN;
    assert_eq!(library.status_of(network, 3, &images), 10);
    assert_eq!(library.status_of(network, 2, &images), 0, "it is not among these");
    assert_eq!(library.message(10), "an input holds NaN or an infinity");
    // All weights are numbers, and the sums of the last convolution are not.
    let mut store = ninc_runtime::store::Store::from_bytes(&good, &bad, true).expect("ours");
    store.tensors.get_mut("conv1.weight").expect("there").data.fill(3e38);
    let wild = library.create_from_memory(&store.to_bytes()).expect("all of them are numbers");
    assert_eq!(library.status_of(wild, 1, &vec![200.0; 64]), 11);
    library.destroy(wild);
    library.destroy(network);
}

#[test]
fn build_says_what_it_cannot() {
    let place = Place::new();
    fs::write(place.path("small.nin"), model(1, "[scale]")).expect("written");
    for (arguments, says) in [
        (vec!["--target", "mips-unknown-none"], "aarch64-unknown-linux-gnu"),
        (vec!["--target", "aarch64-unknown-linux-gnu", "--cpu", "x86-64-v3"], "baseline"),
        (vec!["--target", "aarch64-unknown-linux-gnu", "--cpu", "native"], "there is `--cpu baseline`"),
        (vec!["--target", "aarch64-unknown-linux-gnu", "--emit", "asm"], "disassembler"),
        (vec!["--cpu", "pentium"], "x86-64-v4"),
        (vec!["--weights", "none.safetensors"], "none.safetensors"),
    ] {
        let output = place
            .start("ninc", &[&["build", "small.nin", "-o", "lib"], &arguments[..]].concat())
            .output()
            .expect("starts");
        let (_, err) = texts(&output);
        assert!(!output.status.success() && err.contains(says), "{arguments:?}: {err}");
        assert!(!place.path("lib").exists(), "{arguments:?} wrote something");
    }
}
