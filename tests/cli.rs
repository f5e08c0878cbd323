//! Each subcommand end to end, through the built binary.

use ninc::pipeline::Stage;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Small enough to train in a moment: 8x8 digits, dropout and shuffling included.
const MODEL: &str = "network tiny(width = 8) {
    input image: [1, 8, 8]

    image
        |> conv(kernel = 3, pad = 1, channels = width, init = he) as conv1
        |> relu
        |> max_pool(kernel = 2, stride = 2)
        |> dropout(0.1)
        |> conv(kernel = 3, pad = 1, channels = 10, init = he) as conv2
        |> global_avg_pool
        |> softmax as probabilities
}

data {
    source = digits
    prepare = [scale, mean_std]
    augment = [shift(1)]
}

train {
    loss = cross_entropy
    optimizer = sgd(rate = 0.2, momentum = 0.9)
    batch = 50
    epochs = 2
    seed = 3
}
";

pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder for temporary files") };
        fs::write(place.path("tiny.nin"), MODEL).expect("written");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn ninc(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("ninc starts")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("NO_COLOR");
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// Runs what must succeed and gives its stdout.
    pub fn good(&self, arguments: &[&str]) -> String {
        let output = self.ninc(arguments);
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{arguments:?}: {err}");
        out
    }

    /// Runs what must fail with this code, saying this on stderr, whatever it said of the data before.
    pub fn bad_or_said(&self, code: i32, arguments: &[&str], says: &str) {
        let output = self.ninc(arguments);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
        assert!(err.contains(says) && !err.contains("panicked"), "{arguments:?} should say `{says}`: {err}");
    }

    /// Runs what must fail with this code, saying this on stderr and nothing on stdout.
    pub fn bad(&self, code: i32, arguments: &[&str], says: &str) {
        let output = self.ninc(arguments);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
        assert!(err.contains(says) && out.is_empty(), "{arguments:?} should say `{says}`: {err}{out}");
        assert!(!err.contains("panicked"), "{err}");
    }
}

pub fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}

/// The digit of a test image as a picture.
fn picture(path: &Path, label: u32) {
    let set = ninc_runtime::data::digits::load().expect("embedded").test;
    let item = (0..set.len()).find(|&i| set.label(i) == label).expect("every digit is there");
    let mut pixels = [0.0; 64];
    set.copy(item, &mut pixels).expect("in memory");
    image::GrayImage::from_fn(8, 8, |x, y| image::Luma([pixels[(y * 8 + x) as usize] as u8]))
        .save(path)
        .expect("saved");
}

#[test]
fn check_and_fmt() {
    let place = Place::new();
    assert_eq!(place.good(&["check", "tiny.nin"]), "");
    assert_eq!(place.good(&["check", "--json", "tiny.nin"]).trim(), "[]");
    fs::write(
        place.path("bad.nin"),
        MODEL.replace("relu", "rleu").replace("pad = 1, channels = 10", "pda = 1, channels = 10"),
    )
    .expect("written");
    place.bad(1, &["check", "bad.nin"], "rleu");
    place.bad(1, &["check", "bad.nin"], "pda");
    let output = place.ninc(&["check", "--json", "bad.nin", "tiny.nin"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(json(&texts(&output).0).as_array().expect("a list").len() >= 2);
    place.bad(1, &["check", "missing.nin"], "missing.nin");
    fs::write(place.path("binary.nin"), [0xff, 0xfe, 0, 1]).expect("written");
    place.bad(1, &["check", "binary.nin"], "not text");

    place.good(&["fmt", "tiny.nin"]);
    let formatted = fs::read_to_string(place.path("tiny.nin")).expect("there");
    assert_eq!(place.good(&["fmt", "--check", "tiny.nin"]), "");
    fs::write(place.path("tiny.nin"), formatted.replace("    input", "  input")).expect("written");
    let output = place.ninc(&["fmt", "--check", "tiny.nin"]);
    assert_eq!((output.status.code(), texts(&output).0.trim()), (Some(1), "tiny.nin"));
    place.good(&["fmt", "tiny.nin"]);
    assert_eq!(fs::read_to_string(place.path("tiny.nin")).expect("there"), formatted);
}

#[test]
fn inspect_build_and_devices() {
    let place = Place::new();
    let table = place.good(&["inspect", "tiny.nin", "--set", "width=4"]);
    let row = |name: &str| table.lines().find(|l| l.starts_with(name)).expect("a row").to_string();
    // 1·4·3·3 + 4 parameters; 8·8 positions of 4·9 multiply-adds.
    for text in ["[4, 8, 8]", "40", "2,304", "1,024", "3x3"] {
        assert!(row("conv1").contains(text), "{table}");
    }
    assert!(row("conv2").contains("8x8"), "pooling adds 1, the second convolution 2·2: {table}");
    assert!(row("total").contains("410"), "{table}");
    let value = json(&place.good(&["inspect", "--json", "tiny.nin"]));
    assert_eq!(value["parameters"], 8 * 9 + 8 + 10 * 8 * 9 + 10);

    let summary = place.good(&["build", "tiny.nin"]);
    assert!(summary.contains("parameters") && summary.contains("810"), "{summary}");
    let explained = place.good(&["build", "tiny.nin", "--explain"]);
    assert!(
        explained.contains("  * ") && explained.contains("direct") && explained.contains("few images"),
        "{explained}"
    );
    let graph = place.good(&["build", "tiny.nin", "--emit", "graph"]);
    assert!(graph.contains("conv2d") && graph.contains("dropout"), "{graph}");
    place.good(&["build", "tiny.nin", "--emit", "opt,plan", "-o", "dumps"]);
    assert!(place.path("dumps/tiny.opt").is_file() && place.path("dumps/tiny.plan").is_file());
    let output = place.ninc(&["build", "tiny.nin", "--time-passes"]);
    assert!(texts(&output).1.contains("ms"));

    assert!(place.good(&["devices"]).contains("interp"));
    assert_eq!(json(&place.good(&["devices", "--json"]))[0]["device"], "cpu");
}

#[test]
fn build_shows_a_text_of_its_own_for_every_stage() {
    let place = Place::new();
    let more = |stage: Stage| if stage == Stage::Grad { &["--train"][..] } else { &[] };
    for stage in Stage::ALL {
        let has: &[&str] = match stage {
            Stage::Ast => &["Network {", "\"conv1\""],
            Stage::Graph => &["graph \"tiny\"", "= dropout("],
            Stage::Grad => &["graph \"tiny\"", "= cross_entropy"],
            Stage::Opt => &["graph \"tiny\"", "= mlpconv("],
            Stage::Explain => &["microseconds an image", "  * "],
            Stage::Kernel => &["micro_kernel ", "kernel ", "load"],
            Stage::Plan => &["plan tiny", "arena ", "inputs:"],
            Stage::Clif => &["system_v {", "block0"],
            Stage::Asm => &[" bytes\n", "ret"],
            Stage::OpenCl => &["__kernel void", "__global float"],
        };
        let arguments = [&["build", "tiny.nin", "--emit", stage.name()], more(stage)].concat();
        let text = place.good(&arguments);
        let missing = has.iter().find(|word| !text.contains(**word));
        assert_eq!(missing, None, "{stage:?}: {text}");
        // Dropout is gone after the passes, and the summary would be in the way.
        assert_eq!(text.contains("= dropout("), stage == Stage::Graph, "{stage:?}: {text}");
        assert!(!text.contains("compile time"), "{stage:?}: {text}");
        if stage != Stage::Ast {
            place.good(&[&arguments[..], &["-o", "dumps"]].concat());
            let written = fs::read_to_string(place.path(&format!("dumps/tiny.{}", stage.name()))).expect("written");
            assert_eq!(written.trim(), text.trim(), "{stage:?}");
        }
    }
    // What a compilation does not pass through is an error that says so.
    place.bad(1, &["build", "tiny.nin", "--emit", "grad"], "ninc build --train");
    place.bad(1, &["build", "tiny.nin", "--emit", "opt:fuse_masks"], "ninc build --train");
    place.bad(1, &["bench", "tiny.nin", "--mode", "train", "--emit", "opt:inference"], "a pass of inference");
    place.bad(1, &["bench", "tiny.nin", "--device", "interp", "--emit", "asm"], "--device interp has no such stage");
    assert!(place.good(&["build", "tiny.nin", "--emit", "opt:fuse_masks", "--train"]).starts_with("graph"));
}

#[test]
fn train_eval_and_run() {
    let place = Place::new();
    place.bad(2, &["run", "tiny.nin", "x.png"], "no weights");
    let out = place.good(&["train", "tiny.nin", "--epochs", "8", "--threads", "2"]);
    assert!(out.contains("test accuracy") && out.contains("360 images"), "{out}");
    let log = fs::read_to_string(place.path("out/tiny.log")).expect("a log");
    assert_eq!(log.lines().count(), 8);
    assert!(json(&log)["accuracy"].as_f64().expect("a number") > 0.6, "{log}");

    let value = json(&place.good(&["eval", "tiny.nin", "--weights", "out/tiny.safetensors", "--json"]));
    let accuracy = value["accuracy"].as_f64().expect("a number");
    assert!(value["count"] == 360 && accuracy > 0.6 && value["top5"].as_f64() >= Some(accuracy), "{value}");
    let other = json(&place.good(&["eval", "tiny.nin", "--device", "interp", "--json"]));
    assert!((other["loss"].as_f64().expect("a number") - value["loss"].as_f64().expect("a number")).abs() < 1e-4);

    picture(&place.path("one.png"), 1);
    let output = place.ninc(&[
        "run",
        "tiny.nin",
        "one.png",
        "--json",
        "--top",
        "3",
        "--output",
        "p.npy",
        "--dump",
        "conv1=c.npy",
    ]);
    let (out, err) = texts(&output);
    assert!(output.status.success() && err.contains("out/tiny.safetensors"), "{err}");
    let top = json(&out)["top"].clone();
    let sum: f64 = top.as_array().expect("a list").iter().filter_map(|t| t["probability"].as_f64()).sum();
    assert!(top.as_array().expect("a list").len() == 3 && sum <= 1.0 + 1e-6 && top[0]["name"].is_string(), "{out}");
    let result = ninc_runtime::npy::read(&place.path("p.npy")).expect("written");
    assert_eq!(result.dims, [1, 10]);
    assert_eq!(ninc_runtime::npy::read(&place.path("c.npy")).expect("written").dims, [1, 8, 8, 8]);
    let text = place.good(&["run", "tiny.nin", "one.png", "one.png"]);
    assert_eq!(text.matches("one.png").count(), 2);
    // More images than run at once, and a rest: none is left out.
    let bytes: Vec<u8> = (0..70 * 64).map(|i| (i * 7 % 256) as u8).collect();
    fs::write(place.path("many.npy"), crate::support::files::npy_bytes("|u1", "(70, 1, 8, 8)", &bytes))
        .expect("written");
    let many = ["run", "tiny.nin", "many.npy", "--csv", "--output", "m.npy", "--dump", "conv1=d.npy"];
    assert_eq!(place.good(&many).lines().count(), 71);
    for (file, dims) in [("m.npy", vec![70, 10]), ("d.npy", vec![70, 8, 8, 8])] {
        assert_eq!(ninc_runtime::npy::read(&place.path(file)).expect("written").dims, dims);
    }

    place.bad(1, &["run", "tiny.nin", "tiny.nin"], "not a picture");
    place.bad(1, &["run", "tiny.nin", "one.png", "--set", "width=4"], "does not fit");
    place.bad(1, &["run", "tiny.nin", "one.png", "--dump", "conv9=x.npy"], "conv9");
    place.bad(1, &["eval", "tiny.nin", "--set", "width=4"], "shape");
    // The same layers on images of another size: the stored preparation would not fit.
    fs::write(place.path("large.nin"), MODEL.replace("[1, 8, 8]", "[1, 28, 28]").replace("digits", "mnist"))
        .expect("written");
    place.bad(1, &["run", "large.nin", "one.png", "--weights", "out/tiny.safetensors"], "[1, 8, 8]");
}

/// Weights and log after the same training, stopped and resumed or not.
fn trained(place: &Place, folder: &str) -> (Vec<u8>, String) {
    let read = |name: &str| fs::read(place.path(folder).join(name)).expect("written");
    (read("tiny.safetensors"), String::from_utf8(read("tiny.log")).expect("text"))
}

#[test]
fn the_same_bits_for_any_threads_and_after_resuming() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "50", "--out", "whole", "--threads", "1"]);
    let whole = trained(&place, "whole");
    // Augmentation and dropout on, for as long as it takes differences to show.
    place.good(&["train", "tiny.nin", "--steps", "200", "--out", "long", "--threads", "1"]);
    let long = trained(&place, "long");
    for threads in ["2", "3", "4", "7"] {
        place.good(&["train", "tiny.nin", "--steps", "200", "--out", threads, "--threads", threads]);
        assert_eq!(trained(&place, threads), long, "{threads} threads");
    }
    // In the middle of the first epoch, and again in the second.
    place.good(&["train", "tiny.nin", "--steps", "13", "--out", "parts"]);
    fs::copy(place.path("parts/tiny.checkpoint"), place.path("parts/copy")).expect("copied");
    place.good(&["train", "tiny.nin", "--steps", "31", "--out", "parts", "--resume"]);
    place.good(&["train", "tiny.nin", "--steps", "50", "--out", "parts", "--resume"]);
    assert_eq!(trained(&place, "parts").0, whole.0);

    place.bad(1, &["train", "tiny.nin", "--out", "parts", "--resume", "--seed", "4"], "seed");
    place.bad(1, &["train", "tiny.nin", "--out", "parts", "--resume", "--batch", "20"], "batch");
    place.bad(1, &["train", "tiny.nin", "--out", "parts", "--resume", "--set", "width=4"], "network");
    place.bad(2, &["train", "tiny.nin", "--out", "nowhere", "--resume"], "no checkpoint");
    let mut bytes = fs::read(place.path("parts/tiny.checkpoint")).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(place.path("parts/tiny.checkpoint"), bytes).expect("written");
    place.bad(1, &["train", "tiny.nin", "--out", "parts", "--resume"], "checksum");
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_goes_on_to_the_same_bits() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--epochs", "3", "--out", "whole"]);
    // The second line of the step log says that training is under way; then the signal comes at whatever step.
    let mut child = place
        .command(&["train", "tiny.nin", "--epochs", "3", "--out", "parts", "-v"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().expect("piped")));
    lines.find(|l| l.as_ref().is_ok_and(|l| l.starts_with("step "))).expect("a step").expect("read");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let status = child.wait().expect("ends");
    // A machine that stalls may let the training finish first; then there is nothing to resume.
    if status.code() == Some(130) {
        assert!(rest.iter().any(|l| l.contains("--resume")), "{rest:?}");
        place.good(&["train", "tiny.nin", "--epochs", "3", "--out", "parts", "--resume"]);
    }
    assert_eq!(trained(&place, "parts").0, trained(&place, "whole").0);
}

#[test]
fn bench_reports_its_numbers() {
    let place = Place::new();
    for (mode, algorithm) in [("infer", "direct"), ("infer", "winograd"), ("train", "auto")] {
        let more = ["--batch", "4", "--json", "--threads", "2", "--algorithm", algorithm];
        let value = json(&place.good(&[&["bench", "tiny.nin", "--mode", mode][..], &more].concat()));
        assert_eq!((&value["network"], &value["mode"], &value["batch"]), (&"tiny".into(), &mode.into(), &4.into()));
        for key in ["median_ms", "images_per_second", "gflops", "arena_bytes"] {
            assert!(value[key].as_f64().expect("a number") > 0.0, "{key}: {value}");
        }
    }
}

#[test]
fn bench_profiles_saves_and_compares() {
    let place = Place::new();
    let base = ["bench", "tiny.nin", "--batch", "4", "--threads", "1", "--rounds", "3"];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    let value = json(&place.good(&with(&["--json", "--profile"])));
    let (executed, peak) = (&value["executed_gflops"], &value["peak_gflops"]);
    assert!(executed.as_f64().expect("a number") > 0.0 && peak.as_f64().expect("a number") > 0.0, "{value}");
    let kernels = value["kernels"].as_array().expect("rows");
    let share: f64 = kernels.iter().map(|k| k["share"].as_f64().expect("a number")).sum();
    assert!((0.95..1.001).contains(&share), "{value}");
    let convolution = |k: &&serde_json::Value| k["algorithm"] == "direct";
    let tile = kernels.iter().find(convolution).expect("a convolution")["tile"].as_str().expect("a tile").to_string();
    assert!(
        tile.split_once('x').is_some_and(|(rows, columns)| [rows, columns].iter().all(|n| n.parse::<u32>().is_ok()))
    );
    assert!(place.good(&with(&["--profile"])).contains("micro-kernel"));
    let output = place.ninc(&with(&["--perf-map"]));
    let says = String::from_utf8_lossy(&output.stderr);
    let path = &says[says.find("/tmp/perf-").expect("the file's name")..].trim_end();
    let map = fs::read_to_string(path).expect("names of functions");
    fs::remove_file(path).expect("a file of this test");
    assert!(map.contains(" micro_kernel0_") && map.contains(" kernel0_"), "{map}");
    for line in map.lines() {
        let [begin, bytes, _name] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert!([begin, bytes].iter().all(|n| u64::from_str_radix(n, 16).is_ok_and(|n| n > 0)), "{line}");
    }

    place.good(&with(&["--save", "then.json"]));
    let text = place.good(&with(&["--compare", "then.json"]));
    assert!(text.contains("of the saved speed"), "{text}");
    place.bad(2, &["bench", "tiny.nin", "--batch", "8", "--compare", "then.json"], "batch 8");
    place.bad(2, &with(&["--compare", "tiny.nin"]), "not a saved benchmark");
    place.bad(1, &with(&["--compare", "nowhere.json"]), "nowhere.json");
    place.bad(1, &with(&["--save", "nowhere/now.json"]), "nowhere/now.json");
}

#[test]
fn wrong_usage_and_wrong_data() {
    let place = Place::new();
    place.bad(2, &["train"], "FILE");
    place.bad(2, &["train", "tiny.nin", "--epochs", "2", "--steps", "3"], "--steps");
    place.bad(2, &["train", "tiny.nin", "--epochs", "0"], "--epochs");
    place.bad(2, &["build", "tiny.nin", "--emit", "soup"], "soup");
    place.bad(2, &["build", "tiny.nin", "--device", "gpu"], "gpu");
    place.bad(1, &["train", "tiny.nin", "--batch", "2000"], "2000");
    let mnist = MODEL.replace("digits", "mnist").replace("[1, 8, 8]", "[1, 28, 28]");
    fs::write(place.path("mnist.nin"), mnist).expect("written");
    place.bad(1, &["train", "mnist.nin"], "--data");
    place.bad(1, &["train", "mnist.nin", "--data", "nowhere"], "nowhere");
    fs::write(place.path("size.nin"), MODEL.replace("[1, 8, 8]", "[1, 9, 9]")).expect("written");
    place.bad(1, &["train", "size.nin"], "[1, 9, 9]");
    fs::write(place.path("classes.nin"), MODEL.replace("channels = 10", "channels = 9")).expect("written");
    place.bad(1, &["train", "classes.nin"], "10 classes");
    fs::write(place.path("wild.nin"), MODEL.replace("rate = 0.2", "rate = 1e30")).expect("written");
    place.bad(1, &["train", "wild.nin"], "layer `conv2`");
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_failure() {
    let place = Place::new();
    let shell = format!("{} inspect tiny.nin | true; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_ninc"));
    let output =
        Command::new("bash").args(["-c", &shell]).current_dir(place.folder.path()).output().expect("bash runs");
    let (_, err) = texts(&output);
    assert!(output.status.success() && err.is_empty(), "{err}");
}

#[test]
fn compare_finds_the_first_value_that_differs() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "20"]);
    let devices = ["compare", "tiny.nin", "--device", "cpu", "--device", "interp"];
    let out = place.good(&devices);
    assert!(out.contains("conv1") && out.contains("probabilities") && out.contains("agree within"), "{out}");
    let value = json(&place.good(&[&devices[..], &["--json", "--images", "2"]].concat()));
    assert!(value["agree"] == true && value["values"].as_array().expect("rows").len() >= 5, "{value}");
    // Two algorithms on one device round differently, which is too much for a tolerance of nothing.
    let algorithms = ["--algorithm", "direct", "--algorithm", "winograd", "--isa", "portable"];
    place.good(&[&["compare", "tiny.nin"][..], &algorithms].concat());
    let strict = [&["compare", "tiny.nin", "--tolerance", "0"][..], &algorithms].concat();
    let output = place.ninc(&strict);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("`conv1` is the first value that differs") && out.contains("differs"), "{out}{err}");
    place.bad(2, &["train", "tiny.nin", "--device", "cpu", "--device", "interp"], "--device");
    place.bad(2, &["compare", "tiny.nin", "--device", "cpu", "--device", "cpu", "--device", "cpu"], "3 times");
}

#[test]
fn mixtures_are_the_same_on_both_devices() {
    let place = Place::new();
    fs::write(place.path("tiny.nin"), MODEL.replace("[shift(1)]", "[shift(1), mixup(0.4)]")).expect("written");
    let losses = |device: &str| -> Vec<f64> {
        place.good(&["train", "tiny.nin", "--steps", "6", "-v", "--out", device, "--device", device]);
        let log = fs::read_to_string(place.path(device).join("tiny.log")).expect("a log");
        log.lines().map(|l| json(l)["loss"].as_f64().expect("a number")).collect()
    };
    let (cpu, interp) = (losses("cpu"), losses("interp"));
    assert!(cpu.len() == 7 && cpu.iter().zip(&interp).all(|(a, b)| (a - b).abs() < 1e-4), "{cpu:?} {interp:?}");
}

#[test]
fn a_training_stops_early_and_keeps_its_best_weights() {
    let place = Place::new();
    let text =
        MODEL.replace("augment = [shift(1)]", "valid = 0.2").replace("epochs = 2", "epochs = 200\n    early_stop = 3");
    fs::write(place.path("tiny.nin"), text.replace("rate = 0.2", "rate = 0.05")).expect("written");
    let out = place.good(&["train", "tiny.nin", "--threads", "2", "--json"]);
    let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let accuracies: Vec<f64> = lines.iter().filter_map(|l| l["valid_accuracy"].as_f64()).collect();
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let first = accuracies.iter().position(|a| *a == best).expect("it is one of them");
    assert_eq!(accuracies.len(), first + 4, "three epochs after the best one: {accuracies:?}");
    assert!(accuracies.len() < 200 && best > 0.5, "{accuracies:?}");
    let weights = ninc_runtime::weights::Weights::read(&place.path("out/tiny.best.safetensors")).expect("kept");
    // Of equal accuracies that of less loss.
    let losses: Vec<f64> = lines.iter().filter_map(|l| l["valid_loss"].as_f64()).collect();
    let equal = (0..losses.len()).filter(|&epoch| accuracies[epoch] == best);
    let kept = equal.min_by(|&a, &b| losses[a].total_cmp(&losses[b])).expect("it is one of them") + 1;
    assert_eq!(weights.epoch, kept as u64);
    // They are what is kept, tested, and named in the last line.
    let read = |name: &str| fs::read(place.path(name)).expect("written");
    assert!(read("out/tiny.safetensors") == read("out/tiny.best.safetensors"));
    let done = lines.last().expect("a last line");
    assert_eq!((&done["best_epoch"], done["weights"].as_str()), (&json!(kept), Some("out/tiny.safetensors")));
    // Why it ended is said where one looks for it, and the report counts the epochs that were made.
    assert_eq!(done["stopped_early"], json!(true));
    let log = fs::read_to_string(place.path("out/tiny.log")).expect("a log");
    assert!(log.lines().last().is_some_and(|line| line.contains(r#""event":"early_stop""#)), "{log}");
    let page = fs::read_to_string(place.path("out/tiny.report.html")).expect("a report");
    let epochs = format!("steps, {} epochs, stopped early; weights of epoch {kept}", accuracies.len());
    assert!(page.contains(&epochs), "{epochs}");
    let tested = json(&place.good(&["eval", "tiny.nin", "--json"]));
    assert_eq!((&tested["loss"], &tested["accuracy"]), (&done["loss"], &done["accuracy"]));
    // Where nothing is measured on other images, the last step's are kept.
    fs::write(place.path("tiny.nin"), MODEL).expect("written");
    let out = place.good(&["train", "tiny.nin", "--overwrite", "--json"]);
    assert_eq!(json(&out)["best_epoch"], Value::Null);
}

#[test]
fn averaged_weights_are_what_is_kept() {
    let place = Place::new();
    let train = |name: &str, average: &str| {
        let text = MODEL
            .replace("seed = 3", &format!("seed = 3{average}"))
            .replace("network tiny", &format!("network {name}"));
        fs::write(place.path(&format!("{name}.nin")), text).expect("written");
        place.good(&["train", &format!("{name}.nin"), "--steps", "12", "--checkpoint-every", "1", "--keep", "12"]);
        let weights =
            ninc_runtime::weights::Weights::read(&place.path(&format!("out/{name}.safetensors"))).expect("reads");
        weights.tensors["conv1.weight"].data.clone()
    };
    let (plain, averaged) = (train("plain", ""), train("averaged", "\n    average = 0.8"));
    // The averaging changes no step: initial weights and the checkpoints of the plain training give the average by its
    // definition.
    let model = ninc::front::load(&fs::read_to_string(place.path("plain.nin")).expect("there"), "plain.nin", &[]).0;
    let program = ninc::pipeline::training(&model.expect("right"), &Default::default()).expect("compiles");
    let parameter = program.params.iter().find(|p| p.name == "conv1.weight").expect("there").parameter();
    let start = ninc_runtime::init::values(&parameter, 3).data;
    let mut expected: Vec<f64> = start.iter().map(|&v| f64::from(v)).collect();
    for step in 1..=12 {
        let path = place.path(&format!("out/plain.step-{step:08}.checkpoint"));
        let now = ninc_runtime::checkpoint::Checkpoint::read(&path).expect("kept").tensors["conv1.weight"].data.clone();
        expected.iter_mut().zip(&now).for_each(|(a, &v)| *a = 0.8 * *a + 0.2 * f64::from(v));
    }
    assert!(averaged.iter().zip(&expected).all(|(a, e)| (f64::from(*a) - e).abs() < 1e-6));
    assert!(averaged != plain);
}

#[cfg(target_os = "linux")]
#[test]
fn machine_code_is_kept_and_checked() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--out", "out", "--set", "width=4", "--epochs", "1"]);
    picture(&place.path("d.png"), 3);
    let folder = place.path("cache/ninc");
    let kept = || -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&folder).into_iter().flatten();
        entries.map(|e| e.expect("an entry").path()).map(|p| (p.clone(), fs::read(p).expect("readable"))).collect()
    };
    for (path, _) in kept() {
        fs::remove_file(path).expect("removed");
    }
    let run = |more: &[&str]| {
        let arguments = [&["run", "tiny.nin", "--set", "width=4", "--output", "r.npy", "d.png"], more].concat();
        place.good(&arguments);
        fs::read(place.path("r.npy")).expect("written")
    };
    let expected = run(&["--no-cache"]);
    assert!(kept().is_empty());
    assert_eq!(run(&[]), expected);
    let [(path, good)] = &kept()[..] else { panic!("one file") };
    assert_eq!(run(&[]), expected, "from the cache");
    // Damaged or cut, it is not used and written anew.
    for at in [0, 9, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        fs::write(path, &bad).expect("written");
        assert_eq!(run(&[]), expected, "byte {at}");
        assert!(fs::read(path).expect("there") == *good, "byte {at}");
    }
    fs::write(path, &good[..good.len() / 2]).expect("written");
    assert_eq!(run(&[]), expected);
    // Another option is another program.
    run(&["--isa", "portable"]);
    assert_eq!(kept().len(), if ninc::lower::target::Isa::Avx2.present() { 2 } else { 1 });
    // A folder that others may write to is left alone.
    fs::remove_file(path).expect("removed");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("set");
    assert_eq!(run(&[]), expected);
    assert!(!path.exists());
}

/// Numbers of options are numbers within their bounds: a NaN is in no order, and whatever differs would agree.
#[test]
fn numbers_of_options_are_bounded() {
    let place = Place::new();
    for number in ["nan", "inf", "-1", "1e-4x", "1.5"] {
        place.bad(2, &["compare", "tiny.nin", &format!("--tolerance={number}")], "expected a number from 0 to 1");
        let drop = if number == "1.5" { "101" } else { number };
        let arguments = ["quantize", "tiny.nin", "-o", "w.safetensors", &format!("--max-drop={drop}")];
        place.bad(2, &arguments, "expected a number from 0 to 100");
        if number != "1.5" {
            place.bad(2, &["train", "tiny.nin", &format!("--epochs={number}")], "--epochs");
        }
    }
}
