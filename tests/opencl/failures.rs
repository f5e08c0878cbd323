//! Failures give one clear message and leave what was there before.

use super::devices::{MODEL, err, folder, good, ninc};
use super::wrapped::Wrapped;
use super::{present, shared};
use crate::support::training::{self, Silent};
use ninc::back::opencl;
use ninc::lower::target::Target;
use ninc::pipeline::{self, Options};
use ninc::{plan, translate};
use ninc_runtime::checkpoint::Checkpoint;
use ninc_runtime::opencl::{Fault, OpenCl, Source, choose, pick};
use ninc_runtime::plan::Plan;
use ninc_runtime::store::System;
use ninc_runtime::train::job::checkpoint_path;
use ninc_runtime::train::{Control, Job, Saving, train};
use ninc_runtime::{Engine, Feed, Result, Tensor};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The program starts and works without any OpenCL; asked for it, it says what to install.
#[test]
fn without_a_driver() {
    let place = folder();
    let run = |name: &str, value: &str, arguments: &[&str]| {
        ninc(place.path(), arguments).env(name, value).output().expect("ninc starts")
    };
    let bench = ["bench", "tiny.nin", "--device", "opencl"];
    let none = run("NINC_OPENCL", "/nonexistent/libOpenCL.so", &bench);
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).contains("there is no OpenCL on this machine"), "{}", err(&none));
    assert!(err(&none).contains("pocl-opencl-icd") && !err(&none).contains("panicked"), "{}", err(&none));
    let devices = run("NINC_OPENCL", "/nonexistent/libOpenCL.so", &["devices"]);
    let text = String::from_utf8_lossy(&devices.stdout).into_owned();
    assert!(devices.status.success() && text.contains("no OpenCL"), "{text}");
    if present() {
        let empty = run("OCL_ICD_VENDORS", "/nonexistent", &bench);
        assert!(err(&empty).contains("no driver for any device"), "{}", err(&empty));
        let far = ninc(place.path(), &["bench", "tiny.nin", "--device", "opencl:77"]).output().expect("ninc starts");
        assert!(err(&far).contains("no device opencl:77") && err(&far).contains("opencl:0"), "{}", err(&far));
    }
    let wrong = ninc(place.path(), &["bench", "tiny.nin", "--device", "openccl"]).output().expect("ninc starts");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(err(&wrong).contains("devices: cpu, interp, opencl"), "{}", err(&wrong));
}

#[test]
fn a_failed_build_shows_the_compilers_words() {
    if !present() {
        return;
    }
    let source = Source { text: "__kernel void k( { nonsense".into(), kernels: vec![], optimise: true };
    let failed = OpenCl::new(Arc::new(Plan::default()), Arc::new(source), choose(&[]).expect("a device"));
    let error = failed.err().expect("this is not OpenCL C");
    assert!(error.message.contains("cannot compile the kernels"), "{error}");
    assert!(error.help.is_some_and(|h| h.contains("--device cpu")));
}

const NETWORK: &str = "network n {\n input x: [2, 4, 4]\n x |> cccp(3) |> relu |> global_avg_pool\n}";

/// [`NETWORK`] as it is, as an engine that failures can be injected into, and its weights, which are 0, 1, 2, …
pub fn engine() -> (OpenCl, Tensor) {
    let (model, _) = ninc::front::load(NETWORK, "n.nin", &[]);
    let program = translate::run(&model.expect("a model").graph, &Target::gpu(), false).expect("it can be lowered");
    let (plan, module, _) = plan::plan(program.builder, program.ports, plan::Options::default()).expect("a plan");
    let source = opencl::emit(&module).expect("OpenCL C");
    let device = choose(&[]).expect("a device");
    let mut engine = OpenCl::new(Arc::new(plan), Arc::new(source), device).expect("an engine");
    let (name, dims) = (engine.params()[0].name.clone(), engine.params()[0].dims.clone());
    let weights = Tensor::new(&dims, (0..6).map(|i| i as f32).collect()).expect("a tensor");
    engine.write(&name, &weights).expect("written");
    (engine, weights)
}

/// After a failure parameters are what they were, where the device still answers.
#[test]
fn memory_runs_out_and_devices_are_lost() {
    if !present() {
        return;
    }
    let (mut engine, weights) = engine();
    let image = vec![1.0; 32];
    let (name, output) = (engine.params()[0].name.clone(), engine.outputs()[0].name.clone());

    engine.inject(0, Fault::Memory);
    let error = engine.run(1, &[("x", Feed::F32(&image))], &[&output]).expect_err("no memory");
    assert!(error.message.contains("has no memory"), "{error}");
    assert!(error.help.is_some_and(|h| h.contains("smaller batch")));
    assert_eq!(engine.read(&name).expect("still there").data, weights.data);
    engine.run(1, &[("x", Feed::F32(&image))], &[&output]).expect("there is memory again");

    engine.inject(0, Fault::Lost);
    let error = engine.run(1, &[("x", Feed::F32(&image))], &[&output]).expect_err("the device is gone");
    assert!(error.message.contains("is lost"), "{error}");
    assert!(error.help.is_some_and(|h| h.contains("--resume")));
}

/// A training program whose device is lost before the step with this number.
fn lost(engine: OpenCl, device: usize, mut steps: usize) -> Wrapped {
    let before = move |engine: &OpenCl, _: &[(&str, Feed)]| {
        if steps == 0 {
            engine.inject(device, Fault::Lost);
        }
        steps = steps.wrapping_sub(1);
    };
    Wrapped { engine, early: true, before: Box::new(before) }
}

/// Trains the tiny network in this folder; resumes if there is a checkpoint. Gives the loss on the test images.
pub fn train_tiny(trainer: &mut dyn Engine, folder: &Path) -> Result<f64> {
    let (model, _) = ninc::front::load(MODEL, "tiny.nin", &[]);
    let model = model.expect("a model");
    let mut infer = pipeline::inference(&model, &Options::default()).expect("a program");
    let parameters = pipeline::training(&model, &Options::default()).expect("a program").params;
    let saving = Saving { steps: Some(5), ..Saving::default() };
    let job = Job { saving, ..training::job(&model, &parameters, folder, &System) };
    let outcome = train(&job, trainer, &mut *infer.engine, &mut Silent, &Control::default())?;
    Ok(outcome.test.expect("it ended").loss)
}

/// A device lost within a training, alone or one of several: one message that says how to go on, and going on from the
/// last checkpoint, on the processor, leads to where an undisturbed training ends.
#[test]
fn a_training_outlives_its_device() {
    if !present() {
        return;
    }
    let (model, _) = ninc::front::load(MODEL, "tiny.nin", &[]);
    let model = model.expect("a model");
    let cpu = || pipeline::training(&model, &Options::default()).expect("a program").engine;
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let straight = train_tiny(cpu().as_mut(), &place.path().join("straight")).expect("trained");
    for (devices, device) in [(1, 0), (2, 1)] {
        let folder = place.path().join(devices.to_string());
        let engine = shared::engine(&shared::training_graph(&model), devices, true);
        let error = train_tiny(&mut lost(engine, device, 13), &folder).expect_err("the device is gone");
        assert!(error.message.contains("is lost") && error.message.contains("opencl:0"), "{error}");
        assert!(error.help.as_ref().is_some_and(|h| h.contains("--resume")), "{error}");
        let saved = Checkpoint::read(&checkpoint_path(&folder, "tiny")).expect("the state is kept");
        assert_eq!(saved.cursor.step, 10);
        let resumed = train_tiny(cpu().as_mut(), &folder).expect("trained");
        assert!((straight - resumed).abs() < 2e-3, "loss {straight} and {resumed}");
    }
}

/// A library that is not OpenCL, and a device that speaks too old a version.
#[test]
fn wrong_drivers_are_named() {
    let place = folder();
    let arguments = ["bench", "tiny.nin", "--device", "opencl"];
    // A library of the system without any of OpenCL's functions.
    let output = ninc(place.path(), &arguments).env("NINC_OPENCL", "libm.so.6").output().expect("ninc starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("OpenCL") && err(&output).contains("help: "), "{}", err(&output));
    assert!(!err(&output).contains("panicked"), "{}", err(&output));
    if !present() {
        return;
    }
    let mut device = pick(None).expect("a device");
    device.version = "OpenCL 1.1 old".into();
    let error = device.check().expect_err("too old");
    assert!(error.message.contains("speaks OpenCL 1.1 old; ninc needs OpenCL 1.2"), "{error}");
}

/// Built programs are kept, and never trusted when damaged.
#[test]
fn damaged_cache_entries_are_ignored() {
    if !present() {
        return;
    }
    let place = folder();
    let bench = ["bench", "tiny.nin", "--device", "opencl", "--batch", "1"];
    good(place.path(), &bench);
    let entries = || {
        let folder = fs::read_dir(place.path().join("cache/opencl")).expect("the cache");
        folder.map(|e| e.expect("an entry").path()).collect::<Vec<_>>()
    };
    let kept = entries();
    assert!(!kept.is_empty(), "nothing was kept");
    for path in &kept {
        let mut bytes = fs::read(path).expect("an entry");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(path, bytes).expect("damaged");
    }
    let damaged: Vec<_> = kept.iter().map(|p| fs::read(p).expect("an entry")).collect();
    good(place.path(), &bench);
    for (path, damaged) in kept.iter().zip(damaged) {
        assert!(fs::read(path).expect("an entry") != damaged, "a damaged entry was left");
    }
}
