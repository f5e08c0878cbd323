//! The odd weights through the commands.

use super::{folder, rows, text};
use ninc_runtime::{Tensor, npy};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// The network that the odd weights are for.
pub const MODEL: &str = "network w { input image: [1, 2, 2]  image |> flatten |> linear(features = 3) |> softmax }
data { source = npz(\"d.npz\") }
train { optimizer = sgd(rate = 0.1)  batch = 4  steps = 1 }";

/// The image whose scores the table has.
pub const IMAGE: [f32; 4] = [0.0, 1.0, 2.0, -1.0];

/// Are these the scores of the row?
pub fn compare(scores: &[f32], row: &Value) {
    let expected: Vec<f64> = row["scores"].as_array().expect("scores").iter().flat_map(Value::as_f64).collect();
    assert_eq!(scores.len(), expected.len());
    for (score, expected) in scores.iter().zip(expected) {
        assert!((f64::from(*score) - expected).abs() < 1e-6, "{}: {score} {expected}", text(row, "file"));
    }
}

/// A folder with the model, the image, and images to test and to train with.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a folder");
    fs::write(place.path().join("w.nin"), MODEL).expect("written");
    let image = Tensor::new(&[1, 1, 2, 2], IMAGE.to_vec()).expect("fits");
    fs::write(place.path().join("x.npy"), npy::to_bytes(&image)).expect("written");
    fs::copy(folder().join("packed.npz"), place.path().join("d.npz")).expect("copied");
    place
}

/// Exit code, stdout and stderr of a command with a row's weights and arguments.
fn ninc(place: &Path, command: &str, (path, row): &(String, Value), more: &[&str]) -> (Option<i32>, String, String) {
    let arguments = row["arguments"].as_array().into_iter().flatten().flat_map(|a| a.as_str());
    let output = Command::new(env!("CARGO_BIN_EXE_ninc"))
        .args([command, "w.nin", "--weights", path])
        .args(arguments)
        .args(more)
        .current_dir(place)
        .env("XDG_CACHE_HOME", place)
        .output()
        .expect("ninc runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn refused(row: &(String, Value), (code, out, err): (Option<i32>, String, String)) {
    let said = err.contains(text(&row.1, "error")) && err.contains(text(&row.1, "file")) && err.contains("help: ");
    assert!(said && out.is_empty() && matches!(code, Some(1 | 2)), "{}: {code:?} {out}{err}", row.0);
}

#[test]
fn run_gives_what_the_table_says_of_weights() {
    let place = place();
    let rows = rows(&[".safetensors"]);
    assert!(rows.len() >= 28, "{}", rows.len());
    for row in &rows {
        let result = ninc(place.path(), "run", row, &["--raw", "x.npy", "--output", "r.npy"]);
        match row.1["scores"].is_array() {
            true => {
                assert_eq!(result.0, Some(0), "{}: {}", row.0, result.2);
                compare(&npy::read(&place.path().join("r.npy")).expect("an array").data, &row.1);
            }
            false => refused(row, result),
        }
    }
}

#[test]
fn eval_and_train_agree_with_run_about_weights() {
    let place = place();
    // Fine-tuning takes what fits, and says what does not.
    let partly = [
        ("fewer", "initialised: not in the file"),
        ("more", "skipped: not in the network"),
        ("turned", "initialised: the file's has the shape [4, 3]"),
        ("integers", "initialised: the file's is of I32"),
    ];
    let mut evaluated = vec![];
    for row in &rows(&[".safetensors"]) {
        let eval = ninc(place.path(), "eval", row, &["--json"]);
        let train = ninc(place.path(), "train", row, &["--out", "o", "--overwrite"]);
        if row.1["scores"].is_array() {
            assert_eq!((eval.0, train.0), (Some(0), Some(0)), "{}: {}{}", row.0, eval.2, train.2);
            evaluated.push(eval.1);
            continue;
        }
        refused(row, eval);
        match partly.iter().find(|(name, _)| text(&row.1, "file").starts_with(name)) {
            Some((_, note)) => assert!(train.0 == Some(0) && train.2.contains(note), "{}: {}", row.0, train.2),
            None => refused(row, train),
        }
    }
    assert!(evaluated.len() >= 9 && evaluated.iter().all(|one| *one == evaluated[0]), "{evaluated:?}");
}
