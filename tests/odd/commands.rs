//! The odd arrays, and all odd inputs through the commands.

use super::{echo, echoed, folder, rows, text};
use ninc_runtime::Error;
use ninc_runtime::data;
use ninc_runtime::spec::{DataSpec, Pictures, Source};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn numbers(row: &Value, key: &str) -> Option<Vec<f64>> {
    row[key].as_array().map(|list| list.iter().flat_map(Value::as_f64).collect())
}

#[test]
fn arrays_give_what_the_table_says() {
    let place = tempfile::tempdir().expect("a folder");
    let scale = r#"[{"scale":{"factor":0.00392156862745098}}]"#;
    let set = [("prepare", scale), ("image", "[1, 2, 2]"), ("range", r#"{"low":0.0,"high":255.0}"#)];
    echo(place.path(), "[1, 2, 2]", "", &set);
    let (mut good, mut expected) = (vec![], vec![]);
    let arrays = rows(&[".npy"]);
    assert!(arrays.len() >= 24, "{}", arrays.len());
    for (path, row) in &arrays {
        match numbers(row, "prepared") {
            Some(values) => {
                good.push(path.as_str());
                expected.extend(values);
            }
            None => {
                let error = echoed(place.path(), &[path]).expect_err(path);
                assert!(error.contains(text(row, "error")) && error.contains(text(row, "file")), "{path}: {error}");
            }
        }
    }
    let got = echoed(place.path(), &good).expect("all are right");
    assert_eq!(got.len(), expected.len());
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert!((f64::from(*got) - expected).abs() < 1e-6, "number {i} is {got}, not {expected}");
    }
}

#[test]
fn archives_give_what_the_table_says() {
    let spec = DataSpec::of(Source::Npz);
    let archives = rows(&[".npz"]);
    assert!(archives.len() >= 18, "{}", archives.len());
    for (path, row) in &archives {
        let read = data::load(&spec, Some(Path::new(path)), &[1, 2, 2]).and_then(|sets| {
            sets.train.check("training", &[1, 2, 2], 3)?;
            sets.test.check("test", &[1, 2, 2], 3)?;
            Ok(sets.train.labels.iter().map(|&l| f64::from(l)).collect::<Vec<f64>>())
        });
        match (read, numbers(row, "labels")) {
            (Ok(found), Some(labels)) => assert_eq!(found, labels, "{path}"),
            (Err(Error { message, help }), None) => {
                let said = format!("{message} {}", help.unwrap_or_default());
                assert!(said.contains(text(row, "error")), "{path}: {said}");
            }
            (Ok(_), None) => panic!("{path} is read"),
            (Err(e), Some(_)) => panic!("{path}: {e}"),
        }
    }
}

/// Runs a command that must succeed, and gives what it prints.
fn ninc(place: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_ninc")).args(args).current_dir(place).output().expect("ninc runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(String::from_utf8_lossy(&output.stdout).into_owned()) } else { Err(errors) }
}

/// Training on all good pictures, testing on them, and classifying each: one meaning, so the same right answers. A
/// broken one among them is named by each command.
#[test]
fn the_commands_agree_on_pictures() {
    let place = tempfile::tempdir().expect("a folder");
    let model = "network odd { input image: [1, 6, 6]  image |> flatten |> linear(features = 2) |> softmax }
data { source = folder(\"set\", resize = \"crop\")  prepare = [scale] }
train { optimizer = sgd(rate = 0.1)  batch = 8  epochs = 2 }";
    fs::write(place.path().join("odd.nin"), model).expect("written");
    let mut pictures: Vec<(PathBuf, &str)> = vec![];
    for (i, (from, row)) in rows(&["png", "jpg", "jpeg", "bmp"]).into_iter().enumerate() {
        if row["values"].is_array() {
            let class = ["light", "dark"][i % 2];
            let to = Path::new("set").join(class).join(text(&row, "file"));
            fs::create_dir_all(place.path().join("set").join(class)).expect("made");
            fs::copy(from, place.path().join(&to)).expect("copied");
            pictures.push((to, class));
        }
    }
    ninc(place.path(), &["train", "odd.nin", "--out", "."]).expect("trains");
    let all = ninc(place.path(), &["eval", "odd.nin", "--part", "all", "--json"]).expect("tests");
    let all: Value = serde_json::from_str(&all).expect("JSON");
    let paths: Vec<&str> = pictures.iter().flat_map(|(path, _)| path.to_str()).collect();
    let lines = ninc(place.path(), &[&["run", "odd.nin", "--json"][..], &paths].concat()).expect("classifies");
    let answers: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), pictures.len());
    let right = answers.iter().zip(&pictures).filter(|(answer, (_, class))| answer["top"][0]["name"] == *class).count();
    assert_eq!(all["count"], pictures.len());
    let accuracy = all["accuracy"].as_f64().expect("a number");
    assert_eq!((accuracy * pictures.len() as f64).round(), right as f64);

    for name in ["cut-progressive.jpg", "flipped.png"] {
        let to = place.path().join("set/dark").join(name);
        fs::copy(folder().join(name), &to).expect("copied");
        let shown = to.to_str().expect("a plain path");
        for args in [
            &["eval", "odd.nin", "--part", "all"][..],
            &["train", "odd.nin", "--out", "again"],
            &["run", "odd.nin", shown],
        ] {
            let error = ninc(place.path(), args).expect_err(name);
            assert!(error.contains(&format!("dark/{name}")), "{args:?}: {error}");
        }
        fs::remove_file(to).expect("removed");
        let _ = fs::remove_dir_all(place.path().join("again"));
    }
}

/// A picture that is kept from an earlier reading is read again when its file has changed, and missed when it is gone.
#[test]
fn kept_pictures_are_those_of_their_files() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("p.png");
    let read = |level: u8| {
        let mut image = [0; 4];
        ninc_runtime::image::kept::copy(&path, [1, 2, 2], &Pictures::default(), &mut image).expect("reads");
        assert_eq!(image, [level; 4]);
    };
    for (size, level) in [(2, 10), (3, 200), (4, 30)] {
        image::GrayImage::from_pixel(size, size, image::Luma([level])).save(&path).expect("saved");
        read(level);
        read(level);
    }
    // Read in another way, it is another picture.
    let clear = Pictures { background: [0; 3], ..Pictures::default() };
    image::GrayAlphaImage::from_pixel(2, 2, image::LumaA([9, 0])).save(&path).expect("saved");
    read(255);
    let mut image = [9; 4];
    ninc_runtime::image::kept::copy(&path, [1, 2, 2], &clear, &mut image).expect("reads");
    assert_eq!(image, [0; 4]);
    fs::remove_file(&path).expect("removed");
    assert!(ninc_runtime::image::kept::copy(&path, [1, 2, 2], &clear, &mut image).is_err());
}
