//! The OpenCL back end on whatever driver the machine has (in CI the one for processors), against the CPU back end and
//! the reference. Without a driver these tests are skipped aloud; those that need none are in `without_a_driver`.

mod devices;
mod early;
mod failures;
mod kernels;
mod oclgrind;
mod precision;
mod shared;
mod tensor;
mod tune;
mod wrapped;

use crate::nets::{self, Values};
use crate::support::compiled;
use crate::support::draw::{self, convert, error};
use crate::support::vectors;
use crate::{ops as table, trace, vectors as reference};
use ninc::graph::interp::Value;
use ninc::graph::{Graph, NodeId};
use ninc::lower::target::{Isa, Target};
use ninc::model::Model;
use ninc::ops::source::{Init, Input, Param};
use ninc::ops::{self, Case};
use ninc::pipeline::{self, Device, Options};
use ninc::types::DType;
use ninc_runtime::plan::Role;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Is there a device? Says so if not.
pub fn present() -> bool {
    let devices = ninc_runtime::opencl::list();
    if let Err(e) = &devices {
        eprintln!("skipped: {}", e.message);
    }
    devices.is_ok()
}

/// A driver for processors optimises the kernels of all these programs for half an hour of one core, so it does so for
/// the operators, for small models, and wherever the program itself is run.
pub fn options() -> Options {
    Options { device: Device::OpenCl(vec![]), optimise: false, ..Options::default() }
}

/// Adds a case to a graph: its sources are called `cN.xI`, its result `cN`.
fn add(graph: &mut Graph, number: usize, case: &Case) {
    let mut operands: Vec<NodeId> = Vec::new();
    for (i, ty) in case.operands.iter().enumerate() {
        let name = format!("c{number}.x{i}");
        let node = match (ty.batched, ty.dtype) {
            (false, DType::F32) => graph.add(Param::new(name, &ty.dims, Init::Constant { value: 0.0 }), &[]),
            (batched, dtype) => {
                graph.add(Input { name, role: Role::Tensor, dtype, batched, dims: ty.dims.clone() }, &[])
            }
        };
        operands.push(node.expect("a source"));
    }
    let result = graph.add(case.op.clone(), &operands).unwrap_or_else(|e| panic!("{:?}: {e}", case.op));
    graph.outputs.push((format!("c{number}"), result));
}

/// Every operator, the gradients' and updates' among them, on the cases of the table. Cases with the same batch share a
/// program: drivers take their time for each.
#[test]
fn operators_agree_with_the_reference() {
    if !present() {
        return;
    }
    let cases = ops::cases();
    let mut batches: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, case) in cases.iter().enumerate().filter(|(_, case)| draw::gives_floats(case)) {
        batches.entry(case.batch).or_default().push(i);
    }
    let mut wrong = Vec::new();
    for (batch, numbers) in batches {
        for numbers in numbers.chunks(40) {
            let mut graph = Graph::new("cases");
            let drawn: BTreeMap<usize, Vec<Value<f32>>> =
                numbers.iter().map(|&i| (i, draw::operands(&cases[i], i as u64))).collect();
            numbers.iter().for_each(|&i| add(&mut graph, i, &cases[i]));
            let options = Options { optimise: true, ..options() };
            let results = compiled::run_with(&graph, batch, &options, |name, _| {
                let (case, operand) = name[1..].split_once(".x").expect("a source of a case");
                let number = |text: &str| text.parse::<usize>().expect("a number");
                drawn[&number(case)][number(operand)].clone()
            });
            for &i in numbers {
                let case = &cases[i];
                let wide: Vec<_> = drawn[&i].iter().map(convert).collect();
                let expected = table::eval::<f64>(case, &wide);
                let found = &results[&format!("c{i}")];
                assert_eq!(found.dims(), expected.dims(), "{case:?}");
                let found: Vec<f64> = found.real().data.iter().map(|v| f64::from(*v)).collect();
                let error = error(&expected.real().data, &found, 1e-3);
                // Also catches NaN.
                if error.is_nan() || error > 2e-5 {
                    wrong.push(format!("{case:?}: {error:e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The shared vectors: results and gradients of another framework.
#[test]
fn vectors_agree() {
    if !present() {
        return;
    }
    let Some(vectors) = vectors::load() else { return };
    let mut wrong = Vec::new();
    for vector in &vectors {
        for (name, error) in reference::errors(vector, Some(&options())) {
            if error > 2e-5 {
                wrong.push(format!("{} {} {name}: {error:e}", vector.case, vector.op));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_training_trace_is_followed() {
    if !present() {
        return;
    }
    trace::check(Device::OpenCl(vec![]));
}

fn shipped() -> Vec<(String, Model)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut models = Vec::new();
    for entry in fs::read_dir(folder).expect("the models") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "nin") {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a model");
            let (model, diagnostics) = ninc::front::load(&text, &name, &[]);
            models.push((name, model.unwrap_or_else(|| panic!("{diagnostics:#?}"))));
        }
    }
    models.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(models.len() >= 10, "models are missing");
    models
}

/// A model against the CPU: results at inference, and all that a training step changes (dropout's masks are the same
/// numbers on both).
fn check_model(name: &str, model: &Model, device: &Options, batch: usize, tolerance: f32) {
    // Stated whole, as is the draw: which arguments of ReLUs a rounding puts on the other side of 0 must not depend on
    // the machine's caches.
    let target = Target { cache: [32 << 10, 1 << 20, 16 << 20], ..Target::host_with(Isa::Portable) };
    let cpu = Options { threads: 2, target: Some(target), ..Options::default() };
    let values = Values::new(8);
    let run = |options: &Options| {
        let mut infer = pipeline::inference(model, options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut found = nets::run_engine(infer.engine.as_mut(), &values, batch);
        drop(infer);
        if model.train.is_some() {
            let mut train = pipeline::training(model, options).unwrap_or_else(|e| panic!("{name}: {e}"));
            let trained = nets::run_engine(train.engine.as_mut(), &values, batch);
            found.extend(trained.into_iter().map(|(n, v)| (format!("train {n}"), v)));
        }
        found
    };
    let (expected, found) = (run(&cpu), run(device));
    assert_eq!(expected.len(), found.len(), "{name}");
    nets::assert_close(name, &expected, &found, tolerance);
}

/// Every shipped model. The driver optimises the kernels of small ones only.
#[test]
fn models_agree_with_the_cpu() {
    if !present() {
        return;
    }
    for (name, model) in shipped() {
        let work = pipeline::multiply_adds(&model.graph);
        let small = work < 5_000_000;
        let batch = if small { 2 } else { 1 };
        // Of a million arguments of ReLUs, one or two lie so near 0 that roundings put them on the other side: then one
        // channel's gradient lacks a pixel.
        let tolerance = if work < 60_000_000 { 2e-4 } else { 2e-3 };
        check_model(&name, &model, &Options { optimise: small, ..options() }, batch, tolerance);
    }
}

/// Random networks: odd shapes, every layer, every optimiser.
#[test]
fn random_networks_agree_with_the_cpu() {
    if !present() {
        return;
    }
    for seed in 4000..4006 {
        let mut model = nets::model(nets::random(seed));
        model.train = Some(nets::recipe(seed as usize));
        let (values, batch) = (Values::new(seed), 1 + seed as usize % 3);
        let Ok(mut cpu) = pipeline::training(&model, &Options::default()) else { continue };
        let mut context = pipeline::training(&model, &options()).unwrap_or_else(|e| panic!("network {seed}: {e}"));
        let expected = nets::run_engine(cpu.engine.as_mut(), &values, batch);
        let found = nets::run_engine(context.engine.as_mut(), &values, batch);
        nets::assert_close(&format!("network {seed}"), &expected, &found, 2e-4);
    }
}
