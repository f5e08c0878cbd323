//! A training that moves to another machine: it is compiled for the processor that it began on, so its bits stay.

use crate::cli::{Place, texts};
use ninc_runtime::checkpoint::Checkpoint;
use std::fs;

/// Caches so small that a batch is trained in groups of images, unlike on any machine that runs this.
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
    train(&place, "whole", "40", &["--caches", BEGAN]);
    train(&place, "parts", "20", &["--caches", BEGAN]);
    let checkpoint = place.path("parts/tiny.checkpoint");
    let saved = fs::read(&checkpoint).expect("written");
    let said = train(&place, "parts", "40", &["--resume"]);
    assert!(said.contains("goes on as on the processor") && said.contains("--caches 1024,4096,4096"), "{said}");
    assert_eq!(weights(&place, "parts"), weights(&place, "whole"));

    // Who asks for this machine's own groups gets them, and hears what they cost.
    fs::write(&checkpoint, &saved).expect("written");
    let said = train(&place, "parts", "40", &["--resume", "--caches", "48K,1M,16M"]);
    assert!(said.contains("its results differ"), "{said}");
    assert_ne!(weights(&place, "parts"), weights(&place, "whole"));

    // Nothing is said where nothing changes.
    train(&place, "here", "20", &[]);
    let said = train(&place, "here", "40", &["--resume"]);
    assert!(!said.contains("note: goes on") && !said.contains("the training began"), "{said}");
}

/// One process adds up in groups of images, which others cannot continue, unless it was begun with --shares.
#[test]
fn sums_by_shares_are_remembered() {
    let place = Place::new();
    let shares = |out: &str| {
        let checkpoint = Checkpoint::read(&place.path(out).join("tiny.checkpoint")).expect("whole");
        checkpoint.compiled_for.and_then(|c| c.processor).expect("a processor").shares
    };
    train(&place, "whole", "40", &["--shares"]);
    train(&place, "parts", "20", &["--shares"]);
    assert!(shares("whole") && shares("parts"));
    let said = train(&place, "parts", "40", &["--resume"]);
    assert!(said.contains("goes on as on the processor") && said.contains(" --shares"), "{said}");
    assert!(shares("parts"));
    assert_eq!(weights(&place, "parts"), weights(&place, "whole"));

    train(&place, "groups", "20", &[]);
    assert!(!shares("groups"));
    let options = ["train", "tiny.nin", "--steps", "40", "--out", "groups", "--resume", "--shares"];
    let output = place.ninc(&options);
    let (_, said) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("adds up in groups of images"), "{said}");
    let (_, said) = texts(&place.ninc(&["train", "tiny.nin", "--shares", "--device", "interp"]));
    assert!(said.contains("only processors add up by shares of the batch"), "{said}");
    train(&place, "groups", "40", &["--resume"]);
    assert!(!shares("groups"));
}

/// Versions before did not write what a training was compiled for.
#[test]
fn a_checkpoint_without_its_processor_goes_on_with_this_one() {
    let place = Place::new();
    train(&place, "whole", "40", &[]);
    train(&place, "parts", "20", &[]);
    let path = place.path("parts/tiny.checkpoint");
    let mut checkpoint = Checkpoint::read(&path).expect("whole");
    assert!(checkpoint.compiled_for.take().is_some_and(|c| c.processor.is_some()));
    checkpoint.write(&path, &ninc_runtime::store::System).expect("written");
    assert_eq!(Checkpoint::read(&path).expect("whole"), checkpoint);
    train(&place, "parts", "40", &["--resume"]);
    assert_eq!(weights(&place, "parts"), weights(&place, "whole"));
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
