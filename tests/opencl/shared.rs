//! Several devices that share each batch: parts of a driver's device, or the same device several times.

use super::devices::{err, folder, good, ninc, outcome};
use super::{options, present};
use crate::nets::{self, Values};
use ninc::back::opencl;
use ninc::graph::Graph;
use ninc::lower::target::Target;
use ninc::model::Model;
use ninc::passes::{self, training};
use ninc::pipeline::{self, Device, Options};
use ninc::types::DType;
use ninc::{plan, translate};
use ninc_runtime::opencl::{Choice, Fault, OpenCl, choose};
use ninc_runtime::{Engine, Feed, Tensor};
use std::sync::Arc;

const HALVES: Choice = Choice { index: 0, parts: 2 };

/// Can the first device be cut? Says so if not.
fn halves() -> Option<Options> {
    match choose(&[HALVES]) {
        Ok(devices) => {
            assert_eq!(devices.len(), 2);
            Some(Options { device: Device::OpenCl(vec![HALVES]), ..Options::default() })
        }
        Err(e) => {
            eprintln!("skipped: {}", e.message);
            None
        }
    }
}

/// Every part of a step that a device cannot do alone: statistics, masks, sums, a norm over all gradients.
const NETWORK: &str = "network n {
    input image: [2, 9, 9]
    image |> conv(kernel = 3, pad = 1, channels = 6, bias = false) as c1 |> batch_norm as b1 |> relu |> dropout(0.4)
        |> max_pool(kernel = 2, stride = 2)
        |> cccp(channels = 8) as c2 |> batch_norm as b2 |> relu
        |> max_pool(kernel = 2, stride = 2) |> flatten |> drop_connect(features = 7, rate = 0.3) as d |> relu
        |> linear(features = 5) as logits |> softmax as result
}
train { loss = cross_entropy  optimizer = sgd(rate = 0.1, momentum = 0.9, decay = 1e-3)  batch = 5  steps = 1  clip = 0.7 }
";

fn model() -> Model {
    let (model, diagnostics) = ninc::front::load(NETWORK, "n.nin", &[]);
    model.unwrap_or_else(|| panic!("{diagnostics:#?}"))
}

/// A graph's program on the first device, as often as said.
pub fn engine(graph: &Graph, devices: usize, training: bool) -> OpenCl {
    let program = translate::run(graph, &Target::gpu(), false).expect("it can be lowered");
    let (updates, prepare_each_run) = (program.updates, training);
    let options = plan::Options { shared: devices > 1, updates, prepare_each_run, ..plan::Options::default() };
    let (plan, module, _) = plan::plan(program.builder, program.ports, options).expect("a plan");
    let source = opencl::emit(&module).expect("OpenCL C");
    let device = choose(&[]).expect("a device").swap_remove(0);
    OpenCl::new(Arc::new(plan), Arc::new(source), vec![device; devices]).expect("an engine")
}

pub fn training_graph(model: &Model) -> Graph {
    let mut graph = model.graph.clone();
    let run = |graph: &mut Graph, passes: &[passes::Pass]| passes.iter().try_for_each(|p| (p.run)(graph));
    run(&mut graph, passes::BEFORE_TRAINING).expect("passes");
    training::run(&mut graph, model.train.as_ref().expect("a recipe"), false).expect("a training step");
    run(&mut graph, passes::AFTER_TRAINING).expect("passes");
    graph
}

/// A step on one, two and three devices changes the parameters alike, up to the rounding of sums; batches that do not
/// divide, and devices without any image, are not an exception. The bits are the same each time.
#[test]
fn a_step_on_several_devices_is_one_step() {
    if !present() {
        return;
    }
    let model = model();
    let graph = training_graph(&model);
    let values = Values::new(11);
    let mut cpu = pipeline::training(&model, &Options::default()).expect("a program");
    let mut engines: Vec<OpenCl> = (1..=3).map(|devices| engine(&graph, devices, true)).collect();
    for batch in [7, 1] {
        let expected = nets::run_engine(cpu.engine.as_mut(), &values, batch);
        for engine in &mut engines {
            let found = nets::run_engine(engine, &values, batch);
            nets::assert_close(&format!("batch {batch}"), &expected, &found, 2e-4);
            assert_eq!(found, nets::run_engine(engine, &values, batch), "batch {batch}: other bits");
        }
    }
}

/// Between gradients and updates all meet once, however many parameters there are.
#[test]
fn devices_meet_once_without_statistics() {
    let text = NETWORK.replace("|> batch_norm as b1", "").replace("|> batch_norm as b2", "");
    let (model, diagnostics) = ninc::front::load(&text, "n.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let meetings = |model: &Model| {
        let program = translate::run(&training_graph(model), &Target::gpu(), false).expect("it can be lowered");
        let updates = program.updates;
        let options = plan::Options { shared: true, updates, prepare_each_run: true, ..plan::Options::default() };
        let (plan, ..) = plan::plan(program.builder, program.ports, options).expect("a plan");
        assert!(plan.all_reduces.len() >= 7, "a gradient for each parameter");
        let (mut meetings, mut open) = (0, Vec::new());
        for (i, launch) in plan.launches.iter().enumerate() {
            if launch.buffers.iter().any(|b| open.contains(b)) {
                meetings += 1;
                open.clear();
            }
            open.extend(plan.all_reduces.iter().filter(|(at, _)| *at == i).map(|(_, buffer)| *buffer));
        }
        meetings
    };
    assert_eq!(meetings(&model), 1);
    // Mean and variance of two layers, their two gradients, and the updates.
    let with = meetings(&self::model());
    assert!((5..=8).contains(&with), "{with} meetings");
}

/// An image's results do not depend on the device or on its neighbours.
#[test]
fn inference_gives_the_same_bits() {
    if !present() {
        return;
    }
    let model = model();
    let values = Values::new(12);
    let mut one = pipeline::inference(&model, &options()).expect("a program");
    let expected = nets::run_engine(one.engine.as_mut(), &values, 5);
    let Some(halves) = halves() else { return };
    let mut two = pipeline::inference(&model, &halves).expect("a program");
    assert_eq!(expected, nets::run_engine(two.engine.as_mut(), &values, 5));
    assert!(two.engine.arena_bytes(5) >= one.engine.arena_bytes(5));
    two.engine.set_profile(true);
    nets::run_engine(two.engine.as_mut(), &values, 5);
    let profile = two.engine.profile();
    assert!(profile.iter().any(|(_, time)| !time.is_zero()), "{profile:?}");
}

/// Checkpoints are those of one device: a training moves from the processor to parts of a device and back.
#[test]
fn a_training_moves_to_several_devices() {
    if !present() {
        return;
    }
    if halves().is_none() {
        return;
    }
    let place = folder();
    let train = |out: &str, device: &str, steps: &str, resume: &[&str]| {
        let arguments = ["train", "tiny.nin", "--json", "--out", out, "--device", device, "--steps", steps];
        outcome(&good(place.path(), &[&arguments, resume].concat()))
    };
    let straight = train("straight", "opencl:0", "60", &[]);
    train("moved", "cpu", "20", &[]);
    train("moved", "opencl:0/2", "40", &["--resume"]);
    let moved = train("moved", "opencl:0", "60", &["--resume"]);
    assert!((straight.0 - moved.0).abs() < 2e-3, "loss {} and {}", straight.0, moved.0);
    assert!((straight.1 - moved.1).abs() < 0.02, "accuracy {} and {}", straight.1, moved.1);
    let eval = ["eval", "tiny.nin", "--json", "--weights", "moved/tiny.safetensors", "--device", "opencl:0/2"];
    let tested = outcome(&good(place.path(), &eval));
    assert!((tested.0 - moved.0).abs() < 1e-4 && (tested.1 - moved.1).abs() < 0.01, "{tested:?} and {moved:?}");
}

#[test]
fn devices_are_named_once_and_cut_into_parts() {
    for text in ["opencl:0,opencl:1", "opencl:2/4", "opencl", "opencl:3"] {
        assert_eq!(text.parse::<Device>().expect("devices").to_string(), text);
    }
    for text in ["opencl:0/0", "opencl:", "opencl:0,", "opencl:0,cpu", "opencl:0/x", "opencl:-1"] {
        assert!(text.parse::<Device>().is_err(), "{text}");
    }
    if !present() {
        return;
    }
    let place = folder();
    let says = |device: &str| {
        let output = ninc(place.path(), &["bench", "tiny.nin", "--device", device]).output().expect("ninc starts");
        assert_eq!(output.status.code(), Some(1), "{device}");
        err(&output)
    };
    assert!(says("opencl:0,opencl:0").contains("opencl:0 is named twice"), "{}", says("opencl:0,opencl:0"));
    assert!(says("opencl:0/9999").contains("cannot be cut into 9999 parts"), "{}", says("opencl:0/9999"));
}

/// One message that names the device, and the parameters are those of before the step.
#[test]
fn one_of_several_devices_fails() {
    if !present() {
        return;
    }
    let model = model();
    let mut engine = engine(&training_graph(&model), 3, true);
    let values = Values::new(13);
    nets::run_engine(&mut engine, &values, 6);
    let name = engine.params()[0].name.clone();
    let before = engine.read(&name).expect("a parameter");
    let step = |engine: &mut OpenCl, batch: usize| {
        let inputs = engine.inputs().to_vec();
        let data: Vec<Tensor> = inputs
            .iter()
            .map(|port| {
                Tensor::zeros(&if port.batched { [&[batch], port.dims.as_slice()].concat() } else { port.dims.clone() })
            })
            .collect();
        let ints = [0; 6 * 4];
        let feeds: Vec<(&str, Feed)> = inputs
            .iter()
            .zip(&data)
            .map(|(port, t)| {
                let feed = if port.dtype == DType::I32 { Feed::I32(&ints[..t.data.len()]) } else { Feed::F32(&t.data) };
                (port.name.as_str(), feed)
            })
            .collect();
        engine.run(batch, &feeds, &["loss"]).map(|_| ())
    };
    engine.inject(1, Fault::Memory);
    let error = step(&mut engine, 24).expect_err("no memory");
    assert!(error.message.contains("opencl:0") && error.message.contains("has no memory"), "{error}");
    assert_eq!(engine.read(&name).expect("still there"), before);
    engine.inject(2, Fault::Lost);
    let error = step(&mut engine, 6).expect_err("a device is gone");
    assert!(error.message.contains("is lost"), "{error}");
    assert_eq!(engine.read(&name).expect("the others have it"), before);
}
