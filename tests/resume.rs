//! A training that moves to another machine: it is compiled for the processor that it began on, so its bits stay.

use crate::cli::{Place, texts};
use ninc_runtime::checkpoint::Checkpoint;
use std::fs;
use std::path::Path;

/// Caches so small that a former version trained a batch in groups of images, unlike on any machine that runs this.
const BEGAN: &str = "1K,4K,4K";

fn train(place: &Place, out: &str, steps: &str, more: &[&str]) -> String {
    let output = place.ninc(&[&["train", "tiny.nin", "--steps", steps, "--out", out][..], more].concat());
    let (_, said) = texts(&output);
    assert!(output.status.success(), "{said}");
    said
}

fn weights(place: &Place, out: &str) -> Vec<u8> {
    fs::read(place.path(out).join("tiny.safetensors")).expect("written")
}

#[test]
fn a_training_that_moves_to_another_machine_keeps_its_bits() {
    let place = Place::new();
    for (out, steps) in [("whole", "40"), ("parts", "20")] {
        train(&place, out, "2", &["--caches", BEGAN]);
        in_groups(&place.path(out).join("tiny.checkpoint"));
        train(&place, out, steps, &["--caches", BEGAN, "--resume"]);
    }
    let checkpoint = place.path("parts/tiny.checkpoint");
    let saved = fs::read(&checkpoint).expect("written");
    let said = train(&place, "parts", "40", &["--resume"]);
    assert!(said.contains("goes on as on the processor") && said.contains("--caches 1024,4096,4096"), "{said}");
    assert!(weights(&place, "parts") == weights(&place, "whole"));

    // Who asks for this machine's own groups gets them, and hears what they cost.
    fs::write(&checkpoint, &saved).expect("written");
    let said = train(&place, "parts", "40", &["--resume", "--caches", "48K,1M,16M"]);
    assert!(said.contains("its results differ"), "{said}");
    assert!(weights(&place, "parts") != weights(&place, "whole"));

    // Shares of a batch know no caches, which still decide the form of convolutions.
    train(&place, "shares", "40", &["--caches", BEGAN]);
    train(&place, "moved", "20", &["--caches", BEGAN]);
    let said = train(&place, "moved", "40", &["--resume"]);
    assert!(said.contains("goes on as on the processor") && said.contains("--caches 1024,4096,4096"), "{said}");
    assert!(weights(&place, "moved") == weights(&place, "shares"));

    // Nothing is said where nothing changes.
    train(&place, "here", "20", &[]);
    let said = train(&place, "here", "40", &["--resume"]);
    assert!(!said.contains("note: goes on") && !said.contains("the training began"), "{said}");
}

/// Makes a checkpoint one of the versions before sums were those of shares.
fn in_groups(path: &Path) {
    let mut checkpoint = Checkpoint::read(path).expect("whole");
    let processor = checkpoint.compiled_for.as_mut().and_then(|c| c.processor.as_mut());
    processor.expect("a processor").shares = false;
    checkpoint.write(path, &ninc_runtime::store::System).expect("written");
}

/// A checkpoint of a version that added up in groups of images goes on in them, in one process.
#[test]
fn sums_in_groups_of_images_go_on() {
    let place = Place::new();
    let shares = |out: &str| {
        let checkpoint = Checkpoint::read(&place.path(out).join("tiny.checkpoint")).expect("whole");
        checkpoint.compiled_for.and_then(|c| c.processor).expect("a processor").shares
    };
    train(&place, "whole", "40", &[]);
    train(&place, "groups", "20", &[]);
    assert!(shares("whole") && shares("groups"));
    in_groups(&place.path("groups/tiny.checkpoint"));
    let said = train(&place, "groups", "30", &["--resume"]);
    assert!(said.contains("goes on as on the processor") && said.contains(", sums in groups of images"), "{said}");
    assert!(!shares("groups"));
    let said = train(&place, "groups", "40", &["--resume"]);
    assert!(said.contains(", sums in groups of images"), "{said}");
    assert!(!shares("groups"));
    assert!(weights(&place, "groups") != weights(&place, "whole"));
}

/// Versions before did not write what a training was compiled for.
#[test]
fn a_checkpoint_without_its_processor_goes_on_with_this_one() {
    let place = Place::new();
    train(&place, "parts", "20", &[]);
    train(&place, "others", "20", &[]);
    in_groups(&place.path("others/tiny.checkpoint"));
    let path = place.path("parts/tiny.checkpoint");
    let mut checkpoint = Checkpoint::read(&path).expect("whole");
    assert!(checkpoint.compiled_for.take().is_some_and(|c| c.processor.is_some()));
    checkpoint.write(&path, &ninc_runtime::store::System).expect("written");
    assert_eq!(Checkpoint::read(&path).expect("whole"), checkpoint);
    train(&place, "parts", "40", &["--resume"]);
    train(&place, "others", "40", &["--resume"]);
    assert!(weights(&place, "parts") == weights(&place, "others"), "such versions added up in groups of images");
}

/// Forgotten options change what a training computes; a checkpoint remembers them.
#[test]
fn options_that_change_the_results_are_noticed() {
    let place = Place::new();
    train(&place, "parts", "20", &["--precision", "bf16"]);
    let said = train(&place, "parts", "40", &["--resume"]);
    assert!(said.contains("began with --device cpu --algorithm auto --precision bf16"), "{said}");
}

/// Every optimiser, with what else a recipe keeps between steps: the parts of a training, on other numbers of threads,
/// are the whole.
#[test]
fn every_optimiser_goes_on_to_the_same_bits() {
    let place = Place::new();
    let text = fs::read_to_string(place.path("tiny.nin")).expect("there");
    let (network, _) = text.split_once("train {").expect("a recipe");
    let muon = "sgd(rate = 0.1, nesterov = true, momentum = 0.9)  convolutions = muon(rate = 0.02)
        lookahead = ema(every = 2, decay = 0.8)  groups = [group(\"conv1\", rate = 2)]";
    for (name, optimizer) in [
        ("sgd", "sgd(rate = 0.1)  clip = 1"),
        ("momentum", "sgd(rate = 0.1, momentum = 0.9, decay = 0.01, rate_inside = true, ramp = 1, ramp_from = 0.5)"),
        ("adam", "adam(rate = 0.01, decay = 0.1)  average = 0.9"),
        ("adamw", "adamw(rate = 0.01, decay = 0.1)  warmup = 2"),
        ("rmsprop", "rmsprop(rate = 0.01, momentum = 0.5)  accumulate = 2"),
        ("muon", muon),
    ] {
        fs::write(
            place.path("tiny.nin"),
            format!("{network}train {{ batch = 10  epochs = 1  optimizer = {optimizer} }}"),
        )
        .expect("written");
        train(&place, name, "5", &["--checkpoint-every", "2", "--keep", "3", "--threads", "1"]);
        let whole = weights(&place, name);
        let kept = place.path(name).join("tiny.step-00000002.checkpoint");
        train(&place, name, "5", &[&format!("--resume={}", kept.display()), "--threads", "3"]);
        assert!(weights(&place, name) == whole, "{name}");
    }
}
