//! Fine-tuning of networks that came in: `--weights` takes the file, whose exporter may have folded normalisations.

use super::own;
use crate::cli::Place;
use std::fs;

/// The network of `small.onnx` with other last layers, and pictures to train it with.
fn written(place: &Place, last: &str) {
    let cat = format!("{}/tests/data/cat.png", env!("CARGO_MANIFEST_DIR"));
    let kinds = [("train", "a"), ("train", "b"), ("train", "c"), ("train", "d"), ("test", "a"), ("test", "b")];
    for (part, class) in kinds {
        fs::create_dir_all(place.path("pictures").join(part).join(class)).expect("made");
        fs::copy(&cat, place.path("pictures").join(part).join(class).join("cat.png")).expect("copied");
    }
    let text = format!(
        "network net {{ input x: [3, 8, 8]
            x |> mlpconv(kernel = 3, pad = 1, channels = [6, 5]) as features_0 |> max_pool(kernel = 2) |> global_avg_pool
                {last} |> softmax }}
        data {{ source = folder(\"pictures\", resize = \"crop\")  prepare = [scale(1/255)] }}
        train {{ optimizer = sgd(rate = 0.01)  batch = 4  steps = 2 }}"
    );
    fs::write(place.path("net.nin"), text).expect("written");
}

/// A normalisation behind numbers that hold it already would be done twice.
#[test]
fn a_normalisation_that_was_folded_is_said() {
    let place = Place::new();
    let (file, image) = (own("small.onnx"), own("small.in.npy"));
    written(&place, "|> linear(features = 4) as fc |> batch_norm as norm");
    let says = format!("{file} has nothing for `norm`: its exporter folded the normalisation into `fc.weight`");
    place.bad_or_said(1, &["train", "net.nin", "--weights", &file], &says);
    assert!(!place.path("out").exists());
    let folded = "its exporter folded the normalisation into the weights of the layer in front of it";
    place.bad_or_said(1, &["run", "net.nin", &image, "--raw", "--weights", &file], folded);
    place.bad_or_said(1, &["export", "net.nin", "--weights", &file, "-o", "net.onnx"], folded);
    // The way out that it names.
    place.good(&["import", &file, "-o", "small.nin"]);
    place.good(&["train", "net.nin", "--weights", "small.safetensors"]);
}

/// Behind a new layer a normalisation is new as well.
#[test]
fn new_layers_may_normalise() {
    let place = Place::new();
    let file = own("small.onnx");
    written(&place, "|> linear(features = 9) as head |> batch_norm as norm |> relu |> linear(features = 4) as last");
    place.good(&["train", "net.nin", "--weights", &file, "--freeze", "features_0*"]);
    // A layer of the file's name and of another shape starts anew, too.
    written(&place, "|> linear(features = 9) as fc |> batch_norm as norm |> relu |> linear(features = 4) as last");
    place.good(&["train", "net.nin", "--weights", &file, "--freeze", "features_0*", "--out", "other"]);
}
