//! Classes go by name, through the command line. The networks are made by hand: an output is the mean of one channel,
//! so that the right class of every picture is known without training.

use crate::support::files::{npy_bytes, zip_bytes};
use ninc_runtime::Tensor;
use ninc_runtime::checkpoint::Checkpoint;
use ninc_runtime::store::System;
use ninc_runtime::weights::Weights;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

const MODEL: &str = "network colours(classes = 3) {
    input image: [3, 4, 4]

    image |> global_avg_pool |> linear(features = classes) as mean |> softmax
}

data {
    source      = folder
    prepare     = [scale]
    allow_empty = false
}

train {
    optimizer = sgd(rate = 1e-6)
    batch     = 4
    steps     = 1
}
";

struct Place {
    folder: TempDir,
}

impl Place {
    /// A place with the model, and weights whose outputs 0, 1 and 2 are the means of red, green and blue.
    fn new(classes: &[&str]) -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder for temporary files") };
        fs::write(place.path("m.nin"), MODEL).expect("written");
        place.weights(classes, &[[1, 0, 0], [0, 1, 0], [0, 0, 1]]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `w.safetensors`: a row of factors on red, green and blue for each output.
    fn weights(&self, classes: &[&str], rows: &[[i8; 3]]) {
        let factors = rows.iter().flatten().map(|&v| f32::from(v) * 20.0).collect();
        let tensors = [
            ("mean.weight".to_string(), Tensor::new(&[rows.len(), 3], factors).expect("fits")),
            ("mean.bias".to_string(), Tensor::zeros(&[rows.len()])),
        ];
        let classes = classes.iter().map(|c| c.to_string()).collect();
        let weights = Weights { model: "colours".into(), tensors: tensors.into(), classes, ..Weights::default() };
        weights.write(&self.path("w.safetensors"), &System).expect("written");
    }

    /// Writes `count` pictures of a colour.
    fn pictures(&self, folder: &str, colour: [u8; 3], count: usize) {
        fs::create_dir_all(self.path(folder)).expect("made");
        for i in 0..count {
            let picture = image::RgbImage::from_pixel(4, 4, image::Rgb(colour.map(|c| c + i as u8)));
            picture.save(self.path(folder).join(format!("{i}.png"))).expect("saved");
        }
    }

    fn ninc(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
        command.args(arguments).current_dir(self.folder.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command.output().expect("ninc starts")
    }

    /// What a command that must succeed says: results and notes.
    fn good(&self, arguments: &[&str]) -> (String, String) {
        let output = self.ninc(arguments);
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{arguments:?}: {err}");
        (out, err)
    }

    /// Runs what must be refused, saying all of `says` and giving no result.
    fn bad(&self, arguments: &[&str], says: &[&str]) {
        let output = self.ninc(arguments);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(out.is_empty() && err.contains("help: ") && !err.contains("panicked"), "{err}{out}");
        for text in says {
            assert!(err.contains(text), "{arguments:?} should say `{text}`: {err}");
        }
    }

    /// Images, accuracy and notes of an evaluation.
    fn eval(&self, arguments: &[&str]) -> (u64, f64, String) {
        let (out, err) = self.good(&[&["eval", "m.nin", "--weights", "w.safetensors", "--json"], arguments].concat());
        let value: Value = serde_json::from_str(&out).expect("JSON");
        (value["count"].as_u64().expect("a number"), value["accuracy"].as_f64().expect("a number"), err)
    }
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

const RED: [u8; 3] = [200, 10, 10];
const GREEN: [u8; 3] = [10, 200, 10];
const BLUE: [u8; 3] = [10, 10, 200];

#[test]
fn a_test_folder_without_a_class_is_tested_by_name() {
    let place = Place::new(&["ant", "bee", "cat"]);
    for (part, count) in [("d/train", 2), ("d/test", 3)] {
        place.pictures(&format!("{part}/bee"), GREEN, count);
        place.pictures(&format!("{part}/cat"), BLUE, count);
    }
    let (count, accuracy, notes) = place.eval(&["--data", "d"]);
    assert_eq!((count, accuracy), (6, 1.0));
    assert!(notes.contains("test images hold none of `ant`"), "{notes}");
    // The training part has four pictures; there is no validation part.
    assert_eq!(place.eval(&["--data", "d", "--part", "train"]).0, 4);
    let output = place.ninc(&["eval", "m.nin", "--weights", "w.safetensors", "--data", "d", "--part", "valid"]);
    assert_eq!(output.status.code(), Some(2), "{}", texts(&output).1);
    // A picture in the wrong folder is a mistake of its own.
    place.pictures("d/test/bee", BLUE, 1);
    assert_eq!(place.eval(&["--data", "d"]).1, 5.0 / 6.0);
}

#[test]
fn a_class_that_the_weights_do_not_know_is_refused() {
    let place = Place::new(&["ant", "bee", "cat"]);
    let all = [("ant", RED), ("bee", GREEN), ("cat", BLUE)];
    all.iter().for_each(|(name, colour)| place.pictures(&format!("d/{name}"), *colour, 5));
    place.pictures("d/Bees", GREEN, 5);
    let eval = ["eval", "m.nin", "--weights", "w.safetensors", "--data", "d"];
    place.bad(&eval, &["`Bees`", "w.safetensors", "ant, bee, cat", "if it is `bee`"]);
    // Without pictures it is nothing to be wrong about.
    fs::remove_dir_all(place.path("d/Bees")).expect("removed");
    fs::create_dir(place.path("d/Bees")).expect("made");
    assert_eq!(place.eval(&["--data", "d", "--part", "all"]).1, 1.0);
    // Images of any class can be compared.
    place.pictures("d/Bees", GREEN, 5);
    let compare = ["compare", "m.nin", "--weights", "w.safetensors", "--data", "d", "--device", "cpu"];
    let (_, err) = place.good(&[&compare[..], &["--device", "interp"]].concat());
    assert!(err.contains("`Bees`"), "{err}");
}

#[test]
fn of_a_flat_folder_it_is_said_which_pictures_are_tested() {
    let place = Place::new(&["ant", "bee", "cat"]);
    place.pictures("d/ant", RED, 10);
    place.pictures("d/cat", BLUE, 10);
    let (count, accuracy, notes) = place.eval(&["--data", "d"]);
    assert_eq!((count, accuracy), (4, 1.0));
    assert!(notes.contains("4 of 20 images are tested") && notes.contains("--part all"), "{notes}");
    let (count, accuracy, _) = place.eval(&["--data", "d", "--part", "all"]);
    assert_eq!((count, accuracy), (20, 1.0));
}

#[test]
fn numbers_sort_as_numbers_and_older_weights_keep_their_order() {
    let place = Place::new(&["1", "10", "2"]);
    place.pictures("d/1", RED, 5);
    place.pictures("d/2", BLUE, 5);
    place.pictures("d/10", GREEN, 5);
    assert_eq!(place.eval(&["--data", "d", "--part", "all"]).1, 1.0);
    // A new training has the classes in the order of their numbers.
    place.good(&["train", "m.nin", "--data", "d"]);
    let weights = Weights::read(&place.path("out/colours.safetensors")).expect("reads");
    assert_eq!(weights.classes, ["1", "2", "10"]);
    let checkpoint = Checkpoint::read(&place.path("out/colours.checkpoint")).expect("reads");
    assert_eq!(checkpoint.classes.expect("known"), ["1", "2", "10"]);
    place.good(&["train", "m.nin", "--data", "d", "--steps", "2", "--resume"]);
    // A class more is another training.
    place.pictures("d/11", GREEN, 5);
    place.bad(&["train", "m.nin", "--data", "d", "--steps", "3", "--resume"], &["`11`", "checkpoint", "1, 2, 10"]);
}

#[test]
fn weights_without_names_are_taken_in_order_or_not_at_all() {
    let place = Place::new(&[]);
    place.pictures("d/bee", GREEN, 5);
    place.pictures("d/cat", BLUE, 5);
    let eval = ["eval", "m.nin", "--weights", "w.safetensors", "--data", "d"];
    place.bad(&eval, &["does not name its classes", "2 (bee, cat)", "3 outputs", "a folder may be empty"]);
    fs::create_dir(place.path("d/ant")).expect("made");
    let (_, accuracy, notes) = place.eval(&["--data", "d", "--part", "all"]);
    assert!(accuracy == 1.0 && notes.contains("ant, bee, cat"), "{notes}");
}

/// The loss of the first step: about 0 where labels go to their outputs, above 3 where they are shifted.
fn first_loss(place: &Place) -> f64 {
    let log = fs::read_to_string(place.path("out/colours.log")).expect("a log");
    let line: Value = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
    line["loss"].as_f64().expect("a number")
}

#[test]
fn fine_tuning_learns_classes_where_they_are() {
    let place = Place::new(&["ant", "bee", "cat"]);
    let tune = ["train", "m.nin", "--data", "d", "--weights", "w.safetensors"];
    let classes = || Weights::read(&place.path("out/colours.safetensors")).expect("reads").classes;
    place.pictures("d/bee", GREEN, 5);
    place.pictures("d/cat", BLUE, 5);
    place.bad(&tune, &["no training images of `ant`", "allow_empty = true"]);
    assert!(!place.path("out").exists(), "nothing was begun");
    fs::write(place.path("m.nin"), MODEL.replace("allow_empty = false", "allow_empty = true")).expect("written");
    place.good(&tune);
    assert!(first_loss(&place) < 0.1, "{}", first_loss(&place));
    assert_eq!(classes(), ["ant", "bee", "cat"]);

    // A class that is new takes the place of the one that is not there any more, which is said.
    fs::remove_dir_all(place.path("out")).expect("removed");
    place.pictures("d/aaa", RED, 5);
    let (_, err) = place.good(&tune);
    assert!(err.contains("ant becomes aaa"), "{err}");
    assert!(first_loss(&place) < 0.1, "{}", first_loss(&place));
    assert_eq!(classes(), ["aaa", "bee", "cat"]);

    // With a last layer of its own the network begins with the data's classes.
    fs::remove_dir_all(place.path("out")).expect("removed");
    fs::write(place.path("m.nin"), MODEL.replace("as mean", "|> linear(features = classes)")).expect("written");
    let (_, err) = place.good(&[&tune[..], &["--rename", "mean=linear1"]].concat());
    assert!(!err.contains("becomes"), "{err}");
    assert_eq!(classes(), ["aaa", "bee", "cat"]);
}

#[test]
fn an_output_that_nothing_teaches_is_refused() {
    let place = Place::new(&[]);
    place.pictures("d/bee", GREEN, 5);
    place.pictures("d/cat", BLUE, 5);
    let train = ["train", "m.nin", "--data", "d"];
    place.bad(&train, &["3 outputs", "2 classes", "output 2", "classes=N", "allow_empty"]);
    place.good(&["train", "m.nin", "--data", "d", "--set", "classes=2"]);
    place.pictures("d/dog", RED, 5);
    place.bad(
        &["train", "m.nin", "--data", "d", "--set", "classes=2", "--overwrite"],
        &["3 classes (bee, cat, dog)", "2 outputs"],
    );
    // A folder without pictures is a class that is not taught.
    fs::create_dir(place.path("d/eel")).expect("made");
    place
        .bad(&["train", "m.nin", "--data", "d", "--set", "classes=4", "--overwrite"], &["no training images of `eel`"]);
    // Arrays: no label is 2.
    fs::write(place.path("m2.nin"), MODEL.replace("= folder", "= npz")).expect("written");
    let x = npy_bytes("|u1", "(10, 3, 4, 4)", &[0; 480]);
    let y = npy_bytes("|u1", "(10,)", &[0, 1].repeat(5));
    fs::write(place.path("d.npz"), zip_bytes(&[("x.npy", x.clone()), ("y.npy", y)])).expect("written");
    let train = ["train", "m2.nin", "--data", "d.npz", "--overwrite"];
    place.bad(&train, &["output 2 could never be learned", "from 0 to 1: give the network 2 outputs"]);
    // Numbers of classes from 1 on, of which a fifth of each is for the test: as many as outputs, and one less.
    for (labels, says) in [
        ([1, 2, 3, 1, 2, 3, 1, 2, 3, 1], ["is out of range", "3 classes, from 1 to 3: number them from 0: `y - 1`\n"]),
        ([1, 2, 1, 2, 1, 2, 1, 2, 1, 2], ["output 0 could never", "`y - 1`, and give the network 2 outputs"]),
        ([0, 2, 0, 2, 0, 2, 0, 2, 0, 2], ["output 1 could never", "number them without gaps"]),
    ] {
        let y = npy_bytes("|u1", "(10,)", &labels);
        fs::write(place.path("d.npz"), zip_bytes(&[("x.npy", x.clone()), ("y.npy", y)])).expect("written");
        place.bad(&train, &says);
    }
}

#[test]
fn names_and_outputs_fit_wherever_weights_are_used() {
    let place = Place::new(&["ant", "bee", "cat", "dog"]);
    place.pictures("d/ant", RED, 5);
    for command in [
        &["eval", "m.nin", "--data", "d"][..],
        &["run", "m.nin", "d/ant/0.png"],
        &["build", "m.nin", "-o", "lib"],
        &["compare", "m.nin", "--data", "d", "--device", "cpu", "--device", "interp"],
    ] {
        let says = ["4 classes (ant, bee, cat, dog)", "3 outputs", "classes=4"];
        place.bad(&[command, &["--weights", "w.safetensors"]].concat(), &says);
    }
    assert!(!place.path("lib").exists());
    // Outputs without a name are called by their numbers.
    place.weights(&["ant", "bee"], &[[1, 0, 0], [0, 1, 0], [0, 0, 1]]);
    place.pictures("d/blue", BLUE, 1);
    let (out, _) =
        place.good(&["run", "m.nin", "d/ant/0.png", "d/blue/0.png", "--weights", "w.safetensors", "--top", "1"]);
    let answers: Vec<&str> =
        out.lines().filter(|l| l.starts_with("  ")).map(|l| l.trim().split(' ').next().unwrap()).collect();
    assert_eq!(answers, ["ant", "2"]);
    place.good(&["build", "m.nin", "-o", "lib", "--weights", "w.safetensors"]);
    let about: Value =
        serde_json::from_str(&fs::read_to_string(place.path("lib/colours.json")).expect("written")).expect("JSON");
    assert_eq!(about["classes"], serde_json::json!(["ant", "bee", "2"]));
    place.weights(&["ant", "ant"], &[[1, 0, 0], [0, 1, 0], [0, 0, 1]]);
    let output = place.ninc(&["run", "m.nin", "d/ant/0.png", "--weights", "w.safetensors"]);
    assert!(output.status.code() == Some(1) && texts(&output).1.contains("two classes named `ant`"));
}

#[test]
fn an_evaluation_counts_each_class() {
    let place = Place::new(&["ant", "bee", "cat"]);
    place.pictures("d/test/ant", RED, 2);
    place.pictures("d/test/bee", GREEN, 3);
    // A picture that is taken for a cat, of which there is none; as red as it is green, bees come second.
    image::RgbImage::from_pixel(4, 4, image::Rgb([50, 50, 90])).save(place.path("d/test/bee/2.png")).expect("saved");
    let eval = ["eval", "m.nin", "--weights", "w.safetensors", "--data", "d", "--top", "2"];
    let (out, _) = place.good(&[&eval[..], &["--json"]].concat());
    let value: Value = serde_json::from_str(&out).expect("JSON");
    // By hand. Of equal scores the first class comes first: red before green.
    assert_eq!(value["confusion"], serde_json::json!([[2, 0, 0], [0, 2, 1], [0, 0, 0]]));
    assert_eq!((value["accuracy"].as_f64(), value["top"]["accuracy"].as_f64()), (Some(0.8), Some(0.8)));
    let class = |at: usize, key: &str| value["classes"][at][key].as_f64();
    let (recall, precision) = ([0, 1, 2].map(|c| class(c, "recall")), [0, 1, 2].map(|c| class(c, "precision")));
    assert_eq!(recall, [Some(1.0), Some(2.0 / 3.0), None]);
    assert_eq!(precision, [Some(1.0), Some(1.0), Some(0.0)]);
    let (out, _) = place.good(&eval);
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        &["top", "2", "80.00", "%"][..],
        &["bee", "3", "66.67", "%", "100.00", "%"],
        &["cat", "0", "-", "0.00", "%"],
        &["taken", "for", "ant", "bee", "cat"],
        &["bee", "0", "2", "1"],
    ] {
        assert!(rows.iter().any(|r| r == row), "{row:?}: {out}");
    }
}

#[test]
fn run_takes_folders_and_gives_tables() {
    let place = Place::new(&["ant", "a \"bee\", or so", "cat"]);
    place.pictures("new/green", GREEN, 2);
    place.pictures("new", BLUE, 1);
    fs::write(place.path("new/readme.txt"), "text").expect("written");
    let run = ["run", "m.nin", "new", "--weights", "w.safetensors", "--csv", "--top", "1"];
    let (out, err) = place.good(&run);
    let expected = [
        "input,class1,probability1",
        "new/0.png,cat,",
        "new/green/0.png,\"a \"\"bee\"\", or so\",",
        "new/green/1.png,\"a \"\"bee\"\", or so\",",
    ];
    assert_eq!(out.lines().count(), expected.len(), "{out}");
    for (line, start) in out.lines().zip(expected) {
        let sure = line.strip_prefix(start).unwrap_or_else(|| panic!("{line} should be {start}"));
        assert!(sure.is_empty() || sure.parse::<f64>().expect("a number") > 0.999, "{line}");
    }
    assert!(err.contains("left out: 1 file new/readme.txt, with the ending .txt"), "{err}");
    let (out, _) = place.good(&["run", "m.nin", "new/*.png", "--weights", "w.safetensors", "--csv"]);
    assert!(out.lines().count() == 2 && out.contains("\nnew/0.png,cat,"), "{out}");
    let (out, _) = place.good(&["run", "m.nin", "*/gr*/1.*", "./n*", "--weights", "w.safetensors", "--csv"]);
    let names: Vec<&str> = out.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(names, ["new/green/1.png", "./new/0.png", "./new/green/0.png", "./new/green/1.png"]);
    place.bad(&["run", "m.nin", "new/*/2.png", "--weights", "w.safetensors"], &["no file fits new/*/2.png"]);
    place.bad(&["run", "m.nin", "**/1.png", "--weights", "w.safetensors"], &["name the folder"]);
    place.bad(&["run", "m.nin", "new/*.jpg", "--weights", "w.safetensors"], &["no file fits new/*.jpg"]);
    fs::create_dir(place.path("empty")).expect("made");
    place.bad(&["run", "m.nin", "empty", "--weights", "w.safetensors"], &["no pictures in empty"]);
}
