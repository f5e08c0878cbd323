//! The weights that a built library takes: those that the commands take, in any type of floats, written by ninc.

use super::Place;
use super::loaded::Loaded;
use crate::odd;
use ninc::lower::target::Isa;
use ninc_runtime::philox::Stream;
use ninc_runtime::store::{Numbers, Store, System};
use ninc_runtime::{Tensor, npy, weights};
use std::collections::BTreeMap;
use std::fs;

/// The network of the odd weights, as a library.
fn built(place: &Place) -> Loaded {
    fs::write(place.path("w.nin"), odd::weights::MODEL).expect("written");
    let first = format!("{}/foreign.safetensors", odd::folder().display());
    place.good("ninc", &["build", "w.nin", "--weights", &first, "-o", "lib", "--cpu", "native"]);
    Loaded::open(&place.path("lib/libw.so"), "w")
}

#[test]
fn libraries_read_narrow_weights_as_run_does() {
    let place = Place::new();
    let library = built(&place);
    let mut random = Stream::new(3, 0, 0);
    // Of all sizes that float16 has, below its least normal number too.
    let mut some = |dims: &[usize]| {
        let count: usize = dims.iter().product();
        let draw = |_| random.normal() * 2f32.powi(random.below(34) as i32 - 26);
        Tensor::new(dims, (0..count).map(draw).collect()).expect("fits")
    };
    let tensors = [("linear1.weight", &[3, 4][..]), ("linear1.bias", &[3])];
    let tensors = tensors.map(|(name, dims)| (name.to_string(), some(dims))).into();
    let metadata = BTreeMap::from([("format".to_string(), weights::FORMAT.to_string())]);
    let store = Store { tensors, metadata, ..Store::default() };
    store.write(&place.path("all.safetensors"), &System).expect("written");
    let image = [0.5, -3.0, 2.0, 1.25];
    fs::write(place.path("x.npy"), npy::to_bytes(&Tensor::new(&[1, 1, 2, 2], image.to_vec()).expect("fits")))
        .expect("written");
    let mut results = vec![];
    for numbers in [Numbers::F32, Numbers::F16, Numbers::Bf16] {
        let file = format!("{}.safetensors", numbers.name());
        fs::write(place.path(&file), store.to_bytes_of(numbers)).expect("written");
        let run = ["run", "w.nin", "--weights", &file, "--raw", "x.npy", "--output", "r.npy"];
        place.good("ninc", &run);
        let expected = npy::read(&place.path("r.npy")).expect("an array").data;
        let network = library.create(&place.path(&file)).expect("good weights");
        let got = library.run(network, 1, &image, 1, None).expect("runs");
        assert_eq!(got[..3], expected[..], "{numbers:?}");
        library.destroy(network);
        results.push(expected);
    }
    assert!(results[0] != results[1] && results[1] != results[2], "rounding shows: {results:?}");
    // A byte of the numbers changed is noticed in each type; so is another type.
    for numbers in [Numbers::F16, Numbers::Bf16] {
        let mut bytes = store.to_bytes_of(numbers);
        *bytes.last_mut().expect("numbers") ^= 1;
        assert_eq!(library.create_from_memory(&bytes).expect_err("damaged").0, 2);
    }
}

/// Layers of bytes have the same bits in libraries of every level. The file of one byte a weight is refused by name: a
/// library's own copy holds float32.
#[test]
fn libraries_of_bytes_give_what_run_gives() {
    let place = Place::new();
    let text = "network q { input image: [1, 8, 8]
        image |> conv(channels = 12, kernel = 3, pad = 1) as first |> relu |> max_pool(kernel = 2, stride = 2)
            |> conv(channels = 10, kernel = 3) as second |> cccp(channels = 10) as third |> global_avg_pool }
        data { source = digits  prepare = [mean_std] }
        train { loss = cross_entropy  optimizer = sgd(rate = 0.05)  batch = 16  steps = 5 }";
    fs::write(place.path("q.nin"), text).expect("written");
    place.good("ninc", &["train", "q.nin", "--out", "out"]);
    let made = ["quantize", "q.nin", "--weights", "out/q.safetensors", "--max-drop", "100", "--out", "q8.safetensors"];
    place.good("ninc", &made);
    let mut random = Stream::new(5, 0, 0);
    let image: Vec<f32> = (0..64).map(|_| random.normal()).collect();
    let array = Tensor::new(&[1, 1, 8, 8], image.clone()).expect("fits");
    fs::write(place.path("x.npy"), npy::to_bytes(&array)).expect("written");
    place.good("ninc", &["run", "q.nin", "--weights", "q8.safetensors", "--raw", "x.npy", "--output", "r.npy"]);
    let expected = npy::read(&place.path("r.npy")).expect("an array").data;
    place.good("ninc", &["run", "q.nin", "--weights", "out/q.safetensors", "--raw", "x.npy", "--output", "f.npy"]);
    assert_ne!(npy::read(&place.path("f.npy")).expect("an array").data, expected, "bytes round");
    for cpu in ["native", "x86-64-v3", "baseline"].iter().take(if cfg!(target_arch = "x86_64") { 3 } else { 1 }) {
        if *cpu == "x86-64-v3" && !Isa::Avx2.present() {
            continue;
        }
        let folder = format!("lib-{cpu}");
        place.good("ninc", &["build", "q.nin", "--weights", "q8.safetensors", "-o", &folder, "--cpu", cpu]);
        let library = Loaded::open(&place.path(&format!("{folder}/libq.so")), "q");
        let network = library.create(&place.path(&format!("{folder}/q.safetensors"))).expect("its own weights");
        let got = library.run(network, 1, &image, 1, None).expect("runs");
        assert_eq!(got[..10], expected[..], "{cpu}");
        library.destroy(network);
        let (status, said) = library.create(&place.path("q8.safetensors")).expect_err("bytes");
        assert!(status != 0 && said.contains("first.weight"), "{status} {said}");
    }
    // Formats of layers are part of the code: another library's copy of weights with others is refused, even of floats.
    let narrow = [&made[..6], &["--out", "q1.safetensors", "--narrow", "1"]].concat();
    place.good("ninc", &narrow);
    for (weights, folder) in [("q8", "a"), ("q1", "b"), ("out/q", "c")] {
        place.good("ninc", &["build", "q.nin", "--weights", &format!("{weights}.safetensors"), "-o", folder]);
    }
    for (of, code) in [("a", "b"), ("b", "a"), ("a", "c"), ("b", "c")] {
        let library = Loaded::open(&place.path(&format!("{code}/libq.so")), "q");
        let (status, said) = library.create(&place.path(&format!("{of}/q.safetensors"))).expect_err("other formats");
        assert!(status == 3 && said.contains("other formats of layers"), "{of} {code}: {status} {said}");
    }
}

/// What other programs wrote has no checksums: a library asks for ninc's own file, and never takes what is damaged.
#[test]
fn libraries_refuse_the_odd_weights() {
    let place = Place::new();
    let library = built(&place);
    for (path, row) in odd::rows(&[".safetensors"]) {
        let (status, said) = library.create(path.as_ref()).expect_err(&path);
        assert!(status == 2 && said.contains(odd::text(&row, "file")), "{path}: {status} {said}");
        if row["scores"].is_array() {
            // ninc's own copy is taken.
            let more: Vec<&str> = row["arguments"].as_array().into_iter().flatten().flat_map(|a| a.as_str()).collect();
            place.good("ninc", &[&["weights", &path, "-o", "own.safetensors"][..], &more].concat());
            let network = library.create(&place.path("own.safetensors")).expect("ninc's own");
            let scores = library.run(network, 1, &odd::weights::IMAGE, 1, None).expect("runs");
            odd::weights::compare(&scores[..3], &row);
            library.destroy(network);
        }
    }
}
