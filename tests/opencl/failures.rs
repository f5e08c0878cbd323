//! Failures give one clear message and leave what was there before.

use super::devices::{err, folder, good, ninc};
use super::present;
use ninc::back::opencl;
use ninc::graph::Graph;
use ninc::kernel::target::Target;
use ninc::{lower, plan};
use ninc_runtime::opencl::{Fault, OpenCl, Source, pick};
use ninc_runtime::plan::Plan;
use ninc_runtime::{Engine, Feed, Tensor};
use std::fs;
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
    if present().is_some() {
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
    let Some(_alone) = present() else { return };
    let source = Source { text: "__kernel void k( { nonsense".into(), kernels: vec![] };
    let failed = OpenCl::new(Arc::new(Plan::default()), Arc::new(source), pick(None).expect("a device"));
    let error = failed.err().expect("this is no OpenCL C");
    assert!(error.message.contains("cannot compile the kernels"), "{error}");
    assert!(error.help.is_some_and(|h| h.contains("--device cpu")));
}

const NETWORK: &str = "network n {\n input x: [2, 4, 4]\n x |> cccp(3) |> relu |> global_avg_pool\n}";

/// A graph as it is, as an engine that failures can be injected into.
fn engine(graph: &Graph) -> OpenCl {
    let program = lower::run(graph, &Target::gpu(), false).expect("it can be lowered");
    let (plan, module) = plan::plan(program.draft, program.ports, plan::Options::default()).expect("a plan");
    let source = opencl::emit(&module).expect("OpenCL C");
    OpenCl::new(Arc::new(plan), Arc::new(source), pick(None).expect("a device")).expect("an engine")
}

/// After a failure parameters are what they were, where the device still answers.
#[test]
fn memory_runs_out_and_devices_are_lost() {
    let Some(_alone) = present() else { return };
    let (model, _) = ninc::front::load(NETWORK, "n.nin", &[]);
    let model = model.expect("a model");
    let mut engine = engine(&model.graph);
    let name = engine.params()[0].name.clone();
    let dims = engine.params()[0].dims.clone();
    let weights = Tensor::new(&dims, (0..6).map(|i| i as f32).collect()).expect("a tensor");
    engine.write(&name, &weights).expect("written");
    let image = vec![1.0; 32];
    let output = engine.outputs()[0].name.clone();

    engine.inject(Fault::Memory);
    let error = engine.run(1, &[("x", Feed::F32(&image))], &[&output]).expect_err("no memory");
    assert!(error.message.contains("has no memory"), "{error}");
    assert!(error.help.is_some_and(|h| h.contains("smaller batch")));
    assert_eq!(engine.read(&name).expect("still there").data, weights.data);
    engine.run(1, &[("x", Feed::F32(&image))], &[&output]).expect("there is memory again");

    engine.inject(Fault::Lost);
    let error = engine.run(1, &[("x", Feed::F32(&image))], &[&output]).expect_err("the device is gone");
    assert!(error.message.contains("is lost"), "{error}");
    assert!(error.help.is_some_and(|h| h.contains("--resume")));
}

/// Built programs are kept, and never trusted when damaged.
#[test]
fn damaged_cache_entries_are_ignored() {
    let Some(_alone) = present() else { return };
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
