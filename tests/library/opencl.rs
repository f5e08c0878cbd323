//! `ninc build --device opencl`: the written kernels and their launch table, run by a program that knows nothing else.

use super::{Place, have};
use crate::opencl::present;
use std::fs;

#[test]
fn the_launch_table_runs_the_network_as_the_runtime_does() {
    let place = Place::trained(3, "[scale]");
    place.build("lib", &["--device", "opencl"]);
    place.build("again", &["--device", "opencl"]);
    let table: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(place.path("lib/small.cl.json")).expect("written")).expect("JSON");
    let list = |key: &str| table[key].as_array().unwrap_or_else(|| panic!("no list {key}"));
    let text = fs::read_to_string(place.path("lib/small.cl")).expect("written");
    for launch in list("launches").iter().chain(list("prepare")) {
        let kernel = launch["kernel"].as_str().expect("a name");
        assert!(text.contains(&format!(" {kernel}(")), "{kernel} is not in the text");
        let buffers = launch["buffers"].as_array().expect("a list");
        assert!(buffers.iter().all(|b| (b.as_u64().expect("a number") as usize) < list("buffers").len()), "{launch}");
    }
    assert!(list("launches").len() > 3 && list("how").len() > 8);
    for name in ["small.cl", "small.cl.json"] {
        let read = |folder: &str| fs::read(place.path(folder).join(name)).expect("there");
        assert!(read("lib") == read("again"), "{name} differs");
    }
    // The library itself is there as well; without the option its tables are not.
    assert!(place.path("lib/libsmall.so").is_file());
    place.build("plain", &[]);
    assert!(!place.path("plain/small.cl").exists() && !place.path("plain/opencl.py").exists());

    if !present() {
        return;
    }
    if !have("python3") {
        return;
    }
    let images = ninc_runtime::Tensor {
        dims: vec![5, 3, 8, 8],
        data: (0..5 * 192).map(|i| (i * 7 % 31) as f32 / 31.0).collect(),
    };
    fs::write(place.path("images.npy"), ninc_runtime::npy::to_bytes(&images)).expect("written");
    let weights = "w/small.safetensors";
    let arguments =
        ["run", "small.nin", "--weights", weights, "images.npy", "--raw", "--device", "opencl", "--output", "r.npy"];
    place.good("ninc", &arguments);
    let expected = ninc_runtime::npy::read(&place.path("r.npy")).expect("an array");
    let expected: String = expected.data.iter().map(|v| format!("{:08x}\n", v.to_bits())).collect();
    let got = place.good("python3", &["lib/opencl.py", "--raw", "lib/small.safetensors", "images.npy"]);
    assert_eq!(got, expected);
    let text = place.good("python3", &["lib/opencl.py", "lib/small.safetensors", "images.npy"]);
    assert!(text.lines().count() == 5 && text.starts_with("image 0: class "), "{text}");
}
