//! Batch normalisation folded into the weights of a network without it.

use serde_json::Value;
use std::fs;
use std::process::{Command, Output};

const TRAINED: &str =
    "conv(channels = 8, kernel = 3, pad = 1, bias = false) |> batch_norm |> relu |> max_pool(kernel = 2, stride = 2)
    |> dropout(0.1) |> conv(channels = 10, kernel = 3) |> batch_norm |> relu |> global_avg_pool";
/// The factor 0.6 of its dropout at inference must come out of the second layer's weights.
const PLAIN: &str = "conv(channels = 8, kernel = 3, pad = 1) as first |> relu |> max_pool(kernel = 2, stride = 2)
    |> dropout(0.4, inverted = false) |> conv(channels = 10, kernel = 3) as second |> relu |> global_avg_pool";

struct Place(tempfile::TempDir);

impl Place {
    fn new(trained: &str, plain: &str) -> Place {
        let place = Place(tempfile::tempdir().expect("a folder for temporary files"));
        for (name, layers) in [("trained", trained), ("plain", plain)] {
            let text = format!(
                "network {name} {{ input image: [1, 8, 8]  image |> {layers} |> softmax }}
                 data {{ source = digits  prepare = [mean_std] }}
                 train {{ optimizer = sgd(rate = 0.1, momentum = 0.9)  batch = 32  steps = 60  seed = 1 }}"
            );
            fs::write(place.0.path().join(format!("{name}.nin")), text).expect("written");
        }
        place
    }

    fn ninc(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ninc")).args(args).current_dir(self.0.path()).output().expect("ninc runs")
    }

    fn done(&self, args: &[&str]) -> String {
        let output = self.ninc(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn fold(&self) -> Output {
        self.ninc(&["fold", "trained.nin", "--into", "plain.nin", "--out", "plain.safetensors"])
    }
}

#[test]
fn folded_weights_judge_as_the_trained_network_does() {
    let place = Place::new(TRAINED, PLAIN);
    place.done(&["train", "trained.nin"]);
    let output = place.fold();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let evaluate =
        |model: &str| -> Value { serde_json::from_str(place.done(&["eval", model, "--json"]).trim()).expect("JSON") };
    let (before, after) = (evaluate("trained.nin"), evaluate("plain.nin"));
    assert_eq!(before["accuracy"], after["accuracy"]);
    let loss = |value: &Value| value["loss"].as_f64().expect("a number");
    assert!((loss(&before) - loss(&after)).abs() < 1e-5, "{before} {after}");
    // A training goes on from them too.
    place.done(&["train", "plain.nin", "--weights", "plain.safetensors", "--steps", "1", "--out", "more"]);
}

#[test]
fn what_is_not_the_same_network_is_refused_with_the_place() {
    let cases = [
        // Another layer.
        (PLAIN.replace("max_pool", "avg_pool"), "avg_pool"),
        // One layer more, one layer fewer.
        (PLAIN.replace("|> global_avg_pool", "|> tanh |> global_avg_pool"), "tanh"),
        (PLAIN.replace("|> relu |> global_avg_pool", "|> global_avg_pool"), "global_avg_pool"),
        // Nowhere to put what the normalisation adds.
        (PLAIN.replace("pad = 1)", "pad = 1, bias = false)"), "no bias"),
        // Normalises itself.
        (TRAINED.into(), "computes some of its weights itself"),
    ];
    for (plain, said) in cases {
        let place = Place::new(TRAINED, &plain);
        place.done(&["train", "trained.nin", "--steps", "1"]);
        let output = place.fold();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{plain}: {err}");
        assert!(err.contains(said) && err.contains("help"), "{plain}: {err}");
        assert!(!place.0.path().join("plain.safetensors").exists(), "{plain}");
    }
}
