//! What can go wrong around a training, through the command line: each says what it is and how to get out, and nothing
//! that was saved is lost. And what a training leaves behind when nothing goes wrong.

use ninc_runtime::checkpoint::Checkpoint;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const MODEL: &str = "network tiny(width = 8) {
    input image: [1, 8, 8]

    image
        |> conv(kernel = 3, pad = 1, channels = width) as conv1
        |> relu
        |> max_pool(kernel = 2, stride = 2)
        |> conv(kernel = 3, pad = 1, channels = 10) as conv2
        |> global_avg_pool
        |> softmax
}

data {
    source  = digits
    prepare = [mean_std]
}

train {
    optimizer = sgd(rate = 0.1, momentum = 0.9)
    batch     = 32
    epochs    = 2
    seed      = 5
}
";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder for temporary files") };
        place.model("tiny.nin", MODEL);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
        command.args(arguments).current_dir(self.folder.path()).env("TMPDIR", self.folder.path());
        command
    }

    fn good(&self, arguments: &[&str]) -> (String, String) {
        let output = self.command(arguments).output().expect("ninc starts");
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{arguments:?}: {err}");
        (out, err)
    }

    /// Must fail with code 1 or 2 and say all of `says`.
    fn bad(&self, arguments: &[&str], says: &[&str]) -> String {
        let output = self.command(arguments).output().expect("ninc starts");
        let (_, err) = texts(&output);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {err}");
        for text in says {
            assert!(err.contains(text), "{arguments:?} should say `{text}`: {err}");
        }
        assert!(!err.contains("panicked") && err.contains("help: "), "{err}");
        err
    }
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

fn step(checkpoint: &Path) -> u64 {
    Checkpoint::read(checkpoint).expect("whole").cursor.step
}

#[test]
fn checkpoints_by_steps_and_time_and_the_last_ones_kept() {
    let place = Place::new();
    let kept = || {
        let found = ninc_runtime::train::saving::kept(&place.path("out"), "tiny");
        found.into_iter().map(|(s, path)| (s, step(&path))).collect::<Vec<_>>()
    };
    place.good(&["train", "tiny.nin", "--steps", "25", "--checkpoint-every", "10,1h", "--keep", "3"]);
    assert_eq!(kept(), [(25, 25), (20, 20), (10, 10)]);
    assert_eq!(step(&place.path("out/tiny.checkpoint")), 25);
    // Back to an older one: what came after it is made again, to the same bits.
    let weights = fs::read(place.path("out/tiny.safetensors")).expect("there");
    let older = "--resume=out/tiny.step-00000010.checkpoint";
    place.good(&["train", "tiny.nin", "--steps", "25", "--checkpoint-every", "10", "--keep", "2", older]);
    assert_eq!(
        (fs::read(place.path("out/tiny.safetensors")).expect("there") == weights, kept()),
        (true, vec![(25, 25), (20, 20)])
    );

    // A damaged one is refused, and an older one that is whole is named: that of the same step is the same file under
    // another name, and as damaged.
    fs::write(place.path("out/tiny.checkpoint"), b"not this").expect("written");
    place.bad(
        &["train", "tiny.nin", "--resume"],
        &["out/tiny.checkpoint", "--resume=out/tiny.step-00000020.checkpoint"],
    );
    for wrong in ["0", "soon", "5days", "-3"] {
        let output =
            place.command(&["train", "tiny.nin", &format!("--checkpoint-every={wrong}")]).output().expect("starts");
        let (_, err) = texts(&output);
        assert!(output.status.code() == Some(2) && err.contains(wrong), "{err}");
    }
}

/// A disk that takes no more: the shell limits the size of files, and the signal that would end the program is ignored,
/// so that writing fails as it does on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_no_training_and_leaves_the_old_checkpoint() {
    let place = Place::new();
    let wide = ["--set", "width=200"];
    place.good(&[&["train", "tiny.nin", "--steps", "5"][..], &wide].concat());
    let before = fs::read(place.path("out/tiny.checkpoint")).expect("there");
    let shell = format!(
        "trap '' XFSZ; ulimit -f 20; exec {} train tiny.nin --steps 20 --checkpoint-every 10 --resume --set width=200",
        env!("CARGO_BIN_EXE_ninc")
    );
    let output =
        Command::new("bash").args(["-c", &shell]).current_dir(place.folder.path()).output().expect("bash runs");
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    for text in ["was not saved, training goes on", "out/tiny.checkpoint", "too large", "help: "] {
        assert!(err.contains(text), "`{text}`: {err}");
    }
    assert_eq!(fs::read(place.path("out/tiny.checkpoint")).expect("there"), before, "the old one is whole");
    place.good(&[&["train", "tiny.nin", "--steps", "20", "--resume"][..], &wide].concat());
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_goes_away_loses_nothing() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "400", "--out", "whole", "-v"]);
    let arguments = ["train", "tiny.nin", "--steps", "400", "--checkpoint-every", "5", "-v"];
    let mut child = place.command(&arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("starts");
    let mut lines = BufReader::with_capacity(64, child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.starts_with("step 3/") {
        line.clear();
        assert!(lines.read_line(&mut line).expect("text") > 0, "it ended early");
    }
    // The training may be anywhere, at its end at the latest: whatever it wrote is gone then.
    fs::rename(place.path("out"), place.path("moved")).expect("moved");
    let mut err = String::new();
    lines.read_to_string(&mut err).expect("text");
    let code = child.wait().expect("ends").code();
    if code == Some(0) {
        eprintln!("skipped: the training was over before the folder was moved");
        return;
    }
    assert!(code == Some(1) && err.contains("out/tiny.checkpoint"), "{err}");
    let rescued = err.split("--out ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a way to go on");
    place.good(&["train", "tiny.nin", "--steps", "400", "-v", "--out", rescued, "--resume"]);
    for name in ["tiny.safetensors", "tiny.log"] {
        let read = |folder: &Path| fs::read(folder.join(name)).expect("there");
        assert!(read(Path::new(rescued)) == read(&place.path("whole")), "{name}");
    }
}

#[test]
fn places_that_cannot_be_written() {
    let place = Place::new();
    // A file stands where a folder should be.
    let err = place.command(&["train", "tiny.nin", "--out", "tiny.nin"]).output().expect("starts");
    let (_, text) = texts(&err);
    assert!(err.status.code() == Some(1) && text.contains("cannot make the folder tiny.nin"), "{text}");
    if cfg!(target_os = "linux") {
        let err = place.command(&["train", "tiny.nin", "--out", "/proc/ninc"]).output().expect("starts");
        let (_, text) = texts(&err);
        assert!(err.status.code() == Some(1) && text.contains("/proc/ninc"), "{text}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(place.path("shut")).expect("made");
        fs::set_permissions(place.path("shut"), fs::Permissions::from_mode(0o555)).expect("changed");
        if fs::write(place.path("shut/x"), b"").is_ok() {
            eprintln!("skipped: this user may write everywhere");
            return;
        }
        let output = place.command(&["train", "tiny.nin", "--out", "shut"]).output().expect("starts");
        let (_, text) = texts(&output);
        assert!(output.status.code() == Some(1) && text.contains("shut") && text.contains("denied"), "{text}");
    }
}

#[test]
fn data_that_does_not_fit_is_refused_before_the_first_step() {
    let place = Place::new();
    place.bad(&["train", "tiny.nin", "--batch", "5000"], &["1437 training images", "5000", "--batch"]);
    place.model("classes.nin", &MODEL.replace("channels = 10", "channels = 7"));
    place.bad(&["train", "classes.nin"], &["7"]);
    place.model("size.nin", &MODEL.replace("[1, 8, 8]", "[1, 9, 9]"));
    place.bad(&["train", "size.nin"], &["[1, 9, 9]", "[1, 8, 8]"]);
    // Sources whose shape only their files know.
    let picture = |name: &str| {
        fs::create_dir_all(place.path(name)).expect("made");
        for i in 0..6 {
            let picture = image::GrayImage::from_pixel(8, 8, image::Luma([i * 40]));
            picture.save(place.path(name).join(format!("{i}.png"))).expect("saved");
        }
    };
    ["set/a", "set/b", "set/c"].iter().for_each(|name| picture(name));
    place.model("folder.nin", &MODEL.replace("digits", "folder").replace("channels = 10", "channels = 2"));
    place.bad(&["train", "folder.nin", "--data", "set", "--batch", "4"], &["3 classes (a, b, c)", "2 outputs"]);
    assert!(!place.path("out").exists(), "nothing was begun");
}

#[test]
fn numbers_that_break_are_named() {
    let place = Place::new();
    // Weights thrown out of range in the first step: the layer of the second step that overflows first is named.
    place.model("wild.nin", &MODEL.replace("rate = 0.1", "rate = 1e30"));
    let err = place.bad(&["train", "wild.nin", "--steps", "50"], &["in step 2", "layer `conv", "rate"]);
    assert!(err.contains("infinite") || err.contains("NaN"), "{err}");
    // So far out that a weight itself is not finite any more.
    place.model("wilder.nin", &MODEL.replace("rate = 0.1", "rate = 1e38"));
    place.bad(&["train", "wilder.nin", "--steps", "50"], &["in step 2", "conv"]);
    // Data with a NaN.
    let floats: Vec<u8> =
        (0..20 * 64).flat_map(|i| (if i == 700 { f32::NAN } else { i as f32 }).to_le_bytes()).collect();
    let header = |descr: &str, shape: &str| {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
    };
    let arrays = [
        ("x.npy", [header("<f4", "(20, 1, 8, 8)"), floats].concat()),
        ("y.npy", [header("|u1", "(20,)"), (0..20).map(|i| i % 10).collect()].concat()),
    ];
    fs::write(place.path("d.npz"), crate::support::files::zip_bytes(&arrays)).expect("written");
    place.model("nan.nin", &MODEL.replace("digits", "npz").replace("[mean_std]", "[scale]"));
    place.bad(&["train", "nan.nin", "--data", "d.npz", "--batch", "16"], &["image 10 of `x` in d.npz", "NaN"]);
}

#[test]
fn a_loss_that_is_stuck_is_recognised() {
    let place = Place::new();
    // The author's network of 2013 on a bad day: a ReLU after the class maps, all of them dead.
    let dead = MODEL.replace(
        "|> conv(kernel = 3, pad = 1, channels = 10) as conv2",
        "|> conv(kernel = 3, pad = 1, channels = 10, init = constant(-1.0)) as conv2\n        |> relu",
    );
    place.model("dead.nin", &dead);
    let (_, err) = place.good(&["train", "dead.nin", "--steps", "10"]);
    for text in ["nothing can be learned", "ln(10) = 2.302585", "no relu after the last layer", "warmup", "batch_norm"]
    {
        assert!(err.contains(text), "`{text}`: {err}");
    }
    assert_eq!(err.matches("Ways out").count(), 1, "said once: {err}");
    // Alive, but so slow that nothing moves for a whole epoch.
    place.model(
        "slow.nin",
        &MODEL
            .replace("channels = 10) as", "channels = 10, init = constant(0.0)) as")
            .replace("rate = 0.1", "rate = 1e-9"),
    );
    let (_, err) = place.good(&["train", "slow.nin", "--epochs", "1", "--out", "slow"]);
    assert!(err.contains("ln(10)"), "{err}");
}

#[test]
fn the_report_stands_alone() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "60"]);
    let page = || fs::read_to_string(place.path("out/tiny.report.html")).expect("a report");
    let first = page();
    for text in [
        "test accuracy",
        "<svg",
        "Confusion",
        "Worst mistakes",
        "data:image/png;base64,",
        "conv1.weight",
        "CRC-32",
        "sgd(rate = 0.1",
        "network tiny(width = 8)",
    ] {
        assert!(first.contains(text), "{text}");
    }
    for text in ["http:", "https:", "<script", "<link", "@import", "url("] {
        assert!(!first.contains(text), "{text}");
    }
    fs::remove_file(place.path("out/tiny.report.html")).expect("there");
    place.good(&["train", "tiny.nin", "--steps", "90", "--resume"]);
    assert!(page().contains("90"), "written after a resumed training too");
}

#[test]
fn tensorboard_reads_the_events() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "50", "--checkpoint-every", "20"]);
    place.good(&["train", "tiny.nin", "--steps", "70", "--resume"]);
    let program = "import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0})
events.Reload()
print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))";
    let python = std::env::var("NINC_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !there.is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: {python} has no tensorboard (NINC_TEST_PYTHON names another)");
        return;
    }
    let folder = place.path("out/tensorboard/tiny");
    let output = Command::new(&python).args(["-c", program]).arg(folder).output().expect("python runs");
    let (out, err) = texts(&output);
    let value: Value =
        serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    let steps = |tag: &str| value[tag].as_array().map_or(0, Vec::len);
    assert_eq!((steps("step/loss"), steps("step/rate")), (70, 70), "{value}");
    let log = fs::read_to_string(place.path("out/tiny.log")).expect("a log");
    let lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    for (line, event) in lines.iter().zip(value["epoch/accuracy"].as_array().expect("there")) {
        assert_eq!(line["step"], event[0]);
        assert!((line["accuracy"].as_f64().expect("a number") - event[1].as_f64().expect("a number")).abs() < 1e-6);
    }
}

#[test]
fn fine_tuning_says_what_it_took() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "60"]);
    // Other names, another number of classes, and a layer more.
    let other = MODEL
        .replace("conv1", "first")
        .replace("|> global_avg_pool", "|> relu\n        |> cccp(channels = 10) as maps\n        |> global_avg_pool");
    place.model("other.nin", &other.replace("network tiny", "network other"));
    let start = ["train", "other.nin", "--steps", "20", "--weights", "out/tiny.safetensors", "--overwrite"];
    let (_, err) = place.good(&[&start[..], &["--rename", "conv1=first", "--freeze", "first"]].concat());
    let row =
        |name: &str| err.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name}: {err}")).to_string();
    assert!(row("first.weight").contains("loaded") && row("conv2.bias").contains("loaded"));
    assert!(row("maps.weight").contains("initialised") && err.contains("4 of 6 parameters"), "{err}");
    let tensor = |file: &str, name: &str| {
        let weights = ninc_runtime::weights::Weights::read(&place.path(file)).expect("reads");
        weights.tensors[name].clone()
    };
    assert_eq!(
        tensor("out/other.safetensors", "first.weight"),
        tensor("out/tiny.safetensors", "conv1.weight"),
        "frozen"
    );
    assert_ne!(tensor("out/other.safetensors", "conv2.weight"), tensor("out/tiny.safetensors", "conv2.weight"));

    let (_, err) = place.good(&start);
    let row =
        |name: &str| err.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name}: {err}")).to_string();
    assert!(row("conv1.weight").contains("skipped") && row("first.weight").contains("initialised"), "{err}");
    // Everything fits: nothing to say.
    let (_, err) =
        place.good(&["train", "tiny.nin", "--steps", "5", "--out", "again", "--weights", "out/tiny.safetensors"]);
    assert!(!err.contains("loaded"), "{err}");
    place.bad(&[&start[..], &["--rename", "convx=first"]].concat(), &["convx"]);
    place.bad(&[&start[..], &["--freeze", "frist"]].concat(), &["frist", "first"]);
    place.bad(&[&start[..], &["--freeze", "*"]].concat(), &["nothing to train"]);
    place.model("far.nin", &MODEL.replace("conv1", "a").replace("conv2", "b").replace("width = 8", "width = 4"));
    place
        .bad(&["train", "far.nin", "--weights", "out/tiny.safetensors", "--out", "far"], &["does not fit", "--rename"]);
}

#[test]
fn a_frozen_batch_norm_keeps_its_statistics() {
    let place = Place::new();
    let normalised = MODEL.replace("as conv1\n", "as conv1\n        |> batch_norm as norm\n");
    place.model("tiny.nin", &normalised);
    place.good(&["train", "tiny.nin", "--steps", "30"]);
    let more = ["train", "tiny.nin", "--steps", "10", "--weights", "out/tiny.safetensors"];
    let tensors = |out: &str| {
        let path = place.path(&format!("{out}/tiny.safetensors"));
        ninc_runtime::weights::Weights::read(&path).expect("reads").tensors
    };
    let before = tensors("out");
    for (out, options, moved) in [
        ("frozen", &["--freeze", "norm"][..], false),
        ("half", &["--freeze", "norm.weight"], true),
        ("free", &[], true),
    ] {
        place.good(&[&more[..], options, &["--out", out]].concat());
        let after = tensors(out);
        for name in ["norm.running_mean", "norm.running_var"] {
            assert_eq!(before[name] != after[name], moved, "{out}: {name}");
        }
        assert_ne!(before["conv1.weight"], after["conv1.weight"], "{out}: gradients go through it");
    }
}

#[test]
fn a_real_checkpoint_shows_every_damage() {
    use ninc_runtime::philox::Stream;
    use ninc_runtime::store::Store;
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "10"]);
    let path = place.path("out/tiny.checkpoint");
    let whole = fs::read(&path).expect("there");
    let refused = |bytes: &[u8], what: &str| {
        let error =
            Store::from_bytes(bytes, &path, true).and_then(|s| Checkpoint::from_store(s, &path)).expect_err(what);
        assert!(error.message.contains("tiny.checkpoint") && error.help.is_some(), "{what}: {error}");
    };
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
    for cut in 0..=header {
        refused(&whole[..cut], &format!("cut at {cut}"));
    }
    let mut random = Stream::new(11, 0, 0);
    let mut bytes = whole.clone();
    for _ in 0..5_000 {
        let (at, bit) = (random.below(whole.len() as u32) as usize, random.below(8));
        bytes[at] ^= 1 << bit;
        refused(&bytes, &format!("bit {bit} of byte {at}"));
        bytes[at] = whole[at];
    }
    assert!(Checkpoint::read(&path).is_ok());
}
