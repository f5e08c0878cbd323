//! What was learned is not lost: an earlier training is replaced only when that is asked for, an error on the way saves
//! what there is, and going on with other data is noticed.

use crate::cli::{Place, texts};
use crate::support::training::{self, Silent};
use ninc::front;
use ninc::pipeline::{self, Options};
use ninc_runtime::checkpoint::Checkpoint;
use ninc_runtime::data::checksum::Hashed;
use ninc_runtime::data::{Dataset, Images, Pixels, Sets};
use ninc_runtime::spec::Pictures;
use ninc_runtime::store::System;
use ninc_runtime::train::job::Progress;
use ninc_runtime::train::log::Line;
use ninc_runtime::train::saving::{self, kept};
use ninc_runtime::train::{Control, Job, Outcome, Saving, Watch, train};
use std::fs;
use std::path::{Path, PathBuf};

/// All files of a folder, by name.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push((path.clone(), fs::read(path).expect("readable"))),
        }
    }
    files.sort();
    files
}

/// The arguments of the line that an error gives behind `before`.
fn line<'a>(said: &'a str, before: &str) -> Vec<&'a str> {
    let rest = said.split(before).nth(1).unwrap_or_else(|| panic!("no `{before}`: {said}"));
    rest.lines().next().expect("a line").trim().split(' ').collect()
}

fn steps_kept(place: &Place) -> Vec<u64> {
    kept(&place.path("out"), "tiny").into_iter().map(|(step, _)| step).collect()
}

#[test]
fn an_earlier_training_is_replaced_only_when_asked() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "10", "--checkpoint-every", "5", "--keep", "2"]);
    let before = files(&place.path("out"));
    let output = place.ninc(&["train", "tiny.nin", "--seed", "9"]);
    let (_, said) = texts(&output);
    assert!(
        output.status.code() == Some(1) && said.contains("tiny.safetensors comes from an earlier training"),
        "{said}"
    );
    assert_eq!(files(&place.path("out")), before, "nothing was touched");
    // Each of what an earlier training leaves is enough.
    for name in ["tiny.safetensors", "tiny.best.safetensors", "tiny.checkpoint", "tiny.step-00000010.checkpoint"] {
        fs::create_dir_all(place.path("one")).expect("made");
        fs::write(place.path("one").join(name), "of another").expect("written");
        place.bad(1, &["train", "tiny.nin", "--out", "one"], name);
        fs::remove_dir_all(place.path("one")).expect("removed");
    }
    // The two lines that go on, as they stand.
    place.good(&line(&said, "to go on with it: ninc "));
    let last = Checkpoint::read(&place.path("out/tiny.checkpoint")).expect("whole");
    assert_eq!((last.cursor.step, last.cursor.epoch), (58, 2), "two epochs of 29 steps");
    let replace = line(&said, "to replace it: ninc ");
    assert_eq!(replace, ["train", "tiny.nin", "--seed", "9", "--overwrite"]);
    place.good(&[&replace[..], &["--steps", "4", "--keep", "2"]].concat());
    assert_eq!(steps_kept(&place), [4], "of the earlier training nothing is left");
    assert_eq!(Checkpoint::read(&place.path("out/tiny.checkpoint")).expect("whole").identity.seed, 9);
}

/// What is frozen is part of the network, so a line without it would be refused.
#[test]
fn the_line_that_goes_on_has_what_is_frozen() {
    let place = Place::new();
    let frozen = ["--freeze", "conv1.weight", "--freeze", "*.bias"];
    place.good(&[&["train", "tiny.nin", "--steps", "4"][..], &frozen].concat());
    let (_, said) = texts(&place.ninc(&[&["train", "tiny.nin"][..], &frozen].concat()));
    let on: Vec<&str> = line(&said, "to go on with it: ninc ").iter().map(|word| word.trim_matches('\'')).collect();
    assert_eq!(on[..6], ["train", "tiny.nin", "--freeze", "conv1.weight", "--freeze", "*.bias"]);
    place.good(&on);
    place.bad(1, &["train", "tiny.nin", "--resume", "--epochs", "3"], "--freeze");
}

#[test]
fn an_earlier_training_stays_until_the_next_one_has_saved() {
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "4"]);
    let weights = fs::read(place.path("out/tiny.safetensors")).expect("there");
    let wild = fs::read_to_string(place.path("tiny.nin")).expect("there").replace("rate = 0.2", "rate = 1e30");
    fs::write(place.path("wild.nin"), wild).expect("written");
    place.bad(1, &["train", "wild.nin", "--overwrite"], "in step 2");
    assert_eq!(fs::read(place.path("out/tiny.safetensors")).expect("there"), weights);
}

/// Nor are its weights gone before the next one has some, which may be stopped on its way.
#[cfg(unix)]
#[test]
fn weights_of_an_earlier_training_stay_until_there_are_new_ones() {
    use std::io::{BufRead, BufReader};
    let place = Place::new();
    place.good(&["train", "tiny.nin", "--steps", "4"]);
    let [now, before] = ["tiny.safetensors", "tiny.before.safetensors"].map(|name| place.path("out").join(name));
    let weights = fs::read(&now).expect("there");
    let mut steps = String::new();
    // The second one finds a checkpoint and no weights, and leaves those of the first.
    for _ in 0..2 {
        let mut command = place.command(&["train", "tiny.nin", "--epochs", "100000", "--overwrite"]);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let epoch = lines.by_ref().find(|line| line.as_ref().is_ok_and(|line| line.starts_with("epoch ")));
        assert!(epoch.is_some());
        let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
        let said = lines.map(|line| line.expect("text") + "\n").collect::<String>();
        assert_eq!(child.wait().expect("ends").code(), Some(130), "{said}");
        assert!(said.contains("the earlier training's weights are in out/tiny.before.safetensors"), "{said}");
        steps = line(&said, "stopped after step ")[0].trim_end_matches(';').into();
        assert!(!now.exists() && fs::read(&before).expect("kept") == weights);
    }
    // Nobody takes them for new ones, and they count as work.
    let seven = format!("{}/tests/data/digit-7.png", env!("CARGO_MANIFEST_DIR"));
    place.bad(2, &["run", "tiny.nin", &seven], "out/tiny.before.safetensors has those of the training before");
    fs::rename(place.path("out/tiny.checkpoint"), place.path("aside")).expect("there");
    place.bad(1, &["train", "tiny.nin"], "tiny.before.safetensors comes from an earlier training");
    fs::rename(place.path("aside"), place.path("out/tiny.checkpoint")).expect("there");
    let more = (steps.parse::<u64>().expect("a number") + 3).to_string();
    place.good(&["train", "tiny.nin", "--resume", "--steps", &more]);
    assert!(!before.exists() && fs::read(&now).expect("new") != weights);
}

#[test]
fn other_models_in_the_folder_are_no_obstacle() {
    let place = Place::new();
    let other = fs::read_to_string(place.path("tiny.nin")).expect("there").replace("network tiny", "network other");
    fs::write(place.path("other.nin"), other).expect("written");
    place.good(&["train", "tiny.nin", "--steps", "3"]);
    let before = files(&place.path("out"));
    place.good(&["train", "other.nin", "--steps", "3"]);
    let after = files(&place.path("out"));
    assert!(before.iter().all(|file| after.contains(file)), "the first one's files are as they were");
    for name in ["tiny", "other"] {
        for ending in ["safetensors", "checkpoint", "log", "report.html"] {
            assert!(place.path(&format!("out/{name}.{ending}")).is_file(), "{name}.{ending}");
        }
    }
}

/// A training that goes on from another folder's checkpoint is not that of this folder.
#[test]
fn going_on_from_elsewhere_replaces_nothing_either() {
    let place = Place::new();
    for (out, seed) in [("a", "1"), ("b", "2")] {
        place.good(&["train", "tiny.nin", "--steps", "4", "--seed", seed, "--out", out]);
    }
    let before = files(&place.path("b"));
    let arguments = ["train", "tiny.nin", "--steps", "6", "--seed", "1", "--resume=a/tiny.checkpoint", "--out", "b"];
    place.bad(1, &arguments, "comes from an earlier training");
    fs::remove_file(place.path("b/tiny.checkpoint")).expect("removed");
    place.bad(1, &arguments, "tiny.safetensors comes from an earlier training");
    assert!(files(&place.path("b")).iter().all(|file| before.contains(file)));
}

#[test]
fn keep_removes_only_what_its_own_training_left() {
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let write = |seed: u64, origin: &str, step: u64| {
        let mut state = crate::saved::checkpoint(step);
        (state.identity.seed, state.origin) = (seed, origin.into());
        state.write(&place.path().join("n.checkpoint"), &System).expect("written");
        state
    };
    let keep = |state: &Checkpoint| {
        let saving = Saving { keep: 2, ..Saving::default() };
        saving::keep(place.path(), "n", state, saving, &System).expect("kept");
        kept(place.path(), "n").into_iter().map(|(step, _)| step).collect::<Vec<_>>()
    };
    // Another seed, other weights at the start, and a file that is not a checkpoint.
    keep(&write(2, "", 1));
    keep(&write(1, "0badcafe", 90));
    fs::write(place.path().join("n.step-00000007.checkpoint"), "notes").expect("written");
    for step in [10, 20, 30] {
        keep(&write(1, "", step));
    }
    assert_eq!(keep(&write(1, "", 40)), [90, 40, 30, 7, 1]);
    // Back to an earlier step: what came after it is made again.
    assert_eq!(keep(&write(1, "", 35)), [90, 35, 30, 7, 1]);
}

const MODEL: &str = "network tiny {
    input image: [1, 8, 8]
    image |> conv(channels = 4, kernel = 3) |> relu |> dropout(0.2) |> flatten |> linear(features = 10) |> softmax
}
data { source = digits  prepare = [scale]  augment = [shift(1)] }
train { optimizer = sgd(rate = 0.1, momentum = 0.9)  batch = 6  epochs = 4 }
";

/// Eight pictures of three classes each.
fn pictures(folder: &Path, shade: u8) -> Dataset {
    fs::create_dir_all(folder).expect("made");
    let (mut paths, mut labels) = (vec![], vec![]);
    for i in 0..24u8 {
        let path = folder.join(format!("{i:02}.bmp"));
        let picture = image::GrayImage::from_fn(8, 8, |x, y| {
            image::Luma([shade.wrapping_add(9 * i).wrapping_add((x * y) as u8)])
        });
        picture.save(&path).expect("saved");
        paths.push(path);
        labels.push(u32::from(i % 3));
    }
    Dataset::new(Images { dims: [1, 8, 8], pixels: Pixels::Files(paths, Pictures::default()) }, labels)
}

/// Hides a folder after a step.
struct Hides {
    folder: PathBuf,
    after: u64,
}

impl Watch for Hides {
    fn step(&mut self, progress: &Progress) {
        if progress.step == self.after {
            fs::rename(&self.folder, self.folder.with_extension("hidden")).expect("renamed");
        }
    }
    fn epoch(&mut self, _: &Line) {}
    fn note(&mut self, text: &str) {
        panic!("{text}");
    }
}

fn run(place: &Path, out: &str, watch: &mut dyn Watch) -> ninc_runtime::Result<Outcome> {
    let model = front::load(MODEL, "tiny.nin", &[]).0.expect("right");
    let mut trainer = pipeline::training(&model, &Options::default()).expect("compiles");
    let mut infer = pipeline::inference(&model, &Options::default()).expect("compiles");
    let [train_set, valid, test] =
        [("train", 1), ("valid", 2), ("test", 3)].map(|(name, shade)| pictures(&place.join(name), shade));
    let sets = Sets { train: train_set, valid: Some(valid), test, names: vec![], reading: Default::default() };
    let job = Job { sets, ..training::job(&model, &trainer.params, &place.join(out), &System) };
    train(&job, &mut *trainer.engine, &mut *infer.engine, watch, &Control::default())
}

/// 4 steps an epoch. Pictures vanish in the middle of one (the training's: the step in which it shows depends on how
/// far ahead they were read), before its validation, and before the test.
#[test]
fn an_error_on_the_way_saves_the_last_whole_step() {
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let place = place.path();
    run(place, "whole", &mut Silent).expect("trains");
    let ends = |out: &str| {
        ["safetensors", "best.safetensors", "checkpoint", "log"].map(|e| {
            fs::read(place.join(out).join(format!("tiny.{e}"))).unwrap_or_else(|error| panic!("{out} {e}: {error}"))
        })
    };
    for (folder, after, steps) in
        [("train", 2, 2..=15), ("valid", 4, 4..=4), ("valid", 8, 8..=8), ("test", 16, 16..=16)]
    {
        let out = format!("{folder}{after}");
        let folder = place.join(folder);
        let error = run(place, &out, &mut Hides { folder: folder.clone(), after }).expect_err("it is gone");
        assert!(error.message.contains(".bmp"), "{error}");
        let saved = Checkpoint::read(&place.join(&out).join("tiny.checkpoint")).expect("saved").cursor.step;
        assert!(steps.contains(&saved), "{out}: {saved}");
        if saved < 16 {
            let help = error.help.expect("a way out");
            assert!(help.contains(&format!("step {saved} was")) && help.contains("--resume"), "{help}");
        }
        fs::remove_dir_all(folder.with_extension("hidden")).expect("removed");
        run(place, &out, &mut Silent).expect("goes on");
        assert!(ends(&out) == ends("whole"), "{out}");
    }
}

/// A picture that became another one of the same size.
#[test]
fn going_on_with_changed_data_is_refused() {
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let place = place.path();
    let mut set = pictures(&place.join("train"), 1);
    let (contents, sizes) = (set.checksum(Hashed::Contents).expect("read"), set.checksum(Hashed::Sizes).expect("read"));
    assert_eq!((Hashed::as_in(&contents), Hashed::as_in(&sizes)), (Hashed::Contents, Hashed::Sizes));
    // CRC-32 by another program's table: of the files one after the other, each with its length, then the labels.
    let mut bytes = vec![];
    for i in 0..24 {
        let file = fs::read(place.join(format!("train/{i:02}.bmp"))).expect("there");
        bytes.extend(&file);
        bytes.extend((file.len() as u64).to_le_bytes());
    }
    (0..24u32).map(|i| i % 3).chain(0..24).for_each(|word| bytes.extend(word.to_le_bytes()));
    let bit = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    let sum = !bytes.iter().fold(!0u32, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), bit));
    assert_eq!(contents, format!("{sum:08x}-contents"));

    let file = place.join("train/05.bmp");
    let mut picture = fs::read(&file).expect("there");
    *picture.last_mut().expect("bytes") ^= 1;
    fs::write(&file, picture).expect("written");
    assert_ne!(set.checksum(Hashed::Contents).expect("read"), contents);
    assert_eq!(set.checksum(Hashed::Sizes).expect("read"), sizes, "which versions before did not see");
    // A label, an order, and which of them are trained on.
    set = pictures(&place.join("train"), 1);
    assert_eq!(set.checksum(Hashed::Contents).expect("read"), contents);
    let mut labels = set.labels.to_vec();
    labels.swap(0, 1);
    assert_ne!(Dataset { labels: labels.into(), ..set.clone() }.checksum(Hashed::Contents).expect("read"), contents);
    assert_ne!(set.split(1, 3).0.checksum(Hashed::Contents).expect("read"), contents);
}

/// The same through the command line, where a checkpoint by a version before goes on as well.
#[test]
fn a_checkpoint_knows_its_pictures() {
    let place = Place::new();
    for class in ["a", "b"] {
        pictures(&place.path("set").join(class), class.as_bytes()[0] % 8);
    }
    let model = MODEL.replace("digits", "folder(\"set\")").replace("features = 10", "features = 2");
    fs::write(place.path("tiny.nin"), model).expect("written");
    let train = |steps: &'static str, more: &[&'static str]| [&["train", "tiny.nin", "--steps", steps], more].concat();
    place.good(&train("3", &[]));
    let checkpoint = place.path("out/tiny.checkpoint");
    place.good(&train("6", &["--resume"]));
    let mut older = Checkpoint::read(&checkpoint).expect("whole");
    // As `Hashed::Sizes` gives it for the pictures that are trained on: taken from the error that another one gives.
    let file = place.path("set/a/05.bmp");
    let mut picture = fs::read(&file).expect("there");
    *picture.last_mut().expect("bytes") ^= 1;
    fs::write(&file, picture).expect("written");
    place.bad(1, &train("9", &["--resume"]), "the training data has changed");
    let paths = ["a", "b"].iter().flat_map(|c| (0..24).map(move |i| format!("set/{c}/{i:02}.bmp")));
    let files: Vec<PathBuf> = paths.map(|path| place.path(&path)).collect();
    let labels = (0..48).map(|i| i / 24).collect();
    let all = Dataset::new(Images { dims: [1, 8, 8], pixels: Pixels::Files(files, Pictures::default()) }, labels);
    older.identity.data = all.split(20_131_216, 10).0.checksum(Hashed::Sizes).expect("read");
    older.classes = None;
    older.write(&checkpoint, &System).expect("written");
    place.good(&train("9", &["--resume"]));
}

/// `plateau` hears the validation part, where there is one. Its images are of a class that is never right, so that it
/// makes no progress from the first epoch on; the training images are all of one class, so that theirs do.
#[test]
fn plateau_looks_at_the_validation_part() {
    use ninc_runtime::spec::Schedule;
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let model = front::load(&MODEL.replace("epochs = 4", "epochs = 5"), "tiny.nin", &[]).0.expect("right");
    let rates = |out: &str, valid: bool| {
        let mut trainer = pipeline::training(&model, &Options::default()).expect("compiles");
        let mut infer = pipeline::inference(&model, &Options::default()).expect("compiles");
        let set = pictures(&place.path().join("train"), 1);
        let of_class = |class: u32| Dataset { labels: vec![class; 24].into(), ..set.clone() };
        let valid = valid.then(|| of_class(9));
        let sets = Sets { valid, test: of_class(0), train: of_class(0), names: vec![], reading: Default::default() };
        let folder = place.path().join(out);
        let mut job = Job { sets, ..training::job(&model, &trainer.params, &folder, &System) };
        job.recipe.schedule = Schedule::Plateau { factor: 0.1, patience: 2, threshold: 1e-4, times: 1 };
        train(&job, &mut *trainer.engine, &mut *infer.engine, &mut Hears, &Control::default()).expect("trains");
        let lines = ninc_runtime::train::log::read(&folder.join("tiny.log")).expect("a log");
        lines.iter().map(|line| line.rate).collect::<Vec<_>>()
    };
    // Two epochs without progress, then a tenth.
    let found = rates("with", true);
    assert!(found.iter().zip([0.1, 0.1, 0.01, 0.01]).all(|(f, r)| (f - r).abs() < 1e-12), "{found:?}");
    let found = rates("without", false);
    assert_eq!(found[..3], [0.1; 3], "the first epoch was progress");
}

/// Listens to a training that may have something to say.
struct Hears;

impl Watch for Hears {
    fn step(&mut self, _: &Progress) {}
    fn epoch(&mut self, _: &Line) {}
    fn note(&mut self, _: &str) {}
}
