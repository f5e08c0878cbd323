//! `ninc build`: libraries give what `ninc run` gives, bit for bit, to programs in C, Rust and Python; they are
//! reproducible, refuse what is wrong, and may be used by many threads at once.

mod elf;
pub mod loaded;
mod networks;
mod opencl;
mod pictures;
mod programs;
mod threads;
mod weights;

use loaded::{Loaded, Network};
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
fn levels_have_the_bits_that_the_readme_says() {
    if !have("cc") || !cfg!(target_arch = "x86_64") || !std::is_x86_feature_detected!("avx2") {
        return;
    }
    let place = Place::trained(3, "[scale]");
    let mut run = vec!["run", "small.nin", "--weights", "w/small.safetensors", "a.png", "--output", "r.npy"];
    run.extend(["--isa", "avx2", "--caches", "32K,1M,16M"]);
    place.good("ninc", &run);
    let result = ninc_runtime::npy::read(&place.path("r.npy")).expect("an array");
    let expected: String = result.data.iter().map(|v| format!("{:08x}\n", v.to_bits())).collect();
    place.build("lib", &["--cpu", "x86-64-v3"]);
    place.good("cc", &["-O1", "lib/classify.c", "lib/libsmall.a", "-lpthread", "-o", "c"]);
    assert_eq!(place.good("./c", &["--raw", "lib/small.safetensors", "a.ppm"]), expected);
}

#[test]
fn builds_are_reproducible_and_depend_on_no_folder() {
    let place = Place::trained(1, "[scale, mean_std]");
    for cpu in ["x86-64-v3", "baseline"] {
        place.build("one", &["--cpu", cpu]);
        fs::create_dir_all(place.path("deep/er")).expect("made");
        fs::copy(place.path("small.nin"), place.path("deep/er/small.nin")).expect("copied");
        fs::copy(place.path("w/small.safetensors"), place.path("deep/er/other.safetensors")).expect("copied");
        let arguments = ["build", "small.nin", "--weights", "other.safetensors", "-o", "x/two", "--cpu", cpu];
        let mut command = place.start("ninc", &arguments);
        assert!(command.current_dir(place.path("deep/er")).status().expect("starts").success());
        let mut count = 0;
        for entry in fs::read_dir(place.path("one")).expect("there") {
            let name = entry.expect("an entry").file_name();
            let read = |folder: &str| fs::read(place.path(folder).join(&name)).expect("there");
            assert!(read("one") == read("deep/er/x/two"), "{name:?} differs");
            count += 1;
        }
        assert!(count >= 11, "{count} files");
    }
}

#[test]
fn many_threads_share_one_network() {
    let place = Place::trained(3, "[scale]");
    place.build("lib", &["--cpu", "native"]);
    let library = Loaded::open(&place.path("lib/libsmall.so"), "small");
    let network = library.create(&place.path("lib/small.safetensors")).expect("good weights");
    let images: Vec<f32> = (0..70 * 192).map(|i| (i % 251) as f32 / 251.0).collect();
    let expected = library.run(network, 70, &images, 1, None).expect("runs");
    // A few images go by a plan of their own, one by one or together; more of them by that for batches.
    let few = library.run(network, 8, &images, 1, None).expect("runs");
    let alone: Vec<f32> =
        (0..70).flat_map(|i| library.run(network, 1, &images[i * 192..], 1, None).expect("runs")).collect();
    assert_eq!(alone[..80], few);
    let far = alone.iter().zip(&expected).position(|(a, b)| (a - b).abs() > 1e-5);
    assert_eq!(far, None, "a number that the plans disagree on");
    // With threads, in a workspace of the caller's: the same bits.
    for threads in [2, 3, 5] {
        assert_eq!(library.run(network, 70, &images, threads, None).expect("runs"), expected, "{threads} threads");
    }
    let needed = library.workspace_size(network, 70, 2);
    assert_eq!(library.run(network, 70, &images, 2, Some(needed)).expect("runs"), expected);
    assert_eq!(library.run(network, 70, &images, 2, Some(needed - 1)), Err(7));
    assert_eq!(library.workspace_size(network, 64, 1), library.workspace_size(network, 1000, 1));
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100)
            .map(|i| {
                let (library, images, alone) = (&library, &images, &alone);
                scope.spawn(move || {
                    let (from, count) = (i % 60, 1 + i % 7);
                    let got = library.run(network, count, &images[from * 192..], 1 + i % 2, None).expect("runs");
                    assert_eq!(got, alone[from * 10..(from + count) * 10]);
                })
            })
            .collect();
        calls.into_iter().for_each(|call| call.join().expect("agrees"));
    });
    library.destroy(network);
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
        (vec!["--target", "aarch64-unknown-linux-gnu", "--cpu", "native"], "this machine"),
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

#[test]
fn a_library_learns_as_the_runtime_does() {
    use ninc::pipeline::{self, Options};
    let place = Place::trained(1, "[scale, mean_std]");
    place.build("lib", &["--cpu", "native", "--train"]);
    let text = fs::read_to_string(place.path("small.nin")).expect("there");
    let model = ninc::front::load(&text, "small.nin", &[]).0.expect("a model");
    let options = Options { target: Some(ninc::lower::target::Target::host()), ..Options::default() };
    let mut program = pipeline::training(&model, &options).expect("compiles");
    let weights = ninc_runtime::weights::Weights::read(&place.path("w/small.safetensors")).expect("good");
    weights.load_into(&mut *program.engine).expect("fits");

    let library = Loaded::open(&place.path("lib/libsmall.so"), "small");
    let training = library.train_create(&place.path("lib/small_train.safetensors"));
    let images: Vec<f32> = (0..6 * 64).map(|i| (i * 7 % 19) as f32 / 19.0).collect();
    let labels = [3, 1, 4, 1, 5, 9];
    networks::same_steps(&mut program, &model, &library, training, &images, &labels, 4);
    assert_eq!(library.train_step(training, &images, &[10, 0, 0, 0, 0, 0], 0, 1.0, 1), Err(6));
    // What was learned is saved as weights that both understand.
    let new = place.path("new.safetensors");
    assert_eq!(library.train_save(training, &new), 0);
    saving_spares_what_is_there(&place, &library, training);
    let saved = ninc_runtime::weights::Weights::read(&place.path("new.safetensors")).expect("good checksums");
    for (name, tensor) in &saved.tensors {
        assert_eq!(*tensor, program.engine.read(name).expect("there"), "{name}");
        assert_ne!(*tensor, weights.tensors[name], "{name} did not change");
    }
    assert_eq!((&saved.preparation, &saved.classes), (&weights.preparation, &weights.classes));
    let network = library.create(&place.path("new.safetensors")).expect("its own weights");
    library.destroy(network);
    // A rate that is none, and one that breaks the weights, which then replace nothing.
    for factor in [f64::NAN, f64::INFINITY, -1.0] {
        assert_eq!(library.train_step(training, &images, &labels, 4, factor, 1), Err(6), "{factor}");
    }
    let _ = library.train_step(training, &images, &labels, 4, 1e30, 1);
    let _ = library.train_step(training, &images, &labels, 5, 1e30, 1);
    let before = fs::read(&new).expect("there");
    assert_eq!(library.train_save(training, &new), 12);
    assert_eq!(library.message(12), "the weights hold NaN or an infinity and were not saved");
    assert_eq!(fs::read(&new).expect("there"), before);
    library.train_destroy(training);
}

/// Links, permissions and devices stay; a write-protected file is not replaced.
fn saving_spares_what_is_there(place: &Place, library: &Loaded, training: Network) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let [new, target, link] =
        ["new.safetensors", "target.safetensors", "link.safetensors"].map(|name| place.path(name));
    fs::write(&target, "old").expect("written");
    fs::set_permissions(&target, PermissionsExt::from_mode(0o640)).expect("set");
    symlink("target.safetensors", &link).expect("linked");
    assert_eq!(library.train_save(training, &link), 0);
    assert!(link.is_symlink());
    assert_eq!(fs::read(&target).expect("there"), fs::read(&new).expect("there"));
    assert_eq!(target.metadata().expect("there").permissions().mode() & 0o777, 0o640);
    fs::write(&target, "old").expect("written");
    fs::set_permissions(&target, PermissionsExt::from_mode(0o440)).expect("set");
    assert_eq!(library.train_save(training, &link), 9);
    assert_eq!(fs::read(&target).expect("there"), b"old");
    // Links to what is not there yet: from a folder, by way of another link, with a whole path, and without end.
    fs::create_dir(place.path("far")).expect("made");
    let far =
        [("far/next", "../later"), ("over", "far/next"), ("far/whole", place.path("later").to_str().expect("text"))]
            .map(|(link, to)| symlink(to, place.path(link)).map(|()| place.path(link)).expect("linked"));
    for link in far {
        assert_eq!(library.train_save(training, &link), 0);
        assert!(link.is_symlink());
        assert_eq!(fs::read(place.path("later")).expect("there"), fs::read(&new).expect("there"));
        fs::remove_file(place.path("later")).expect("removed");
    }
    symlink("round", place.path("round")).expect("linked");
    assert_eq!(library.train_save(training, &place.path("round")), 9);
    assert_eq!(library.train_save(training, std::path::Path::new("/dev/null")), 0);
    assert!(!std::path::Path::new("/dev/null").metadata().expect("there").is_file());
}

#[test]
fn weights_may_be_inside_and_levels_may_be_several() {
    let place = Place::trained(1, "[scale]");
    place.build("inside", &["--cpu", "native", "--embed"]);
    assert!(!place.path("inside/small.safetensors").exists());
    place.build("fat", &["--fat"]);
    place.build("v3", &["--cpu", "x86-64-v3"]);
    let image = [0.25; 64];
    let inside = Loaded::open(&place.path("inside/libsmall.so"), "small");
    let network = inside.create_embedded();
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let expected = inside.run(network, 1, &image, 1, None).expect("runs");
    inside.destroy(network);
    for folder in ["fat", "v3"] {
        let library = Loaded::open(&place.path(&format!("{folder}/libsmall.so")), "small");
        match library.create(&place.path("fat/small.safetensors")) {
            Ok(network) => {
                assert!(close(&library.run(network, 1, &image, 1, None).expect("runs"), &expected), "{folder}");
                library.destroy(network);
            }
            Err((5, text)) if folder == "v3" => eprintln!("skipped: {text}"),
            Err(other) => panic!("{folder}: {other:?}"),
        }
    }
    let json = fs::read_to_string(place.path("fat/small.json")).expect("written");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["inputs"][0]["shape"], serde_json::json!([1, 8, 8]));
    assert_eq!(value["cpu"].as_array().map(Vec::len), Some(if cfg!(target_arch = "x86_64") { 3 } else { 1 }));
    let sum = ninc_runtime::store::crc32(&fs::read(place.path("fat/small.safetensors")).expect("there"));
    assert_eq!(value["crc32"]["small.safetensors"], format!("{sum:08x}"));
}

#[test]
fn objects_for_aarch64_give_the_same_under_emulation() {
    if !have("aarch64-linux-gnu-gcc") || !have("qemu-aarch64") {
        return;
    }
    let place = Place::trained(3, "[gcn(scale = 55), zca(epsilon = 0.1)]");
    place.build("arm", &["--target", "aarch64-unknown-linux-gnu"]);
    let expected = place.expected();
    let numbers = |text: &str| -> Vec<f32> {
        text.lines().map(|l| f32::from_bits(u32::from_str_radix(l, 16).expect("eight digits"))).collect()
    };
    let check = |program: &[&str]| {
        let raw = ["--raw", "arm/small.safetensors", "a.ppm"];
        let arguments = [&["-L", "/usr/aarch64-linux-gnu"], program, &raw].concat();
        let got = numbers(&place.good("qemu-aarch64", &arguments));
        let close = got.iter().zip(numbers(&expected)).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close && got.len() == 10, "{got:?}");
    };
    let compiler = "aarch64-linux-gnu-gcc";
    place.good(compiler, &["-O1", "arm/classify.c", "arm/libsmall.a", "-lpthread", "-o", "static"]);
    check(&["./static"]);
    place.good(compiler, &["-O1", "arm/classify.c", "-Larm", "-lsmall", "-o", "shared"]);
    check(&["-E", "LD_LIBRARY_PATH=arm", "./shared"]);
}

#[test]
fn cmake_and_pkg_config_find_the_library() {
    let place = Place::trained(1, "[scale]");
    place.build("lib", &["--cpu", "native"]);
    if have("cmake") && have("cc") {
        place.good("cmake", &["-S", "lib", "-B", "made"]);
        place.good("cmake", &["--build", "made"]);
        let raw = ["--raw", "lib/small.safetensors", "a.ppm"];
        assert_eq!(place.good("made/classify", &raw), place.expected());
    }
    if have("pkg-config") {
        let mut command = place.start("pkg-config", &["--cflags", "--libs", "small"]);
        let output = command.env("PKG_CONFIG_PATH", place.path("lib")).output().expect("starts");
        let (out, err) = texts(&output);
        assert!(output.status.success() && out.contains("-lsmall"), "{out}{err}");
    }
}
