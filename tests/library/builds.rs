//! Kinds of builds: levels of processors, weights inside, another system, and how projects find them.

use super::loaded::Loaded;
use super::{Place, have, texts};
use std::fs;

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
