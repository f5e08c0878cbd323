//! A result is a number, or an error: what is not finite in weights, data and results is named, by every command.

use crate::cli::Place;
use ninc_runtime::Tensor;
use ninc_runtime::npy;
use ninc_runtime::store::System;
use ninc_runtime::weights::Weights;
use std::fs;

/// A network whose layers are easy to break.
const MODEL: &str = "network tiny {
    input image: [1, 8, 8]
    image |> flatten |> linear(features = 12) as hidden |> relu |> linear(features = 10) as last |> softmax
}
data { source = digits  prepare = [mean_std] }
train { optimizer = sgd(rate = 0.05)  batch = 50  steps = 3 }
";

fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("tiny.nin"), MODEL).expect("written");
    place.good(&["train", "tiny.nin"]);
    place
}

fn images(place: &Place, count: usize) -> Tensor {
    let tensor = Tensor { dims: vec![count, 1, 8, 8], data: vec![0.5; count * 64] };
    fs::write(place.path("x.npy"), npy::to_bytes(&tensor)).expect("written");
    tensor
}

/// Changes a tensor of the weights, as it is in the file.
fn change(place: &Place, name: &str, change: impl Fn(&mut Vec<f32>)) {
    let path = place.path("out/tiny.safetensors");
    let mut store = Weights::read(&path).expect("reads").store();
    change(&mut store.tensors.get_mut(name).expect("there").data);
    store.write(&path, &System).expect("written");
}

#[test]
fn broken_weights_are_named_by_every_command() {
    let place = place();
    images(&place, 1);
    let weights = ["--weights", "out/tiny.safetensors"];
    let all: [&[&str]; 5] = [
        &["run", "tiny.nin", "--raw", "x.npy"],
        &["eval", "tiny.nin"],
        &["compare", "tiny.nin"],
        &["build", "tiny.nin", "--output", "lib"],
        &["train", "tiny.nin", "--out", "more"],
    ];
    change(&place, "hidden.bias", |values| values[7] = f32::NAN);
    for command in all {
        place.bad(1, &[command, &weights].concat(), "out/tiny.safetensors: value 7 of `hidden.bias` [12] is NaN");
    }
    change(&place, "hidden.bias", |values| values[7] = 0.0);
    change(&place, "prepare.0.std", |values| values[0] = f32::INFINITY);
    for command in all {
        place.bad(1, &[command, &weights].concat(), "value 0 of `prepare.0.std` [1] is infinite");
    }
}

#[test]
fn broken_inputs_and_results_are_named() {
    let place = place();
    let mut tensor = images(&place, 3);
    tensor.data[2 * 64 + 5] = f32::NEG_INFINITY;
    fs::write(place.path("x.npy"), npy::to_bytes(&tensor)).expect("written");
    place.bad(1, &["run", "tiny.nin", "--raw", "x.npy"], "x.npy[2] holds a value that is minus infinite");

    // Weights that are numbers, whose products are not: in `run` the result of each image, in `eval` the first one.
    images(&place, 3);
    change(&place, "hidden.bias", |values| values.fill(1.0));
    change(&place, "last.weight", |values| values.fill(3e38));
    place.bad(1, &["run", "tiny.nin", "--raw", "x.npy", "--output", "y.npy"], "of x.npy[0] holds a value that is NaN");
    assert!(!place.path("y.npy").exists(), "no result, no file");
    place.bad(1, &["run", "tiny.nin", "--raw", "x.npy", "--dump", "last=l.npy"], "of x.npy[0] holds");
    let last = npy::read(&place.path("l.npy")).expect("what was asked for to find the cause");
    assert!(last.data.iter().all(|&v| v == f32::INFINITY));
    let first = ninc_runtime::data::digits::load().expect("embedded").test.rows[0];
    place.bad(1, &["eval", "tiny.nin"], &format!("of image {first} of the data holds a value that is NaN"));
}

/// Arrays of one channel, 8x8, and ten classes.
fn arrays(place: &Place, x: &[f32]) {
    let array = |descr: &str, shape: &str, bytes: Vec<u8>| {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), &bytes].concat()
    };
    let count = x.len() / 64;
    let pixels = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    let labels = (0..count).map(|i| (i % 10) as u8).collect();
    let arrays = [
        ("x.npy", array("<f4", &format!("({count}, 1, 8, 8)"), pixels)),
        ("y.npy", array("|u1", &format!("({count},)"), labels)),
    ];
    fs::write(place.path("d.npz"), crate::support::files::zip_bytes(&arrays)).expect("written");
}

#[test]
fn the_image_that_breaks_a_training_is_named_as_it_is_found() {
    let place = Place::new();
    let model = |prepare: &str| {
        let text = MODEL.replace("digits", "npz").replace("[mean_std]", prepare).replace("batch = 50", "batch = 8");
        let text = text.replace("features = 12", "features = 12, init = constant(10.0)");
        fs::write(place.path("tiny.nin"), text).expect("written");
    };
    let train = ["train", "tiny.nin", "--data", "d.npz", "--steps", "40"];
    let mut x: Vec<f32> = (0..60 * 64).map(|i| (i % 37) as f32 / 1000.0).collect();
    model("[scale]");
    x[57 * 64 + 3] = f32::NAN;
    arrays(&place, &x);
    place.bad(1, &train, "image 57 of `x` in d.npz has a value that is NaN");
    // A number that is not finite any more once it is prepared, or once a layer has multiplied it: whichever batch it
    // is shuffled into, or in the fifth that is kept for the test.
    x[57 * 64 + 3] = 0.0;
    let mut layers = 0;
    for at in 20..26 {
        for (prepare, says) in [("[scale(10)]", " has, as the network takes it,"), ("[scale(1)]", "")] {
            let mut x = x.clone();
            x[at * 64 + 3] = 3e38;
            arrays(&place, &x);
            model(prepare);
            let output = place.ninc(&[&train[..], &["--overwrite"]].concat());
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1), "{err}");
            assert!(err.contains(&format!("image {at} of `x` in d.npz{says}")), "{err}");
            layers += usize::from(err.contains("in layer `hidden` (infinite, image"));
        }
    }
    assert!(layers > 2, "a fifth is kept for the test: {layers}");
    // Statistics that cannot be computed.
    let wide: Vec<f32> = (0..60 * 64).map(|i| if i % 2 == 0 { 3.4e38 } else { -3.4e38 }).collect();
    arrays(&place, &wide);
    model("[scale(10), mean_std]");
    place.bad(
        1,
        &[&train[..], &["--overwrite"]].concat(),
        "the preparation fitted to these images: value 0 of `prepare.1.mean` [1] is NaN",
    );
}

/// `NaN` is the right class of no image, in no place.
#[test]
fn no_class_is_right_in_a_broken_result() {
    use ninc_runtime::train::evaluate::rank;
    let broken = [f32::NAN; 10];
    assert!((0..10).all(|label| rank(&broken, label) >= 5));
    let few = [f32::NAN, 0.5, 0.2];
    assert_eq!([0, 1, 2].map(|label| rank(&few, label)), [3, 1, 2]);
}
