//! What the pipeline promises beside right results.

use crate::nets;
use ninc::model::Model;
use ninc::pipeline::{self, Device, Emit, Options, Stage};
use std::fs;
use std::path::Path;

fn load(source: &str) -> Model {
    let (model, diagnostics) = ninc::front::load(source, "test.nin", &[]);
    model.unwrap_or_else(|| panic!("{diagnostics:#?}"))
}

fn shipped(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    load(&fs::read_to_string(path).expect("a shipped model"))
}

fn emit(stage: Stage) -> Options {
    Options { emit: vec![stage.into()], ..Options::default() }
}

#[test]
fn stages_parse_as_they_print() {
    for text in
        ["ast", "graph", "grad", "opt", "opt:fuse", "opt:cse", "explain", "kernel", "plan", "clif", "asm", "opencl"]
    {
        let emit: Emit = text.parse().expect("a stage");
        assert_eq!(emit.to_string(), text);
    }
    for (text, part) in
        [("grap", "stages: ast, graph"), ("opt:fusion", "fold_batch_norm"), ("plan:fuse", "`opt:` takes")]
    {
        let error = text.parse::<Emit>().expect_err("no stage");
        assert!(error.help.as_ref().is_some_and(|h| h.contains(part)), "{text}: {error}");
    }
}

/// The schedule lets each new value take the old one's place.
#[test]
fn parameters_are_updated_in_place() {
    for name in ["digits.nin", "mnist.nin", "lenet5.nin"] {
        let program = pipeline::training(&shipped(name), &emit(Stage::Plan)).expect("it compiles");
        let plan = &program.dumps[0].text;
        assert!(plan.contains("sgd_step"), "{name}: the plan has no updates");
        let copies: Vec<&str> = plan.lines().filter(|l| l.starts_with("  update ")).collect();
        assert!(copies.is_empty(), "{name}: {copies:#?}");
    }
}

#[test]
fn a_dump_becomes_an_output() {
    let model = load("network n {\n input x: [2, 4, 4]\n x |> cccp(3) as a |> relu |> cccp(2) as b |> relu\n}");
    let with = |dumps: &[&str]| {
        let dumps = dumps.iter().map(|d| d.to_string()).collect();
        pipeline::inference(&model, &Options { dumps, ..Options::default() })
    };
    let program = with(&["a"]).expect("it compiles");
    let names: Vec<&str> = program.engine.outputs().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["output", "a"]);
    let error = with(&["c"]).err().expect("there is no such value");
    assert!(error.message.contains("no value `c`") && error.help.is_some_and(|h| h.contains("a, ")));
}

#[test]
fn training_says_what_it_cannot_do() {
    let network = "network n {\n input x: [2, 4, 4]\n output a = x |> relu\n output b = x |> tanh\n}";
    let train = "train {\n optimizer = sgd(rate = 0.1)\n epochs = 1\n}";
    let fails =
        |model: &Model| pipeline::training(model, &Options::default()).err().expect("it cannot be trained").message;
    assert!(fails(&load(network)).contains("no `train"));
    let mut model = load("network n {\n input x: [2]\n x |> linear(2)\n}");
    model.train = Some(nets::recipe(0));
    model.graph.outputs.push(("again".into(), model.graph.outputs[0].1));
    assert!(fails(&model).contains("training needs one result"));
    let frozen = format!("network n {{\n input x: [2]\n x |> linear(2, frozen = true)\n}}\n{train}");
    if let (Some(model), _) = ninc::front::load(&frozen, "test.nin", &[]) {
        assert!(fails(&model).contains("nothing to train"));
    }
}

/// A report counts what the network is, whatever runs it.
#[test]
fn reports_agree_between_devices() {
    let model = shipped("cifar10.nin");
    let report =
        |device| pipeline::inference(&model, &Options { device, ..Options::default() }).expect("it compiles").report;
    let (cpu, interp) = (report(Device::Cpu), report(Device::Interp));
    assert_eq!((cpu.parameters, cpu.multiply_adds), (interp.parameters, interp.multiply_adds));
    // Published: 966,986 parameters, 222.5 million multiply-adds.
    assert_eq!(cpu.parameters, 966_986);
    assert!((222_400_000..222_700_000).contains(&cpu.multiply_adds), "{}", cpu.multiply_adds);
    assert!(cpu.times.iter().any(|(step, _)| step == "fuse"));
}

/// Two plans, chosen by the number of images; each gives the same bits for any number of threads, and both the same
/// results within rounding.
#[test]
fn small_and_large_batches_have_plans_of_their_own() {
    let model = load(
        "network n {\n input x: [3, 12, 12]\n x |> mlpconv(kernel = 5, pad = 2, channels = [24, 16]) \
         |> max_pool(kernel = 2, stride = 2) |> mlpconv(kernel = 3, pad = 1, channels = [40, 8])\n}",
    );
    let options = |threads| Options { threads, emit: vec![Stage::Plan.into()], ..Options::default() };
    let values = nets::Values::new(3);
    let mut interpreted = pipeline::inference(&model, &Options { device: Device::Interp, emit: vec![], ..options(1) })
        .expect("it compiles");
    for batch in [1, 3, 8, 9, 40] {
        let expected = nets::run_engine(&mut *interpreted.engine, &values, batch);
        let mut first = None;
        for threads in [1, 2, 3, 4, 7, 16] {
            let mut program = pipeline::inference(&model, &options(threads)).expect("it compiles");
            assert!(program.dumps[0].text.contains("for at most 8 images:"), "{}", program.dumps[0].text);
            let got = nets::run_engine(&mut *program.engine, &values, batch);
            nets::assert_close("both plans", &got, &expected, 1e-4);
            assert_eq!(first.get_or_insert(got.clone()), &got, "{threads} threads, batch {batch}");
        }
    }
}
