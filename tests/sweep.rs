//! `ninc sweep`: tables that do not depend on how the trainings were made, and what ends one without losing the others.

use crate::cli::{Place, texts};
use ninc_runtime::checkpoint::Checkpoint;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The tables, and the weights of all trainings, in the order of their names.
fn files(place: &Place, out: &str) -> Vec<(String, Vec<u8>)> {
    let mut runs: Vec<PathBuf> =
        fs::read_dir(place.path(out).join("runs")).expect("runs").map(|run| run.expect("an entry").path()).collect();
    runs.sort();
    let tables = ["sweep.csv", "sweep.md", "sweep.html"].map(|name| place.path(out).join(name));
    let own = ["tiny.safetensors", "tiny.log", "result.json"];
    let all = tables.into_iter().chain(runs.iter().flat_map(|run| own.map(|name| run.join(name))));
    let name = |path: &PathBuf| path.strip_prefix(place.path(out)).expect("within").display().to_string();
    all.map(|path| (name(&path), fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))).collect()
}

fn same(place: &Place, one: &str, other: &str) {
    let (one, other) = (files(place, one), files(place, other));
    assert_eq!(one.len(), other.len());
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        assert!(one == other, "{name} differs");
    }
}

const VARIED: [&str; 8] = ["sweep", "tiny.nin", "--vary", "width=4,8", "--seeds", "2", "--steps", "40"];

fn sweep<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&VARIED[..], &["--test-every", "1", "--checkpoint-every", "5", "--out", out], more].concat()
}

#[test]
fn a_table_has_mean_deviation_and_best_of_what_train_gives() {
    let place = Place::new();
    let said = place.good(&sweep("s", &["--json", "--threads", "2"]));
    let rows: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 2);
    // The recipe's seed is 3.
    let mut errors = vec![];
    for seed in ["3", "4"] {
        let one = ["train", "tiny.nin", "--set=width=4", "--seed", seed, "--steps", "40", "--out", "one", "--json"];
        let said = place.good(&[&one[..], &["--overwrite"]].concat());
        let done: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
        errors.push(1.0 - done["accuracy"].as_f64().expect("a number"));
    }
    let csv = fs::read_to_string(place.path("s/sweep.csv")).expect("written");
    let table: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(table[0][..5], ["width", "trainings", "error_mean", "error_deviation", "error_best"]);
    for (row, (pair, given)) in table[1..].iter().zip(errors.chunks(2).zip(&rows)) {
        // Of two numbers the deviation is their distance over the root of 2.
        let mean = (pair[0] + pair[1]) / 2.0;
        let deviation = (pair[0] - pair[1]).abs() / 2f64.sqrt();
        let right = [mean, deviation, pair[0].min(pair[1])];
        for (cell, right) in row[2..5].iter().zip(right) {
            assert!((cell.parse::<f64>().expect("a number") - right).abs() < 1e-6, "{row:?}: {right}");
        }
        assert!((given["error_mean"].as_f64().expect("a number") - mean).abs() < 1e-12);
    }
    assert_eq!((table[1][0], table[2][0], table[1][1]), ("4", "8", "2"));
    let markdown = fs::read_to_string(place.path("s/sweep.md")).expect("written");
    assert!(markdown.starts_with("| width | trainings | mean error, % | deviation | best | mean loss |\n| --- |"));
    let page = fs::read_to_string(place.path("s/sweep.html")).expect("written");
    // One line a training in each of three charts (the test error has a single epoch), and a key in front of each row.
    assert_eq!(
        (page.matches("<polyline class=\"s0 d0\"").count(), page.matches("<svg class=\"sample\"").count()),
        (5, 2)
    );
    assert_eq!(page.matches("<circle").count(), 4);
    for word in ["<script", "http:", "https:", "<link", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
    // Done is done: the same line trains nothing more, and several at once make the same.
    let before = files(&place, "s");
    place.good(&sweep("s", &["--jobs", "2"]));
    assert!(files(&place, "s") == before);
    place.good(&sweep("both", &["--jobs", "2", "--threads", "3"]));
    same(&place, "s", "both");
    // Other options would make another table.
    for (other, says) in [
        (&["--epochs", "3"][..], "cannot be used with"),
        (&["--freeze", "conv1"], "--freeze was not given and is `conv1`"),
        (&["--batch", "20"], "--batch was not given and is `20`"),
        (&["--set", "classes=10"], "parameter"),
        (&["--isa", "portable"], "--isa was `auto` and is `portable`"),
        (&["--vary", "width=4"], "twice"),
    ] {
        let output = place.ninc(&sweep("s", other));
        let said = texts(&output).1;
        assert!(!output.status.success() && said.contains(says), "{other:?}: {said}");
    }
    fs::write(place.path("tiny.nin"), fs::read_to_string(place.path("tiny.nin")).expect("there") + "\n")
        .expect("written");
    place.bad(1, &sweep("s", &[]), "the text of tiny.nin");
    assert!(files(&place, "s") == before);
}

/// Starts a sweep and ends it by a signal once the second training has said this many epochs.
fn end_within(place: &Place, arguments: &[&str], signal: i32) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
    command.args(arguments).current_dir(place.path("")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ninc starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    for line in lines.map_while(Result::ok) {
        if line.contains("seed=4: epoch 1 ") {
            Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().expect("kill runs");
        }
    }
    child.wait().expect("it ends").code()
}

#[cfg(unix)]
#[test]
fn a_sweep_that_was_ended_goes_on_to_the_same_bytes() {
    let place = Place::new();
    let long = |out| {
        let mut all = sweep(out, &["-v", "--threads", "2"]);
        (all[3], all[7], all[11]) = ("width=4", "300", "20");
        all
    };
    place.good(&long("whole"));
    assert_eq!(end_within(&place, &long("killed"), 9), None);
    // It was within the second training, which has a checkpoint and no result.
    let second = place.path("killed/runs/002-tiny-width=4-seed=4");
    let step = Checkpoint::read(&second.join("tiny.checkpoint")).expect("whole").cursor.step;
    assert!((1..300).contains(&step) && !second.join("result.json").exists(), "{step}");
    place.good(&long("killed"));
    same(&place, "whole", "killed");
    assert_eq!(end_within(&place, &long("stopped"), 2), Some(130));
    let table = fs::read_to_string(place.path("stopped/sweep.md")).expect("what there is");
    assert!(table.contains("| 4 | 1 of 2 |"), "{table}");
    place.good(&long("stopped"));
    same(&place, "whole", "stopped");
}

#[test]
fn a_training_that_fails_does_not_take_the_others_along() {
    let place = Place::new();
    let text = fs::read_to_string(place.path("tiny.nin")).expect("there");
    let text = text.replace("tiny(width = 8)", "tiny(width = 8, rate = 0.1, steps = [1, 2])");
    let text =
        text.replace("rate = 0.2", "rate = rate").replace("batch = 50", "batch = 50 schedule = steps(at = steps)");
    fs::write(place.path("tiny.nin"), text).expect("written");
    fs::create_dir(place.path("data")).expect("made");
    // Parameters reach the recipe; commas in lists do not separate; a rate like this diverges.
    let all =
        ["sweep", "tiny.nin", "--vary", "rate=0.1,1e30", "--vary", "steps=[1, 2],[5,6]", "--steps", "30", "--out"];
    let output = place.ninc(&[&all[..], &["s", "--jobs", "2"]].concat());
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("rate=1e30 steps=[1, 2] seed=3: ") && err.contains("2 of 4 trainings failed"), "{err}");
    assert!(!err.contains("panicked"), "{err}");
    let csv = fs::read_to_string(place.path("s/sweep.csv")).expect("written");
    let rows: Vec<&str> = csv.lines().collect();
    assert!(rows[1].starts_with("0.1,\"[1, 2]\",1,0.") && rows[2].starts_with("0.1,\"[5,6]\",1,0."), "{csv}");
    assert_eq!(rows[3..], ["1e30,\"[1, 2]\",0,,,,,", "1e30,\"[5,6]\",0,,,,,"]);
    assert!(out.contains("1e30") && out.contains("0 of 1"), "{out}");
    // What is wrong with any combination is said before the first training.
    place.bad(1, &["sweep", "tiny.nin", "--vary", "width=4,many", "--out", "t"], "many");
    place.bad(1, &["sweep", "tiny.nin", "--vary", "depth=4", "--out", "t"], "depth");
    place.bad(2, &["sweep", "tiny.nin", "--vary", "width=4", "--set", "width=5", "--out", "t"], "--vary and by --set");
    place.bad(2, &["sweep", "tiny.nin", "--out", "t", "--emit", "graph"], "`ninc sweep` does nothing with --emit");
    assert!(!place.path("t").exists());
    // A folder of something else is not written to.
    fs::write(place.path("data/mine.txt"), "mine").expect("written");
    place.bad(1, &["sweep", "tiny.nin", "--steps", "2", "--out", "data"], "holds files, but no sweep");
    // Several files have a column of their own.
    fs::copy(place.path("tiny.nin"), place.path("other.nin")).expect("copied");
    let said = place.good(&["sweep", "tiny.nin", "other.nin", "--steps", "2", "--out", "two"]);
    assert!(said.starts_with("file") && said.contains("\nother.nin"), "{said}");
}

/// One table is of one data set; a line that nothing came of may be put right; a lost log costs curves alone.
#[test]
fn a_sweep_is_of_one_data_set() {
    let place = Place::new();
    let text = fs::read_to_string(place.path("tiny.nin")).expect("there");
    let (start, end) = (text.find("data {").expect("data"), text.find("train {").expect("train"));
    let data = "data { source = folder(\"photos\")  prepare = [scale] }\n";
    let network = text[..start].replace("10", "2");
    let train = text[end..].replace("batch = 50", "batch = 4");
    fs::write(place.path("tiny.nin"), format!("{network}{data}{train}")).expect("written");
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let copy = |from: &str, to: String| _ = fs::copy(pictures.join(from), place.path(&to)).expect("copied");
    for (class, from) in [("cat", "cat.png"), ("ship", "ship.png")] {
        fs::create_dir_all(place.path("photos").join(class)).expect("made");
        (0..20).for_each(|i| copy(from, format!("photos/{class}/{i}.png")));
    }
    let sweep = ["sweep", "tiny.nin", "--seeds", "2", "--steps", "4", "--threads", "1", "--out", "s"];
    place.bad(1, &[&sweep[..], &["--data", "phots"]].concat(), "phots");
    assert!(!place.path("s").exists());
    fs::create_dir(place.path("empty")).expect("made");
    place.bad_or_said(1, &[&sweep[..], &["--data", "empty"]].concat(), "2 of 2 trainings failed");
    place.good(&sweep);
    let folders = || {
        let runs = fs::read_dir(place.path("s/runs")).expect("runs").map(|run| run.expect("an entry").path());
        let mut runs: Vec<PathBuf> = runs.collect();
        runs.sort();
        runs
    };
    let results = || folders().iter().map(|run| fs::read(run.join("result.json")).ok()).collect::<Vec<_>>();
    let whole = results();
    assert!(whole.len() == 2 && whole.iter().all(Option::is_some));
    place.bad(1, &[&sweep[..], &["--batch", "5"]].concat(), "began with other options");

    fs::remove_file(folders()[0].join("tiny.log")).expect("removed");
    assert!(texts(&place.ninc(&sweep)).1.contains("has no curves in the report"));

    fs::remove_dir_all(&folders()[1]).expect("removed");
    copy("horse.png", "photos/cat/3.png".into());
    place.bad_or_said(1, &sweep, "the data have changed since the training tiny.nin seed=3");
    assert_eq!(results().get(1).cloned().flatten(), None);
    copy("cat.png", "photos/cat/3.png".into());
    place.good(&sweep);
    assert_eq!(results(), whole);
}

/// The commands of `models/paper/README.md` name files and parameters that are there, in every arm.
#[test]
fn the_papers_sweeps_can_be_begun() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("models/paper/README.md")).expect("there");
    let place = Place::new();
    let mut arms = 0;
    for block in page.split("```sh\n").skip(1) {
        let command = block.split("```").next().expect("the block").replace("\\\n", " ");
        let words: Vec<&str> = command.split_whitespace().skip(2).collect();
        let after = |option: &str| words.windows(2).filter(|w| w[0] == option).map(|w| w[1]).collect::<Vec<_>>();
        let set: Vec<String> = after("--set").iter().map(|set| format!("--set={set}")).collect();
        let (name, values) = after("--vary").first().and_then(|v| v.split_once('=')).unwrap_or(("classes", ""));
        for file in words.iter().filter(|word| word.ends_with(".nin")) {
            let file = root.join(file).display().to_string();
            place.good(&["fmt", "--check", &file]);
            for value in values.split(',') {
                let own = (!value.is_empty()).then(|| format!("--set={name}={value}"));
                let all = [&["check", &file][..], &set.iter().chain(&own).map(String::as_str).collect::<Vec<_>>()];
                place.good(&all.concat());
                arms += 1;
            }
        }
    }
    assert_eq!(arms, 10);
}
