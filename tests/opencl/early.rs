//! Inputs of the next run travel while a device computes.

use super::devices::MODEL;
use super::failures::{engine, train_tiny};
use super::wrapped::Wrapped;
use super::{present, shared};
use ninc_runtime::opencl::OpenCl;
use ninc_runtime::{Engine, Feed, Prefetch};
use std::cell::Cell;
use std::rc::Rc;

/// While a device computes a step it takes the batch of the next one, with the same numbers as without.
#[test]
fn batches_travel_while_devices_compute() {
    if !present() {
        return;
    }
    let (model, _) = ninc::front::load(MODEL, "tiny.nin", &[]);
    let model = model.expect("a model");
    let place = tempfile::tempdir().expect("a folder for temporary files");
    for devices in [1, 2] {
        let train = |early: bool| {
            let there = Rc::new(Cell::new(0));
            let count = there.clone();
            let before = move |_: &OpenCl, inputs: &[(&str, Feed)]| {
                let fed = ["image", "@labels"].map(|name| inputs.iter().any(|(n, _)| *n == name));
                assert_eq!(fed[0], fed[1]);
                count.set(count.get() + usize::from(!fed[0]));
            };
            let engine = shared::engine(&shared::training_graph(&model), devices, true);
            let mut engine = Wrapped { engine, early, before: Box::new(before) };
            train_tiny(&mut engine, &place.path().join(format!("{devices} {early}"))).expect("trained");
            let names: Vec<String> = engine.params().iter().map(|p| p.name.clone()).collect();
            let values: Vec<_> = names.iter().map(|name| engine.read(name).expect("a value").data).collect();
            (there.get(), values)
        };
        let (plain, early) = (train(false), train(true));
        assert_eq!((plain.0, early.0), (0, 29), "of 30 steps");
        assert!(plain.1 == early.1, "{devices} devices");
    }
}

/// What came early is for one run, of as many images, and gives way to what is fed.
#[test]
fn early_inputs_are_for_the_next_run() {
    if !present() {
        return;
    }
    let (mut engine, _) = engine();
    let output = engine.outputs()[0].name.clone();
    let [one, two] = [1.0, 2.0].map(|v| vec![v; 32]);
    let alone = |engine: &mut OpenCl, x: &[f32]| engine.run(1, &[("x", Feed::F32(x))], &[&output]).expect("a result");
    let expected = [alone(&mut engine, &one), alone(&mut engine, &two)];
    assert!(expected[0] != expected[1]);
    // Twice: the second time what came early lies where the first one's did.
    for _ in 0..2 {
        let mut put =
            |prefetch: &mut dyn Prefetch| prefetch.put(1, &[("x", Feed::F32(&two))]).map(|taken| assert!(taken));
        let first = engine.run_overlapped(1, &[("x", Feed::F32(&one))], &[&output], &mut put).expect("a result");
        assert_eq!(first, expected[0]);
        assert_eq!(engine.run(1, &[], &[&output]).expect("fed before"), expected[1]);
        assert!(engine.run(1, &[], &[&output]).expect_err("not fed").message.contains("not fed"));
        engine.run_overlapped(1, &[("x", Feed::F32(&one))], &[&output], &mut put).expect("a result");
        assert_eq!(alone(&mut engine, &one), expected[0]);
        engine.run_overlapped(1, &[("x", Feed::F32(&one))], &[&output], &mut put).expect("a result");
        assert!(engine.run(2, &[], &[&output]).expect_err("for one image").message.contains("not fed"));
    }
    let mut wrong = |prefetch: &mut dyn Prefetch| prefetch.put(1, &[("y", Feed::F32(&two))]).map(|_| ());
    assert!(engine.run_overlapped(1, &[("x", Feed::F32(&one))], &[&output], &mut wrong).is_err());
    assert_eq!(alone(&mut engine, &one), expected[0]);
}
