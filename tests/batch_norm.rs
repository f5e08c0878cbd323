//! Batch normalisation: what a training step leaves of a batch's statistics, and batches that have none.

use crate::cli::{Place, texts};
use crate::support::files::{npy_bytes, zip_bytes};
use ninc_runtime::weights::Weights;
use std::fs;

/// A network whose first layer sees the images themselves, and its images `[N, C, H, W]`.
fn place(images: &[f32], dims: [usize; 4], layer: &str, train: &str) -> Place {
    let place = Place::new();
    let [n, c, h, w] = dims;
    let bytes: Vec<u8> = images.iter().flat_map(|v| v.to_le_bytes()).collect();
    let labels: Vec<u8> = (0..n).map(|i| (i % 2) as u8).collect();
    let arrays = [
        ("x.npy", npy_bytes("<f4", &format!("({n}, {c}, {h}, {w})"), &bytes)),
        ("y.npy", npy_bytes("|u1", &format!("({n},)"), &labels)),
        ("x_test.npy", npy_bytes("<f4", &format!("({n}, {c}, {h}, {w})"), &bytes)),
        ("y_test.npy", npy_bytes("|u1", &format!("({n},)"), &labels)),
    ];
    fs::write(place.path("d.npz"), zip_bytes(&arrays)).expect("written");
    let model = format!(
        "network tiny {{ input image: [{c}, {h}, {w}]
             image |> {layer} as norm |> flatten |> linear(features = 2, init = constant(0.0)) |> softmax }}
         data {{ source = npz(\"d.npz\") }}
         train {{ optimizer = sgd(rate = 0.1)  shuffle = false  {train} }}"
    );
    fs::write(place.path("tiny.nin"), model).expect("written");
    place
}

/// `norm.running_mean` and `norm.running_var` after a training with these options.
fn statistics(place: &Place, options: &[&str]) -> [Vec<f32>; 2] {
    place.good(&[&["train", "tiny.nin", "--overwrite"], options].concat());
    let weights = Weights::read(&place.path("out/tiny.safetensors")).expect("weights");
    ["norm.running_mean", "norm.running_var"].map(|name| weights.tensors[name].data.clone())
}

fn close(found: &[f32], expected: &[f64]) {
    let near = |(&a, &b): (&f32, &f64)| (f64::from(a) - b).abs() <= 1e-6 * b.abs().max(1.0);
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(near), "{found:?} {expected:?}");
}

/// As PyTorch's BatchNorm2d and Caffe's BatchNorm keep them, and the paper's algorithm 2: the variance of a sample of n
/// values is Σ(x - mean)²/(n - 1). By hand: 1, 3, 5, 7 have the mean 4 and Σ(x - 4)² = 20.
#[test]
fn the_running_variance_is_unbiased() {
    for device in ["cpu", "interp"] {
        let one = place(&[1.0, 3.0, 5.0, 7.0], [4, 1, 1, 1], "batch_norm", "batch = 4  steps = 1");
        let [mean, variance] = statistics(&one, &["--device", device]);
        close(&mean, &[0.1 * 4.0]);
        close(&variance, &[0.9 + 0.1 * 20.0 / 3.0]);

        // Two channels of two positions; the second channel is ten times the first: n is images times positions.
        let images = [1.0, 3.0, 10.0, 30.0, 5.0, 7.0, 50.0, 70.0];
        let two = place(&images, [2, 2, 1, 2], "batch_norm(momentum = 1)", "batch = 2  steps = 1");
        let [mean, variance] = statistics(&two, &["--device", device]);
        close(&mean, &[4.0, 40.0]);
        close(&variance, &[20.0 / 3.0, 2000.0 / 3.0]);

        // Batches of 3 and of 1: 1, 2, 3, 4, 5, 9 have the mean 4 and Σ = 40; 7, 11 have the mean 9 and Σ = 8.
        let images = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 7.0, 11.0];
        let rest = place(&images, [4, 1, 2, 1], "batch_norm(momentum = 0.5)", "batch = 3  epochs = 1");
        let [mean, variance] = statistics(&rest, &["--device", device]);
        close(&mean, &[0.5 * (0.5 * 4.0) + 0.5 * 9.0]);
        close(&variance, &[0.5 * (0.5 * 1.0 + 0.5 * 40.0 / 5.0) + 0.5 * 8.0]);
    }
}

/// One value is its own mean: nothing could be learned, and nothing of its variance is known.
#[test]
fn a_batch_of_one_value_per_channel_is_refused() {
    let five = [1.0, 2.0, 3.0, 4.0, 5.0];
    let flat = |layer: &str, train: &str| place(&five, [5, 1, 1, 1], layer, train);
    let one = flat("batch_norm", "batch = 1  epochs = 1");
    one.bad(2, &["train", "tiny.nin"], "a batch has one image, and `norm` normalises one value per channel and image");
    let two = flat("batch_norm", "batch = 2  epochs = 1");
    let (_, said) = texts(&two.ninc(&["train", "tiny.nin"]));
    assert!(said.contains("the last batch of an epoch has one image (5 images in batches of 2)"), "{said}");
    assert!(said.contains("`--batch 3`") && !two.path("out").exists(), "{said}");
    two.bad(2, &["train", "tiny.nin", "--batch", "4"], "`--batch 5`");
    // What never meets such a batch trains.
    two.good(&["train", "tiny.nin", "--batch", "3"]);
    two.good(&["train", "tiny.nin", "--steps", "2", "--overwrite"]);
    flat("batch_norm(frozen = true)", "batch = 2  epochs = 1").good(&["train", "tiny.nin"]);
    place(&[1.0, 2.0, 3.0, 4.0], [2, 1, 2, 1], "batch_norm", "batch = 1  epochs = 1").good(&["train", "tiny.nin"]);
    place(&[1.0], [1, 1, 1, 1], "batch_norm", "batch = 8  epochs = 1").bad(
        2,
        &["train", "tiny.nin"],
        "the training part has one image",
    );
}

/// A pattern that changes nothing is a mistake, most often of who thinks that statistics are frozen by it.
#[test]
fn patterns_that_freeze_nothing_are_refused() {
    let images = [1.0, 2.0, 3.0, 4.0];
    let place = place(&images, [4, 1, 1, 1], "batch_norm", "batch = 4  steps = 2");
    let freeze = |pattern: &'static str| ["train", "tiny.nin", "--overwrite", "--freeze", pattern];
    place.bad(2, &freeze("norm.running_*"), "freezes nothing: no training step changes");
    place.bad(2, &freeze("nrom"), "fits no layer or parameter");
    place.bad(2, &freeze("*"), "leaves nothing to train");
    place.good(&freeze("norm"));
    // Patterns may mean the same parameters.
    place.good(&[&freeze("norm*")[..], &["--freeze", "*.bias"]].concat());
    let (_, said) = texts(&place.ninc(&["check", "tiny.nin"]));
    assert!(said.is_empty(), "{said}");
    let model = fs::read_to_string(place.path("tiny.nin")).expect("a model");
    fs::write(place.path("tiny.nin"), model.replace("batch_norm", "batch_norm(frozen = true)")).expect("written");
    place.bad(2, &freeze("norm"), "freezes nothing");
}
