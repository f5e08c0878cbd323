//! The weights that a built library takes: those that the commands take, in any type of floats, written by ninc.

use super::Place;
use super::loaded::Loaded;
use crate::odd;
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
