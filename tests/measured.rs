//! `ninc train --test-every N`: the test part's numbers by epoch, of a training that is the same without them.

use crate::cli::Place;
use ninc_runtime::checkpoint::Checkpoint;
use serde_json::Value;
use std::fs;

fn lines(place: &Place, out: &str) -> Vec<Value> {
    let log = fs::read_to_string(place.path(out).join("tiny.log")).expect("a log");
    log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn testing_by_epoch_changes_no_bit_and_resumes() {
    let place = Place::new();
    let train = |out: &str, more: &[&str]| {
        place.good(&[&["train", "tiny.nin", "--out", out, "--json", "--threads", "2"], more].concat())
    };
    train("plain", &["--epochs", "4"]);
    let said = train("tested", &["--epochs", "4", "--test-every", "2"]);
    let read = |out: &str, name: &str| fs::read(place.path(out).join(name)).expect("written");
    assert!(read("plain", "tiny.safetensors") == read("tested", "tiny.safetensors"));
    let tensors = |out: &str| Checkpoint::read(&place.path(out).join("tiny.checkpoint")).expect("whole").tensors;
    assert!(tensors("plain") == tensors("tested"));
    // Without a validation part no file of the best weights is written.
    assert!(!place.path("tested/tiny.best.safetensors").exists());

    let (plain, tested) = (lines(&place, "plain"), lines(&place, "tested"));
    assert_eq!((plain.len(), tested.len()), (4, 4));
    for (i, (mut with, without)) in tested.clone().into_iter().zip(plain).enumerate() {
        let fields = with.as_object_mut().expect("an object");
        let there = ["test_loss", "test_error"].map(|key| fields.remove(key).is_some());
        assert_eq!(there, [i % 2 == 1; 2], "epoch {}", i + 1);
        assert_eq!(with, without);
    }
    // The weights after the last epoch are those that the end tests; `eval` finds the same.
    let done: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    assert!((number(&tested[3]["test_error"]) - (1.0 - number(&done["accuracy"]))).abs() < 1e-12);
    assert_eq!(tested[3]["test_loss"], done["loss"]);
    assert_eq!(serde_json::from_str::<Value>(said.lines().nth(3).expect("an epoch")).expect("JSON"), tested[3]);
    train("half", &["--epochs", "2", "--test-every", "2"]);
    let half = place.good(&["eval", "tiny.nin", "--weights", "half/tiny.safetensors", "--json"]);
    let half: Value = serde_json::from_str(&half).expect("JSON");
    assert!((number(&tested[1]["test_error"]) - (1.0 - number(&half["accuracy"]))).abs() < 1e-12);

    train("half", &["--epochs", "4", "--test-every", "2", "--resume"]);
    assert!(read("half", "tiny.log") == read("tested", "tiny.log"));
    assert!(read("half", "tiny.safetensors") == read("tested", "tiny.safetensors"));

    // Beside the training's in the report, on the same axes, and for TensorBoard.
    let page = String::from_utf8(read("tested", "tiny.report.html")).expect("text");
    let chart = page.split("<svg").find(|svg| svg.contains(">error, %<")).expect("a chart of errors");
    assert_eq!((chart.matches("<polyline").count(), chart.matches(">test<").count()), (2, 1));
    let events = read("tested", "tensorboard/tiny/events.out.tfevents.ninc");
    let count = |tag: &[u8]| events.windows(tag.len()).filter(|bytes| *bytes == tag).count();
    assert_eq!([b"epoch/test_error", &b"epoch/test_loss"[..], b"epoch/accuracy"].map(count), [2, 2, 4]);
}

#[test]
fn what_is_tested_is_what_would_be_kept() {
    let place = Place::new();
    let text = fs::read_to_string(place.path("tiny.nin")).expect("there");
    // An average of the weights is what is kept; a validation part is measured beside.
    let text = text.replace("batch = 50", "batch = 50 average = 0.9").replace("[shift(1)]", "[] valid = 0.2");
    fs::write(place.path("tiny.nin"), text).expect("written");
    let said = place.ninc(&["train", "tiny.nin", "--test-every", "1", "--epochs", "1.5", "--threads", "2"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let lines = lines(&place, "out");
    // A part of an epoch is not one.
    assert_eq!(lines.iter().map(|line| line["test_error"].is_number()).collect::<Vec<_>>(), [true, false]);
    assert!(lines[0]["valid_accuracy"].is_number());
    let best = place.good(&["eval", "tiny.nin", "--weights", "out/tiny.best.safetensors", "--json"]);
    let best: Value = serde_json::from_str(&best).expect("JSON");
    assert!((number(&lines[0]["test_error"]) - (1.0 - number(&best["accuracy"]))).abs() < 1e-12);
    let shown =
        format!("test loss {:.4}  error {:.2} %", number(&best["loss"]), number(&lines[0]["test_error"]) * 100.0);
    assert!(said.contains(&shown), "{shown}: {said}");
    place.bad(2, &["train", "tiny.nin", "--test-every", "0"], "--test-every");
}

#[test]
fn a_rate_is_found_and_nothing_is_touched() {
    let place = Place::new();
    let train = ["train", "tiny.nin", "--threads", "2", "--out", "out"];
    place.good(&[&train[..], &["--steps", "5"]].concat());
    let read = |name: &str| fs::read(place.path("out").join(name)).expect("there");
    let files = ["tiny.safetensors", "tiny.checkpoint", "tiny.log", "tiny.report.html"];
    let before = files.map(read);
    let said = place.good(&[&train[..], &["--find-rate", "--steps", "60"]].concat());
    assert!(said.starts_with("suggested rate ") && said.contains("is least"), "{said}");
    assert!(files.map(read) == before);

    let csv = String::from_utf8(read("tiny.rates.csv")).expect("text");
    let rows: Vec<Vec<f64>> =
        csv.lines().skip(1).map(|row| row.split(',').map(|n| n.parse().expect("a number")).collect()).collect();
    assert!((rows[0][0] - 1e-5).abs() < 1e-12 && rows.len() > 30, "{csv}");
    // A constant factor from step to step; so little at first that the first loss is that of a training.
    let factor = 1e6f64.powf(1.0 / 59.0);
    assert!(rows.windows(2).all(|w| (w[1][0] / w[0][0] - factor).abs() < 1e-9), "{csv}");
    let log = ["train", "tiny.nin", "--threads", "2", "--steps", "1", "--out", "first"];
    place.good(&log);
    assert!((rows[0][1] - number(&lines(&place, "first")[0]["loss"])).abs() < 1e-6);
    // The suggestion lies where the loss falls: below its least, above where nothing happens.
    let json: Value = {
        let said = place.good(&[&train[..], &["--find-rate=1e-4,5", "--json", "--epochs", "2"]].concat());
        serde_json::from_str(&said).expect("JSON")
    };
    let (rate, least) = (number(&json["rate"]), number(&json["least"]));
    assert!(1e-3 < rate && rate < least && least <= 5.0, "{json}");
    let page = String::from_utf8(read("tiny.rates.html")).expect("text");
    assert!(
        page.contains("loss by rate") && page.matches("<polyline").count() == 3 && page.contains(">1e-3<"),
        "{page}"
    );
    for wrong in ["--find-rate=1", "--find-rate=1,0.1", "--find-rate=-1,1", "--find-rate=a,b"] {
        place.bad(2, &[&train[..], &[wrong]].concat(), "two rates");
    }
    place.bad(2, &[&train[..], &["--find-rate", "--resume"]].concat(), "--resume");
    // A range that ends too soon, with the same words and the same exit code for people and for programs.
    for more in [&[][..], &["--json"]] {
        place.bad_or_said(
            2,
            &[&train[..], &["--find-rate=1e-5,1e-3", "--epochs", "2"], more].concat(),
            "larger rates may be better",
        );
    }
    place.bad_or_said(1, &[&train[..], &["--find-rate", "--steps", "1"]].concat(), "one step");
}
