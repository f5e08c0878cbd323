//! Steps after parameters froze leave out what only these need: all others keep the bits of the whole step.

use crate::fast_recipe::{Trained, load, load_of};
use ninc::lower::target::Target;
use ninc::model::Model;
use ninc::pipeline::{self, Options};
use ninc::types::Format;
use std::collections::BTreeMap;

/// Two steps make an epoch: `c1` learns in three steps, what is below it and `c2` in four.
const GROUPS: &str = "groups = [group(\"c1\", freeze_after = 1.5), group(\"white*\", freeze_after = 2),
    group(\"c2.bias\", freeze_after = 2)]  epochs = 4";
const LAYERS: &str = "conv(channels = 8, kernel = 2, init = dirac) as white |> gelu
    |> conv(channels = 6, kernel = 3, pad = 1) as c1";
const REST: &str = "relu |> conv(channels = 8, kernel = 3, pad = 1) as c2 |> relu |> cccp(5) as c3";

/// The step that always computes everything, which values that are to be shown ask for.
fn whole(options: &Options) -> Options {
    Options { dumps: vec!["nothing".into()], ..options.clone() }
}

/// Steps of both, with other images in each; returns the launches of each step of the shorter one.
fn compared(layers: &str, train: &str, options: &Options, batch: usize) -> Vec<usize> {
    compared_of(&load(layers, &format!("{train}  {GROUPS}")), train, options, batch)
}

fn compared_of(model: &Model, train: &str, options: &Options, batch: usize) -> Vec<usize> {
    let mut found = Trained::with(model, options);
    let mut right = Trained::with(model, &whole(options));
    (found.batch, right.batch) = (batch, batch);
    let mut launches = Vec::new();
    let learns = |name: &str, step: u64| match name.split('.').next() {
        Some("c1") => step < 3,
        Some("white") => step < 4,
        _ => step < 4 || !name.starts_with("c2.bias"),
    };
    for step in 0..6 {
        found.program.engine.set_profile(true);
        found.step();
        right.step();
        launches.push(found.program.engine.profile().len());
        let (found, right) = (found.values(), right.values());
        assert_eq!(found.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
        for (name, right) in right {
            // The state of what does not learn any more stays as it was.
            let state = [".velocity", ".adam_m", ".adam_v"].iter().any(|state| name.ends_with(state));
            assert!((state && !learns(&name, step)) || found[&name] == right, "{train}, step {step}: {name}");
        }
    }
    launches
}

#[test]
fn shorter_steps_keep_the_bits_of_what_learns() {
    let sgd = "optimizer = sgd(rate = 0.1, momentum = 0.9, nesterov = true, decay = 0.01)";
    let normed = format!("{LAYERS} |> batch_norm |> {REST}");
    let bf16 = Options { precision: Some(Format::Bf16), threads: 2, ..Options::default() };
    // So little cache that a batch goes in two groups of eight images.
    let small = Target { cache: [1 << 10, 1 << 12, 1 << 14], ..Target::portable(true) };
    let small = Options { target: Some(small), threads: 2, in_shares: false, ..Options::default() };
    let shares = Options { in_shares: true, ..small.clone() };
    let plain = format!("{LAYERS} |> {REST}");
    let ahead = format!("{sgd}  lookahead = ema(every = 2, decay = 0.8, power = 2)");
    let adam = "optimizer = adam(rate = 0.01, decay = 0.1)  average = 0.9";
    let muon = format!("{sgd}  convolutions = muon(rate = 0.05)");
    for (layers, train, options, batch) in [
        (&normed, &*ahead, &bf16, 4),
        (&normed, adam, &Options::default(), 3),
        (&plain, &muon, &Options::default(), 4),
        (&plain, sgd, &small, 16),
        (&plain, &ahead, &small, 16),
        (&plain, &ahead, &shares, 16),
    ] {
        let launches = compared(layers, train, options, batch);
        let (early, middle, late) = (launches[2], launches[3], launches[4]);
        assert!(late + 3 < middle && middle < early, "{train}: {launches:?}");
    }
    // The norm of all gradients has those of what is frozen in it, which are computed for that.
    compared(&plain, &format!("{sgd}  clip = 0.5"), &Options::default(), 4);
}

/// Images so large that a share goes in groups, and a shorter step would have larger ones of its own.
#[test]
fn shorter_steps_keep_the_groups_of_shares() {
    let sgd = "optimizer = sgd(rate = 0.1, momentum = 0.9)";
    let layers = format!("{LAYERS} |> {REST}");
    let model = load_of(64, &layers, &format!("{sgd}  {GROUPS}"));
    let options = Options { target: Some(Target::portable(true)), threads: 2, ..Options::default() };
    let group = |model: &Model| {
        let program = pipeline::training(model, &whole(&options)).expect("it compiles");
        program.compiled.expect("for a processor").plan.shares.clone().expect("shares").group
    };
    let frozen = layers.replace("init = dirac) as white", "init = dirac, frozen = true) as white");
    let frozen = frozen.replace("pad = 1) as c1", "pad = 1, frozen = true) as c1");
    let natural = group(&load_of(64, &frozen, &format!("{sgd}  epochs = 4")));
    assert_eq!((group(&model), natural), (Some(8), Some(16)));
    compared_of(&model, sgd, &options, 128);
}

/// A broken loss is looked for by going back.
#[test]
fn steps_that_are_made_again_are_the_same() {
    let sgd = "optimizer = sgd(rate = 0.1, momentum = 0.9)";
    let model = load(&format!("{LAYERS} |> {REST}"), &format!("{sgd}  {GROUPS}"));
    let mut trained = Trained::with(&model, &Options::default());
    let mut seen: Vec<BTreeMap<String, Vec<f32>>> = Vec::new();
    for _ in 0..6 {
        seen.push(trained.values());
        trained.step();
    }
    let last = trained.values();
    for (name, data) in &seen[1] {
        let mut tensor = trained.program.engine.read(name).expect("a parameter");
        tensor.data.clone_from(data);
        trained.program.engine.write(name, &tensor).expect("a parameter");
    }
    trained.steps = 1;
    for right in &seen[1..] {
        assert_eq!(trained.values(), *right);
        trained.step();
    }
    assert_eq!(trained.values(), last);
}
